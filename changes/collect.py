"""Move the files of this folder into CHANGELOG.md: python changes/collect.py VERSION [DATE]."""  # noqa: INP001 - a script, not a package

import re
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).parent
KINDS = ("added", "changed", "deprecated", "removed", "fixed", "security")


def section(heading: str, fragments: dict[str, str]) -> str:
    """Return the section of a version. fragments: the texts by the names of their files."""
    lines = [f"## {heading}", ""]
    for kind in KINDS:
        texts = [text for name, text in sorted(fragments.items()) if name.endswith(f".{kind}.md")]
        if texts:
            lines += [f"### {kind.capitalize()}", "", *map(item, texts), ""]
    return "\n".join(lines)


def item(text: str) -> str:
    """Return the text as an item of a list, wrapped."""
    words = " ".join(text.split())
    return textwrap.fill(
        words, 100, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False
    )


def collect(changelog: str, version: str, date: str, fragments: dict[str, str]) -> str:
    """Return the changelog with a section for the version.

    A section "Unreleased VERSION" becomes that section and keeps its text.
    """
    heading = f"{version} - {date}"
    if f"## Unreleased {version}\n" in changelog:
        released = changelog.replace(f"## Unreleased {version}\n", f"## {heading}\n")
        added = section(heading, fragments).partition("\n\n")[2]
        return f"{released.rstrip()}\n\n{added}".rstrip() + "\n"
    before, mark, after = changelog.partition("\n## ")
    return f"{before}\n{section(heading, fragments)}{mark}{after}"


def main() -> None:
    """Write CHANGELOG.md and remove the files."""
    version = sys.argv[1] if len(sys.argv) > 1 else ""
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", version):
        sys.exit("usage: make changelog VERSION=1.2.3")
    date = sys.argv[2] if len(sys.argv) > 2 else f"{datetime.now(UTC):%Y-%m-%d}"
    files = [path for path in HERE.glob("*.md") if path.name != "README.md"]
    if unknown := [path.name for path in files if path.name.split(".")[-2] not in KINDS]:
        sys.exit(f"{', '.join(unknown)}: the name must end in .KIND.md; KIND is {', '.join(KINDS)}")
    page = HERE.parent / "CHANGELOG.md"
    fragments = {path.name: path.read_text() for path in files}
    page.write_text(collect(page.read_text(), version, date, fragments))
    for path in files:
        path.unlink()


if __name__ == "__main__":
    main()
