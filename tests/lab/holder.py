"""A program that holds sockets in some way, until its standard input ends: `holder.py WHAT COUNT`.

It prints a line when they stand: its port, and the PIDs of its children.
"""

import os
import resource
import socket
import struct
import subprocess
import sys
import tempfile
import time

LOCALHOST = "127.0.0.1"
#: A descriptor of in_the_kernel(): who opens it for writing lets the process go on.
GATE = 99
Pair = tuple[socket.socket, socket.socket]


def _listen(address: str = LOCALHOST, port: int = 0) -> socket.socket:
    return socket.create_server((address, port), backlog=128)


def _pairs(listener: socket.socket, count: int) -> list[Pair]:
    """Connections: the client's end, and the server's."""
    made = []
    for _ in range(count):
        client = socket.create_connection(listener.getsockname())
        made.append((client, listener.accept()[0]))
    return made


def _leak(listener: socket.socket, count: int) -> list[socket.socket]:
    """The client sends, and closes; the server does nothing."""
    pairs = _pairs(listener, count)
    for client, _ in pairs:
        client.sendall(b"request")
        client.close()
    return [server for _, server in pairs]


def inherited(count: int) -> tuple[object, ...]:
    """A leak that a child, another program, has inherited."""
    listener = _listen()
    leaked = _leak(listener, count)
    return listener, leaked, *_child(leaked)


def joined(count: int) -> tuple[object, ...]:
    """The same, but the child is started only after a line was read."""
    listener = _listen()
    leaked = _leak(listener, count)
    _say(listener, ())
    sys.stdin.readline()
    return listener, leaked, *_child(leaked)


def _child(leaked: list[socket.socket]) -> tuple[subprocess.Popen[bytes], int]:
    """Start a child that ends when this process does; return it when it has its own name."""
    shared = [sock.fileno() for sock in leaked]
    child = subprocess.Popen(
        ["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, pass_fds=shared
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(b"there")
    child.stdout.read(1)
    return child, child.pid


def many_ports(count: int) -> tuple[object, ...]:
    """A client's connections to as many ports, each of a server that has closed and gone.

    Two have the same local port, as the kernel's choice makes it among a hundred.
    """
    kept = []
    listeners = [_listen() for _ in range(count)]  # all at once: no port is given twice
    clients = [socket.socket() for _ in range(count)]
    for client in clients[:2]:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind(clients[0].getsockname() if client is clients[1] else (LOCALHOST, 0))
    for listener, client in zip(listeners, clients, strict=True):
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        server.sendall(b"listing")
        client.recv(100)
        server.close()
        listener.close()
        kept.append(client)
    return (None, kept)


def pool(count: int) -> tuple[object, ...]:
    """A client's idle connections, all closed by the server after it had answered."""
    listener = _listen()
    pairs = _pairs(listener, count)
    for client, server in pairs:
        server.sendall(b"answer")
        client.recv(100)
        server.close()
    return listener, pairs


def half_closed(count: int) -> tuple[object, ...]:
    """Clients that have sent a job and wait; the server has read to the end, and computes."""
    listener = _listen()
    pairs = _pairs(listener, count)
    for client, server in pairs:
        client.sendall(b"job")
        client.shutdown(socket.SHUT_WR)
        while server.recv(100):
            pass
    return listener, pairs


def two_services(count: int) -> tuple[object, ...]:
    """Two processes on one port, at two addresses: this one leaks `count`, its child 5 more."""
    listener = _listen()
    other = _listen("127.0.0.2", listener.getsockname()[1])
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        listener.close()
        os.close(theirs)
        kept = _leak(other, count + 5)
        os.read(ours, 1)
        os._exit(len(kept) and 0)
    other.close()
    os.close(ours)
    return listener, _leak(listener, count), os.fdopen(theirs, "wb"), child


def descriptors(count: int) -> tuple[object, ...]:
    """A client that opens a connection after the other, up to a limit of `count` descriptors."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))
    listener = _listen()
    kept: list[Pair] = []
    try:
        while True:
            kept += _pairs(listener, 1)
    except OSError:
        return listener, kept


def growing(count: int) -> tuple[object, ...]:
    """The same, slowly: two a second, with a line printed before the first."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))
    listener = _listen()
    _say(listener, ())
    kept: list[Pair] = []
    try:
        while True:
            kept += _pairs(listener, 1)
            time.sleep(1)
    except OSError:
        return listener, kept


def in_the_kernel(count: int) -> tuple[object, ...]:
    """A leak of a process in state D: its child, made by vfork(), waits for a writer at GATE."""
    listener = _listen()
    leaked = _leak(listener, count)
    with tempfile.TemporaryDirectory() as directory:
        os.mkfifo(f"{directory}/gate")
        os.dup2(os.open(f"{directory}/gate", os.O_RDONLY | os.O_NONBLOCK), GATE)
    _say(listener, ())
    opens = (os.POSIX_SPAWN_OPEN, 0, f"/proc/self/fd/{GATE}", os.O_RDONLY, 0)
    os.posix_spawn("/bin/true", ["true"], os.environ, file_actions=[opens])
    return listener, leaked


def closed(count: int) -> tuple[object, ...]:
    """Connections whose peers have reset them: the kernel has closed them, the server has not."""
    listener = _listen()
    pairs = _pairs(listener, count)
    for client, _ in pairs:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    return listener, [server for _, server in pairs]


def _say(listener: object, children: tuple[int, ...]) -> None:
    port = listener.getsockname()[1] if isinstance(listener, socket.socket) else 0
    print(port, *children, flush=True)  # noqa: T201 - whoever started the program reads it


def main(what: str, count: int) -> None:
    """Hold `count` sockets in the way that is named `what`."""
    made = globals()[what](count)
    _say(made[0], tuple(part for part in made[2:] if isinstance(part, int)))
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
