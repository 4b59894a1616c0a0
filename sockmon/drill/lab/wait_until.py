"""Waits for the kernel: never for a fixed time, always with a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE = 0.01


def eventually(
    look: Callable[[], T], *, until: Callable[[T], bool] = bool, within: float = 30.0
) -> T:
    """Return what `look` returns once `until` accepts it; TimeoutError names the last value."""
    deadline = time.monotonic() + within
    while not until(seen := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not seen within {within} s; last seen: {seen!r}")
        time.sleep(_PAUSE)
    return seen
