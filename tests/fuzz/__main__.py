"""Damage captures at random, read them, and stop at whatever is no CaptureError.

A capture that fails is kept, and named with the seed that made it.
"""

import random
import sys
import tempfile
import time
from pathlib import Path

from sockmon.kernel.packets.batch import CaptureError
from sockmon.kernel.packets.capture import Capture
from sockmon.trace.report import Report
from sockmon.trace.session import Choice, Session
from tests.unit.trace.making import Chunks, Talk, end, ip_packet, pcap, pcapng

LINKS = {0: 4, 1: 14, 101: 0, 113: 16, 276: 20}
#: Values at which lengths and offsets go wrong.
EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


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


def damaged(data: bytes, chance: random.Random) -> bytes:
    """The capture with some bytes, words or stretches changed, moved, or cut off."""
    made = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(made))
        kind = chance.random()
        if kind < 0.4:
            made[at] = chance.randrange(256)
        elif kind < 0.7:
            order = chance.choice(("little", "big"))
            value = chance.choice(EDGES).to_bytes(4, order)  # type: ignore[arg-type]
            made[at : at + 4] = value
        elif kind < 0.85:
            del made[at : at + chance.randint(1, 40)]
        else:
            made[at:at] = made[at : at + chance.randint(1, 40)]
        if not made:
            return b""
    return bytes(made)


def read(data: bytes, chance: random.Random) -> None:
    """Read it as the command does, in every form."""
    form = chance.choice((None, "lines", "json", "tcpdump"))
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


def main(seconds: float) -> int:
    deadline = time.monotonic() + seconds
    seed = time.time_ns()
    count = 0
    while time.monotonic() < deadline:
        count += 1
        chance = random.Random(seed + count)
        data = damaged(whole(chance), chance)
        try:
            read(data, chance)
        except Exception:
            kept = Path(tempfile.gettempdir(), f"sockmon-fuzz-{seed + count}.pcap")
            kept.write_bytes(data)
            print(f"fails: {kept}", file=sys.stderr)
            raise
    print(f"{count:,} damaged captures, none of which is anything but read or refused")
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
