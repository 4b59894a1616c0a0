"""`sockmon drill`: says what it will do, does it, watches the alert come and go, cleans up."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from sockmon.alert.labels import alert_name
from sockmon.client.api import NOT_SOCKMON, DaemonApi
from sockmon.client.snapshot import FetchError
from sockmon.drill import child_process
from sockmon.drill.alert_state import alerts_of
from sockmon.drill.counting import Offer, offer
from sockmon.drill.lab.netns import CurrentNetNs, enter_new_namespace
from sockmon.drill.plan import Plan, PlanError, announcement, make_plan, must_alert
from sockmon.drill.private_daemon import ADDRESS, URL, PrivateDaemon, private_daemon
from sockmon.drill.safety_limits import Resource, read_resources
from sockmon.drill.scenarios import SCENARIOS
from sockmon.drill.trace import traced
from sockmon.drill.watch import DrillError, SilentError, Watching, expectation
from sockmon.kernel.errors import KernelError
from sockmon.kernel.procfs import read_limits
from sockmon.settings import Config

_PROC = Path("/proc")
_DAEMON_URL = "http://127.0.0.1:10776"
_LONGEST_HOLD = 3600.0
_READY_SECONDS = 60.0
_CLOSES_WITHIN_SECONDS = 10.0


class DrillRefusedError(Exception):
    """Why this drill cannot be run, in one line."""


@dataclass(frozen=True, slots=True)
class DrillOptions:
    """The command line's options; None: what suits the scenario."""

    name: str
    count: int | None
    hold: float | None
    expect_alert: bool
    url: str | None
    config_file: Path | None
    trace: bool = False


def listing() -> str:
    """Return a line for each drill: what it makes, and whose alert that is."""
    lines = []
    for name, scenario in SCENARIOS.items():
        alert = f"{'no ' if scenario.quiet else ''}{alert_name(scenario.detector)}"
        lines.append(f"{name:16} {scenario.does.format(count='N')}: {alert}")
    return "\n".join(lines)


def run(options: DrillOptions, config: Config) -> int:
    """Run the drill; 0 if all went as expected, 1 if not.

    Raises DrillRefusedError, KernelError.
    """
    _check(options)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _end)
    try:
        return _drill(options, config)
    except (DrillError, child_process.StartError) as error:
        print(f"sockmon: {error}", file=sys.stderr)
        return 1


def _check(options: DrillOptions) -> None:
    if options.count is not None and options.count < 1:
        raise DrillRefusedError(f"--count: {options.count} is not 1 or more")
    if options.hold is not None and not 0 <= options.hold <= _LONGEST_HOLD:
        raise DrillRefusedError(
            f"--hold: {options.hold:g} is not between 0 and {_LONGEST_HOLD:g} seconds"
        )
    if options.url is not None and SCENARIOS[options.name].own_namespace:
        raise DrillRefusedError(
            f"--url: {options.name} has a daemon of its own; no other could see it"
        )


def _end(number: int, _: FrameType | None) -> NoReturn:
    """Unwind, so that everything is closed, and exit with the status of the signal."""
    raise SystemExit(128 + number)


def _drill(options: DrillOptions, config: Config) -> int:
    resources = read_resources(_PROC)  # the host's, before we leave its namespace
    if SCENARIOS[options.name].own_namespace:
        _enter_namespace(options.name)
    _planned(options, config, resources, _offered(options.name))
    return 0


def _planned(
    options: DrillOptions,
    config: Config,
    resources: tuple[Resource, ...],
    program: Offer | None,
) -> None:
    apart = SCENARIOS[options.name].own_namespace
    api = _daemon_api(URL if apart else options.url or _DAEMON_URL)
    interval, daemon = None, f"its own, in the namespace, at {ADDRESS}"
    if not apart:
        interval, daemon = _outside(api, must_answer=options.expect_alert)
    if interval is not None:
        config = replace(config, poll=replace(config.poll, interval=interval))
    try:
        plan = make_plan(
            options.name, config, read_limits(_PROC)[0], resources, options.count, options.hold
        )
        if options.expect_alert:
            must_alert(plan, hold_given=options.hold is not None)
    except PlanError as error:
        raise DrillRefusedError(str(error)) from error
    until_alert = options.expect_alert and options.hold is None and not plan.scenario.quiet
    daemon += f"; {_limits_from(options.config_file)}"
    for line in announcement(plan, daemon, until_alert=until_alert):
        _say(line)
    if not apart:
        _run_drill(options, plan, api if interval else None)
    else:
        for setting, value in plan.scenario.settings(plan.count).items():
            CurrentNetNs().set_sysctl(setting, value)
        with private_daemon(
            options.config_file, program.socket if program else None
        ) as daemon_process:
            _await_first_poll(daemon_process, api)
            if program is not None:
                program.wait()
            _run_drill(options, plan, api)


