"""What captures hold, to sockmon, is what tshark said of them; `make oracle` asks it again."""

from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.oracle.reading import by_sockmon, kept

KEPT = REPOSITORY / "tests" / "recorded" / "traces"
CAPTURES = sorted(KEPT.glob("*.pcap*"))


@pytest.mark.parametrize("file", CAPTURES, ids=lambda file: file.name)
def test_a_capture_is_the_same_to_tshark(file: Path) -> None:
    theirs, ours = kept(file.with_suffix(".json")), by_sockmon(file)
    assert ours.segments == theirs.segments
    assert ours.connections == theirs.connections


def test_captures_are_kept() -> None:
    assert {file.suffix for file in CAPTURES} == {".pcap", ".pcapng"}
