"""One maker of sockets: a process that obeys lines on standard input and dies at their end.

`hold N` opens N loopback connections and keeps both ends of each, `drop N` resets N of these;
`time_wait N` opens N and closes them at once, one side first; `leak N` opens N, closes the client's
end of each and keeps the server's, which is in CLOSE_WAIT from then on. Each is answered with
`done`.
"""

import itertools
import resource
import socket
import struct
import sys
import time
from collections.abc import Iterator

MAX_DESCRIPTORS = 18_000
MAX_LISTENERS = 500
CONNECTIONS = (MAX_DESCRIPTORS - MAX_LISTENERS - 20) // 2  # that one worker can hold
FIRST_PORT = 7000
SOURCES = 64  # client addresses of one worker

IP_BIND_ADDRESS_NO_PORT = 24  # <linux/in.h>; Python names it from 3.12 on
FIN_ANSWERED_SECONDS = 0.2  # longer than the kernel holds back an ACK
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: leaves nothing in time-wait


def listen(number: int, port: int) -> socket.socket:
    """Listen on this worker's address: odd workers dual-stack, as many servers do.

    What a dual-stack listener accepts are AF_INET6 sockets with v4-mapped addresses.
    """
    if number % 2:
        listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((f"::ffff:127.0.{number}.1", port))
    else:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.bind((f"127.0.{number}.1", port))
    listener.listen()
    return listener


def connections(
    number: int, listeners: list[socket.socket]
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Connect without end, from every source to every port in turn; both ends of each."""
    sources = [f"127.0.{number}.{host}" for host in range(2, 2 + SOURCES)]
    for source, listener in itertools.cycle(itertools.product(sources, listeners)):
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        client.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        client.bind((source, 0))
        client.connect((f"127.0.{number}.1", listener.getsockname()[1]))
        yield client, listener.accept()[0]


def close_each(connections: Iterator[tuple[socket.socket, socket.socket]]) -> None:
    """Close both ends, the client's first at every second connection."""
    for turn, (client, server) in enumerate(connections):
        first, last = (client, server) if turn % 2 else (server, client)
        first.close()
        last.close()


def reset(client: socket.socket, server: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    client.close()
    server.close()


def leak(connections: Iterator[tuple[socket.socket, socket.socket]]) -> list[socket.socket]:
    """Return the servers' ends; the clients' end in two steps, which the servers cannot answer.

    A client that closes at once may be reset instead, and its server with it: the kernel does so
    when the answer to its FIN comes while close() is still at work (net/ipv4/tcp_input.c).
    """
    clients, servers = [], []
    for client, server in connections:
        client.shutdown(socket.SHUT_WR)
        clients.append(client)
        servers.append(server)
    time.sleep(FIN_ANSWERED_SECONDS)
    for client in clients:
        client.close()
    return servers


def main() -> None:
    number, ports, first_port = map(int, sys.argv[1:])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (MAX_DESCRIPTORS, max(hard, MAX_DESCRIPTORS)))
    listeners = [listen(number, port) for port in range(first_port, first_port + ports)]
    endless = connections(number, listeners)
    held: list[tuple[socket.socket, socket.socket]] = []
    leaked: list[socket.socket] = []
    for line in sys.stdin:
        order, count = line.split()
        wanted = itertools.islice(endless, int(count))
        if order == "hold":
            held.extend(wanted)
        elif order == "drop":
            for _ in range(int(count)):
                reset(*held.pop())
        elif order == "leak":
            leaked.extend(leak(wanted))
        else:
            close_each(wanted)
        print("done", flush=True)


if __name__ == "__main__":
    main()
