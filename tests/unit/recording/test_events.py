"""What was counted between the polls of a recording is played back as it was."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sockmon.kernel.events import layout
from sockmon.kernel.events.rows import Increments
from sockmon.model.connection_events import COLUMNS
from sockmon.recording.events import RecordedEvents, lines_of

OWN, ANOTHERS = 4026531840, 4026532999
COUNTS = st.lists(st.integers(0, 1 << 60), min_size=COLUMNS, max_size=COLUMNS)
ROWS = st.lists(
    st.tuples(
        st.sampled_from((OWN, ANOTHERS)),
        st.sampled_from((layout.INBOUND, layout.OUTBOUND)),
        st.integers(0, 65535),
        COUNTS,
    )
)


@given(ROWS, st.integers(1, 3))
def test_of_its_own_namespace_all_comes_back_once(
    rows: list[tuple[int, int, int, list[int]]], polls: int
) -> None:
    netns, directions, ports, columns = zip(*rows, strict=True) if rows else ((), (), (), ())
    counted = Increments(
        np.array(netns, np.int64),
        np.array(directions, np.int64),
        np.array(ports, np.int64),
        np.array(columns, np.int64).reshape(-1, COLUMNS),
    )
    recorded = RecordedEvents()
    for _ in range(polls):
        recorded.add(lines_of(counted, OWN))
    read = recorded.read(0.0)
    own = [row[1:] for row in rows if row[0] == OWN] * polls
    found = zip(
        read.direction.tolist(), read.port.tolist(), map(list, read.columns.tolist()), strict=True
    )
    assert list(found) == own
    assert not read.netns.any()
    assert recorded.read(1.0).port.size == 0


def test_what_a_later_version_counts_is_skipped() -> None:
    recorded = RecordedEvents()
    recorded.add([["inbound", 80, {"opened": 3, "teleported": 7, "closed_here": 2}]])
    read = recorded.read(0.0)
    assert int(read.columns.sum()) == 5
