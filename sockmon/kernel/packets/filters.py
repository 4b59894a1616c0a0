"""Filters for packet sockets, as classic BPF programs. Pure.

The programs are for SOCK_DGRAM: the IP header is at offset 0. Instructions: linux/filter.h,
https://docs.kernel.org/networking/filter.html.
"""

import struct
from dataclasses import dataclass, field

_LD_W_ABS, _LD_H_ABS, _LD_B_ABS = 0x20, 0x28, 0x30
_LD_H_IND, _LD_B_IND = 0x48, 0x50
_LDX_IMM, _LDX_MSH = 0x01, 0xB1  # MSH: 4 times the low half of a byte, an IPv4 header's length
_LD_MEM, _ST, _STX, _TAX = 0x60, 0x02, 0x03, 0x07
_JA, _JEQ, _JEQ_X, _JSET = 0x05, 0x15, 0x1D, 0x45
_ADD, _ADD_X, _AND, _RSH = 0x04, 0x0C, 0x54, 0x74
_RET, _RET_A = 0x06, 0x16

_ANCILLARY = 0xFFFFF000  # SKF_AD_OFF
_PROTOCOL, _PACKET_TYPE, _DEVICE = _ANCILLARY, _ANCILLARY + 4, _ANCILLARY + 8
_LOOPBACK, _OUTGOING = 1, 4
_IPV4, _IPV6, _TCP = 0x0800, 0x86DD, 6
_FIN_SYN_RST = 0x07
_TCP_HEADER = 20
_IP_HEADER, _IP_LENGTH = 0, 1  # scratch memory, to be stored on every way to where it is loaded
_MAPPED = bytes(10) + b"\xff\xff"

#: With more of either, jumps would be too long; the reader of the socket filters again.
MOST_PORTS, MOST_HOSTS = 64, 8


@dataclass(slots=True)
class _Assembler:
    """Instructions whose jumps lead to labels; None is the next instruction."""

    code: list[tuple[int, int, str | None, str | None]] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)

    def op(self, code: int, k: int = 0, *, yes: str | None = None, no: str | None = None) -> None:
        self.code.append((code, k, yes, no))

    def go(self, label: str) -> None:
        self.code.append((_JA, 0, label, None))

    def label(self, name: str) -> None:
        self.labels[name] = len(self.code)

    def program(self) -> bytes:
        made = []
        for at, (code, k, yes, no) in enumerate(self.code):
            distances = [0 if to is None else self.labels[to] - at - 1 for to in (yes, no)]
            if code == _JA:
                made.append(struct.pack("=HBBI", code, 0, 0, distances[0]))
            else:
                made.append(struct.pack("=HBBI", code, *distances, k))
        return b"".join(made)


def tcp_filter(
    ports: frozenset[int] = frozenset(), hosts: frozenset[bytes] = frozenset(), *, data: bool
) -> bytes:
    """Return a program that keeps the IP and TCP headers of segments, and no data.

    ports, hosts: as in Segments.concerning(); left out if there are too many. data: of all
    segments; else of those with SYN, FIN or RST, and of those that only acknowledge.
    What leaves over loopback is left out: it is seen again as it arrives. IPv6 extension headers
    are not followed.
    """
    a = _Assembler()
    a.op(_LD_W_ABS, _DEVICE)
    a.op(_JEQ, _LOOPBACK, no="family")
    a.op(_LD_W_ABS, _PACKET_TYPE)
    a.op(_JEQ, _OUTGOING, yes="drop")
    a.label("family")
    a.op(_LD_W_ABS, _PROTOCOL)
    a.op(_JEQ, _IPV6, yes="six")
    a.op(_JEQ, _IPV4, no="drop")
    _four(a, hosts)
    a.label("six")
    _six(a, hosts)
    a.label("tcp")
    a.op(_STX, _IP_HEADER)
    if 0 < len(ports) <= MOST_PORTS:
        _either_port(a, sorted(ports))
    if not data:
        _without_data(a)
    a.label("keep")
    a.op(_LD_MEM, _IP_HEADER)
    a.op(_ADD, _TCP_HEADER)
    a.op(_RET_A)
    a.label("drop")
    a.op(_RET, 0)
    return a.program()


def _four(a: _Assembler, hosts: frozenset[bytes]) -> None:
    """Go on with TCP's header at X, and the packet's length in memory; not later fragments."""
    a.op(_LD_B_ABS, 9)
    a.op(_JEQ, _TCP, yes="is tcp4")
    a.op(_RET, 0)
    a.label("is tcp4")
    a.op(_LD_H_ABS, 6)
    a.op(_JSET, 0x1FFF, no="is first")
    a.op(_RET, 0)
    a.label("is first")
    a.op(_LD_H_ABS, 2)
    a.op(_ST, _IP_LENGTH)
    a.op(_LDX_MSH, 0)
    if 0 < len(hosts) <= MOST_HOSTS:
        for at in (12, 16):
            a.op(_LD_W_ABS, at)
            for host in sorted(hosts):
                if host.startswith(_MAPPED):
                    a.op(_JEQ, int.from_bytes(host[12:], "big"), yes="is host")
        a.op(_RET, 0)
        a.label("is host")
    a.go("tcp")


def _six(a: _Assembler, hosts: frozenset[bytes]) -> None:
    a.op(_LD_B_ABS, 6)
    a.op(_JEQ, _TCP, yes="is tcp6")
    a.op(_RET, 0)
    a.label("is tcp6")
    a.op(_LD_H_ABS, 4)
    a.op(_ADD, 40)
    a.op(_ST, _IP_LENGTH)
    a.op(_LDX_IMM, 40)
    if 0 < len(hosts) <= MOST_HOSTS:
        for number, host in enumerate(sorted(hosts)):
            for at in (8, 24):
                other = f"not {number} {at}"
                for word in range(0, 16, 4):
                    a.op(_LD_W_ABS, at + word)
                    a.op(_JEQ, int.from_bytes(host[word : word + 4], "big"), no=other)
                a.go("tcp")
                a.label(other)
        a.op(_RET, 0)


def _either_port(a: _Assembler, ports: list[int]) -> None:
    for at in (0, 2):
        a.op(_LD_H_IND, at)
        for port in ports:
            a.op(_JEQ, port, yes="port")
    a.op(_RET, 0)
    a.label("port")


def _without_data(a: _Assembler) -> None:
    a.op(_LD_B_IND, 13)
    a.op(_JSET, _FIN_SYN_RST, yes="keep")
    a.op(_LD_B_IND, 12)
    a.op(_AND, 0xF0)
    a.op(_RSH, 2)
    a.op(_ADD_X)
    a.op(_TAX)  # where the data begins
    a.op(_LD_MEM, _IP_LENGTH)
    a.op(_JEQ_X, 0, no="drop")
