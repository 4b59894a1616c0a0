"""Asking a daemon over HTTP: one connection that is kept, every wait bounded."""

import contextlib
import http.client
import json
import netrc
import ssl
import time
from base64 import b64encode
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn
from urllib.parse import SplitResult, urlsplit

from sockmon import __version__
from sockmon.client.snapshot import FetchError
from sockmon.clock import now
from sockmon.model.moment import Moment
from sockmon.text import one_line

_TIMEOUT_SECONDS = 5.0
_ANSWER_LIMIT = 32 << 20
#: Clocks that differ by less are taken for one: a header tells the time to the second.
_SAME_CLOCK_SECONDS = 2.0

_FOREIGN = "what answers there is no sockmon daemon"
_HINTS = {
    401: "it wants a name and a password: put them into ~/.netrc",
    403: "it tells this to clients on its own host alone",
    404: _FOREIGN,
}


class Asking:
    """A daemon's address, and a connection to it while there is one."""

    def __init__(self, url: str, timeout: float = _TIMEOUT_SECONDS) -> None:
        """Take the address, and how long to wait (seconds); raises ValueError."""
        self._parts = _address(url)
        self.url = self._parts.geturl()
        self._headers = {"User-Agent": f"sockmon/{__version__}", **_credentials(self._parts)}
        context = ssl.create_default_context() if self._parts.scheme == "https" else None
        self._timeout = timeout
        self._connection = _connection(self._parts, context, timeout)

    def get(self, path: str) -> tuple[Any, Moment]:
        """GET one JSON document, and the moment by the daemon's clock; raises FetchError."""
        try:
            status, date, body = self._exchange(path)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise FetchError(_reason(error, self._timeout)) from error
        except FetchError:
            self.close()
            raise
        received = _daemon_clock(date, now())
        if status != 200:
            _refuse(status, body)
        try:
            return json.loads(body, parse_constant=_refuse_constant), received
        except (ValueError, RecursionError) as error:
            raise FetchError(_FOREIGN) from error

    def close(self) -> None:
        """Hang up; the next get() connects anew."""
        self._connection.close()

    def _exchange(self, path: str) -> tuple[int, str, bytes]:
        """Ask, over a new connection if the daemon has hung up on the old one meanwhile."""
        was_connected = self._connection.sock is not None
        try:
            return self._ask(path)
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            self.close()
            if not was_connected:
                raise
            return self._ask(path)

    def _ask(self, path: str) -> tuple[int, str, bytes]:
        self._connection.request("GET", self._parts.path + path, headers=self._headers)
        with self._connection.getresponse() as answer:
            return answer.status, answer.headers.get("Date", ""), _read(answer, self._timeout)


def _address(url: str) -> SplitResult:
    parts = urlsplit(url.rstrip("/"))
    is_address = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    if not is_address or parts.query or parts.fragment or not url.isprintable() or " " in url:
        raise ValueError("expected http://HOST:PORT or https://HOST:PORT")
    if parts.username is not None:
        raise ValueError("everybody can read a password there: put it into ~/.netrc")
    return parts


def _credentials(parts: SplitResult) -> dict[str, str]:
    """Look into ~/.netrc, as curl --netrc does."""
    found = None
    with contextlib.suppress(OSError, netrc.NetrcParseError):
        found = netrc.netrc().authenticators(parts.hostname or "")
    if found is None:
        return {}
    login, _, password = found
    return {"Authorization": "Basic " + b64encode(f"{login}:{password}".encode()).decode()}


def _connection(
    parts: SplitResult, context: ssl.SSLContext | None, timeout: float
) -> http.client.HTTPConnection:
    host, port = parts.hostname or "", parts.port
    if context is None:
        return http.client.HTTPConnection(host, port, timeout=timeout)
    return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)


def _read(answer: http.client.HTTPResponse, timeout: float) -> bytes:
    """Read within bounds; a socket's own timeout starts anew with every byte that drips."""
    deadline = time.monotonic() + timeout
    body = bytearray()
    while chunk := answer.read1(1 << 16):
        body += chunk
        if len(body) > _ANSWER_LIMIT:
            raise FetchError("its answer has no end")
        if time.monotonic() > deadline:
            raise TimeoutError
    return bytes(body)


def _daemon_clock(date: str, here: Moment) -> Moment:
    """Return the instant on our monotonic clock and the daemon's wall clock."""
    try:
        wall = parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return here
    return here if abs(wall - here.wall) < _SAME_CLOCK_SECONDS else Moment(here.monotonic, wall)


def _refuse(status: int, body: bytes) -> NoReturn:
    said = one_line(body.decode(errors="replace").strip(), 80)
    phrase = f"{status} {http.client.responses.get(status, '')}".rstrip()
    hint = _HINTS.get(status, said)
    raise FetchError(f"it answers {phrase}" + (f": {hint}" if hint else ""))


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _reason(error: Exception, timeout: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no whole answer within {timeout:g} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, OSError):
        return f"cannot ask: {error.strerror or type(error).__name__}"
    return f"its answer is not HTTP ({type(error).__name__})"
