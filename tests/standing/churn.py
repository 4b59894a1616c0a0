"""What keeps a host busy during a soak: python -m tests.standing.churn KIND, until it is ended."""

import ctypes
import itertools
import os
import resource
import socket
import struct
import sys
import time
from collections import deque

#: sched.h
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_RESET = struct.pack("ii", 1, 0)


def idle() -> None:
    """Many connections at rest, so that the table is large; nobody accepts them."""
    most = min(12_000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100)
    listener = socket.create_server(("127.0.0.1", 8080), backlog=60_000)
    held = [listener]
    held += [socket.create_connection(("127.0.0.1", 8080)) for _ in range(most)]
    print(len(held), flush=True)
    time.sleep(1e9)


def connections() -> None:
    """A hundred connections a second that end in order, so that TIME_WAIT fills."""
    with socket.create_server(("127.0.0.2", 8081), backlog=1000) as listener:
        while True:
            with socket.create_connection(("127.0.0.2", 8081)) as client:
                served, _ = listener.accept()
                client.close()
                served.close()
            time.sleep(0.01)


def listeners() -> None:
    """Ten listening ports a second that nobody has used before, each with some connections."""
    held: deque[tuple[float, list[socket.socket]]] = deque()
    for number in itertools.count():
        port = 1100 + number % 31_000
        made = [socket.create_server(("127.0.0.3", port), backlog=64)]
        for _ in range(10):
            made.append(socket.create_connection(("127.0.0.3", port), 5))
            made.append(made[0].accept()[0])
        held.append((time.monotonic(), made))
        while held and time.monotonic() - held[0][0] > 6:
            for each in held.popleft()[1]:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                each.close()
        time.sleep(0.1)


def namespaces() -> None:
    """Three network namespaces a second, each with a listener, for two seconds each; of nobody."""
    libc = ctypes.CDLL(None, use_errno=True)
    living: deque[int] = deque()
    while True:
        pid = os.fork()
        if pid == 0:
            if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0:
                with socket.create_server(("", 80)):
                    time.sleep(2)
            os._exit(0)
        living.append(pid)
        while living and os.waitpid(living[0], os.WNOHANG)[0]:
            living.popleft()
        time.sleep(1 / 3)


KINDS = {each.__name__: each for each in (idle, connections, listeners, namespaces)}

if __name__ == "__main__":
    if sys.argv[1] == "namespaces" and os.getuid() == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
    KINDS[sys.argv[1]]()
