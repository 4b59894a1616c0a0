"""What doctor says of each recording in `cases/`: `python -m tests.recorded.said` writes it anew.

Do so after a wanted change of words or of a diagnosis, and read what `git diff` says.
"""

from collections.abc import Iterator
from pathlib import Path

from sockmon.commands.doctor import doctor
from sockmon.commands.replay_option import config_of, replaying
from sockmon.language import chinese
from tests.recorded import CASES

SAID = CASES / "said.txt"


def diagnosed(path: Path) -> doctor.Diagnosed:
    """What `sockmon doctor --replay` finds."""
    with replaying(path) as playback:
        assert playback is not None
        source, chosen = playback.open_source(lambda: False), config_of(playback, None)
        return doctor.examine(
            source, chosen, playback.clock, playback.pause, pauses=playback.pauses()
        )


def said(path: Path, its: doctor.Diagnosed) -> Iterator[str]:
    """Its status, its first line in both languages, and each finding."""
    verdict = doctor.verdict(its)
    yield f"{path.stem}: {its.status.name}"
    yield f"    {verdict}"
    yield f"    {chinese(verdict)}"
    for finding in its.findings:
        subject = finding.subject
        place = (subject.direction, subject.port, subject.path)
        where = " ".join(str(part) for part in place if part is not None)
        because = f", by {finding.cause.detector}" if finding.cause else ""
        yield f"  {finding.severity} {finding.detector} {where}".rstrip() + because


def kept() -> dict[str, list[str]]:
    """What is kept, by the recording's name."""
    parts: dict[str, list[str]] = {}
    name = ""
    for line in SAID.read_text().splitlines():
        if not line.startswith(" "):
            name = line.partition(":")[0]
        parts.setdefault(name, []).append(line)
    return parts


def main() -> None:
    """Write it."""
    lines = (line for path in sorted(CASES.glob("*.rec")) for line in said(path, diagnosed(path)))
    SAID.write_text("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    main()
