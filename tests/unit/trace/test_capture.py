"""Capture files: both formats, both byte orders, every link type; cut, damaged and hostile ones."""

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockmon.kernel.packets.batch import CaptureError
from sockmon.kernel.packets.capture import Capture
from sockmon.kernel.packets.headers import Skipped, decode
from sockmon.kernel.packets.pcap import pcap_header, pcap_packets
from sockmon.model.segments import Segment
from tests.unit.trace.making import (
    START,
    Chunks,
    Talk,
    block,
    decoded,
    end,
    enhanced,
    interface,
    ip_packet,
    pcap,
    pcapng,
    resolution,
    section,
    segments_of,
)

RAW, ETHERNET, SLL, SLL2, NULL, LOOP = 101, 1, 113, 276, 0, 108


def conversation(ends: tuple[bytes, bytes] | None = None) -> list[Segment]:
    talk = Talk() if ends is None else Talk(ends=ends)
    return [
        *talk.handshake(),
        talk.say("c", "P.", 21),
        talk.say("c", "F."),
        talk.say("s", "F."),
        talk.say("c", "."),
    ]


V6 = (end("2001:db8::1", 40000), end("2001:db8::2", 443))


def packets(link: int = RAW, ends: tuple[bytes, bytes] | None = None) -> list[tuple[int, bytes]]:
    before = {
        RAW: (b"", b""),
        ETHERNET: (bytes(12) + b"\x08\x00", bytes(12) + b"\x86\xdd"),
        SLL: (bytes(14) + b"\x08\x00", bytes(14) + b"\x86\xdd"),
        SLL2: (b"\x08\x00" + bytes(18), b"\x86\xdd" + bytes(18)),
        NULL: (struct.pack("<I", 2), struct.pack("<I", 10)),
        LOOP: (struct.pack(">I", 2), struct.pack(">I", 24)),
    }[link][ends is not None]
    return [(segment.time, before + ip_packet(segment)) for segment in conversation(ends)]


