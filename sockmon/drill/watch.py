"""Watches an alert come and go while a drill's sockets are held, and prints what happens."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sockmon.drill.alert_state import ABSENT, Expected, Seen
from sockmon.drill.plan import Plan, lasting
from sockmon.text import one_line

_PAUSE_SECONDS = 0.5
_REPORT_SECONDS = 10.0
#: A daemon that restarts, or is busy, may not answer for this long.
_SILENCE_SECONDS = 10.0


class DrillError(Exception):
    """Why the drill has failed, in one line."""


class SilentError(Exception):
    """Why the daemon does not return its alerts, in a few words."""


class Watching:
    """One drill from when its sockets are made; alerts of other ports do not count.

    alerts: returns what /api/v1/alerts shows, or raises SilentError; None: there is no daemon.
    check: raises DrillError if the sockets are no longer held.
    """

    def __init__(
        self,
        plan: Plan,
        port: int,
        alerts: Callable[[], Sequence[Mapping[str, Any]]] | None,
        check: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._alerts = alerts
        self._check: Callable[[], None] = check
        self._say_line = say
        self._expected = expectation(plan, port)
        self._began = self._answered = self._reported_at = time.monotonic()
        self._seen = ABSENT
        self._gave_up = False

    def hold(self, *, expects: bool, holds: bool) -> None:
        """Return when the sockets may be closed; raises DrillError if the alert has not fired.

        holds: for the plan's whole time, even if the alert has fired before.
        """
        plan = self._plan
        if expects and plan.scenario.quiet:
            self._stay_quiet(max(plan.hold, plan.timing.patience))
            return
        if expects:
            patience = plan.timing.patience
            if not self._wait(patience, until=_fires, strict=True):
                raise DrillError(
                    f"{plan.alert} has not fired within {lasting(patience)}; "
                    f"it is {self._seen.state}"
                )
        if holds or not expects:
            self._wait(plan.hold - self._elapsed(), strict=expects)

    def closed(self) -> None:
        """Note that the sockets have been closed."""
        self._check = _nothing
        self._say("closed")

    def resolve(self) -> None:
        """Return when the alert has resolved; raises DrillError if it does not."""
        plan = self._plan
        patience = plan.timing.resolving_patience + plan.scenario.lingers
        patience += plan.scenario.remembers
        if not self._wait(patience, until=_is_over, strict=True):
            raise DrillError(f"{plan.alert} has not resolved within {lasting(patience)}")

    def _stay_quiet(self, seconds: float) -> None:
        if self._wait(seconds, until=_is_alive, strict=True):
            raise DrillError(f"{self._plan.alert} is {self._seen.state}, and should not be")
        self._say(f"no {self._plan.alert}, as expected")

    def _wait(
        self, seconds: float, *, strict: bool, until: Callable[[Seen], bool] | None = None
    ) -> bool:
        """Look until `until` is true or time is over; strict: a daemon must answer."""
        deadline = time.monotonic() + seconds
        while True:
            self._look(strict=strict)
            if until is not None and until(self._seen):
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if time.monotonic() - self._reported_at >= _REPORT_SECONDS:
                self._say(f"{self._plan.alert} is {self._seen.state}; {lasting(left)} at most")
            time.sleep(min(left, _PAUSE_SECONDS, self._plan.timing.interval / 2))

    def _look(self, *, strict: bool) -> None:
        self._check()
        if self._alerts is None:
            return
        try:
            seen = self._expected.among(self._alerts())
        except SilentError as error:
            self._tolerate(error, strict=strict)
            return
        self._answered, self._gave_up = time.monotonic(), False
        if seen.state != self._seen.state:
            summary = f" ({seen.severity}): {one_line(seen.summary)}" if seen.alive else ""
            self._say(f"{self._plan.alert} is {seen.state}{summary}")
        self._seen = seen

    def _tolerate(self, error: SilentError, *, strict: bool) -> None:
        if time.monotonic() - self._answered < _SILENCE_SECONDS or self._gave_up:
            return
        message = f"the daemon no longer answers: {error}"
        if strict:
            raise DrillError(message) from error
        self._gave_up = True
        self._say(message)

    def _say(self, text: str) -> None:
        self._reported_at = time.monotonic()
        self._say_line(f"{self._elapsed():6.1f}s  {text}")

    def _elapsed(self) -> float:
        return time.monotonic() - self._began


def expectation(plan: Plan, port: int) -> Expected:
    """Return the alert that a plan's sockets raise, with their service at this port."""
    direction = plan.scenario.direction
    return Expected(plan.alert, direction, None if direction is None else port)


def _fires(seen: Seen) -> bool:
    return seen.state == "firing"


def _is_alive(seen: Seen) -> bool:
    return seen.alive


def _is_over(seen: Seen) -> bool:
    return not seen.alive


def _nothing() -> None:
    pass
