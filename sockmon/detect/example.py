"""The detectors' part of the example configuration: each key with its default and a comment, pure.

What is shown is what the registry has: names, thresholds, and what their declarations say of them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any, get_type_hints

from sockmon.detect.detector import Detector
from sockmon.detect.registry import ALL
from sockmon.durations import DurationField, format_duration


def section(detectors: Iterable[Detector] = ALL) -> str:
    """Return the table `detect` as YAML text."""
    return "".join(f"{line}\n" for line in ("detect:", *_lines(detectors)))


def in_example(text: str, detectors: Iterable[Detector] = ALL) -> str:
    """Return the example configuration with this section in place of its own.

    Raises ValueError where it has none.
    """
    lines = text.splitlines(keepends=True)
    first = lines.index("detect:\n")
    after = next(at for at, line in enumerate(lines) if at > first and not line.startswith(" "))
    return "".join([*lines[:first], section(detectors), *lines[after:]])


def _lines(detectors: Iterable[Detector]) -> Iterator[str]:
    for detector in detectors:
        yield f"  {detector.name}: # {detector.about}"
        kinds = get_type_hints(detector.thresholds, include_extras=True)
        for each in fields(detector.thresholds):
            key, value = each.name.rstrip("_"), _value(each.default, kinds[each.name])
            yield f"    {key}: {value} # {each.metadata['about']}"


def _value(default: Any, kind: Any) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    marks = getattr(kind, "__metadata__", ())  # of Annotated
    is_duration = any(isinstance(mark, DurationField) for mark in marks)
    return _duration(default) if is_duration else str(default)


def _duration(seconds: float) -> str:
    """60 -> 60s, 300 -> 5m: minutes from two on."""
    return f"{seconds:g}s" if seconds < 120 else format_duration(seconds)
