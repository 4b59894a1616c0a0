"""`sockmon drill`: says what it will do, does it, watches the alert come and go, cleans up."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from sockmon.client.http import Asking
from sockmon.client.snapshot import FetchError
from sockmon.drill import child_process
from sockmon.drill.alert_state import alerts_of
from sockmon.drill.lab.netns import CurrentNetNs, enter_new_namespace
from sockmon.drill.plan import Plan, PlanError, announcement, make_plan, must_alert
from sockmon.drill.private_daemon import ADDRESS, URL, OwnDaemon, own_daemon
from sockmon.drill.safety_limits import read_resources
from sockmon.drill.scenarios import SCENARIOS
from sockmon.drill.watch import DrillError, SilentError, Watching, expectation
from sockmon.kernel.procfs import read_limits
from sockmon.settings import Config

_PROC = Path("/proc")
_DAEMON_URL = "http://127.0.0.1:10776"
_LONGEST_HOLD = 3600.0
_READY_SECONDS = 20.0
_LETS_GO_SECONDS = 10.0


class UnfitError(Exception):
    """Why there can be no such drill, in one line."""


@dataclass(frozen=True, slots=True)
class ColorMode:
    """What the command line asks for; None: whatever fits."""

    name: str
    count: int | None
    hold: float | None
    expect_alert: bool
    url: str | None
    config_file: Path | None


def run(wish: ColorMode, config: Config) -> int:
    """Hold the drill; 0 if all went as expected, 1 if not. Raises UnfitError, KernelError."""
    _check(wish)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _end)
    try:
        return _drill(wish, config)
    except (DrillError, child_process.StartError) as error:
        print(f"sockmon: {error}", file=sys.stderr)
        return 1


def _check(wish: ColorMode) -> None:
    if wish.count is not None and wish.count < 1:
        raise UnfitError(f"--count: {wish.count} is not 1 or more")
    if wish.hold is not None and not 0 <= wish.hold <= _LONGEST_HOLD:
        raise UnfitError(f"--hold: {wish.hold:g} is not between 0 and {_LONGEST_HOLD:g} seconds")
    if wish.url is not None and SCENARIOS[wish.name].own_namespace:
        raise UnfitError(f"--url: {wish.name} has a daemon of its own; no other could see it")


def _end(number: int, _: FrameType | None) -> NoReturn:
    """Unwind, so that everything is let go, and exit as the signal would have made us."""
    raise SystemExit(128 + number)


def _drill(wish: ColorMode, config: Config) -> int:
    resources = read_resources(_PROC)  # of the host, before we may leave its namespace
    apart = SCENARIOS[wish.name].own_namespace
    if apart:
        _enter_namespace(wish.name)
    asking = _asking(URL if apart else wish.url or _DAEMON_URL)
    interval, daemon = None, f"one of its own in there, at {ADDRESS}"
    if not apart:
        interval, daemon = _outside(asking, must_answer=wish.expect_alert)
    if interval is not None:
        config = replace(config, poll=replace(config.poll, interval=interval))
    try:
        plan = make_plan(wish.name, config, read_limits(_PROC)[0], resources, wish.count, wish.hold)
        if wish.expect_alert:
            must_alert(plan, hold_given=wish.hold is not None)
    except PlanError as error:
        raise UnfitError(str(error)) from error
    until_alert = wish.expect_alert and wish.hold is None and not plan.scenario.quiet
    daemon += f"; {_limits_from(wish.config_file)}"
    for line in announcement(plan, daemon, until_alert=until_alert):
        _say(line)
    if not apart:
        _rehearse(wish, plan, asking if interval else None)
    else:
        for setting, value in plan.scenario.settings(plan.count).items():
            CurrentNetNs().set_sysctl(setting, value)
        with own_daemon(wish.config_file) as own:
            _await_first_poll(own, asking)
            _rehearse(wish, plan, asking)
    return 0


def _rehearse(wish: ColorMode, plan: Plan, asking: Asking | None) -> None:
    alerts = None if asking is None else partial(_alerts, asking)
    if alerts is not None and wish.expect_alert and plan.scenario.direction is None:
        _must_not_stand(plan, alerts)
    with _sockets(plan) as (port, states, check):
        _say(f"made at port {port}: {states}")
        watching = Watching(plan, port, alerts, check, _say)
        watching.hold(expects=wish.expect_alert, holds=wish.hold is not None)
    watching.let_go()
    if wish.expect_alert and not plan.scenario.quiet:
        watching.resolve()


def _must_not_stand(plan: Plan, alerts: Callable[[], list[Mapping[str, Any]]]) -> None:
    """Check that an alert without a port is not there already: then it would prove nothing."""
    try:
        seen = expectation(plan, 0).among(alerts())
    except SilentError as error:
        raise DrillError(f"the daemon does not tell its alerts: {error}") from error
    if seen.alive:
        raise DrillError(f"{plan.alert} is {seen.standing} before the drill: {seen.summary}")


@contextmanager
def _sockets(plan: Plan) -> Iterator[tuple[int, str, Callable[[], None]]]:
    """Have them made by a process of their own; its port, the sockets by state, and a check."""
    maker = child_process.start(
        child_process.python("sockmon.drill.socket_process", plan.name, str(plan.count))
    )
    assert maker.stdout is not None
    try:
        line = maker.stdout.readline()
        if not line:
            raise DrillError(f"the sockets could not be made: {_last_words(maker)}")
        made = json.loads(line)
        states = ", ".join(f"{count} {state}" for state, count in made["states"].items())
        yield made["port"], states, partial(_check_alive, maker)
    finally:
        child_process.end(maker, within=_LETS_GO_SECONDS)


def _check_alive(maker: subprocess.Popen[bytes]) -> None:
    if maker.poll() is not None:
        raise DrillError(f"the process that held the sockets has ended: {_last_words(maker)}")


def _last_words(process: subprocess.Popen[bytes]) -> str:
    assert process.stderr is not None
    lines = process.stderr.read().decode(errors="replace").splitlines()
    return lines[-1] if lines else f"status {process.wait()}"


def _alerts(asking: Asking) -> list[Mapping[str, Any]]:
    """Ask a daemon for its alerts; raises SilentError."""
    try:
        document, _ = asking.get("/api/v1/alerts")
    except FetchError as error:
        raise SilentError(str(error)) from error
    try:
        return alerts_of(document)
    except ValueError as error:
        raise SilentError(str(error)) from error


def _asking(url: str) -> Asking:
    try:
        return Asking(url)
    except ValueError as error:
        raise UnfitError(f"--url: {error}") from error


def _outside(asking: Asking, *, must_answer: bool) -> tuple[float | None, str]:
    """Ask the host's daemon how often it polls, and describe it; None: it does not answer."""
    try:
        interval = _interval(asking)
    except FetchError as error:
        if must_answer:
            raise DrillError(f"no daemon to watch at {asking.url}: {error}") from error
        return None, f"none at {asking.url} ({error})"
    return interval, f"{asking.url}, which polls every {interval:g} s"


