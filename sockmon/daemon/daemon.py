"""The daemon: the main loop, with the clock, the signals and the service manager."""

import asyncio
import contextlib
import logging
import os
import platform
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from sockmon import __version__
from sockmon.alert.changes import changes
from sockmon.alert.manager import AlertManager
from sockmon.clock import boottime, now
from sockmon.config.fields import ListenAddress
from sockmon.config.load import ConfigError
from sockmon.contained import COMPONENTS
from sockmon.daemon import systemd
from sockmon.daemon.schedule import next_poll
from sockmon.daemon.troubles import PROCESSES, Troubles
from sockmon.detect.registry import thresholds_of
from sockmon.export.alerts import AlertingStatus
from sockmon.export.metrics import Build, Reload
from sockmon.history.file import HistoryFile
from sockmon.history.recorder import HistoryRecorder
from sockmon.kernel.memory import disable_malloc_trim
from sockmon.kernel.netlink.source import KernelSource
from sockmon.model.names import HOST
from sockmon.model.observation import Observation
from sockmon.model.poll_statistics import COMPONENT, Failure
from sockmon.poll.poller import Poller
from sockmon.settings import Config, load
from sockmon.state.file import StateError, StateFile, boot_id
from sockmon.state.lock import DirectoryLock
from sockmon.state.store import StateStore
from sockmon.web import listeners, server
from sockmon.web.app import create_app
from sockmon.web.daemon_status import LatestObservation
from sockmon.web.security import web_config
from sockmon.web.security.policy import NO_DEMANDS, Policy, PolicyFile

log = logging.getLogger("sockmon")

#: How often the web configuration and its certificates are checked for changes.
_WEB_CONFIG_SECONDS = 1.0
#: The section of the state that is the poller's.
_AGES = "ages"
#: How long a stop waits for the disk.
_STOP_SECONDS = 0.25

OpenSource = Callable[[Callable[[], bool]], KernelSource]


def load_settings(path: Path | None, listen_addresses: tuple[ListenAddress, ...] = ()) -> Config:
    """Read the configuration; addresses of the command line replace its own. Raises ConfigError.

    Alerts name the host as `instance`, unless alerting.labels does: to an Alertmanager the same
    labels from two hosts are one alert.
    """
    settings = Config() if path is None else load(path)
    node = os.environ.get("NODE_NAME") or platform.node()  # Kubernetes has names of its own
    labels = {"instance": node, **settings.alerting.labels}
    settings = replace(settings, alerting=replace(settings.alerting, labels=labels))
    if listen_addresses:
        settings = replace(settings, web=replace(settings.web, listen_address=listen_addresses))
    return settings


def _state_directory(settings: Config) -> Path | None:
    """Return where state survives: as configured, else where the service manager says."""
    name = settings.state_dir or os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(name) if name else None


def _locked(directory: Path) -> DirectoryLock | None:
    """Lock the directory; if another daemon has, that costs a warning, and nothing is saved."""
    try:
        return DirectoryLock(directory)
    except StateError as error:
        log.warning("cannot save alerts and history, a restart will lose them: %s", error)
        return None


