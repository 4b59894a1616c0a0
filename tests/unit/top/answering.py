"""A real HTTP server that answers whatever a test wants."""

import json
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Answering(ThreadingHTTPServer):
    """Answers what it is told to, by path; anything else with 404."""

    daemon_threads = True

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}
        self.status = 200
        self.clock_runs_ahead = 0.0
        self.asked: list[tuple[str, str | None]] = []
        self.connections = 0
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def tells(self, path: str, document: Any) -> None:
        self.bodies[path] = json.dumps(document).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Answering

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["Authorization"]))
        body = self.server.bodies.get(self.path)
        self.send_response(404 if body is None else self.server.status)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def date_time_string(self, timestamp: float | None = None) -> str:
        assert timestamp is None
        return formatdate(time.time() + self.server.clock_runs_ahead, usegmt=True)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its own name
        pass
