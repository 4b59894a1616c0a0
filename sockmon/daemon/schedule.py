"""When to poll next."""

import math


def next_beat(begun: float, interval: float, now: float) -> float:
    """Return the first beat after `now` of those every `interval` seconds since `begun`.

    Beats are multiples of the interval, so they never drift; those a long poll has missed are
    left out, so they never pile up.
    """
    beat = begun + (math.floor((now - begun) / interval) + 1) * interval
    return beat if beat > now else beat + interval
