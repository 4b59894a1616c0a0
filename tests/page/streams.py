"""A real client of /api/v1/events, byte by byte."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from tests.lab import PATIENCE, NetNs
from tests.running import PORT

_REQUEST = "GET /api/v1/events{} HTTP/1.1\r\nHost: localhost\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer that goes on; `status` and `headers` are what it began with."""

    connection: socket.socket
    incoming: BinaryIO
    status: int
    headers: dict[str, str]

    def event(self) -> tuple[str, Any]:
        """Return the next event: its name and its data."""
        name, data = "", ""
        for line in self._lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                data += line.removeprefix("data: ")
            elif not line and name:
                return name, json.loads(data)
        raise EOFError

    def next(self, name: str) -> Any:
        """Return the data of the next event of this name."""
        while True:
            told, data = self.event()
            if told == name:
                return data

    def _lines(self) -> Iterator[str]:
        """Undo the chunks: one event is never told in two, but a line of sizes stands between."""
        while size := int(self.incoming.readline() or b"0", 16):
            chunk = self.incoming.read(size)
            self.incoming.readline()
            yield from chunk.decode().split("\n")[:-1]


@contextmanager
def listening(netns: NetNs, query: str = "") -> Iterator[Stream]:
    """Ask, and read what the answer begins with."""
    with netns.socket() as connection:
        connection.settimeout(PATIENCE)
        connection.connect(("127.0.0.1", PORT))
        connection.sendall(_REQUEST.format(query).encode())
        with connection.makefile("rb") as incoming:
            status = int(incoming.readline().split()[1])
            headers = {}
            while line := incoming.readline().strip().decode():
                key, _, value = line.partition(": ")
                headers[key.lower()] = value
            yield Stream(connection, incoming, status, headers)
