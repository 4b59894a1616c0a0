"""Write metrics.md beside this script, from what sockmon/export/families.py declares.

python docs/generate.py           # write it
python docs/generate.py --check   # exit 1 if it is not current
"""  # noqa: INP001 - a script by itself, of no package

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from sockmon.export.families import ALL, LABELS, PROCESS, TERMS
from sockmon.export.family import Family

PAGE = Path(__file__).with_name("metrics.md")

_ABOUT = """\
# Metrics

Every family on `/metrics`. This page is generated from the code (`make generate`), and a test
compares it with what a daemon answers.

A family without samples is not shown: there is no `sockmon_conntrack_entries` on a host without
connection tracking. What could not be read for three polls is left out too, so that no query takes
an old number for a current one. Counters start at 0 with the daemon, but for those named
`sockmon_tcp_...` and `sockmon_conntrack_...`, which are the kernel's own.

No label value is an address, a cookie, an inode, a PID or a client's own port. The last column says
how many series there are at most.
"""


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description="Write the page of metrics, or check it.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if not current")
    check = parser.parse_args().check
    text = page()
    if not check:
        PAGE.write_text(text)
    elif not PAGE.exists() or PAGE.read_text() != text:
        sys.stderr.write(f"{PAGE} is not current: run {Path(__file__).name}\n")
        return 1
    return 0


def page() -> str:
    """Return the page."""
    return "\n".join(
        [
            _ABOUT,
            *_families("sockmon", ALL),
            *_terms("Series", ("words", "meaning"), TERMS),
            *_terms("Labels", ("label", "meaning and values"), LABELS),
            *_families("The daemon's process", PROCESS),
        ]
    )


def _families(title: str, families: Iterable[Family]) -> Iterator[str]:
    yield f"## {title}\n"
    yield "| family | type | unit | labels | meaning | series |"
    yield "|---|---|---|---|---|---|"
    for family in families:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        cells = (
            f"`{family.published}`", family.kind, family.unit, labels, family.help, family.series,
        )  # fmt: skip
        yield f"| {' | '.join(map(_cell, cells))} |"
    yield ""


def _terms(title: str, heads: tuple[str, str], terms: Mapping[str, str]) -> Iterator[str]:
    yield f"## {title}\n"
    yield f"| {' | '.join(heads)} |"
    yield "|---|---|"
    for term, meaning in terms.items():
        yield f"| `{term}` | {_cell(meaning)} |"
    yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").removesuffix(".")


if __name__ == "__main__":
    sys.exit(main())