def _await_first_poll(own: OwnDaemon, asking: Asking) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and own.process.poll() is None:
        with suppress(FetchError):
            _interval(asking)
            return
        time.sleep(0.1)
    raise DrillError(f"the drill's daemon does not answer: {own.last_words()}")


def _enter_namespace(name: str) -> None:
    if shutil.which("ip") is None:
        raise UnfitError(f"{name} needs the command ip (package iproute2)")
    try:
        enter_new_namespace()
    except PermissionError as error:
        raise UnfitError(
            f"{name} needs a network namespace of its own, and so root (CAP_SYS_ADMIN); where "
            f"users may have namespaces, without it: unshare -rn sockmon drill {name}"
        ) from error
    except (OSError, subprocess.CalledProcessError) as error:
        raise UnfitError(f"{name}: cannot make a network namespace: {error}") from error


def _say(line: str) -> None:
    print(line, flush=True)


def _limits_from(config_file: Path | None) -> str:
    if config_file is not None:
        return f"limits from {config_file}"
    return "the default limits (--config names a daemon's own)"


def _interval(asking: Asking) -> float:
    """Ask a daemon how often it polls, in seconds; raises FetchError."""
    document, _ = asking.get("/api/v1/observation")
    try:
        interval = float(document["interval_seconds"])
    except (LookupError, TypeError, ValueError) as error:
        raise FetchError("what answers there is no sockmon daemon") from error
    if not 0.0 < interval <= _LONGEST_HOLD:
        raise FetchError("what answers there is no sockmon daemon")
    return interval
