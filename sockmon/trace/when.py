"""Times of segments, as people read them. Pure."""

from datetime import UTC, datetime


def clock_time(nanoseconds: int, *, dated: bool = False) -> str:
    """Return the local time with microseconds, as tcpdump prints it. dated: with the date."""
    seconds, left = divmod(nanoseconds, 1_000_000_000)
    try:
        local = datetime.fromtimestamp(seconds, UTC).astimezone()
    except (OverflowError, ValueError, OSError):  # a capture may claim any time
        return f"@{seconds}.{left // 1000:06}"
    return f"{local:{'%Y-%m-%d ' if dated else ''}%H:%M:%S}.{left // 1000:06}"