class Daemon:
    """Polls in a thread of its own, serves from the event loop, stops when asked to."""

    def __init__(
        self,
        load: Callable[[], Config],
        open_source: OpenSource = KernelSource.live,
        web_config: Path | None = None,
        passed: Sequence[socket.socket] | None = None,
    ) -> None:
        """passed: sockets of systemd's to serve on, instead of the configured addresses."""
        disable_malloc_trim()
        self._load = load
        self._passed = passed
        self._settings = self._started_with = load()
        self._web_config = None if web_config is None else PolicyFile(web_config)
        self._not_reloaded: set[str] = set()
        self._stopping = threading.Event()
        self._poller = Poller(open_source(self._stopping.is_set), self._settings)
        started = now()
        directory = _state_directory(self._settings)
        self._lock = _locked(directory) if directory else None
        state_file = history_file = None
        if directory and self._lock:
            state_file = StateFile(directory / "state", boot_id())
            history_file = HistoryFile(directory / "history", boot_id())
        self._state = StateStore(state_file, started.monotonic)
        self._alerts = AlertManager(
            self._settings.alerting,
            thresholds_of(self._settings.detect),
            self._state,
        )
        self._alerting_by = self._settings
        self._poller.recall(self._state.take(_AGES) or {})
        self._history = HistoryRecorder(history_file, boottime(started))
        self._latest = LatestObservation(
            clock=time.monotonic,
            build=Build(__version__, platform.python_version()),
            reload=Reload(successful=True, succeeded_at=started.wall),
            started_at=started.monotonic,
            started_wall=started.wall,
            interval=self._settings.poll.interval,
            host=self._settings.alerting.labels.get("instance", ""),
            past=self._history.past,
            alerting=AlertingStatus(self._alerts.alerts, self._alerts.notifications()),
        )
        self._rescheduled = asyncio.Event()
        self._troubles = Troubles()

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; raises ListenError."""
        try:
            with listeners.listening(self._settings.web.listen_address, self._passed) as listening:
                asyncio.run(self._main(listening))
        finally:
            self._alerts.close()
            self._state.close(_STOP_SECONDS)
            self._history.close()
            self._poller.close()
            if self._lock:
                self._lock.release()

    async def _main(self, listening: list[socket.socket]) -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        web = server.WebServer(create_app(self._latest, self._policy), self._policy)
        with ThreadPoolExecutor(1, "poll") as polling:
            tasks = [
                asyncio.create_task(web.run_on(listening)),
                asyncio.create_task(self._poll_repeatedly(polling)),
            ]
            watchdog_seconds = systemd.watchdog_seconds()
            if watchdog_seconds is not None:
                tasks.append(asyncio.create_task(self._watchdog(watchdog_seconds)))
            stopped = asyncio.create_task(stop.wait())
            policy = self._policy()
            exposed = any(map(listeners.is_exposed, listening))
            for listener in listening:
                log.info("serving %s", listeners.url(listener, "https" if policy.tls else "http"))
            _warn_of(policy, exposed=exposed)
            if self._web_config is not None:
                following = self._follow(self._web_config, exposed=exposed)
                tasks.append(asyncio.create_task(following))
            done, _ = await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
            systemd.notify("STOPPING=1")
            log.info("stopping")
            self._stopping.set()
            await web.stop()
            for task in (stopped, *tasks[1:]):
                task.cancel()
            await asyncio.gather(stopped, *tasks, return_exceptions=True)
            for task in done - {stopped}:
                task.result()  # a task that ended by itself failed: raise what it raised

    async def _poll_repeatedly(self, polling: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        begun = time.monotonic()
        ready = False
        while True:
            observation = await loop.run_in_executor(polling, self._poll)
            if self._stopping.is_set():
                return  # it was interrupted, so it is not complete
            alerting = AlertingStatus(self._alerts.alerts, self._alerts.notifications())
            self._latest.post(observation, alerting)
            self._troubles.log(observation)
            if not ready:
                systemd.notify("READY=1", "STATUS=polling")
                ready = True
            due = next_poll(begun, self._latest.interval, time.monotonic())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._rescheduled.wait(), due - time.monotonic())
                self._rescheduled.clear()
                begun = time.monotonic()

    def _poll(self) -> Observation:
        """Poll, and update alerts and history: all that the polling thread does."""
        settings = self._settings
        if settings is not self._alerting_by:
            self._alerts.reconfigure(settings.alerting, thresholds_of(settings.detect))
            self._alerting_by = settings
        observation = self._poller.poll(now, time.process_time)
        if not self._stopping.is_set():
            alerts = self._alerts.alerts
            self._state.give(_AGES, self._poller.remember())
            COMPONENTS.run("alerts", partial(self._alert, observation))
            self._state.tick(observation.at.monotonic)
            changed = changes(alerts, self._alerts.alerts)
            at = boottime(observation.at)
            COMPONENTS.run("history", partial(self._history.observe, observation, at, changed))
        return replace(observation, failures=(*observation.failures, *_failing_components()))

    def _alert(self, observation: Observation) -> None:
        diagnosed = observation.diagnosed()
        self._alerts.observe(
            (finding for found in diagnosed.values() for finding in found.findings),
            observation.at,
            observation.interval,
            looked=partial(observation.looked, diagnosed),
            waiting=lambda its: observation.waits(diagnosed, its.netns, its.detector, its.subject),
        )

    async def _watchdog(self, timeout: float) -> None:
        """Notify the service manager as long as polls are completed in time."""
        while True:
            if self._latest.why_unhealthy() is None:
                systemd.notify("WATCHDOG=1")
            await asyncio.sleep(timeout / 3)

    def _reload(self) -> None:
        """Read the configuration again; mistakes in it are logged, and nothing changes."""
        systemd.reloading()
        try:
            settings = self._load()
        except ConfigError as error:
            self._note_reload("configuration", error)
        else:
            if settings.web != self._started_with.web and self._passed is None:
                log.warning("web.listen_address changes at the next start")
            if settings.poll != self._settings.poll:
                self._latest.interval = settings.poll.interval
                self._rescheduled.set()
            if settings.state_dir != self._started_with.state_dir:
                log.warning("state_dir changes at the next start")
            known = len(self._alerts.alerts)
            if known and settings.alerting.labels != self._settings.alerting.labels:
                log.warning("alerting.labels: alerts keep theirs until they end: %d", known)
            self._settings = self._poller.config = settings
            self._note_reload("configuration")
        systemd.notify("READY=1")

    def _policy(self) -> Policy:
        """Return what HTTP clients need now."""
        return NO_DEMANDS if self._web_config is None else self._web_config.policy

    async def _follow(self, web_config: PolicyFile, *, exposed: bool) -> None:
        """Read the web configuration again whenever it, or a certificate, has changed."""
        while True:
            await asyncio.sleep(_WEB_CONFIG_SECONDS)
            try:
                changed = web_config.refresh()
            except ConfigError as error:
                self._note_reload("web configuration", error)
            else:
                if changed:
                    self._note_reload("web configuration")
                    _warn_of(web_config.policy, exposed=exposed)

    def _note_reload(self, what: str, error: ConfigError | None = None) -> None:
        """Report in the log and in /metrics how reading a configuration again went."""
        if error is None:
            self._not_reloaded.discard(what)
            log.info("%s reloaded", what)
        else:
            self._not_reloaded.add(what)
            for problem in error.problems:
                log.error("%s", problem)
            log.error("%s not reloaded; the previous one stays in use", what)
        if self._not_reloaded:
            self._latest.reload = replace(self._latest.reload, successful=False)
        else:
            self._latest.reload = Reload(successful=True, succeeded_at=time.time())


def _failing_components() -> Iterator[Failure]:
    """Yield what fails now other than reading and diagnosing, for doctor and the page."""
    for name, reason in COMPONENTS.failing.items():
        # These are the poller's failures.
        if not name.startswith(("detect.", "diagnosis", "events", "poll")):
            why = PROCESSES if name == PROCESSES else COMPONENT
            yield Failure(HOST, why, f"{name} fails: {reason}")


def _warn_of(policy: Policy, *, exposed: bool) -> None:
    for warning in web_config.warnings(policy.config, exposed=exposed):
        log.warning("%s", warning)
