"""The clocks: read here, and handed on as arguments."""

import time
from dataclasses import replace

from sockmon.model.moment import Moment


def now() -> Moment:
    """Read both clocks."""
    return Moment(time.monotonic(), time.time())


def boottime(at: Moment) -> Moment:
    """Return the moment on the clock that goes on while the host is suspended."""
    suspended = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    return replace(at, monotonic=at.monotonic + suspended)
