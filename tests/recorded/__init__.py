"""Two recorded kernels (see README.md), each a directory for sockmon.kernel.replay."""

from pathlib import Path

MIXED = Path(__file__).parent / "mixed"
QUIET = Path(__file__).parent / "quiet"
#: Of `sockmon record`, a condition each: see make_cases.py.
CASES = MIXED.with_name("cases")
