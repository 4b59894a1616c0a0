"""Two hosts and the link between them, which can be cut."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from sockmon.drill.lab.addresses import Host
from sockmon.drill.lab.netns import NetNs
from sockmon.drill.lab.wait_until import eventually

CLIENT = Host("10.77.0.1", "fd77::1")
SERVER = Host("10.77.0.2", "fd77::2")

_CLIENT_MAC = "02:00:00:00:77:01"
_SERVER_MAC = "02:00:00:00:77:02"
_UNUSED_MAC = "02:00:00:00:77:ff"


@dataclass(frozen=True, slots=True)
class Link:
    """Two namespaces joined by a veth pair, called eth0 in both."""

    client: NetNs
    server: NetNs

    def cut(self) -> None:
        """Lose every packet in both directions, without an error at either end.

        The frames go to a hardware address that no host has, as with a dead host, a dead switch or
        a firewall that drops. With the veth set down the sender would notice: its device refuses
        the packet, and TCP does not retransmit what was never sent, but probes.
        """
        self.client.ip(*_neighbour(SERVER, _UNUSED_MAC))
        self.server.ip(*_neighbour(CLIENT, _UNUSED_MAC))

    def mend(self) -> None:
        """Deliver again, at once."""
        self.client.ip(*_neighbour(SERVER, _SERVER_MAC))
        self.server.ip(*_neighbour(CLIENT, _CLIENT_MAC))


@contextmanager
def linked(into: NetNs | None = None) -> Iterator[Link]:
    """Make the two hosts, `CLIENT` and `SERVER`, each reaching the other over IPv4 and IPv6.

    A namespace given becomes the server's host; it must have no eth0 yet.
    """
    with NetNs() as client, nullcontext(into) if into else NetNs() as server:
        client.ip(
            f"link add eth0 address {_CLIENT_MAC} type veth"
            f" peer name eth0 address {_SERVER_MAC} netns {server.path}"
        )
        bring_up(client, "eth0", CLIENT)
        bring_up(server, "eth0", SERVER)
        link = Link(client, server)
        link.mend()  # fixed neighbours from the start: nothing to discover
        yield link


def _neighbour(host: Host, mac: str) -> tuple[str, ...]:
    return tuple(
        f"neigh replace {address} lladdr {mac} nud permanent dev eth0"
        for address in (host.ipv4, host.ipv6)
    )


def bring_up(netns: NetNs, device: str, host: Host) -> None:
    """Give the device the host's addresses; return when packets to them are accepted."""
    netns.ip(
        f"addr add {host.ipv4}/24 dev {device}",
        f"addr add {host.ipv6}/64 dev {device} nodad",
        f"link set {device} up",
    )

    # Even without duplicate address detection, a worker of the kernel adds the IPv6 address's
    # local route a moment later. Until then the address can be bound, but packets to it are lost.
    def route() -> str:
        return netns.run(["ip", "route", "get", host.ipv6], check=False).stdout

    eventually(route, until=lambda shown: shown.startswith("local"))
