"""Write the section `detect` of config.example.yaml, from the detectors' thresholds.

python docs/generate_example.py           # write it
python docs/generate_example.py --check   # exit 1 if it is not current
"""  # noqa: INP001 - a script by itself, of no package

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

from sockmon.detect.detector import Detector
from sockmon.detect.registry import ALL
from sockmon.durations import DurationField, format_duration

EXAMPLE = Path(__file__).parent.parent / "config.example.yaml"

#: From `detect:` to the next line that is neither indented nor a key.
_SECTION = re.compile(r"^detect:\n(?:  .*\n)*", re.MULTILINE)


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description="Write the section, or check it.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if not current")
    check = parser.parse_args().check
    text = EXAMPLE.read_text()
    new = _SECTION.sub(lambda _: section(ALL), text)
    if not check:
        EXAMPLE.write_text(new)
    elif new != text:
        sys.stderr.write(f"{EXAMPLE} is not current: run {Path(__file__).name}\n")
        return 1
    return 0


def section(detectors: Iterable[Detector]) -> str:
    """Return the section: each detector's thresholds with their defaults and comments."""
    return "".join(["detect:\n", *(line for each in detectors for line in _lines(each))])


def _lines(detector: Detector) -> Iterator[str]:
    yield f"  {detector.name}: # {detector.about}\n"
    hints = get_type_hints(detector.thresholds, include_extras=True)
    for each in fields(detector.thresholds):
        is_duration = any(isinstance(part, DurationField) for part in _metadata(hints[each.name]))
        value = format_duration(each.default) if is_duration else str(each.default).lower()
        yield f"    {each.name.rstrip('_')}: {value} # {each.metadata['about']}\n"


def _metadata(hint: object) -> tuple[object, ...]:
    return getattr(hint, "__metadata__", ())


if __name__ == "__main__":
    sys.exit(main())
