"""Datagrams that are dropped, and UDP sockets that nobody reads."""

from dataclasses import replace

from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Subject
from sockmon.model.owner import Process
from sockmon.model.states import TcpState
from sockmon.model.udp import Udp
from tests.unit.detect.builders import (
    NOW,
    Sock,
    advises,
    judge,
    looked_up,
    owned,
    sight,
    table_of,
    value,
)

JUDGE = judge("udp_drops")


def udp(*polls: tuple[float, int, int], port: int = 514) -> DetectorInput:
    """One socket at polls so many seconds ago: (ago, drops so far, bytes unread)."""
    memory, table = Udp(), None
    for ago, drops, unread in polls:
        sock = Sock(
            TcpState.CLOSE, local_port=port, remote_port=0, receive_queue=unread, drops=drops
        )
        table = table_of([sock])
        memory = memory.seen(table, NOW - ago, 300.0)
    return owned(replace(sight([Sock()]), udp=memory, udp_table=table))


def test_drops_in_two_polls_of_the_window() -> None:
    found = JUDGE.one(udp((20, 0, 0), (10, 20, 0), (0, 30, 0)))
    assert (found.severity, found.subject.port) == ("warning", 514)
    assert value(found, "dropped_in_the_window") == 30
    assert JUDGE.severity(udp((20, 0, 0), (10, 900, 0), (0, 1000, 0))) == "critical"


def test_one_burst_or_a_few_are_no_trouble() -> None:
    assert JUDGE.all(udp((20, 0, 0), (10, 500, 0), (0, 500, 0))) == []
    assert JUDGE.all(udp((20, 0, 0), (10, 4, 0), (0, 8, 0))) == []


def test_a_burst_is_no_trouble_once_it_is_over() -> None:
    assert JUDGE.all(udp((30, 0, 0), (20, 500, 0), (10, 900, 0), (0, 900, 0))) == []
    assert JUDGE.severity(udp((80, 0, 0), (70, 90, 0), (10, 99, 0), (0, 99, 0))) == "warning"


def test_what_was_dropped_before_the_first_look_is_old() -> None:
    assert JUDGE.all(udp((20, 5000, 0), (10, 5000, 0), (0, 5000, 0))) == []


def test_a_queue_that_nobody_reads() -> None:
    found = JUDGE.one(udp((20, 7, 900), (0, 7, 900)))
    assert found.subject == Subject("inbound", 514, "shop.service")
    assert found.summary == (
        "shop.service does not read UDP port 514: 900 B wait, and 7 datagrams were dropped"
    )
    assert JUDGE.all(udp((20, 0, 900), (0, 0, 900))) == [], "nothing was dropped"
    assert JUDGE.all(udp((20, 7, 900), (0, 7, 100))) == [], "it was read from"


def test_nothing_is_known_where_udp_could_not_be_read() -> None:
    assert JUDGE.all(replace(udp((20, 7, 900), (0, 7, 900)), udp_table=None)) == []


def test_a_socket_that_was_closed_after_its_drops_is_no_trouble() -> None:
    data = udp((80, 0, 0), (70, 90, 0), (10, 99, 0), (0, 99, 0))
    nothing = table_of([])
    data = replace(data, udp=data.udp.seen(nothing, NOW, 300.0), udp_table=nothing)
    assert JUDGE.all(data) == []


def test_of_two_services_at_one_port_the_one_that_drops_is_named() -> None:
    memory = Udp()
    sound = Sock(TcpState.CLOSE, local_port=514, remote_port=0, local="10.0.0.1", inode=7)
    for ago, drops in ((20, 0), (10, 20), (0, 30)):
        table = table_of([sound, replace(sound, local="10.0.0.2", inode=8, drops=drops)])
        memory = memory.seen(table, NOW - ago, 300.0)
    data = replace(sight([Sock()]), udp=memory, udp_table=table)
    holders = {7: (Process(7, "sound"),), 8: (Process(8, "full"),)}
    found = JUDGE.one(looked_up(data, holders))
    assert found.subject.owner == "full"
    assert found.inodes == (8,)


def test_the_ports_that_drop_most_come_first() -> None:
    memory = Udp()
    for ago, drops in ((20, 0), (10, 20), (0, 30)):
        socks = [
            Sock(TcpState.CLOSE, local_port=port, remote_port=0, drops=drops * times)
            for port, times in ((1000, 1), (2000, 9))
        ]
        memory = memory.seen(table_of(socks), NOW - ago, 300.0)
    data = replace(sight([Sock()]), udp=memory, udp_table=table_of(socks))
    assert [found.subject.port for found in JUDGE.all(data)] == [2000, 1000]


class TestWhatTheNamespaceCounts:
    def udp(self, *polls: tuple[int, int, int], unread: int = 900) -> DetectorInput:
        """A socket at polls ten seconds apart: its drops, and the namespace's own, and reads."""
        memory = Udp()
        for n, (drops, full, read) in enumerate(polls, 1):
            sock = Sock(TcpState.CLOSE, 514, 0, receive_queue=unread, drops=drops)
            counters = {"RcvbufErrors": full, "MemErrors": 0, "InDatagrams": read}
            at = NOW - 10 * (len(polls) - n)
            memory = memory.seen(table_of([sock]), at, 300.0, counters)
        return owned(replace(sight([Sock()]), udp=memory, udp_table=table_of([sock])))

    def test_what_a_filter_drops_is_wanted(self) -> None:
        assert JUDGE.all(self.udp((0, 0, 0), (500, 0, 0), (900, 0, 0))) == []

    def test_drops_of_full_buffers_are_believed_so_far(self) -> None:
        found = JUDGE.one(self.udp((0, 5, 0), (500, 25, 9), (900, 45, 20), unread=0))
        assert value(found, "dropped_in_the_window") == 40

    def test_a_queue_that_is_always_full_may_be_read_too_slowly(self) -> None:
        found = JUDGE.one(self.udp((0, 0, 0), (500, 500, 100), (900, 900, 200)))
        assert "does not read UDP port 514, or too slowly" in found.summary
        assert not advises(found, "restart")
        assert advises(found, "recvmmsg")
        stuck = JUDGE.one(self.udp((0, 0, 7), (500, 500, 7), (900, 900, 7)))
        assert "shop.service does not read UDP port 514: 900 B wait" in stuck.summary
