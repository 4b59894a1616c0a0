"""What is printed of connections: every ending in words, and every form."""

import json
import re

import pytest

from sockmon.model.segments import Segment
from sockmon.trace.connection import Connection
from sockmon.trace.facts import Facts
from sockmon.trace.report import MOST_LADDERS, MOST_LINES, Losses, Report
from sockmon.trace.summary import MOST_PORTS, Summary
from sockmon.trace.tracker import Tracker
from sockmon.trace.verdict import Verdict, judge
from sockmon.trace.words import explanation, headline
from tests.contract import assert_valid
from tests.unit.trace.making import (
    CLIENT,
    MILLISECOND,
    SECOND,
    SERVER,
    START,
    Talk,
    end,
    track,
)


def told(*segments: Segment, facts: Facts | None = None) -> tuple[str, str]:
    """The headline and the sentences of the only connection."""
    (connection,) = track(*segments)
    verdict = judge(connection)
    return headline(connection, verdict), " ".join(
        explanation(connection, verdict, facts or Facts())
    )


def closed(talk: Talk, *, ack: int | None, fin: int, data: int = 0) -> list[Segment]:
    """The client closes first; the server acknowledges after `ack` and closes `fin` later."""
    segments = [*talk.handshake(), talk.say("c", "P.", 21), talk.say("c", "F.")]
    if ack is not None:
        segments.append(talk.say("s", ".", after=ack))
    if data:
        segments.append(talk.say("s", "P.", data))
    return [*segments, talk.say("s", "F.", after=fin), talk.say("c", ".")]


def test_three_segments_in_words() -> None:
    head, text = told(*closed(Talk(), ack=None, fin=13_000))
    assert head == "closed: client first, three segments, 63 us"
    assert text == (
        "The client closed first, and keeps TIME_WAIT for 60 s. Three: the server closed 13 us "
        "after the FIN, while its ACK was still held back (delayed ACK), so both went as one "
        "segment."
    )


def test_an_ack_that_was_never_seen_is_not_called_held_back() -> None:
    _, text = told(*closed(Talk(), ack=None, fin=2 * SECOND))
    assert "it was lost, or not captured." in text
    assert "held" not in text


def test_four_segments_in_words() -> None:
    head, text = told(*closed(Talk(), ack=41 * MILLISECOND, fin=959 * MILLISECOND))
    assert head == "closed: client first, four segments, 1 s"
    assert "application closed 1 s after the FIN" in text
    assert "(delayed ACK), and then acknowledged by itself, after 41.0 ms." in text
    _, quick = told(*closed(Talk(), ack=10_000, fin=SECOND))
    assert "Its kernel had acknowledged the FIN before, after 10 us." in quick
    _, late = told(*closed(Talk(), ack=SECOND, fin=SECOND))
    assert "later than a delayed ACK" in late


def test_a_half_close_in_words() -> None:
    _, text = told(*closed(Talk(), ack=None, fin=MILLISECOND, data=3500))
    assert "A half-close in use: the server sent 3,500 bytes after the client's FIN" in text


def test_crossing_fins_in_words() -> None:
    talk = Talk()
    handshake = talk.handshake()
    fins = [talk.unheard("c", "F."), talk.unheard("s", "F.")]
    talk.hear(0)
    talk.hear(1)
    head, text = told(*handshake, *fins, talk.say("c", "."), talk.say("s", "."))
    assert head.startswith("closed: both at once, four segments")
    assert "neither FIN acknowledges the other" in text


def test_an_end_that_has_not_closed_in_words() -> None:
    segments = closed(Talk(), ack=MILLISECOND, fin=1)[:-2]
    head, text = told(*segments)
    assert head == "half closed by the client for 1.0 ms"
    assert text == "The server's application has not closed. It must call close()."
    facts = Facts(server="python[7]", unread=22, others=11, oldest=130.0)
    assert told(*segments, facts=facts)[1] == (
        "The server's application has not closed (Recv-Q 22: 21 bytes and the FIN are unread). "
        "python[7] must call close(). Others of this port in CLOSE_WAIT: 11, the oldest for 2m10s. "
        "See sockmon doctor."
    )
    assert "it has read to the end of file" in told(*segments, facts=Facts(unread=0))[1]
    assert "it has not read the end of file" in told(*segments, facts=Facts(unread=1))[1]
    assert "not acknowledged yet (sent 1 time)" in told(*segments[:-1])[1]


def test_an_end_that_goes_on_sending_is_not_told_to_close() -> None:
    segments = closed(Talk(), ack=MILLISECOND, fin=1, data=100)[:-2]
    assert "goes on sending: a half-close in use" in told(*segments)[1]


