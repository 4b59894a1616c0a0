"""Captures of a few connections, and reading them as `sockmon trace --read` does."""

import random

from sockmon.kernel.packets.batch import CaptureError
from sockmon.kernel.packets.capture import Capture
from sockmon.trace.report import Report
from sockmon.trace.session import Choice, Session
from tests.unit.trace.making import Chunks, Talk, end, ip_packet, pcap, pcapng

LINKS = {0: 4, 1: 14, 101: 0, 113: 16, 276: 20}


def whole(chance: random.Random) -> bytes:
    """A capture of a few connections, in one of the formats."""
    link = chance.choice(list(LINKS))
    before = bytes(LINKS[link])
    if LINKS[link] >= 14:
        at = 0 if link == 276 else LINKS[link] - 2
        before = before[:at] + b"\x08\x00" + before[at + 2 :]
    packets = []
    for number in range(chance.randint(1, 4)):
        host = "10.0.0.1" if chance.random() < 0.7 else "2001:db8::1"
        talk = Talk(ends=(end(host, 1024 + number), end(host, 80)))
        segments = [*talk.handshake(), talk.say("c", "P.", 21), talk.say("c", "F.")]
        segments += [talk.say("s", "F."), talk.say("c", ".")]
        packets += [(segment.time, before + ip_packet(segment)) for segment in segments]
    order = chance.choice("<>")
    if chance.random() < 0.5:
        return pcapng(packets, link, order=order)
    return pcap(packets, link, order=order, nanoseconds=chance.random() < 0.5)


def read(data: bytes, chance: random.Random) -> None:
    """Read it as the command does, in every form."""
    form = chance.choice((None, "lines", "json", "tcpdump", "summary"))
    part = chance.choice(("all", "opens", "closes"))
    report = Report(form, part, dated=True)  # type: ignore[arg-type]
    session = Session(report, Choice(), form, dated=True, opens=part == "opens")  # type: ignore[arg-type]
    capture = Capture(Chunks(data, chance.randint(1, 2000)))
    fault = ""
    try:
        for packets in capture.packets():
            list(session.take(packets))
    except CaptureError as error:
        fault = str(error)
    assert "\n" not in fault
    list(session.due(1 << 62))
    list(session.finish(capture.dropped))
