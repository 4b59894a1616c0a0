"""What became of a connection, by its segments: each rule of the tracker, and each way to end."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sockmon.kernel.packets.capture import Capture
from sockmon.kernel.packets.headers import RAW
from sockmon.model.segments import ACK, FIN, SYN, Segment
from sockmon.model.states import TcpState
from sockmon.trace.connection import MOST_STEPS, Connection
from sockmon.trace.report import Report
from sockmon.trace.session import Choice, Session
from sockmon.trace.tracker import Tracker
from sockmon.trace.transitions import TRANSITIONS, Event
from sockmon.trace.verdict import Verdict, judge
from tests.unit.trace.making import (
    CLIENT,
    MICROSECOND,
    MILLISECOND,
    SECOND,
    SERVER,
    START,
    Chunks,
    Talk,
    end,
    ip_packet,
    pcap,
    track,
)


def only(*segments: Segment) -> tuple[Connection, Verdict]:
    (connection,) = track(*segments)
    return connection, judge(connection)


def closing(talk: Talk, first: str = "c", wait: int = 13 * MICROSECOND) -> list[Segment]:
    """Three segments."""
    second = "s" if first == "c" else "c"
    return [talk.say(first, "F."), talk.say(second, "F.", after=wait), talk.say(first, ".")]


@pytest.mark.parametrize(("first", "name"), [("c", "client"), ("s", "server")])
def test_three_segments(first: str, name: str) -> None:
    talk = Talk()
    connection, verdict = only(*talk.handshake(), talk.say("c", "P.", 21), *closing(talk, first))
    assert (verdict.how, verdict.first, verdict.segments) == ("closed", name, 3)
    assert verdict.close_delay == 13 * MICROSECOND
    assert verdict.ack_delay is None
    assert verdict.sent == (21, 0)
    assert verdict.conn_state == "SF"
    states = [end.state for end in connection.ends]
    assert states[first == "s"] is TcpState.TIME_WAIT
    assert states[first == "c"] is TcpState.CLOSE


def test_four_segments() -> None:
    talk = Talk()
    connection, verdict = only(
        *talk.handshake(),
        talk.say("c", "P.", 21),
        talk.say("c", "F."),
        talk.say("s", ".", after=41 * MILLISECOND),
        talk.say("s", "F.", after=959 * MILLISECOND),
        talk.say("c", "."),
    )
    assert (verdict.how, verdict.first, verdict.segments) == ("closed", "client", 4)
    assert verdict.ack_delay == 41 * MILLISECOND
    assert verdict.close_delay == SECOND
    assert connection.history == "ShADFaf"
    assert [step.kind for step in connection.steps] == [
        *("SYN", "SYN ACK", "ACK", "data"),
        *("FIN", "ACK", "FIN", "ACK"),
    ]
    assert [step.states for step in connection.steps[4:]] == [
        [TcpState.FIN_WAIT1, TcpState.CLOSE_WAIT],
        [TcpState.FIN_WAIT2, TcpState.CLOSE_WAIT],
        [TcpState.TIME_WAIT, TcpState.LAST_ACK],
        [TcpState.TIME_WAIT, TcpState.CLOSE],
    ]


def test_a_half_close_with_data_seen_and_by_the_numbers_alone() -> None:
    talk = Talk()
    seen = [
        *talk.handshake(),
        talk.say("c", "P.", 5),
        talk.say("c", "F."),
        talk.say("s", "P.", 3000, after=2 * MILLISECOND),
        talk.say("s", "P.", 500, after=2 * MILLISECOND),
        talk.say("c", "."),
        talk.say("s", "F.", after=700 * MILLISECOND),
        talk.say("c", "."),
    ]
    for segments in (seen, [s for s in seen if not s.payload]):
        connection, verdict = only(*segments)
        assert (verdict.how, verdict.first, verdict.segments) == ("closed", "client", 4)
        assert verdict.late_bytes == 3500
        assert verdict.sent == (5, 3500)
        data = [(step.end, step.size) for step in connection.steps if step.kind == "data"]
        assert data == [(0, 5), (1, 3500)]


def test_what_is_under_way_when_the_first_fin_is_sent_is_no_half_close() -> None:
    talk = Talk()
    handshake = talk.handshake()
    answer = talk.unheard("s", "P.", 100)
    fin = talk.say("c", "F.")
    talk.hear(0)
    _, verdict = only(
        *handshake, answer, fin, talk.say("c", "."), talk.say("s", "F."), talk.say("c", ".")
    )
    assert verdict.late_bytes == 0
    assert verdict.segments == 3


def test_fins_that_cross_take_back_that_the_first_had_arrived() -> None:
    talk = Talk()
    handshake = talk.handshake()
    fins = [talk.unheard("c", "F."), talk.unheard("s", "F.")]
    talk.hear(0)
    talk.hear(1)
    connection, verdict = only(*handshake, *fins, talk.say("c", "."), talk.say("s", "."))
    assert (verdict.how, verdict.first, verdict.segments) == ("closed", "both", 4)
    assert [step.states for step in connection.steps[3:]] == [
        [TcpState.FIN_WAIT1, TcpState.ESTABLISHED],
        [TcpState.CLOSING, TcpState.FIN_WAIT1],
        [TcpState.CLOSING, TcpState.TIME_WAIT],
        [TcpState.TIME_WAIT, TcpState.TIME_WAIT],
    ]


def test_a_fin_sent_again_is_no_second_event() -> None:
    talk = Talk()
    handshake = talk.handshake()
    fin = talk.say("c", "F.")
    again = fin._replace(time=fin.time + 200 * MILLISECOND)
    talk.now = again.time
    connection, verdict = only(*handshake, fin, again, talk.say("s", "F."), talk.say("c", "."))
    assert (verdict.first, verdict.segments) == ("client", 3)
    assert connection.ends[0].fins == 2
    assert connection.history == "ShAFf"
    assert [step.note for step in connection.steps if step.kind == "FIN"] == [
        *("", "again", "acknowledges")
    ]


def test_a_simultaneous_open() -> None:
    talk = Talk()
    segments = [talk.unheard("c", "S"), talk.unheard("s", "S")]
    talk.hear(0)
    talk.hear(1)
    talk.next = [number - 1 for number in talk.next]
    segments += [talk.unheard("c", "S."), talk.unheard("s", "S.")]
    segments += [talk.say("c", "."), talk.say("s", ".")]
    connection, verdict = only(*segments)
    assert [end.state for end in connection.ends] == [TcpState.ESTABLISHED] * 2
    assert verdict.how == "open"
    assert connection.steps[1].states == [TcpState.SYN_RECV, TcpState.SYN_SENT]


def test_refused() -> None:
    talk = Talk()
    _, verdict = only(talk.say("c", "S"), talk.say("s", "R."))
    assert (verdict.how, verdict.conn_state, verdict.rst_by) == ("refused", "REJ", "server")


@pytest.mark.parametrize("flags", ["R.", "R"])
@pytest.mark.parametrize(
    ("side", "name", "state"), [("c", "client", "RSTO"), ("s", "server", "RSTR")]
)
def test_reset(side: str, name: str, state: str, flags: str) -> None:
    talk = Talk()
    connection, verdict = only(
        *talk.handshake(), talk.say("c", "P.", 21), talk.say("s", "."), talk.say(side, flags)
    )
    assert (verdict.how, verdict.rst_by, verdict.conn_state) == ("reset", name, state)
    assert verdict.rst_has_ack == (flags == "R.")
    assert [end.state for end in connection.ends] == [TcpState.CLOSE] * 2


def test_a_reset_says_how_much_was_sent_though_no_data_was_captured() -> None:
    talk = Talk()
    handshake = talk.handshake()
    talk.say("c", "P.", 21)
    _, verdict = only(*handshake, talk.say("s", "R."))
    assert verdict.sent == (21, 0)


def test_the_first_reset_decides_and_after_both_fins_none_does() -> None:
    talk = Talk()
    first = [*talk.handshake(), talk.say("c", "F."), talk.say("s", "R."), talk.say("c", "R")]
    assert only(*first)[1].rst_by == "server"
    talk = Talk()
    late = [*talk.handshake(), talk.say("c", "F."), talk.say("s", "F."), talk.say("c", "R")]
    connection, verdict = only(*late)
    assert verdict.rst_by is None
    assert verdict.conn_state == "SF"
    assert connection.history.endswith("R")


def test_a_connect_that_nobody_answers() -> None:
    talk = Talk()
    first = talk.say("c", "S")
    syns = [first._replace(time=first.time + wait * SECOND) for wait in (0, 1, 3)]
    connection, verdict = only(*syns)
    assert (verdict.how, verdict.conn_state) == ("no_answer", "S0")
    assert connection.ends[0].syns == 3
    assert verdict.lasted == 3 * SECOND


def test_no_answer_is_reported_when_the_next_syn_is_overdue_and_not_before() -> None:
    talk = Talk()
    first = talk.say("c", "S")
    tracker = Tracker()
    for wait, next_wait in ((0, 1), (1, 3), (3, 7), (7, 15)):
        tracker.take([first._replace(time=first.time + wait * SECOND)])
        assert tracker.due(first.time + next_wait * SECOND) == []
    (connection,) = tracker.due(first.time + 30 * SECOND)
    assert connection.ends[0].syns == 4
    assert tracker.due(first.time + 90 * SECOND) == []
    tracker.take([first._replace(time=first.time + 31 * SECOND)])  # it goes on all the same
    assert connection.ends[0].syns == 5


def test_a_handshake_that_is_never_completed() -> None:
    talk = Talk()
    answer = [talk.say("c", "S"), talk.say("s", "S.")]
    again = answer[1]._replace(time=answer[1].time + SECOND)
    connection, verdict = only(*answer, again)
    assert verdict.how == "no_ack"
    assert connection.ends[1].syns == 2


def test_an_end_that_has_not_closed_is_reported_while_it_lasts() -> None:
    talk = Talk()
    tracker = Tracker()
    segments = [*talk.handshake(), talk.say("c", "F."), talk.say("s", ".")]
    assert tracker.take(segments) == []
    fin = segments[3].time
    reports = [
        second for second in range(90) for _ in tracker.due(fin + second * SECOND + MILLISECOND)
    ]
    assert reports == [1, 10, 60]
    (connection,) = tracker.take([talk.say("s", "F."), talk.say("c", ".")])
    assert judge(connection).segments == 4
    assert tracker.due(fin + 1000 * SECOND) == []


def test_another_syn_on_the_same_ports_is_another_connection() -> None:
    old, new = Talk(), Talk(client=77, now=START + SECOND)
    segments = [*old.handshake(), *closing(old), *new.handshake(), *closing(new, "s")]
    assert [judge(c).first for c in track(*segments)] == ["client", "server"]
    unfinished = [*Talk().handshake(), *Talk(client=77).handshake()]
    assert [judge(c).how for c in track(*unfinished)] == ["open", "open"]


def test_a_syn_sent_again_is_the_same_connection() -> None:
    talk = Talk()
    first = talk.say("c", "S")
    again = first._replace(time=first.time + MILLISECOND)
    talk.now = again.time
    connection, verdict = only(first, again, talk.say("s", "S."), talk.say("c", "."))
    assert verdict.how == "open"
    assert connection.ends[0].syns == 2
    assert verdict.round_trips[1] is None  # which of the two was answered is not known


def test_sequence_numbers_that_wrap() -> None:
    talk = Talk(client=0xFFFFFFF0, server=0xFFFFFFFF)
    _, verdict = only(
        *talk.handshake(),
        talk.say("c", "P.", 100),
        talk.say("s", "P.", 5000),
        talk.say("c", "."),
        *closing(talk),
    )
    assert verdict.sent == (100, 5000)
    assert verdict.segments == 3


def test_more_than_four_gigabytes_are_counted() -> None:
    talk = Talk()
    segments = talk.handshake()
    for _ in range(10):
        segments += [talk.say("c", "P.", 1 << 29), talk.say("s", ".")]
    _, verdict = only(*segments, *closing(talk))
    assert verdict.sent == (10 << 29, 0)


def test_fast_open_sends_data_with_the_syn() -> None:
    talk = Talk()
    connection, verdict = only(
        talk.say("c", "S", 40), talk.say("s", "S."), talk.say("c", "."), *closing(talk)
    )
    assert verdict.sent == (40, 0)
    assert [(s.kind, s.size) for s in connection.steps][:2] == [("SYN", 40), ("SYN ACK", 0)]


def test_a_capture_that_begins_in_the_middle_guesses_the_client_by_its_port() -> None:
    talk = Talk()
    talk.handshake()
    connection, verdict = only(talk.say("s", "P.", 10), talk.say("c", "P.", 5), *closing(talk))
    assert connection.names == (CLIENT, SERVER)
    assert connection.opened_by == "ports"
    assert (verdict.how, verdict.first) == ("closed", "client")
    assert connection.zeek_history.startswith("^d")


def test_a_capture_that_begins_with_the_answer_knows_the_client() -> None:
    talk = Talk(ends=(SERVER, CLIENT))  # the server has the higher port
    connection, verdict = only(*talk.handshake()[1:], *closing(talk))
    assert connection.names == (SERVER, CLIENT)
    assert connection.opened_by == "SYN ACK"
    assert verdict.first == "client"


def test_a_packet_seen_on_two_devices_counts_once() -> None:
    talk = Talk()
    segments = [*talk.handshake(), talk.say("c", "P.", 9), *closing(talk)]
    doubled = [s for one in segments for s in (one, one._replace(device=7, time=one.time + 1))]
    tracker = Tracker()
    (connection,) = track(*doubled, tracker=tracker)
    assert connection.steps == track(*segments)[0].steps
    assert (tracker.seen, tracker.repeated) == (2 * len(segments), len(segments))


def test_a_path_that_changes_is_followed() -> None:
    talk = Talk()
    before = [*talk.handshake(), talk.say("c", "P.", 9), talk.say("s", ".")]
    after = [s._replace(device=7) for s in (talk.say("c", "P.", 5), *closing(talk))]
    tracker = Tracker()
    (connection,) = track(*before, *after, tracker=tracker)
    verdict = judge(connection)
    assert (verdict.how, verdict.segments, verdict.sent) == ("closed", 3, (14, 0))
    assert tracker.repeated == 0


def test_a_copy_on_one_device_is_no_retransmission() -> None:
    """Mirror ports, and captures of all devices in a format that does not name them."""
    talk = Talk()
    segments = [*talk.handshake(), talk.say("c", "P.", 9), *closing(talk)]
    doubled = [s for one in segments for s in (one, one._replace(time=one.time + 1))]
    (connection,) = track(*doubled)
    assert connection.steps == track(*segments)[0].steps
    assert [end.syns + end.fins for end in connection.ends] == [2, 2]


def test_a_reset_in_place_of_the_last_ack_ends_it() -> None:
    talk = Talk()
    segments = [*talk.handshake(), talk.say("c", "F."), talk.say("s", ".")]
    segments += [talk.say("s", "F.", after=70 * SECOND), talk.say("c", "R")]
    tracker = Tracker()
    (connection,) = tracker.take(segments)
    verdict = judge(connection)
    assert (verdict.how, verdict.first, verdict.segments) == ("closed", "client", 4)
    assert (verdict.rst_by, connection.late_rst_by) == (None, 0)
    assert [end.state for end in connection.ends] == [TcpState.CLOSE] * 2
    assert tracker.open == 0


def test_a_last_ack_that_does_not_come_is_reported_while_it_lasts() -> None:
    talk = Talk()
    tracker = Tracker()
    assert tracker.take([*talk.handshake(), talk.say("c", "F."), talk.say("s", "F.")]) == []
    reports = [n for n in range(90) for _ in tracker.due(talk.now + n * SECOND + MILLISECOND)]
    assert reports == [1, 10, 60]


def test_a_syn_ack_that_nobody_answers_is_reported_when_the_next_is_overdue() -> None:
    talk = Talk()
    tracker = Tracker()
    answer = [talk.say("c", "S"), talk.say("s", "S.")]
    tracker.take(answer)
    assert tracker.due(talk.now + SECOND) == []
    tracker.take([answer[1]._replace(time=talk.now + SECOND)])
    assert tracker.due(talk.now + 3 * SECOND) == []
    (connection,) = tracker.due(talk.now + 4 * SECOND)
    assert judge(connection).how == "no_ack"
    assert tracker.due(talk.now + 60 * SECOND) == []


def test_of_one_direction_alone_nothing_is_said_of_the_other_end() -> None:
    talk = Talk()
    talk_segments = [*talk.handshake(), talk.say("c", "P.", 9), talk.say("s", "P.", 50)]
    talk_segments += closing(talk)
    connection, verdict = only(*(s for s in talk_segments if s.source == CLIENT))
    assert (verdict.how, verdict.first, connection.unseen) == ("half_closed", "client", 1)
    connection, verdict = only(*(s for s in talk_segments[:5] if s.source == CLIENT))
    assert (verdict.how, connection.unseen) == ("open", 1)
    connection, verdict = only(*(s for s in talk_segments if s.source == SERVER))
    assert (verdict.how, verdict.first, connection.unseen) == ("half_closed", "server", 0)
    connection, verdict = only(*(s for s in talk_segments[:5] if s.source == SERVER))
    assert (verdict.how, connection.unseen) == ("open", 0)


def test_a_known_server_is_no_guess() -> None:
    low, high = end("10.0.0.1", 20000), end("10.0.0.2", 50051)
    seen = Talk(ends=(end("10.0.0.9", 60000), high))
    talk = Talk(ends=(low, high))
    talk.handshake()
    connections = track(*seen.handshake(), *closing(talk))
    assert [one.names[1] for one in connections] == [high, high]
    assert {one.opened_by for one in connections} == {"SYN", "listener"}
    (by_port,) = track(*closing(Talk(ends=(low, high))), tracker=Tracker(ports=frozenset({50051})))
    assert (by_port.names, by_port.opened_by) == ((low, high), "listener")


def test_an_ack_of_another_connection_does_not_count_as_sent() -> None:
    """RFC 5961: a host that still has the old connection answers the SYN by its own numbers."""
    talk = Talk()
    syn = talk.say("c", "S")
    challenge = talk.say("s", ".")._replace(ack=123_456_789)
    connection, verdict = only(syn, challenge, talk.say("c", "R"))
    assert connection.challenged
    assert (verdict.how, verdict.sent, verdict.conn_state) == ("reset", (0, 0), "RSTOS0")


def test_probes_without_an_answer_are_counted() -> None:
    talk = Talk()
    segments = [*talk.handshake(), talk.say("c", "P.", 5), talk.say("s", ".")]
    probe = talk.say("c", ".", after=SECOND)._replace(seq=talk.next[0] - 1)
    segments += [probe, talk.say("s", ".")]
    segments += [probe._replace(time=talk.now + n * SECOND) for n in range(1, 4)]
    connection, verdict = only(*segments, talk.say("c", "R.", after=9 * SECOND))
    assert connection.ends[0].probes == 3
    assert verdict.sent == (5, 0)


def test_the_oldest_give_way_and_are_counted() -> None:
    tracker = Tracker(limit=3)
    segments = []
    for number in range(5):
        talk = Talk(ends=(CLIENT[:16] + bytes([200, number]), SERVER), now=START + number * SECOND)
        segments += talk.handshake()
    over = tracker.take(segments)
    assert len(over) == tracker.forgotten == 2
    assert tracker.open == 3
    assert len(tracker.finish()) == 3


def test_delays_are_without_the_round_trip_to_a_remote_end() -> None:
    talk = Talk()
    away = 80 * MILLISECOND
    _, verdict = only(
        talk.say("c", "S"),
        talk.say("s", "S.", after=away),
        talk.say("c", "."),
        talk.say("c", "F."),
        talk.say("s", "F.", after=away + 5 * MILLISECOND),
        talk.say("c", "."),
    )
    assert verdict.close_delay == 5 * MILLISECOND
    assert verdict.connect == away


def test_only_connections_just_established_are_noted() -> None:
    tracker = Tracker(opens=True)
    talk = Talk()
    tracker.take(talk.handshake())
    tracker.take([talk.say("c", "P.", 1), talk.say("s", ".")])
    assert len(tracker.opened) == 1


def test_of_openings_nothing_more_is_said() -> None:
    report = Report(part="opens")
    session = Session(report, Choice(), opens=True)
    talk = Talk()
    segments = [*talk.handshake(), talk.say("c", "F."), talk.say("s", ".")]
    capture = pcap([(s.time, ip_packet(s)) for s in segments], RAW, nanoseconds=True)
    (packets,) = Capture(Chunks(capture, 1 << 20)).packets()
    assert "established in 20 us" in "\n".join(session.take(packets))
    assert list(session.due(segments[-1].time + 90 * SECOND)) == []
    assert list(session.finish(0)) == ["1 connection, 5 segments; 0 packets dropped"]
    assert report.shown == 1


def test_steps_are_bounded() -> None:
    talk = Talk()
    segments = [*talk.handshake(), talk.say("c", "F.")]
    fin = segments[-1]
    again = (fin._replace(time=fin.time + (n + 1) * SECOND) for n in range(200))
    connection, _ = only(*segments, *again)
    assert len(connection.steps) == MOST_STEPS
    assert connection.omitted == 204 - MOST_STEPS


def test_no_state_but_by_the_table_of_transitions() -> None:
    reached = {TcpState.CLOSE} | {TRANSITIONS[key] for key in TRANSITIONS}
    assert reached == set(TcpState) - {TcpState.LISTEN}
    assert {event for _, event in TRANSITIONS} == set(Event)


_SEGMENTS: Callable[..., st.SearchStrategy[Segment]] = st.builds
segments = _SEGMENTS(
    Segment,
    time=st.integers(0, 10**9),
    device=st.integers(0, 1),
    source=st.sampled_from([CLIENT, SERVER]),
    destination=st.sampled_from([CLIENT, SERVER]),
    flags=st.integers(0, 255) | st.sampled_from([SYN, SYN | ACK, ACK, FIN | ACK]),
    seq=st.integers(0, 5) | st.integers(0xFFFFFFFC, 0xFFFFFFFF),
    ack=st.integers(0, 5) | st.integers(0xFFFFFFFC, 0xFFFFFFFF),
    payload=st.integers(0, 3),
    window=st.just(0),
)


@settings(max_examples=2 * settings().max_examples)
@given(st.lists(segments, max_size=40))
def test_any_segments_have_a_verdict(sent: list[Segment]) -> None:
    tracker = Tracker(limit=1)
    connections = [*tracker.take(sent), *tracker.due(10**12), *tracker.finish()]
    assert tracker.seen == len(sent)
    for connection in connections:
        verdict = judge(connection)
        assert verdict.lasted or connection.segments
        assert all(end.sent >= end.in_steps >= 0 for end in connection.ends)
        assert (verdict.segments is not None) == all(end.fin is not None for end in connection.ends)


@given(st.data())
def test_a_segment_more_of_the_same_kind_changes_no_verdict(data: st.DataObject) -> None:
    """Retransmissions and duplicates: each segment may be seen again later."""
    talk = Talk()
    sent = [*talk.handshake(), talk.say("c", "P.", 21), *closing(talk)]
    again = data.draw(st.integers(0, len(sent) - 2))
    at = data.draw(st.integers(again + 1, len(sent) - 1))
    doubled = [*sent[:at], sent[again], *sent[at:]]
    before, after = only(*sent)[1], only(*doubled)[1]
    assert (before.how, before.first, before.segments, before.sent) == (
        *(after.how, after.first, after.segments),
        after.sent,
    )
