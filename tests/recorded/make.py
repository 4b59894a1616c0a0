"""Made the recordings beside this file, and makes them anew: `python -m tests.recorded.make`.

Needs root and /dev/net/tun. Nothing of the host is in a recording but the levels named below:
all sockets are made in fresh network namespaces. Two runs differ (cookies, inodes, source ports),
so the golden /metrics must be made anew afterwards; README.md says how.
"""

import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sockmon.kernel.netlink.replay import record
from tests.lab import AddressKind, Direction, NetNs, experiments, states
from tests.lab.sockets import close_in_turn, connections
from tests.recorded import MIXED, QUIET

# A child namespace has none of these: they are taken from the host, so that the recording looks
# as if it had been made in a host's own namespace.
OF_THE_HOST_ALONE = ("sys/net/ipv4/tcp_mem", "sys/net/ipv4/tcp_max_orphans")

#: Connections by address kind: enough IPv4 for a dump of several 32 KiB datagrams.
CONNECTIONS = {AddressKind.IPV4: 500, AddressKind.IPV6: 40, AddressKind.MAPPED: 30}
MORE_LISTENERS = 60


@contextmanager
def mixed() -> Iterator[NetNs]:
    """All eleven states in all three address kinds, many of some, and UDP."""
    with NetNs() as netns, ExitStack() as stack:
        for kind in AddressKind:
            for hold in states.HOLD.values():
                stack.enter_context(hold(netns, kind, 3))
            stack.enter_context(experiments.unclosed(netns, kind, 10))
        stack.enter_context(states.listen(netns, count=MORE_LISTENERS))
        stack.enter_context(experiments.full_queue(netns))
        _hold_udp(netns, stack)
        for kind in AddressKind:  # last, since they live for a minute only
            _alternate(netns, kind, stack)
        stack.enter_context(states.time_wait(netns, count=20, closed_first_by=Direction.INBOUND))
        stack.enter_context(experiments.rebind(netns, count=5))
        yield netns


def _alternate(netns: NetNs, kind: AddressKind, stack: ExitStack) -> None:
    """Established and TIME_WAIT sockets side by side in the kernel's table, as on a busy server.

    Linux keeps the clients of one service in the order of their ports (6.15 and later), so that
    with every other one closed the lengths of the messages alternate.
    """
    made = stack.enter_context(connections(netns, netns, kind, CONNECTIONS[kind]))
    for number, (client, server) in enumerate(made.pairs()):
        if number % 2:
            close_in_turn(client, server)


def _hold_udp(netns: NetNs, stack: ExitStack) -> None:
    """UDP sockets bound and connected, in each address kind."""
    addresses = {
        AddressKind.IPV4: "127.0.0.1",
        AddressKind.IPV6: "::1",
        AddressKind.MAPPED: "::ffff:127.0.0.1",
    }
    for kind, address in addresses.items():
        for number in range(4):
            bound = stack.enter_context(netns.socket(kind.family, socket.SOCK_DGRAM))
            bound.bind((address, 0))
            if number:
                connected = stack.enter_context(netns.socket(kind.family, socket.SOCK_DGRAM))
                connected.connect(bound.getsockname()[:2])
    dual_stack = stack.enter_context(netns.socket(socket.AF_INET6, socket.SOCK_DGRAM))
    dual_stack.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    dual_stack.bind(("::", 0))


def remake(directory: Path, netns: NetNs) -> None:
    """Record the namespace in place of an earlier recording."""
    for part in ("dumps", "proc"):
        shutil.rmtree(directory / part, ignore_errors=True)
    netns.call(record, directory)


def main() -> None:
    """Make both recordings."""
    with mixed() as netns:
        remake(MIXED, netns)
        for name in OF_THE_HOST_ALONE:
            (MIXED / "proc" / name).write_bytes(Path("/proc", name).read_bytes())
    with NetNs() as netns, states.listen(netns):
        remake(QUIET, netns)


if __name__ == "__main__":
    main()
