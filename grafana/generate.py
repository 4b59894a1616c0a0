"""Write the dashboards' JSON: `python -m grafana.generate`; `--check` only says if it is current.

Exit status: 0; with --check 1 when a file differs from what would be written.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana.close_wait import close_wait
from grafana.fleet import fleet
from grafana.health import health
from grafana.host import host

DIRECTORY = Path(__file__).parent / "dashboards"


def rendered() -> Mapping[str, str]:
    """Return each file's name and text."""
    boards = (fleet(), host(), close_wait(), health())
    return {
        f"{board.uid}.json": json.dumps(board, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"
        for board in boards
    }


def stale(directory: Path) -> list[str]:
    """Name the files that are not as they should be, and those that should not be there."""
    wanted = rendered()
    present = {path.name: path.read_text() for path in directory.glob("*.json")}
    return sorted(
        name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name)
    )


def main() -> None:
    """Write, or check."""
    parser = argparse.ArgumentParser(description="Write the dashboards' JSON.")
    parser.add_argument("--check", action="store_true", help="only say whether it is current")
    if parser.parse_args().check:
        names = stale(DIRECTORY)
        if names:
            parser.exit(1, f"not current: {', '.join(names)}; run python -m grafana.generate\n")
        return
    DIRECTORY.mkdir(exist_ok=True)
    for name, text in rendered().items():
        (DIRECTORY / name).write_text(text)


if __name__ == "__main__":
    main()
