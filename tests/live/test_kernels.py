"""The two oldest kernels that Debian ships, in short: `make kernels` runs all parts on all of them.

Each guest takes some seconds of one core: most of that is Python's start.
"""

import pytest

from tests.kernels.guest import run_pytest

pytestmark = [pytest.mark.root, pytest.mark.kernels]

COUNTS = "agrees_with_ss or ports_are_exhausted or bound_ports_are or drops_are"


@pytest.mark.parametrize("version", ["5.10", "6.1"])
def test_counts_as_ss_does_and_gives_a_verdict(version: str) -> None:
    done = run_pytest(
        version,
        "-q",
        "tests/live/test_counts.py",
        "tests/live/test_setups.py",
        "-k",
        f"{COUNTS} or user_namespace",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout
