"""The model a second time, in plain Python, one socket at a time."""

from collections import Counter
from collections.abc import Collection, Iterable
from math import comb
from typing import Literal

from sockmon.model.limits import PortRange
from sockmon.model.states import TcpState
from sockmon.model.table import address
from tests.unit.strategies import Socket, table

Group = tuple[Literal["inbound", "outbound"], int]


def listened(sockets: Iterable[Socket]) -> set[int]:
    """Ports listened on."""
    return {socket.local_port for socket in sockets if socket.state is TcpState.LISTEN}


def group(
    socket: Socket, listened_on: Collection[int], ports: PortRange, sockets: Collection[Socket]
) -> Group:
    """The rule of directions."""

    def unclear(one: Socket) -> bool:
        inside = all(ports.low <= port <= ports.high for port in (one.local_port, one.remote_port))
        return inside and one.local_port not in listened_on

    if socket.local_port in listened_on:
        return "inbound", socket.local_port
    if unclear(socket):
        others = [one for one in sockets if unclear(one)]
        clients = {far_end(one) for one in others if one.local_port == socket.local_port}
        callers = {one.local_port for one in others if far_end(one) == far_end(socket)}
        pairs = {(one.local_port, far_end(one)) for one in others}
        if len(clients) > len(callers) and len(clients) > most_by_chance(len(pairs), ports):
            return "inbound", socket.local_port
        if len(callers) == 1 and _accepted_by_parity(socket, others, ports):
            return "inbound", socket.local_port
        return "outbound", socket.remote_port
    outside = not ports.low <= socket.local_port <= ports.high
    if outside and ports.low <= socket.remote_port <= ports.high:
        return "inbound", socket.local_port
    return "outbound", socket.remote_port


def _accepted_by_parity(socket: Socket, others: Collection[Socket], ports: PortRange) -> bool:
    """Whether bind() chose more of the local ports of such sockets that nobody shares."""

    def pair(one: Socket) -> tuple[str, ...]:
        made = table([one])
        ends = made.local[0], made.remote[0]
        return tuple(str(address(int(made.family[0]), end)) for end in ends)

    def alone(one: Socket) -> bool:
        return len({it.local_port for it in others if far_end(it) == far_end(one)}) == 1

    alike = [one for one in others if pair(one) == pair(socket) and alone(one)]
    local = sum((one.local_port - ports.low) % 2 for one in alike)
    remote = sum((one.remote_port - ports.low) % 2 for one in alike)
    own = (socket.local_port - ports.low) % 2 > (socket.remote_port - ports.low) % 2
    return len(alike) >= 8 and (local > remote or (local == remote and own))


def most_by_chance(connections: int, ports: PortRange) -> int:
    """The most connections that may share a local port without being a service's."""
    choices = max((ports.high - ports.low + 1) // 2, 1)
    return max(
        [1]
        + [
            n
            for n in range(1, connections + 1)
            if comb(connections, n) / choices ** (n - 1) >= 0.01
        ]
    )


def far_end(socket: Socket) -> tuple[int, str, int]:
    """The remote family, address and port, a v4-mapped address being IPv4."""
    made = table([socket])
    family = int(made.family[0])
    return family, str(address(family, made.remote[0])), socket.remote_port


def counts(
    sockets: Collection[Socket], listened_on: Collection[int], ports: PortRange
) -> dict[Group, Counter[TcpState]]:
    """Sockets by group and state."""
    found: dict[Group, Counter[TcpState]] = {}
    for socket in sockets:
        found.setdefault(group(socket, listened_on, ports, sockets), Counter())[socket.state] += 1
    return found


def queues(
    sockets: Collection[Socket], listened_on: Collection[int], ports: PortRange
) -> dict[Group, tuple[int, int]]:
    """Bytes received and to be sent by group, listeners left out."""
    found: dict[Group, tuple[int, int]] = {}
    for socket in sockets:
        key = group(socket, listened_on, ports, sockets)
        receive, send = found.get(key, (0, 0))
        if socket.state is not TcpState.LISTEN:
            receive, send = receive + socket.receive_queue, send + socket.send_queue
        found[key] = receive, send
    return found
