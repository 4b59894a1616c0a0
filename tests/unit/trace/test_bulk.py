"""What is counted many at a time is what the tracker says of each."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from sockmon.kernel.packets.headers import RAW
from sockmon.model.segments import Segment, Segments
from sockmon.trace.counting import Counting
from sockmon.trace.summary import Summary
from sockmon.trace.tracker import Tracker
from sockmon.trace.verdict import judge
from tests.unit.trace.making import MILLISECOND, SECOND, START, Talk, decoded, end, ip_packet, pcap


def segments_of(sent: list[Segment]) -> Segments:
    """As columns, by way of a capture."""
    packets = [(segment.time, ip_packet(segment)) for segment in sent]
    (part,) = decoded(pcap(packets, RAW, nanoseconds=True))
    return part.segments


def followed(parts: list[list[Segment]]) -> Summary:
    """Every connection followed."""
    summary, tracker = Summary(), Tracker()
    for part in parts:
        for one in tracker.take(part):
            summary.add(one, judge(one))
    for one in tracker.finish():
        summary.add(one, judge(one))
    return summary


def counted(parts: list[list[Segment]]) -> tuple[Summary, Tracker]:
    """Plain connections counted many at a time."""
    summary, tracker = Summary(), Tracker()
    counting = Counting(tracker, summary)
    for part in parts:
        for one in counting.take(segments_of(part)):
            summary.add(one, judge(one))
    for one in (*counting.finish(), *tracker.finish()):
        summary.add(one, judge(one))
    return summary, tracker


#: What may happen on a connection: sender, flags, bytes, and microseconds since the one before.
steps = st.tuples(
    st.sampled_from("cs"),
    st.sampled_from(["S", "S.", ".", "P.", "P.", "F.", "F.", "R.", "R"]),
    st.integers(0, 3),
    st.sampled_from([10, 900, 5_000, 400_000]),
)
whole = st.sampled_from(
    [
        "c.F. s.F. c..",
        "s.F. c.F. s..",
        "c.F. s.. s.F. c..",
        "c.P. s.. c.F. s.P. s.F. c..",
        "c.R.",
        "c.P. s.R",
        "c.F. s.R",
        "s.F. c.. c.R.",
        "c.F. s.F. s.. c..",
        "c.F.",
        "",
    ]
)


@st.composite
def talks(draw: st.DrawFn) -> list[Segment]:
    """Connections that overlap, most of them whole, some of anything."""
    sent: list[Segment] = []
    for number in range(draw(st.integers(1, 5))):
        port = draw(st.sampled_from([80, 443]))
        client = 40000 + draw(st.integers(number, 6))
        begun = START + draw(st.integers(0, 600)) * MILLISECOND
        first = draw(st.sampled_from([7, 0xFFFFFFFE]))
        talk = Talk(first, 9000, (end("10.0.0.1", client), end("10.0.0.2", port)), begun)
        away = draw(st.sampled_from([10_000, 3 * MILLISECOND]))
        if draw(st.booleans()):
            sent += [talk.say("c", "S"), talk.say("s", "S.", after=away), talk.say("c", ".")]
            for word in draw(whole).split():
                side, flags = word.split(".", 1)
                sent.append(talk.say(side, flags or ".", after=draw(st.integers(1, 9)) * 1000))
        for side, flags, size, wait in draw(st.lists(steps, max_size=4)):
            sent.append(talk.say(side, flags, 0 if flags in {"R", "."} else size, wait * 1000))
    return sorted(sent, key=lambda segment: segment.time)


@settings(max_examples=300, deadline=None)
@given(talks(), st.lists(st.integers(1, 40), max_size=4))
def test_counted_is_what_following_says(sent: list[Segment], cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(sent)]
    parts = [sent[a:b] for a, b in pairwise(places) if sent[a:b]]
    summary, _ = counted(parts)
    assert summary.ports == followed(parts).ports


def test_plain_connections_are_not_followed() -> None:
    sent: list[Segment] = []
    for number in range(50):
        ends = (end("10.0.0.1", 40000 + number), end("10.0.0.2", 80))
        talk = Talk(ends=ends, now=START + number * MILLISECOND)
        sent += [*talk.handshake(), talk.say("c", "P.", 9)]
        sent += [talk.say("c", "F."), talk.say("s", "F."), talk.say("c", ".")]
    summary, tracker = counted([sent[:100], sent[100:]])
    assert summary.ports[80].segments == {3: 50}
    assert tracker.seen == 0


def test_what_comes_after_a_counted_connection_is_no_other() -> None:
    talk = Talk()
    sent = [*talk.handshake(), talk.say("c", "F."), talk.say("s", "F."), talk.say("c", ".")]
    last = sent[-1]._replace(time=talk.now + SECOND)
    again = Talk(client=77, now=talk.now + 2 * SECOND)
    summary, _ = counted([sent, [last], again.handshake()])
    assert summary.ports[80].hows == {"closed": 1, "open": 1}
