"""A server that never closes, as a program: `leaking_server.py ADDRESS PORT CONNECTIONS`.

It accepts that many connections and keeps them until its standard input ends, which the death of
whoever started it brings about too. It prints a line when it listens and one when it has them all.
"""

import socket
import sys

_ACCEPT_WITHIN = 90.0


def main(address: str, port: int, connections: int) -> None:
    """Leak `connections` sockets."""
    with socket.create_server(
        (address, port),
        family=socket.AF_INET6 if ":" in address else socket.AF_INET,
        dualstack_ipv6=address == "::",
    ) as listener:
        listener.settimeout(_ACCEPT_WITHIN)
        _say("listening")
        leaked = [listener.accept() for _ in range(connections)]
        _say(f"leaked {len(leaked)}")
        sys.stdin.read()


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - whoever started the program reads it


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