@pytest.mark.parametrize("ends", [None, V6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("link", [RAW, ETHERNET, SLL, SLL2, NULL, LOOP])
def test_every_link_type_and_byte_order_gives_the_same_segments(
    link: int, order: str, ends: tuple[bytes, bytes] | None
) -> None:
    expected = conversation(ends)
    made = packets(link, ends)
    assert segments_of(pcap(made, link, order=order, nanoseconds=True)) == expected
    assert segments_of(pcapng(made, link, order=order)) == expected


def test_microseconds_are_the_default() -> None:
    (first, *_) = segments_of(pcap([(1_234_567, packets()[0][1])], RAW))
    assert first.time == 1_234_000


def test_vlan_tags_are_gone_over() -> None:
    tagged = bytes(12) + b"\x88\xa8\x00\x05" + b"\x81\x00\x00\x07" + b"\x08\x00"
    made = [(s.time, tagged + ip_packet(s)) for s in conversation()]
    assert segments_of(pcap(made, ETHERNET, nanoseconds=True)) == conversation()


def test_options_of_ip_and_tcp_and_padding_are_no_data() -> None:
    (segment, *_) = conversation()
    packet = ip_packet(segment, options=bytes(20), ip_options=bytes(12)) + b"padding"
    assert segments_of(pcap([(segment.time, packet)], RAW, nanoseconds=True)) == [segment]


def test_headers_are_enough() -> None:
    made = packets(ETHERNET)
    assert segments_of(pcap(made, ETHERNET, nanoseconds=True, snaplen=54)) == conversation()


def test_ipv6_extension_headers_are_gone_over() -> None:
    segment = conversation(V6)[0]
    packet = bytearray(ip_packet(segment))
    packet[6] = 0  # hop by hop, then destination options, then TCP
    extensions = bytes([60, 0]) + bytes(6) + bytes([6, 1]) + bytes(14)
    packet[4:6] = (len(packet) - 40 + len(extensions)).to_bytes(2, "big")
    whole = bytes(packet[:40]) + extensions + bytes(packet[40:])
    assert segments_of(pcap([(segment.time, whole)], RAW, nanoseconds=True)) == [segment]


def test_what_is_not_decoded_is_counted() -> None:
    tcp4 = ip_packet(conversation()[0])
    fragment = bytearray(tcp4)
    fragment[6:8] = b"\x00\x10"
    gre, udp, vxlan = (bytearray(tcp4) for _ in range(3))
    gre[9] = 47
    udp[9] = vxlan[9] = 17
    vxlan[22:24] = (4789).to_bytes(2, "big")
    frames = {
        b"\x88\x47": b"label",
        b"\x08\x06": bytes(28),
        b"\x08\x00": b"short",
    }
    made = [(1, bytes(12) + kind + body) for kind, body in frames.items()]
    made += [
        (1, bytes(12) + b"\x08\x00" + bytes(inner))
        for inner in (fragment, gre, udp, vxlan, tcp4[:30])
    ]
    (part,) = decoded(pcap(made, ETHERNET))
    assert len(part.segments) == 0
    assert part.skipped == Skipped(other=2, tunnels=3, fragments=1, short=2)
    (part,) = decoded(pcap(made, 147))
    assert part.skipped.links == {147: len(made)}


FORMS = pytest.mark.parametrize("form", [pcap, pcapng])


@FORMS
def test_a_capture_in_any_chunks_is_the_same(form: Callable[..., bytes]) -> None:
    data = form(packets(), RAW, nanoseconds=True)
    for size in (1, 2, 3, 7, 16, 24, 39, 40, 56, 57, 100, len(data) - 1):
        assert segments_of(data, size) == conversation()


@FORMS
def test_a_capture_cut_anywhere_gives_what_is_before_and_an_error(
    form: Callable[..., bytes],
) -> None:
    made = packets()[:3]
    boundaries = [len(form(made[:n], RAW, nanoseconds=True)) for n in range(len(made) + 1)]
    data = form(made, RAW, nanoseconds=True)
    for size in range(len(data)):
        seen, error = read_until(data[:size])
        whole = len([boundary for boundary in boundaries if boundary <= size])
        assert seen == conversation()[: max(0, whole - 1)]
        is_boundary = size in boundaries or (form is pcapng and size == len(section()))
        assert (error is None) == is_boundary


def read_until(data: bytes) -> tuple[list[Segment], CaptureError | None]:
    """What can be read, and why not the rest."""
    seen: list[Segment] = []
    try:
        for part in decoded(data):
            seen += part.segments
    except CaptureError as error:
        return seen, error
    return seen, None


def test_pcapng_has_interfaces_with_clocks_of_their_own() -> None:
    packet = packets()[0][1]
    offset = struct.pack("<HHq", 14, 8, 100)
    data = (
        section()
        + interface(RAW)
        + interface(RAW, resolution(0x80 | 10) + offset)
        + enhanced(5_000_000, packet)
        + enhanced(2048, packet, number=1)
        + section(">")
        + interface(RAW, b"", ">")
        + enhanced(1, packet, ">")
    )
    found = segments_of(data)
    assert [s.time for s in found] == [5_000_000_000, 102_000_000_000, 1000]
    assert len({s.device for s in found}) == 3


def test_pcapng_says_what_was_dropped_and_old_and_simple_packets_are_read() -> None:
    packet = packets()[0][1]
    lost = struct.pack("<HHQ", 5, 8, 7) + struct.pack("<HHQ", 7, 8, 2)
    old = struct.pack("<HHIIII", 0, 0, 0, 5, len(packet), len(packet)) + packet
    data = (
        section()
        + interface(RAW)
        + block(2, old)
        + block(3, struct.pack("<I", len(packet)) + packet)
        + block(5, struct.pack("<III", 0, 0, 0) + lost)
        + block(0xBAD, b"unknown")
    )
    capture = Capture(Chunks(data, 1 << 20))
    (read,) = capture.packets()
    assert [s.time for s in decode(read).segments] == [5000, 5000]
    assert capture.dropped == 9


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"hello, world, this is a text", "neither pcap nor pcapng"),
        (b"\x1f\x8b" + bytes(30), "gzip"),
        (b"\x28\xb5\x2f\xfd" + bytes(30), "zstd"),
        (pcap([], RAW) + struct.pack("<4I", 1, 0, 1 << 30, 60), "1073741824 bytes at byte 24"),
        (pcap([], RAW) + bytes(1000), "only zeros from byte 24"),
        (section() + block(6, struct.pack("<5I", 3, 0, 0, 4, 4) + b"abcd"), "at byte 28"),
        (section() + bytes(12), "a block of 0 bytes at byte 28"),
        (section() + interface(RAW)[:9], "cut off at byte 37"),
        (b"\x0a\x0d\x0d\x0a" + bytes(24), "no byte order at byte 0"),
    ],
)
def test_bad_input_gives_one_line_with_the_place(data: bytes, message: str) -> None:
    with pytest.raises(CaptureError, match=message) as caught:
        segments_of(data)
    assert "\n" not in str(caught.value)


def test_what_is_written_is_read_again_without_data() -> None:
    (part,) = decoded(pcap(packets(ETHERNET), ETHERNET, nanoseconds=True, snaplen=54))
    written = pcap_header() + pcap_packets(part.ip)
    assert segments_of(written) == conversation()
    assert len(written) == 24 + len(conversation()) * (16 + 40)


@given(st.binary(max_size=400), st.sampled_from([RAW, ETHERNET, SLL, SLL2, NULL, LOOP]))
def test_any_bytes_are_a_packet_that_can_be_decoded(body: bytes, link: int) -> None:
    (part,) = decoded(pcap([(START, body)], link))
    assert (
        len(part.segments)
        + sum(
            (part.skipped.other, part.skipped.tunnels, part.skipped.fragments, part.skipped.short)
        )
        == 1
    )


@given(
    st.sampled_from(
        [pcap(packets(), RAW), pcapng(packets(), RAW), pcapng(packets(), RAW, order=">")]
    ),
    st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), max_size=6),
)
def test_a_damaged_capture_is_read_or_refused(data: bytes, damage: list[tuple[int, int]]) -> None:
    damaged = bytearray(data)
    for place, value in damage:
        damaged[place % len(damaged)] = value
    _, error = read_until(bytes(damaged))
    assert error is None or "\n" not in str(error)
