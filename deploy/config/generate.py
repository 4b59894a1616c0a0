"""Write the detectors' part of config.example.yaml, from what sockmon/detect declares.

python deploy/config/generate.py           # write it
python deploy/config/generate.py --check   # exit 1 if it is not current
"""  # noqa: INP001 - a script by itself, of no package

import argparse
import sys
from pathlib import Path

from sockmon.detect.example import in_example

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description="Write the example's thresholds, or check them.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if not current")
    check = parser.parse_args().check
    written = EXAMPLE.read_text()
    text = in_example(written)
    if not check:
        EXAMPLE.write_text(text)
    elif text != written:
        sys.stderr.write(f"{EXAMPLE} is not current: run {Path(__file__).name}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
