"""Waiting for a state. Nothing is asserted about how long it takes: a busy machine takes longer."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Seconds after which a state that has not come is a failure. Everything that waits in the tests
#: waits this long. pytest's own timeout (pyproject.toml) is longer; it alone bounds programs that
#: work, such as an installation.
PATIENCE = 90.0

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.01, 0.2


def eventually(
    look: Callable[[], T], *, until: Callable[[T], bool] = bool, within: float = PATIENCE
) -> T:
    """Return what `look` sees as soon as `until` accepts it; TimeoutError names the last sight.

    It looks less often the longer it waits: to look costs the CPU time that the others need.
    """
    begun = time.monotonic()
    while not until(seen := look()):
        waited = time.monotonic() - begun
        if waited > within:
            raise TimeoutError(f"not seen within {within} s; last seen: {seen!r}")
        time.sleep(min(max(waited / 10, _SHORTEST_PAUSE), _LONGEST_PAUSE))
    return seen
