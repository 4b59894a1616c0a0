"""Durations as Prometheus writes them: 500ms, 5s, 10m, 1h, 1h30m."""

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic_core.core_schema import CoreSchema

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_WHOLE = re.compile(r"(?:\d+d)?(?:\d+h)?(?:\d+m(?!s))?(?:\d+s)?(?:\d+ms)?", re.ASCII)
_ITEM = re.compile(r"(\d+)(ms|[smhd])")


def parse_duration(text: object) -> float:
    """Return seconds; raises ValueError."""
    if not isinstance(text, str) or not text or len(text) > 32 or not _WHOLE.fullmatch(text):
        raise ValueError("expected a duration such as 5s, 10m or 1h")
    return sum(int(number) * _UNITS[unit] for number, unit in _ITEM.findall(text))


def format_duration(seconds: float) -> str:
    """Return the shortest such text; whole milliseconds."""
    left = round(seconds * 1000)
    text = ""
    for unit, milliseconds in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        count, left = divmod(left, milliseconds)
        text += f"{count}{unit}" if count else ""
    return text + (f"{left}ms" if left or not text else "")


def roughly(seconds: float) -> str:
    """Return it as people say it: two units at most, and from ten of the larger on only that.

    5s, 1m30s, 33m, 2h5m, 16h, 3d4h.
    """
    whole = max(0, round(seconds))
    for unit, smaller in ((86_400, 3600), (3600, 60), (60, 1)):
        if whole >= unit:
            step = unit if whole >= 10 * unit else smaller
            return format_duration(round(whole / step) * step)
    return f"{whole}s"


def precisely(nanoseconds: int) -> str:
    """Return a short time in the unit that suits it: 13 us, 40.9 ms, 1.01 s, then as roughly()."""
    if nanoseconds < 1_000_000:
        return f"{nanoseconds / 1e3:.0f} us"
    if nanoseconds < 999_950_000:
        return f"{nanoseconds / 1e6:.1f} ms"
    if nanoseconds < 60_000_000_000:
        return f"{nanoseconds / 1e9:.3g} s"
    return roughly(nanoseconds / 1e9)


class DurationField:
    """Marks a float of seconds that the configuration writes as a duration."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> "CoreSchema":
        """Parse first, then check bounds (pydantic's protocol)."""
        from pydantic_core import core_schema  # noqa: PLC0415 - only a loaded file needs it

        return core_schema.no_info_before_validator_function(parse_duration, handler(source))
