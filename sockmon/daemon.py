"""The daemon: the only loop. Owns the clock, the signals and the service manager."""

import asyncio
import contextlib
import logging
import os
import platform
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from sockmon import __version__, config, servicemanager
from sockmon.alert.alerter import Alerter
from sockmon.config import Config, ConfigError, ListenAddress
from sockmon.detect import limits_of
from sockmon.export.alerts import AlertingStatus
from sockmon.export.metrics import Build, Reload
from sockmon.kernel.memory import keep_freed_memory
from sockmon.kernel.source import KernelSource
from sockmon.model.observation import Moment, Observation
from sockmon.monitor import Monitor
from sockmon.schedule import next_beat
from sockmon.statefile import StateFile, boot_id
from sockmon.ui.web import server
from sockmon.ui.web.app import create_app
from sockmon.ui.web.board import Board

log = logging.getLogger("sockmon")

OpenSource = Callable[[Callable[[], bool]], KernelSource]


def now() -> Moment:
    """Read both clocks."""
    return Moment(time.monotonic(), time.time())


def load_settings(path: Path | None, listen_address: ListenAddress | None) -> Config:
    """Read the configuration; the command line's word counts more. Raises ConfigError.

    Alerts name the host as `instance`, unless alerting.labels does: to an Alertmanager the same
    labels from two hosts are one alert.
    """
    settings = Config() if path is None else config.load(path)
    labels = {"instance": platform.node(), **settings.alerting.labels}
    settings = replace(settings, alerting=replace(settings.alerting, labels=labels))
    if listen_address is not None:
        settings = replace(settings, web=replace(settings.web, listen_address=listen_address))
    return settings


def _state_file(settings: Config) -> StateFile | None:
    """Return where state survives: as configured, else where the service manager says."""
    directory = settings.state_dir or os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return StateFile(Path(directory) / "state", boot_id()) if directory else None


class Daemon:
    """Polls in a thread of its own, serves from the event loop, stops on request."""

    def __init__(
        self,
        load: Callable[[], Config],
        open_source: OpenSource = KernelSource.live,
    ) -> None:
        keep_freed_memory()
        self._load = load
        self._settings = load()
        self._stopping = threading.Event()
        self._monitor = Monitor(open_source(self._stopping.is_set), self._settings)
        started = now()
        self._alerter = Alerter(
            self._settings.alerting,
            limits_of(self._settings.detect),
            _state_file(self._settings),
            started,
        )
        self._alerting_by = self._settings
        self._monitor.recall(self._alerter.remembered)
        self._board = Board(
            clock=time.monotonic,
            build=Build(__version__, platform.python_version()),
            reload=Reload(successful=True, succeeded_at=started.wall),
            started_at=started.monotonic,
            interval=self._settings.poll.interval,
        )
        self._rescheduled = asyncio.Event()
        self._failing: frozenset[str] = frozenset()

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; raises ListenError."""
        listener = server.listen(self._settings.web.listen_address)
        try:
            asyncio.run(self._main(listener))
        finally:
            listener.close()
            self._alerter.close()
            self._monitor.close()

    async def _main(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        web = server.WebServer(create_app(self._board))
        with ThreadPoolExecutor(1, "poll") as polling:
            tasks = [
                asyncio.create_task(web.run_on(listener)),
                asyncio.create_task(self._poll_for_ever(polling)),
            ]
            watchdog_seconds = servicemanager.watchdog_seconds()
            if watchdog_seconds is not None:
                tasks.append(asyncio.create_task(self._watchdog(watchdog_seconds)))
            stopped = asyncio.create_task(stop.wait())
            host, port = listener.getsockname()[:2]
            log.info("serving http://%s/", ListenAddress(host, port))
            done, _ = await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
            servicemanager.notify("STOPPING=1")
            log.info("stopping")
            self._stopping.set()
            await web.stop()
            for task in (stopped, *tasks[1:]):
                task.cancel()
            await asyncio.gather(stopped, *tasks, return_exceptions=True)
            for task in done - {stopped}:
                task.result()  # a task that ended by itself died of a mistake: let it be seen

    async def _poll_for_ever(self, polling: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        begun = time.monotonic()
        ready = False
        while True:
            observation = await loop.run_in_executor(polling, self._poll)
            if self._stopping.is_set():
                return  # cut short: it says nothing about the kernel
            self._board.observation = observation
            self._board.alerting = AlertingStatus(
                self._alerter.alerts, self._alerter.notifications()
            )
            self._log_failures(frozenset(failure.message for failure in observation.failures))
            if not ready:
                servicemanager.notify("READY=1", "STATUS=polling")
                ready = True
            due = next_beat(begun, self._board.interval, time.monotonic())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._rescheduled.wait(), due - time.monotonic())
                self._rescheduled.clear()
                begun = time.monotonic()

    def _poll(self) -> Observation:
        """Poll, and let the alerts know: all that the polling thread does."""
        settings = self._settings
        if settings is not self._alerting_by:
            self._alerter.reconfigure(settings.alerting, limits_of(settings.detect))
            self._alerting_by = settings
        observation = self._monitor.poll(now)
        diagnosed = {
            namespace.name: namespace.diagnosis.value
            for namespace in observation.namespaces
            if namespace.diagnosis is not None and namespace.diagnosis.at == observation.at
        }
        if not self._stopping.is_set():
            self._alerter.observe(
                (finding for found in diagnosed.values() for finding in found.findings),
                observation.at,
                observation.interval,
                looked=lambda netns, detector: (
                    netns in diagnosed and detector not in diagnosed[netns].blind
                ),
                remember=self._monitor.remember(),
            )
        return observation

    async def _watchdog(self, timeout: float) -> None:
        """Tell the service manager that polls end; when they no longer do, say nothing."""
        while True:
            if self._board.why_unhealthy() is None:
                servicemanager.notify("WATCHDOG=1")
            await asyncio.sleep(timeout / 3)

    def _log_failures(self, failing: frozenset[str]) -> None:
        """Log what begins and what ends, not every poll's repetition of it."""
        for message in sorted(failing - self._failing):
            log.warning("%s", message)
        for message in sorted(self._failing - failing):
            log.info("works again: %s", message.partition(":")[0])
        self._failing = failing

    def _reload(self) -> None:
        """Read the configuration again; a bad one changes nothing but a metric and the log."""
        servicemanager.reloading()
        try:
            settings = self._load()
        except ConfigError as error:
            for problem in error.problems:
                log.error("%s", problem)  # noqa: TRY400 - a user's mistake needs no traceback
            log.error("configuration not reloaded; the old one stays in force")  # noqa: TRY400 - the same
            self._board.reload = replace(self._board.reload, successful=False)
        else:
            if settings.web != self._settings.web:
                log.warning("web.listen_address changes at the next start")
            if settings.poll != self._settings.poll:
                self._board.interval = settings.poll.interval
                self._rescheduled.set()
            if settings.state_dir != self._settings.state_dir:
                log.warning("state_dir changes at the next start")
            self._settings = self._monitor.config = settings
            self._board.reload = Reload(successful=True, succeeded_at=time.time())
            log.info("configuration reloaded")
        servicemanager.notify("READY=1")
