"""What was counted in the last five minutes is what was counted, and no more."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sockmon.model.connection_events import (
    BUCKET_SECONDS,
    BURST_SECONDS,
    COLUMNS,
    WINDOW_SECONDS,
    Endings,
    column,
)
from sockmon.model.names import OTHER
from sockmon.poll.event_window import SLOTS, EventWindow

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


Columns = NDArray[np.int64]


def opened(number: int) -> Columns:
    columns = np.zeros(COLUMNS, np.int64)
    columns[0] = number
    return columns


def ended(**numbers: int) -> Columns:
    columns = np.zeros(COLUMNS, np.int64)
    for name, number in numbers.items():
        columns[column(name)] = number
    return columns


@given(POLLS)
def test_the_sum_is_that_of_the_polls_in_the_window(
    polls: list[tuple[float, list[tuple[str, str, int | None, int]]]],
) -> None:
    window, now = EventWindow(), 0.0
    window.follow(["host", "pod"], now)
    history = []
    for pause, rows in polls:
        now += pause
        window.add(((*row[:3], opened(row[3])) for row in rows), now)  # type: ignore[misc]
        history.append((now, rows))
        recent = window.recent("host", now)
        assert recent is not None
        for within, compare in ((WINDOW_SECONDS - 10, "least"), (WINDOW_SECONDS + 10, "most")):
            total = sum(
                number
                for at, its in history
                for netns, _, port, number in its
                if now - at <= within and netns == "host" and port is not None
            )
            got = sum(counts.opened for counts in recent.ports.values())
            assert got >= total if compare == "least" else got <= total
        assert all(counts.opened for counts in recent.ports.values())
        assert recent.seconds == min(now, WINDOW_SECONDS)


def test_a_hundred_thousand_ports_cost_bounded_memory() -> None:
    window = EventWindow()
    window.follow(["host", "pod"], 0.0)
    window.add([("pod", "inbound", 80, opened(5_000_000))], 1.0)
    for first in range(1, 60000, 2000):
        ports = range(first, first + 2000)
        window.add((("host", "outbound", port, opened(port)) for port in ports), 1.0 + first)
    host, pod = window.recent("host", 1e5), window.recent("pod", 1e5)
    assert host is not None
    assert pod is not None
    assert SLOTS // 2 < len(host.ports) < SLOTS
    assert ("outbound", 60000) in host.ports
    assert not pod.ports, "it was long ago"


def test_the_busiest_ports_stay() -> None:
    window = EventWindow()
    window.follow(["host"], 0.0)
    window.add((("host", "outbound", port, opened(port)) for port in range(1, 5000)), 1.0)
    recent = window.recent("host", 2.0)
    assert recent is not None
    assert all(its.opened == port for (_, port), its in recent.ports.items())
    assert ("outbound", 4999) in recent.ports
    assert ("outbound", 1) not in recent.ports


def test_a_namespace_that_is_not_followed_is_not_judged() -> None:
    window = EventWindow()
    window.add([("pod", "inbound", 80, opened(1))], 1.0)
    assert window.recent("pod", 2.0) is None
    window.follow(["pod"], 5.0)
    window.add([("pod", "inbound", 80, opened(2))], 6.0)
    recent = window.recent("pod", 10.0)
    assert recent is not None
    assert (recent.seconds, recent.ports[("inbound", 80)].opened) == (5.0, 2)
    window.follow([], 11.0)
    assert window.recent("pod", 11.0) is None
    window.follow(["pod"], 12.0)
    again = window.recent("pod", 12.0)
    assert again is not None
    assert not again.ports, "it is another one"


def test_how_connections_ended_lately_and_before() -> None:
    window, before = EventWindow(), BURST_SECONDS + BUCKET_SECONDS
    window.follow(["host"], 0.0)
    window.add(
        [
            ("host", "inbound", 80, ended(closed_here=30, closed_there=9, aborted_here=1)),
            ("host", "outbound", 80, ended(closed_here=50, aborted_here=50)),
        ],
        1.0,
    )
    first = window.recent("host", 2.0)
    assert first is not None
    assert first.endings == {("inbound", 80): Endings(40, 1, 0, 0)}, "clients may abort"
    window.add((), before)
    window.add(
        [
            ("host", "inbound", 80, ended(closed_both=1, aborted_here=20, aborted_there=3)),
            ("host", "outbound", 80, ended(aborted_there=7, aborted_timeout=2)),
        ],
        before + 1,
    )
    recent = window.recent("host", before + 2)
    assert recent is not None
    inbound, outbound = recent.endings["inbound", 80], recent.endings["outbound", 80]
    assert (inbound.ended, inbound.reset) == (24, 20)
    assert (outbound.ended, outbound.reset, outbound.reset_before) == (9, 7, 0)
    assert recent.last_opened == dict.fromkeys(recent.ports, -np.inf)
    assert 38 < inbound.ended_before <= 40
    assert 0.9 < inbound.reset_before <= 1


def test_when_something_opened_or_failed_last() -> None:
    window = EventWindow()
    window.follow(["host"], 0.0)
    window.add([("host", "outbound", 80, opened(1))], 1.0)
    window.add([("host", "outbound", 80, ended(failed_abandoned=1))], 2.0)
    window.add([("host", "outbound", 80, ended(closed_here=1))], 3.0)
    recent = window.recent("host", 4.0)
    assert recent is not None
    assert (recent.last_opened, recent.last_failed) == (
        {("outbound", 80): 1.0},
        {("outbound", 80): 2.0},
    )
