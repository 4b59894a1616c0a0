"""HTTP clients of the cases, in processes of their own."""

import contextlib
import signal
import threading

from tests.cases.stage import Stage, connect, every


def get(port: int, timeout: float, path: str = "/", address: str = "127.0.0.1") -> None:
    """Ask once, and wait for the answer so many seconds at most."""
    with contextlib.suppress(OSError), connect(port, address) as client:
        client.settimeout(timeout)
        client.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        client.recv(1000)


def get_for_ever(port: int) -> None:
    """Ask again and again, each time by a new connection."""
    while True:
        get(port, 3600.0)


def ask(stage: Stage, port: int, count: int, timeout: float = 3600.0) -> None:
    """So many clients ask at once."""

    def clients() -> None:
        for _ in range(count):
            threading.Thread(target=get, args=(port, timeout), daemon=True).start()
        signal.pause()

    stage.child(clients)


def ask_often(stage: Stage, port: int, seconds: float, timeout: float) -> None:
    """A client asks every so many seconds, whether or not those before were answered."""

    def clients() -> None:
        for _ in every(seconds):
            threading.Thread(target=get, args=(port, timeout), daemon=True).start()

    stage.child(clients)
