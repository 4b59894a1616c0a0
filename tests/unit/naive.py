"""The model once more, in plain Python, one socket at a time."""

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Literal

from sockmon.model.limits import PortRange
from sockmon.model.states import TcpState
from tests.unit.strategies import Socket

Group = tuple[Literal["inbound", "outbound"], int]


def listened(sockets: Iterable[Socket]) -> set[int]:
    """Ports listened on."""
    return {socket.local_port for socket in sockets if socket.state is TcpState.LISTEN}


def group(socket: Socket, listened_on: Collection[int], ports: PortRange) -> Group:
    """The rule of directions."""
    if socket.local_port in listened_on:
        return "inbound", socket.local_port
    outside = not ports.low <= socket.local_port <= ports.high
    if outside and ports.low <= socket.remote_port <= ports.high:
        return "inbound", socket.local_port
    return "outbound", socket.remote_port


def counts(
    sockets: Iterable[Socket], listened_on: Collection[int], ports: PortRange
) -> dict[Group, Counter[TcpState]]:
    """Sockets by group and state."""
    found: dict[Group, Counter[TcpState]] = {}
    for socket in sockets:
        found.setdefault(group(socket, listened_on, ports), Counter())[socket.state] += 1
    return found


def queues(
    sockets: Iterable[Socket], listened_on: Collection[int], ports: PortRange
) -> dict[Group, tuple[int, int]]:
    """Bytes received and to be sent by group, listeners left out."""
    found: dict[Group, tuple[int, int]] = {}
    for socket in sockets:
        key = group(socket, listened_on, ports)
        receive, send = found.get(key, (0, 0))
        if socket.state is not TcpState.LISTEN:
            receive, send = receive + socket.receive_queue, send + socket.send_queue
        found[key] = receive, send
    return found