@pytest.mark.parametrize(
    ("flags", "data", "cause"),
    [
        ("R.", 21, "had been sent 21 bytes: most likely it closed with some of them unread"),
        ("R.", 0, "SO_LINGER 0, or a listener that closed before it accepted"),
        ("R", 21, "got a segment for a socket that was gone"),
    ],
)
def test_resets_in_words(flags: str, data: int, cause: str) -> None:
    talk = Talk()
    segments = talk.handshake()
    if data:
        segments.append(talk.say("c", "P.", data))
    head, text = told(*segments, talk.say("s", flags, after=10 * MILLISECOND))
    assert re.match(r"reset by the server after 10\.\d ms", head)
    assert cause in text
    assert text.endswith("the client's next read fails with ECONNRESET.")


def test_a_reset_after_its_own_fin_in_words() -> None:
    talk = Talk()
    segments = [*talk.handshake(), talk.say("c", "F."), talk.say("s", "P.", 9), talk.say("c", "R")]
    assert "The client had closed, and then got data that nobody can read" in told(*segments)[1]


def test_connects_that_fail_in_words() -> None:
    talk = Talk()
    syn = talk.say("c", "S")
    again = syn._replace(time=syn.time + SECOND)
    head, text = told(syn, again)
    assert head == "no answer: 2 SYNs in 1 s"
    assert "Nobody has answered yet" in text
    settings = Facts(syn_retries=2, syn_linear_timeouts=0)
    assert text != told(syn, again, facts=settings)[1]
    assert told(syn, again, facts=settings)[1].endswith("fails with ETIMEDOUT after 7s.")
    head, text = told(syn, talk.say("s", "R."))
    assert head == "refused by the server after 10 us"
    assert "Nobody listens on port 80 there" in text
    talk = Talk()
    head, text = told(talk.say("c", "S"), talk.say("s", "S."))
    assert head.startswith("not established: 1 SYN ACK without an ACK")
    talk = Talk()
    _, text = told(talk.say("c", "S"), talk.say("s", "S."), talk.say("c", "R."))
    assert "The server aborted" not in text


def given_up(syns: int, facts: Facts) -> str:
    """What is said of a connect that was given up after so many SYNs."""
    tracker = Tracker()
    talk = Talk()
    syn = talk.say("c", "S")
    tracker.take([syn._replace(time=syn.time + number * SECOND) for number in range(syns)])
    (connection,) = tracker.due(syn.time + 60 * SECOND)
    return " ".join(explanation(connection, judge(connection), facts))


def test_a_connect_that_gives_up_sooner_than_the_kernel_in_words() -> None:
    settings = Facts(syn_retries=3)
    assert "gave up after 2 SYNs: by a timeout of its own, or by an ICMP" in given_up(2, settings)
    assert given_up(4, settings).endswith("connect() fails with ETIMEDOUT after 15s.")
    assert "gave up after 1 SYN:" in given_up(1, Facts())
    assert "gave up" not in given_up(3, Facts())


def later(segment: Segment, wait: int) -> Segment:
    return segment._replace(time=segment.time + wait)


def test_a_late_answer_in_words() -> None:
    talk = Talk()
    syn = talk.say("c", "S")
    talk.now += SECOND
    _, text = told(syn, later(syn, SECOND), talk.say("s", "S."), talk.say("c", "."))
    assert "sent its SYN 2 times, so connect() took 1 s" in text
    talk = Talk()
    handshake = talk.handshake()
    again = later(handshake[1], SECOND)
    assert "sent its SYN ACK 2 times" in told(*handshake, again)[1]


@pytest.mark.parametrize(
    ("wait", "data", "cause"),
    [
        (70 * SECOND, 0, "FIN_WAIT2 ends after tcp_fin_timeout (60 s) if no process holds it"),
        (SECOND, 0, "Its socket was gone when the server's FIN came, 1 s later"),
        (SECOND, 9, "It took none of the 9 bytes that came after that"),
    ],
)
def test_a_reset_in_place_of_the_last_ack_in_words(wait: int, data: int, cause: str) -> None:
    talk = Talk()
    segments = [*talk.handshake(), talk.say("c", "F."), talk.say("s", ".")]
    if data:
        segments.append(talk.say("s", "P.", data))
    head, text = told(*segments, talk.say("s", "F.", after=wait), talk.say("c", "R"))
    assert head.startswith("closed: client first, four segments")
    assert head.endswith(", the last one a reset")
    assert cause in text
    assert "keeps TIME_WAIT" not in text


