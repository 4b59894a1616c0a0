"""One maker of sockets: a process that obeys lines on standard input and dies at their end.

`hold N` opens N loopback connections and keeps both ends of each; `time_wait N` opens N and
closes them at once, one side first. Either is answered with `done`.
"""

import itertools
import resource
import socket
import sys
from collections.abc import Iterator

MAX_DESCRIPTORS = 18_000
MAX_LISTENERS = 500
CONNECTIONS = (MAX_DESCRIPTORS - MAX_LISTENERS - 20) // 2  # that one worker can hold
FIRST_PORT = 7000
SOURCES = 64  # client addresses of one worker

IP_BIND_ADDRESS_NO_PORT = 24  # <linux/in.h>; Python names it from 3.12 on


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
    """Connect for ever, from every source to every port in turn; both ends of each."""
    sources = [f"127.0.{number}.{host}" for host in range(2, 2 + SOURCES)]
    for source, listener in itertools.cycle(itertools.product(sources, listeners)):
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        client.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        client.bind((source, 0))
        client.connect((f"127.0.{number}.1", listener.getsockname()[1]))
        yield client, listener.accept()[0]


def main() -> None:
    number, ports = int(sys.argv[1]), int(sys.argv[2])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (MAX_DESCRIPTORS, max(hard, MAX_DESCRIPTORS)))
    listeners = [listen(number, port) for port in range(FIRST_PORT, FIRST_PORT + ports)]
    endless = connections(number, listeners)
    held: list[tuple[socket.socket, socket.socket]] = []
    for line in sys.stdin:
        order, count = line.split()
        wanted = itertools.islice(endless, int(count))
        if order == "hold":
            held.extend(wanted)
        else:
            for turn, (client, server) in enumerate(wanted):
                first, last = (client, server) if turn % 2 else (server, client)
                first.close()
                last.close()
        print("done", flush=True)


if __name__ == "__main__":
    main()
