"""When to poll next."""

import math


def next_poll(begun: float, interval: float, now: float) -> float:
    """Return the first time after `now` that is a multiple of `interval` seconds after `begun`.

    So polls never drift, and those that a long poll has missed are left out.
    """
    due = begun + (math.floor((now - begun) / interval) + 1) * interval
    return due if due > now else due + interval