def test_resets_of_a_client_that_tests_the_port_in_words() -> None:
    for flags, cause in (("R.", "a health check or a scan"), ("R", "no socket waited for this")):
        talk = Talk()
        _, text = told(talk.say("c", "S"), talk.say("s", "S."), talk.say("c", flags))
        assert cause in text
    talk = Talk()
    syn, ack = talk.say("c", "S"), talk.say("s", ".")
    assert "ACK of another connection" in told(syn, ack, talk.say("c", "R"))[1]


def test_resets_after_its_own_fin_in_words() -> None:
    def reset(*then: Segment) -> str:
        return told(*segments, *then)[1]

    talk = Talk()
    segments = [*talk.handshake(), talk.say("c", "F."), talk.say("s", ".")]
    assert "sent a FIN, and then aborted" in reset(talk.say("c", "R."))
    data = talk.say("s", "P.", 9)
    assert "had closed only its own direction" in reset(data, talk.say("c", "R."))
    assert "tcp_fin_timeout" in reset(talk.say("c", "R", after=61 * SECOND))


def test_unanswered_probes_in_words() -> None:
    talk = Talk()
    segments = talk.handshake()
    probe = talk.say("c", ".")._replace(seq=talk.next[0] - 1)
    segments += [later(probe, n * SECOND) for n in range(3)]
    _, text = told(*segments, talk.say("c", "R.", after=9 * SECOND))
    assert "its last 3 probes of an idle connection" in text


def test_a_last_ack_that_is_not_seen_in_words() -> None:
    head, text = told(*closed(Talk(), ack=None, fin=10)[:-1])
    assert head.endswith("the last ACK was not seen")
    assert "The server's FIN is not acknowledged yet: it stays in LAST_ACK" in text
    assert "TIME_WAIT" not in text


def test_a_connection_to_itself_in_words() -> None:
    talk = Talk(client=7, server=7, ends=(CLIENT, CLIENT))
    head, text = told(talk.say("c", "S"), talk.say("s", "S."), talk.say("c", "."))
    assert head.startswith("connected to itself")
    assert "One socket is both ends" in text


def test_one_direction_in_words() -> None:
    talk = Talk()
    sent = [*talk.handshake(), talk.say("c", "F."), talk.say("s", "F."), talk.say("c", ".")]
    head, text = told(*(one for one in sent if one.source == CLIENT))
    assert head == "closed by the client; the other end's segments were not captured"
    assert text.startswith("No segment of the server was captured")


def test_a_receiver_that_does_not_read_is_told_though_the_connection_is_open() -> None:
    talk = Talk()
    segments = [*talk.handshake(), talk.say("c", "P.", 900), talk.say("s", ".")]
    stuck = [*segments[:-1], segments[-1]._replace(window=0)]
    assert told(*stuck)[1] == "The server's receive window is zero: its application does not read."
    report = Report("text", hides_open=True)
    assert report_of(segments, report) == ""
    assert "receive window is zero" in report_of(stuck, report)


def report_of(segments: list[Segment], report: Report) -> str:
    return "\n".join(line for one in track(*segments) for line in report.over(one))


def test_the_ladder() -> None:
    text = report_of(closed(Talk(), ack=41 * MILLISECOND, fin=SECOND), Report())
    _, *lines = text.splitlines()
    assert lines[:10] == [
        "      client 10.0.0.1:40000                server 10.0.0.2:80",
        "      SYN_SENT     -- SYN -------------->",
        "      ESTABLISHED  <---------- SYN ACK --  SYN_RECV        +10 us",
        "                   -- ACK -------------->  ESTABLISHED     +10 us",
        "                   -- 21 bytes --------->                  +10 us",
        "    1 FIN_WAIT1    -- FIN -------------->  CLOSE_WAIT      +10 us",
        "    2 FIN_WAIT2    <-------------- ACK --                +41.0 ms",
        "    3 TIME_WAIT    <-------------- FIN --  LAST_ACK          +1 s",
        "    4              -- ACK -------------->  CLOSED          +10 us",
        "  The client closed first, and keeps TIME_WAIT for 60 s.",
    ]
    assert text.splitlines()[0].endswith("[SF ShADFaf]")


def test_only_how_it_opened_or_only_how_it_closed() -> None:
    segments = closed(Talk(), ack=None, fin=13_000)
    closes = report_of(segments, Report(part="closes"))
    assert "SYN_SENT" not in closes
    assert "FIN_WAIT1" in closes
    opens = report_of(segments, Report(part="opens"))
    assert "established in 20 us" in opens
    assert "FIN" not in opens
    refused = Talk()
    sent = [refused.say("c", "S"), refused.say("s", "R.")]
    assert report_of(sent, Report(part="closes")) == ""
    assert "refused" in report_of(sent, Report(part="opens"))


