"""An HTTP/1.1 client with a limit on everything: time, size, redirects (none), proxies (none).

The standard library's client, given a connection whose every wait ends at one deadline: a socket's
own timeout starts again with each byte that arrives. Errors never repeat what the other side sent.
"""

import base64
import contextlib
import http.client
import io
import math
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO
from urllib.parse import urlsplit

from sockmon import __version__

#: What a kept connection raises when the server has closed it since the last answer.
_CLOSED_MEANWHILE = (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError)


class HttpError(Exception):
    """Why there is no answer: one line, without a URL's path or anything that was received."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer, of any status; `body` is empty if it was not asked for."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def status_line(self) -> str:
        """Return the status with its standard name: "404 Not Found"."""
        return f"{self.status} {http.client.responses.get(self.status, '')}".rstrip()


class HttpClient:
    """One server, and a connection to it while there is one. For one thread."""

    def __init__(self, url: str, timeout: float, tls: ssl.SSLContext | None = None) -> None:
        """Take the server's URL, of which only scheme, host and port count.

        timeout: seconds to connect to each of its addresses, and again for a complete answer.
        tls: whom to trust, and the client's certificate; the system's authorities by default.
        """
        parts = urlsplit(url)
        self._timeout = timeout
        self._host, port = parts.hostname or "", parts.port
        self._tls: ssl.SSLContext | None = None
        if parts.scheme == "https":
            self._tls = tls or tls_context()
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                self._host, port or 443, context=self._tls
            )
        else:
            self._connection = http.client.HTTPConnection(self._host, port or 80)

    def request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        limit: int = 0,
    ) -> Answer:
        """Send one request and return its answer; raises HttpError.

        limit: the largest body that is accepted, in bytes; 0: the body is not read, and the
        connection is closed. A kept connection that the server has closed is opened again, once.
        """
        sent = {"User-Agent": f"sockmon/{__version__}", **(headers or {})}
        if not limit:
            sent["Connection"] = "close"
        kept = self._connection.sock is not None
        try:
            try:
                return self._exchange(method, target, body, sent, limit)
            except _CLOSED_MEANWHILE:
                if not kept:
                    raise
                self.close()
                return self._exchange(method, target, body, sent, limit)
        except TimeoutError as error:
            self.close()
            raise HttpError(f"no complete answer within {self._timeout:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise HttpError(reason(error)) from error
        except HttpError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        self._connection.close()

    def _exchange(
        self, method: str, target: str, body: bytes | None, headers: Mapping[str, str], limit: int
    ) -> Answer:
        line = self._connection.sock
        if line is None:
            line = self._connection.sock = self._connect()
        assert isinstance(line, _Line)
        line.deadline = time.monotonic() + self._timeout
        line.encrypt()
        self._connection.request(method, target, body, headers)
        with self._connection.getresponse() as response:
            answered = _read(response, limit) if limit else b""
            answer = Answer(response.status, response.headers, answered)
        if not limit:
            self.close()
        return answer

    def _connect(self) -> "_Line":
        address = (self._connection.host, self._connection.port)
        try:
            plain = socket.create_connection(address, self._timeout)
        except TimeoutError as error:
            raise HttpError(f"cannot connect within {self._timeout:g} s") from error
        except (OSError, UnicodeError) as error:
            raise HttpError(f"cannot connect: {reason(error)}") from error
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _Line(plain, self._host, self._tls)


def tls_context(ca_file: str | None = None) -> ssl.SSLContext:
    """Trust the authorities in a file, the system's by default; raises OSError and SSLError.

    From Python 3.13 on the default also demands what RFC 5280 asks of authorities, such as a key
    usage. Those that `openssl req -x509` makes lack it, and curl, Go and OpenSSL take them.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def basic_authorization(user: bytes, password: bytes) -> str:
    """Return the value of an Authorization header (RFC 7617)."""
    return "Basic " + base64.b64encode(user + b":" + password).decode()


def reason(error: Exception) -> str:
    """Return in a few words what failed, leaving out what the other side sent."""
    if isinstance(error, http.client.RemoteDisconnected):
        return "it closed the connection without an answer"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    if isinstance(error, UnicodeError):
        return "the host name is not valid"
    return f"its answer is not HTTP ({type(error).__name__})"


def _read(response: http.client.HTTPResponse, limit: int) -> bytes:
    body = bytearray()
    while chunk := response.read1(1 << 16):
        body += chunk
        if len(body) > limit:
            raise HttpError(f"its answer is larger than {limit >> 20} MiB")
    return bytes(body)


class _Line:
    """A connected socket whose every wait ends at `deadline` (monotonic seconds).

    What http.client.HTTPConnection needs of a socket, and no more.
    """

    def __init__(self, plain: socket.socket, host: str, tls: ssl.SSLContext | None) -> None:
        self.deadline = math.inf
        self._socket = plain
        self._host, self._tls = host, tls

    def encrypt(self) -> None:
        """Begin TLS, if that is still to be done."""
        if self._tls is not None:
            tls, self._tls = self._tls, None
            self.wait_until_deadline()
            self._socket = tls.wrap_socket(self._socket, server_hostname=self._host)

    def wait_until_deadline(self) -> None:
        """Let the next wait end at the deadline; raises TimeoutError after it."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)

    def sendall(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            self.wait_until_deadline()
            rest = rest[self._socket.send(rest) :]

    def makefile(self, mode: str) -> IO[bytes]:
        assert mode == "rb"
        return io.BufferedReader(_Reader(self, self._socket))

    def close(self) -> None:
        self._socket.close()


class _Reader(io.RawIOBase):
    """Reads a line's bytes; like socket.makefile(), it keeps the socket open until it is closed."""

    def __init__(self, line: _Line, connected: socket.socket) -> None:
        self._line = line
        self._raw = connected.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]
        self._line.wait_until_deadline()
        return self._raw.readinto(buffer)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._raw.close()
        super().close()
