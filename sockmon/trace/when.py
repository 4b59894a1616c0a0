"""Times of segments, as people read them. Pure."""

from datetime import UTC, datetime
from functools import lru_cache


def clock_time(nanoseconds: int, *, dated: bool = False) -> str:
    """Return the local time with microseconds, as tcpdump prints it. dated: with the date."""
    seconds, left = divmod(nanoseconds, 1_000_000_000)
    return f"{_second(seconds, '%Y-%m-%d %H:%M:%S' if dated else '%H:%M:%S')}.{left // 1000:06}"


@lru_cache(maxsize=64)
def _second(seconds: int, form: str) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).astimezone().strftime(form)
    except (OverflowError, ValueError, OSError):  # a capture may claim any time
        return f"@{seconds}"
