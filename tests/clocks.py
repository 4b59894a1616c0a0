"""Clocks for monitors that poll without waiting."""

import itertools
from collections.abc import Callable

from sockmon.model.moment import Moment


def clock(monotonic: float) -> Callable[[], Moment]:
    """A clock that has stopped."""
    return lambda: Moment(monotonic, 1e9 + monotonic)


def costing(seconds: float) -> Callable[[], float]:
    """A clock of CPU time that has moved on at each look: a namespace's poll looks twice."""
    looks = itertools.count()
    return lambda: next(looks) * seconds
