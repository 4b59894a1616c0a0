"""What was counted in the last five minutes is what was counted, and no more."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sockmon.model.connection_events import COLUMNS, WINDOW_SECONDS
from sockmon.model.names import OTHER
from sockmon.poll.event_window import EventWindow

POLLS = st.lists(
    st.tuples(
        st.sampled_from([1.0, 7.0, 15.0, 200.0]),
        st.lists(
            st.tuples(
                st.sampled_from(["host", "pod", OTHER]),
                st.sampled_from(["inbound", "outbound"]),
                st.sampled_from([None, 22, 80]),
                st.integers(1, 5),
            ),
            max_size=5,
        ),
    ),
    max_size=30,
)


def opened(number: int) -> "np.typing.NDArray[np.int64]":
    columns = np.zeros(COLUMNS, np.int64)
    columns[0] = number
    return columns


@given(POLLS)
def test_the_sum_is_that_of_the_polls_in_the_window(
    polls: list[tuple[float, list[tuple[str, str, int | None, int]]]],
) -> None:
    window, now = EventWindow(0.0), 0.0
    history = []
    for pause, rows in polls:
        now += pause
        window.add(((*row[:3], opened(row[3])) for row in rows), now)  # type: ignore[misc]
        history.append((now, rows))
        recent = window.recent("host", now)
        for within, compare in ((WINDOW_SECONDS - 10, "least"), (WINDOW_SECONDS + 10, "most")):
            total = sum(
                number
                for at, its in history
                for netns, _, port, number in its
                if now - at <= within and netns == "host" and port is not None
            )
            got = sum(counts.opened for counts in recent.ports.values())
            assert got >= total if compare == "least" else got <= total
        assert recent.seconds == min(now, WINDOW_SECONDS)


def test_a_thousand_ports_cost_bounded_memory() -> None:
    window = EventWindow(0.0)
    window.add((("host", "outbound", port, opened(port)) for port in range(1, 3000)), 1.0)
    ports = window.recent("host", 1.0).ports
    assert len(ports) <= 512
    assert ("outbound", 2999) in ports, "the busiest stay"
