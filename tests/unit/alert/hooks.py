"""Real HTTP servers that take alerts, or do what servers do on a bad day."""

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Hook:
    """What it was asked, and how it answers: change `status` and `delay` at any time."""

    url: str = ""
    status: int = 200
    delay: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)
    bodies: list[Any] = field(default_factory=list)
    asked: list[Mapping[str, str]] = field(default_factory=list)

    def told(self) -> list[tuple[str, str]]:
        """(status, port) of each alert taken, as a webhook is told them."""
        return [
            (alert["status"], alert["labels"]["port"])
            for body in self.bodies
            for alert in body["alerts"]
        ]


@contextmanager
def hook(listener: socket.socket | None = None, **answers: Any) -> Iterator[Hook]:
    """Serve until the context is left, on a port of its own or this listener."""
    kept = Hook(**answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.asked.append({"path": self.path, **dict(self.headers.items())})
            time.sleep(kept.delay)
            if kept.status == 200:
                kept.bodies.append(json.loads(body))
            self.send_response(kept.status)
            for name, value in kept.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its own name
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a client that hung up

    server = Server(("127.0.0.1", 0), Handler, bind_and_activate=listener is None)
    if listener is not None:
        server.socket.close()
        server.socket = listener
    kept.url = f"http://127.0.0.1:{server.socket.getsockname()[1]}/hook"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def talker(*words: bytes, every: float = 0.0) -> Iterator[str]:
    """A server that says these words to whoever connects, whatever is asked; yields its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.recv(65536)
                    for word in words:
                        connection.sendall(word)
                        if over.wait(every):
                            return
                except OSError:
                    continue

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/secret-path?key=hunter2"
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
