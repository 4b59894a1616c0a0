"""The experiments of DIAGNOSIS.md: conditions that are trouble, or only look like it.

Those that are drills too come from `sockmon.drill.lab.conditions`. Those that hold one state still,
and no more, are in `states`:

- fin-wait2: `states.fin_wait2`
- time-wait, closed first by client or server: `states.time_wait(closed_first_by=...)`
- syn-sent, the SYN lost: `states.syn_sent`
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sockmon.drill.lab.addresses import AddressKind, Direction, TcpState
from sockmon.drill.lab.conditions import (
    REQUEST,
    PortExhaustion,
    full_queue,
    half_close,
    last_ack,
    port_exhaustion,
    unclosed,
    vanished_peers,
)
from sockmon.drill.lab.held_sockets import Held, held_connections, settled
from sockmon.drill.lab.netns import NetNs
from sockmon.drill.lab.sockets import (
    close_in_turn,
    connected,
    connections,
    reset_on_close,
    service_address,
)

__all__ = [
    "LeakingProcess",
    "PortExhaustion",
    "full_queue",
    "half_close",
    "last_ack",
    "linger_zero",
    "orderly_close",
    "port_exhaustion",
    "process_killed",
    "rebind",
    "unclosed",
    "vanished_peers",
]


@contextmanager
def orderly_close(
    netns: NetNs, kind: AddressKind = AddressKind.IPV4, count: int = 1
) -> Iterator[Held]:
    """The same client, and the server as it should be: it reads to the end of file and closes."""
    with connections(netns, netns, kind, count) as made:
        for client, server in made.pairs():
            client.sendall(REQUEST)
            close_in_turn(client, server)
        yield held_connections(
            netns, made, Direction.OUTBOUND, {Direction.OUTBOUND: TcpState.TIME_WAIT}
        )


@contextmanager
def linger_zero(
    netns: NetNs, kind: AddressKind = AddressKind.IPV4, count: int = 1
) -> Iterator[Held]:
    """The client closes with SO_LINGER (1, 0): a reset, and nothing is left but the listener.

    `peers` are the server's ends, whose next read fails with ECONNRESET.
    """
    with connections(netns, netns, kind, count) as made:
        for client in made.clients:
            reset_on_close(client)
            client.close()
        yield settled(
            Held(
                netns,
                Direction.INBOUND,
                TcpState.LISTEN,
                (made.port,),
                {(Direction.INBOUND, TcpState.LISTEN): 1},
                sockets=(made.listener,),
                peers=made.servers,
            )
        )


@contextmanager
def rebind(netns: NetNs, kind: AddressKind = AddressKind.IPV4, count: int = 1) -> Iterator[Held]:
    """The server has closed its connections first, and then its listener: it wants to restart.

    While they are in TIME_WAIT, bind() to the port fails with EADDRINUSE, but for a socket with
    SO_REUSEADDR (which the closed listener had too: both need it).
    """
    with connections(netns, netns, kind, count) as made:
        for client, server in made.pairs():
            close_in_turn(server, client)
        made.listener.close()
        expected = {(Direction.INBOUND, TcpState.TIME_WAIT): count}
        yield settled(Held(netns, Direction.INBOUND, TcpState.TIME_WAIT, (made.port,), expected))


@dataclass(frozen=True, slots=True)
class LeakingProcess:
    """A process of its own that holds CLOSE_WAIT."""

    held: Held
    process: subprocess.Popen[str]

    def kill(self) -> None:
        """Kill it (SIGKILL), and wait until it is gone."""
        self.process.kill()
        self.process.wait()


@contextmanager
def process_killed(
    netns: NetNs, kind: AddressKind = AddressKind.IPV4, count: int = 1
) -> Iterator[LeakingProcess]:
    """`unclosed` with the server in a process of its own, to be killed by the body."""
    address, port = service_address(kind)
    program = Path(__file__).with_name("leaking_server.py")
    argv = [sys.executable, "-I", str(program), address, str(port), str(count)]
    with netns.popen(argv) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for _ in range(count):
            with connected(netns, kind, port) as client:
                client.sendall(REQUEST)
        process.stdout.readline()
        expected = {
            (Direction.INBOUND, TcpState.LISTEN): 1,
            (Direction.INBOUND, TcpState.CLOSE_WAIT): count,
            (Direction.OUTBOUND, TcpState.FIN_WAIT2): count,
        }
        held = settled(Held(netns, Direction.INBOUND, TcpState.CLOSE_WAIT, (port,), expected))
        yield LeakingProcess(held, process)
