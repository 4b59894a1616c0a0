"""Watching an alert come and go while a drill's sockets are held, and telling about it."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sockmon.drill.alert_state import ABSENT, Expected, Seen
from sockmon.drill.plan import Plan, lasting
from sockmon.text import one_line

_PAUSE_SECONDS = 0.5
_WORD_SECONDS = 10.0
#: A daemon that restarts, or is busy, may be silent for so long.
_SILENCE_SECONDS = 10.0


class DrillError(Exception):
    """Why the drill has failed, in one line."""


class SilentError(Exception):
    """Why the daemon does not tell its alerts, in a few words."""


class Watching:
    """One drill from the moment its sockets are made; nobody else's alerts concern it.

    alerts: what /api/v1/alerts shows, raises SilentError; None when there is no daemon.
    check: raises DrillError when the sockets are no longer held.
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
        self._began = self._answered = self._spoke = time.monotonic()
        self._seen = ABSENT
        self._given_up = False

    def hold(self, *, expects: bool, holds: bool) -> None:
        """Return when the sockets may go; raises DrillError when what is expected has not come.

        holds: for the plan's whole time, even when the alert has fired before.
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
                    f"it is {self._seen.standing}"
                )
        if holds or not expects:
            self._wait(plan.hold - self._elapsed(), strict=expects)

    def let_go(self) -> None:
        """Take note that the sockets have been closed."""
        self._check = _nothing
        self._say("let go")

    def resolve(self) -> None:
        """Return when the alert has resolved; raises DrillError when it does not."""
        plan = self._plan
        patience = plan.timing.resolving_patience + plan.scenario.lingers
        if not self._wait(patience, until=_is_over, strict=True):
            raise DrillError(f"{plan.alert} has not resolved within {lasting(patience)}")

    def _stay_quiet(self, seconds: float) -> None:
        if self._wait(seconds, until=_is_alive, strict=True):
            raise DrillError(f"{self._plan.alert} must not be {self._seen.standing}, and it is")
        self._say(f"no {self._plan.alert}, as it should be")

    def _wait(
        self, seconds: float, *, strict: bool, until: Callable[[Seen], bool] | None = None
    ) -> bool:
        """Look again and again; whether `until` came true. strict: a silent daemon is a failure."""
        deadline = time.monotonic() + seconds
        while True:
            self._look(strict=strict)
            if until is not None and until(self._seen):
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if time.monotonic() - self._spoke >= _WORD_SECONDS:
                self._say(f"{self._plan.alert} is {self._seen.standing}; {lasting(left)} at most")
            time.sleep(min(left, _PAUSE_SECONDS, self._plan.timing.interval / 2))

    def _look(self, *, strict: bool) -> None:
        self._check()
        if self._alerts is None:
            return
        try:
            seen = self._expected.among(self._alerts())
        except SilentError as error:
            self._bear(error, strict=strict)
            return
        self._answered, self._given_up = time.monotonic(), False
        if seen.standing != self._seen.standing:
            summary = f" ({seen.severity}): {one_line(seen.summary)}" if seen.alive else ""
            self._say(f"{self._plan.alert} is {seen.standing}{summary}")
        self._seen = seen

    def _bear(self, error: SilentError, *, strict: bool) -> None:
        if time.monotonic() - self._answered < _SILENCE_SECONDS or self._given_up:
            return
        told = f"the daemon no longer answers: {error}"
        if strict:
            raise DrillError(told) from error
        self._given_up = True
        self._say(told)

    def _say(self, text: str) -> None:
        self._spoke = time.monotonic()
        self._say_line(f"{self._elapsed():6.1f}s  {text}")

    def _elapsed(self) -> float:
        return time.monotonic() - self._began


def expectation(plan: Plan, port: int) -> Expected:
    """Return the alert that a plan's sockets raise, their service being at this port."""
    direction = plan.scenario.direction
    return Expected(plan.alert, direction, None if direction is None else port)


def _fires(seen: Seen) -> bool:
    return seen.standing == "firing"


def _is_alive(seen: Seen) -> bool:
    return seen.alive


def _is_over(seen: Seen) -> bool:
    return not seen.alive


def _nothing() -> None:
    pass