def test_json() -> None:
    def facts(_: Connection, __: Verdict) -> Facts:
        return Facts(server="nginx[7]", unread=3)

    report = Report("json", facts=facts)
    found = json.loads(report_of(closed(Talk(), ack=41 * MILLISECOND, fin=SECOND), report))
    assert_valid("trace-connection", found)
    assert found["client"] == {
        "address": "10.0.0.1",
        "port": 40000,
        "state": "time_wait",
        "sent_bytes": 21,
        "syns": 1,
        "fins": 1,
        "was_captured": True,
        "owner": None,
    }
    assert (found["how"], found["first"], found["segments"]) == ("closed", "client", 4)
    assert found["close_delay_seconds"] == pytest.approx(1.041)
    assert found["server"]["owner"] == "nginx[7]"
    assert [step["segment"] for step in found["steps"]][-4:] == ["FIN", "ACK", "FIN", "ACK"]
    assert found["steps"][-1]["client_state"] == "time_wait"
    (last,) = report.end(8, Losses(dropped=3, tunnels=2))
    assert_valid("trace-end", json.loads(last))
    assert json.loads(last)["dropped_packets"] == 3
    assert json.loads(last)["not_decoded"]["tunnels"] == 2


def test_lines_have_one_heading() -> None:
    report = Report("lines")
    text = report_of(closed(Talk(), ack=None, fin=13_000), report)
    text += "\n" + report_of(
        closed(Talk(ends=(end("::1", 5), end("::2", 6))), ack=1, fin=2), report
    )
    heading, first, second = text.splitlines()
    assert heading.split()[:3] == ["TIME", "CLIENT", "SERVER"]
    assert first.split()[1:5] == ["10.0.0.1:40000", "10.0.0.2:80", "closed", "client"]
    assert second.split()[1:3] == ["[::1]:5", "[::2]:6"]


def many(count: int, gap: int) -> list[Segment]:
    segments = []
    for number in range(count):
        client = CLIENT[:16] + (1024 + number).to_bytes(2, "big")
        segments += closed(Talk(ends=(client, SERVER), now=START + number * gap), ack=None, fin=10)
    return segments


def test_too_many_connections_a_second_become_lines_and_then_a_summary() -> None:
    few = report_of(many(2 * MOST_LADDERS, SECOND // 10), Report())
    assert few.count("FIN_WAIT1") == 2 * MOST_LADDERS
    report = Report()
    lines = report_of(many(2 * MOST_LADDERS, SECOND // 100), report).splitlines()
    assert sum("FIN_WAIT1" in line for line in lines) == MOST_LADDERS
    assert any(line.startswith("more than 20 connections a second") for line in lines)
    report = Report()
    lines = report_of(many(MOST_LINES + 100, SECOND // 4000), report).splitlines()
    assert lines[-1] == "more than 2,000 connections a second: only the summary follows"
    *_, row, last = report.end(7 * 2100, Losses())
    assert row.split()[:7] == ["80", "2100", "2100", "0", "0", "2100", "0"]
    assert last == "2,100 connections, 14,700 segments; 0 packets dropped"


def test_a_form_that_was_asked_for_stays() -> None:
    text = report_of(many(2 * MOST_LADDERS, SECOND // 100), Report("text"))
    assert text.count("FIN_WAIT1") == 2 * MOST_LADDERS


def test_losses_are_in_the_last_line() -> None:
    (last,) = Report().end(5, Losses(1, 2, 3, 4, 5, 6, 7, (127,)))
    assert last == (
        "0 connections, 5 segments; 1 packet dropped, 3 connections forgotten (more were open than "
        "are followed), 2 segments seen twice, 4 packets in tunnels not decoded, 5 IP "
        "fragments not decoded, 6 packets captured too short (96 bytes of each are enough), 7 "
        "packets of a link type that is not known (127)"
    )


def test_the_summary_is_bounded_and_its_quantiles_are_close() -> None:
    summary = Summary()
    for number in range(MOST_PORTS + 50):
        server = SERVER[:16] + number.to_bytes(2, "big")
        talk = Talk(ends=(CLIENT, server))
        (one,) = track(*closed(talk, ack=None, fin=(number + 1) * MILLISECOND))
        summary.add(one, judge(one))
    assert len(summary.ports) == MOST_PORTS + 1
    assert summary.lines()[-1].endswith("more ports")
    spread = Summary()
    for number in range(1000):
        (one,) = track(*closed(Talk(), ack=None, fin=(number + 1) * MILLISECOND // 10))
        spread.add(one, judge(one))
    assert spread.ports[80].delay(0.5) == pytest.approx(50 * MILLISECOND, rel=0.05)
    assert spread.ports[80].delay(0.99) == pytest.approx(99 * MILLISECOND, rel=0.05)