def _run_drill(options: DrillOptions, plan: Plan, api: DaemonApi | None) -> None:
    alerts = None if api is None else partial(_alerts, api)
    if alerts is not None and options.expect_alert and plan.scenario.direction is None:
        _must_not_stand(plan, alerts)
    with traced() if options.trace else nullcontext() as trace:
        with _sockets(plan) as (port, states, check):
            _say(f"made at port {port}: {states or 'no socket stays'}")
            watching = Watching(plan, port, alerts, check, _say)
            watching.hold(expects=options.expect_alert, holds=options.hold is not None)
        watching.closed()
        if trace is not None:
            trace.show(port)
    if options.expect_alert and not plan.scenario.quiet:
        watching.resolve()


def _must_not_stand(plan: Plan, alerts: Callable[[], list[Mapping[str, Any]]]) -> None:
    """Check that an alert without a port does not exist yet: else it would prove nothing."""
    try:
        seen = expectation(plan, 0).among(alerts())
    except SilentError as error:
        raise DrillError(f"the daemon does not return its alerts: {error}") from error
    if seen.alive:
        raise DrillError(f"{plan.alert} is {seen.state} before the drill: {seen.summary}")


@contextmanager
def _sockets(plan: Plan) -> Iterator[tuple[int, str, Callable[[], None]]]:
    """Have a process make them; yields the port, the sockets by state, and a check."""
    maker = child_process.start(
        child_process.python("sockmon.drill.socket_process", plan.name, str(plan.count))
    )
    assert maker.stdout is not None
    try:
        line = maker.stdout.readline()
        if not line:
            raise DrillError(f"the sockets could not be made: {_last_line(maker)}")
        made = json.loads(line)
        states = ", ".join(f"{count} {state}" for state, count in made["states"].items())
        yield made["port"], states, partial(_check_alive, maker)
    finally:
        child_process.end(maker, within=_CLOSES_WITHIN_SECONDS)


def _check_alive(maker: subprocess.Popen[bytes]) -> None:
    if maker.poll() is not None:
        raise DrillError(f"the process that held the sockets has ended: {_last_line(maker)}")


def _last_line(process: subprocess.Popen[bytes]) -> str:
    assert process.stderr is not None
    lines = process.stderr.read().decode(errors="replace").splitlines()
    return lines[-1] if lines else f"status {process.wait()}"


def _alerts(api: DaemonApi) -> list[Mapping[str, Any]]:
    """Ask a daemon for its alerts; raises SilentError."""
    try:
        document, _ = api.get("/api/v1/alerts")
    except FetchError as error:
        raise SilentError(str(error)) from error
    try:
        return alerts_of(document)
    except ValueError as error:
        raise SilentError(str(error)) from error


def _daemon_api(url: str) -> DaemonApi:
    try:
        return DaemonApi(url)
    except ValueError as error:
        raise DrillRefusedError(f"--url: {error}") from error


def _outside(api: DaemonApi, *, must_answer: bool) -> tuple[float | None, str]:
    """Return how often the host's daemon polls, and a description; None: it does not answer."""
    try:
        interval = _interval(api)
    except FetchError as error:
        if must_answer:
            raise DrillError(f"no daemon to watch at {api.url}: {error}") from error
        return None, f"none at {api.url} ({error})"
    return interval, f"{api.url}, which polls every {interval:g} s"


def _await_first_poll(daemon: PrivateDaemon, api: DaemonApi) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and daemon.process.poll() is None:
        with suppress(FetchError):
            _interval(api)
            return
        time.sleep(0.1)
    raise DrillError(f"the drill's daemon does not answer: {daemon.last_line()}")


def _enter_namespace(name: str) -> None:
    if shutil.which("ip") is None:
        raise DrillRefusedError(f"{name} needs the command ip (package iproute2)")
    try:
        enter_new_namespace()
    except PermissionError as error:
        raise DrillRefusedError(
            f"{name} makes a network namespace, which needs root (CAP_SYS_ADMIN), or, where users "
            f"may make them: unshare -rn sockmon drill {name}"
        ) from error
    except (OSError, subprocess.CalledProcessError) as error:
        raise DrillRefusedError(f"{name}: cannot make a network namespace: {error}") from error


def _offered(name: str) -> Offer | None:
    """Offer the program that counts connections to the drill's daemon, if it needs it."""
    if not SCENARIOS[name].counts:
        return None
    try:
        return offer()
    except KernelError as error:
        raise DrillRefusedError(f"{name} counts inside the kernel: {error}") from error


def _say(line: str) -> None:
    print(line, flush=True)


def _limits_from(config_file: Path | None) -> str:
    if config_file is not None:
        return f"limits from {config_file}"
    return "the default limits (--config for a daemon's own)"


def _interval(api: DaemonApi) -> float:
    """Return how often a daemon polls, in seconds; raises FetchError."""
    document, _ = api.get("/api/v1/observation")
    try:
        interval = float(document["interval_seconds"])
    except (LookupError, TypeError, ValueError) as error:
        raise FetchError(NOT_SOCKMON) from error
    if not 0.0 < interval <= _LONGEST_HOLD:
        raise FetchError(NOT_SOCKMON)
    return interval
