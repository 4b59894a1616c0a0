"""Write the rule files beside this script, as `sockmon rules` prints them by default.

python deploy/prometheus/generate.py           # write them
python deploy/prometheus/generate.py --check   # exit 1 if they are not current
"""  # noqa: INP001 - a script by itself, of no package

import argparse
import sys
from pathlib import Path

from sockmon.rules import alerting
from sockmon.settings import Config

RULES = Path(__file__).parent / "rules"


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description="Write the rule files, or check them.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if not current")
    check = parser.parse_args().check
    stale = [path for path, text in _files() if not path.exists() or path.read_text() != text]
    if check:
        for path in stale:
            sys.stderr.write(f"{path} is not current: run {Path(__file__).name}\n")
        return bool(stale)
    RULES.mkdir(exist_ok=True)
    for path, text in _files():
        path.write_text(text)
    return 0


def _files() -> tuple[tuple[Path, str], ...]:
    return (
        (RULES / "sockmon-alerts.yml", alerting.render(Config())),
        (RULES / "sockmon-recording.yml", alerting.render_recording()),
    )


if __name__ == "__main__":
    sys.exit(main())
