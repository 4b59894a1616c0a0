"""A remote host played by hand, over a TUN device.

What the kernel hands to the device comes here as packets, and packets written here arrive there
from the remote host. Nothing answers unless this code does: a peer that never acknowledges holds
a kernel socket in any state of the handshake or the close for as long as wanted.
"""

import fcntl
import select
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from ipaddress import ip_address

from sockmon.drill.lab.addresses import AddressKind, Host
from sockmon.drill.lab.netns import NetNs
from sockmon.drill.lab.veth_link import bring_up
from tests.lab.packets import Segment, TcpFlag
from tests.lab.waiting import PATIENCE

TUNSETIFF = 0x400454CA  # linux/if_tun.h
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000

_IFREQ = struct.Struct("16sH22x")
_LARGEST_PACKET = 65535
_INITIAL_SEQ = 1000
_FIRST_CLIENT_PORT = 33000
_FIRST_SERVICE_PORT = 7000

# Room for a packet of every socket: one lost here is a local error, which TCP treats as such.
_QUEUE_LENGTH = 20000


@dataclass(frozen=True, slots=True)
class TunPeer:
    """The remote host at the far end of one TUN device."""

    device: FileIO
    number: int  # of the device in its namespace
    host: Host  # the namespace's own addresses on the device
    remote: Host

    @property
    def service_port(self) -> int:
        """A port of the remote host that no other TunPeer of the namespace uses."""
        return _FIRST_SERVICE_PORT + self.number

    def clients(self, kind: AddressKind, port: int, count: int) -> list["RemoteClient"]:
        """Clients on the remote host, about to call the namespace's `port`."""
        return [RemoteClient(self, kind, _FIRST_CLIENT_PORT + n, port) for n in range(count)]

    def send(self, segment: Segment) -> None:
        """Let a segment arrive in the namespace."""
        self.device.write(segment.to_packet())

    def receive(self, port: int, flags: TcpFlag) -> Segment:
        """The next segment to this port of the remote host with just these flags."""
        poll = select.poll()
        poll.register(self.device, select.POLLIN)
        while poll.poll(PATIENCE * 1000):
            segment = Segment.from_packet(self.device.read(_LARGEST_PACKET))
            if segment and (segment.destination_port, segment.flags) == (port, flags):
                return segment
        raise TimeoutError(f"no {flags!r} to port {port} within {PATIENCE} s")


class RemoteClient:
    """One connection's far end: it sends what it is told to, and nothing by itself."""

    def __init__(self, peer: TunPeer, kind: AddressKind, port: int, service_port: int) -> None:
        self._peer = peer
        self._source = ip_address(peer.remote.on_wire(kind))
        self._destination = ip_address(peer.host.on_wire(kind))
        self._port = port
        self._service_port = service_port
        self._seq = _INITIAL_SEQ
        self._ack = 0

    def syn(self) -> None:
        """Call the service."""
        self._send(TcpFlag.SYN)
        self._seq += 1

    def reset(self) -> None:
        """Abort, without having acknowledged anything."""
        self._send(TcpFlag.RST)

    def connect(self) -> None:
        """Call the service and complete the handshake."""
        self.syn()
        answer = self._peer.receive(self._port, TcpFlag.SYN | TcpFlag.ACK)
        self._ack = (answer.seq + 1) % 2**32
        self._send(TcpFlag.ACK)

    def fin(self) -> None:
        """Close this end; what the service sent since `connect` stays unacknowledged."""
        self._send(TcpFlag.FIN | TcpFlag.ACK)
        self._seq += 1

    def _send(self, flags: TcpFlag) -> None:
        self._peer.send(
            Segment(
                self._source,
                self._port,
                self._destination,
                self._service_port,
                self._seq,
                self._ack,
                flags,
            )
        )


@contextmanager
def tun_peer(netns: NetNs) -> Iterator[TunPeer]:
    """Give the namespace a TUN device, and a remote host behind it."""
    with netns.call(FileIO, "/dev/net/tun", "r+") as device:
        # Asked for the name "tun%d", the kernel numbers the devices of a namespace.
        request = fcntl.ioctl(device, TUNSETIFF, _IFREQ.pack(b"tun%d", IFF_TUN | IFF_NO_PI))
        name = _IFREQ.unpack(request)[0].rstrip(b"\0").decode()
        number = int(name.removeprefix("tun"))
        host = Host(f"10.66.{number}.1", f"fd66:{number:x}::1")
        remote = Host(f"10.66.{number}.2", f"fd66:{number:x}::2")
        netns.ip(f"link set {name} txqueuelen {_QUEUE_LENGTH}")
        bring_up(netns, name, host)
        yield TunPeer(device, number, host, remote)
