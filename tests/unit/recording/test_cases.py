"""The recordings of the cases of the diagnosis: what was right once stays right."""

from pathlib import Path

import pytest

from sockmon.detect.evidence_names import named
from sockmon.detect.registry import BY_NAME
from tests.recorded import CASES
from tests.recorded.said import diagnosed, kept, said

#: Evidence that is called as the kernel calls it, in every language.
SYSCTLS = {"somaxconn"}
RECORDINGS = sorted(CASES.glob("*.rec"))


@pytest.mark.parametrize("path", RECORDINGS, ids=[path.stem for path in RECORDINGS])
def test_doctor_says_of_a_recording_what_it_said_before(path: Path) -> None:
    """After a wanted change: `python -m tests.recorded.said`, then read the difference."""
    its = diagnosed(path)
    assert list(said(path, its)) == kept()[path.stem]
    names = {name for finding in its.findings for name in finding.evidence} - SYSCTLS
    assert [name for name in names if named(name).zh == named(name)] == []


def test_each_detector_has_a_recording_that_it_judges() -> None:
    found = {line.split()[1].rstrip(",") for lines in kept().values() for line in lines[3:]}
    assert found == set(BY_NAME)
    assert any(lines[0].endswith(": OK") for lines in kept().values()), (
        "and what only looks like it"
    )


def test_they_are_small() -> None:
    sizes = {path.stem: path.stat().st_size for path in RECORDINGS}
    assert max(sizes.values()) < 40_000
    assert sum(sizes.values()) < 250_000
