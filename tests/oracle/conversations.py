"""Captures for both readers: real connections, and what loopback does not show, made by hand."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sockmon.drill.lab.addresses import AddressKind
from sockmon.drill.lab.sockets import accepted, connected, listening
from sockmon.model.segments import Segment
from tests.lab import NetNs
from tests.lab.closes import WAYS
from tests.tracing import capturing, tracing
from tests.unit.trace.making import MILLISECOND, SECOND, Talk, end, ip_packet, pcapng

NO_PORT = 9


def real(file: Path, kind: AddressKind, device: str) -> None:
    """Every way to end, and a refusal, as tcpdump captures them."""
    with (
        NetNs() as netns,
        capturing(netns, file, device) as tcpdump,
        tracing(netns, "--count", str(len(WAYS) + 1), "--format", "lines") as watch,
        listening(netns, kind) as listener,
    ):
        for way in WAYS:
            way(connected(netns, kind, listener.getsockname()[1]), accepted(listener))
        with suppress(ConnectionRefusedError):
            connected(netns, kind, NO_PORT).close()
        watch.output()
        tcpdump.stop()


def odd(file: Path) -> None:
    """FINs that cross or come again, a simultaneous open, numbers that wrap, and others."""
    packets = [(segment.time, ip_packet(segment)) for talk in (_odd()) for segment in talk]
    file.write_bytes(pcapng(packets, 101))


def _talks() -> Iterator[Talk]:
    for number in range(20):
        ends = (end("10.0.0.1", 40000 + number), end("10.0.0.2", 80))
        yield Talk(ends=ends, now=1_700_000_000 * SECOND + number * SECOND)


def _odd() -> Iterator[list[Segment]]:
    talks = _talks()
    talk = next(talks)  # FINs that cross
    opened = [*talk.handshake(), talk.unheard("c", "F."), talk.unheard("s", "F.")]
    talk.hear(0)
    talk.hear(1)
    yield [*opened, talk.say("c", "."), talk.say("s", ".")]
    talk = next(talks)  # a FIN that is sent again
    opened = [*talk.handshake(), talk.say("c", "F.")]
    again = opened[-1]._replace(time=talk.now + 200 * MILLISECOND)
    talk.now = again.time
    yield [*opened, again, talk.say("s", "F."), talk.say("c", ".")]
    talk = next(talks)  # both open at once
    opened = [talk.unheard("c", "S"), talk.unheard("s", "S")]
    talk.hear(0)
    talk.hear(1)
    talk.next = [number - 1 for number in talk.next]
    yield [*opened, talk.unheard("c", "S."), talk.unheard("s", "S."), talk.say("c", ".")]
    talk = next(talks)  # numbers that wrap
    talk = Talk(0xFFFFFFF0, 0xFFFFFFFF, talk.ends, talk.now)
    opened = [*talk.handshake(), talk.say("c", "P.", 100), talk.say("s", "P.", 5000)]
    yield [*opened, talk.say("s", "F."), talk.say("c", "F."), talk.say("s", ".")]
    talk = next(talks)  # data with the SYN
    yield [talk.say("c", "S", 40), talk.say("s", "S."), talk.say("c", ".")]
    talk = next(talks)  # a reset between the FINs, one in place of the last ACK
    yield [*talk.handshake(), talk.say("c", "F."), talk.say("s", "."), talk.say("s", "R.")]
    talk = next(talks)
    opened = [*talk.handshake(), talk.say("c", "F."), talk.say("s", ".")]
    yield [*opened, talk.say("s", "F."), talk.say("c", "R")]
    talk = next(talks)  # no answer
    syn = talk.say("c", "S")
    yield [syn, syn._replace(time=syn.time + 100 * MILLISECOND)]
    talk = next(talks)  # the same ports again
    opened = [*talk.handshake(), talk.say("c", "R.")]
    again_talk = Talk(77, 99, talk.ends, talk.now)
    yield [*opened, *again_talk.handshake()]
    talk = next(talks)  # probes of a keepalive
    opened = [*talk.handshake(), talk.say("c", "P.", 5), talk.say("s", ".")]
    probe = talk.say("c", ".")._replace(seq=talk.next[0] - 1)
    yield [*opened, probe, talk.say("s", ".")]
