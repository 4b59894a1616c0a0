"""Asks a running daemon for the documents of its HTTP API."""

import contextlib
import json
import netrc
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn
from urllib.parse import SplitResult, urlsplit

from sockmon.client.snapshot import FetchError
from sockmon.clock import now
from sockmon.http import Answer, HttpClient, HttpError, basic_authorization
from sockmon.model.moment import Moment
from sockmon.text import one_line

_TIMEOUT_SECONDS = 5.0
_ANSWER_LIMIT = 32 << 20
#: Clocks that differ by less count as the same: a Date header has whole seconds.
_SAME_CLOCK_SECONDS = 2.0

NOT_SOCKMON = "the server there is not a sockmon daemon"
_HINTS = {
    401: "it needs a user name and a password: put them into ~/.netrc",
    403: "it shows this only to clients on its own host",
    404: NOT_SOCKMON,
}


class DaemonApi:
    """A daemon's address, and a connection to it while there is one. For one thread."""

    def __init__(
        self, url: str, timeout: float = _TIMEOUT_SECONDS, *, send_password: bool = True
    ) -> None:
        """Take the address, and how long to wait (seconds); raises ValueError.

        send_password: the one that ~/.netrc has for the host. Never for an address that the user
        did not name: any local user may listen on a port where no daemon does.
        """
        self._parts = _address(url)
        self.url = self._parts.geturl()
        self._headers = _credentials(self._parts) if send_password else {}
        self._client = HttpClient(self.url, timeout)

    def get(self, path: str) -> tuple[Any, Moment]:
        """GET one JSON document, and the time of it by the daemon's clock; raises FetchError."""
        target = self._parts.path + path
        try:
            answer = self._client.request("GET", target, headers=self._headers, limit=_ANSWER_LIMIT)
        except HttpError as error:
            raise FetchError(str(error)) from error
        received = _daemon_clock(answer.headers.get("Date", ""), now())
        if answer.status != 200:
            _refuse(answer)
        try:
            return json.loads(answer.body, parse_constant=_refuse_constant), received
        except (ValueError, RecursionError) as error:
            raise FetchError(NOT_SOCKMON) from error

    def close(self) -> None:
        """Close the connection; the next get() opens another."""
        self._client.close()


def _address(url: str) -> SplitResult:
    parts = urlsplit(url.rstrip("/"))
    is_address = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    if not is_address or parts.query or parts.fragment or not url.isprintable() or " " in url:
        raise ValueError("expected http://HOST:PORT or https://HOST:PORT")
    if parts.username is not None:
        raise ValueError("every user can read a password there: put it into ~/.netrc")
    return parts


def _credentials(parts: SplitResult) -> dict[str, str]:
    """Look into ~/.netrc, as curl --netrc does."""
    found = None
    with contextlib.suppress(OSError, netrc.NetrcParseError):
        found = netrc.netrc().authenticators(parts.hostname or "")
    if found is None:
        return {}
    login, _, password = found
    return {"Authorization": basic_authorization(login.encode(), password.encode())}


def _daemon_clock(date: str, here: Moment) -> Moment:
    """Return the same instant on our monotonic clock and on the daemon's wall clock."""
    try:
        wall = parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return here
    return here if abs(wall - here.wall) < _SAME_CLOCK_SECONDS else Moment(here.monotonic, wall)


def _refuse(answer: Answer) -> NoReturn:
    said = one_line(answer.body.decode(errors="replace").strip(), 80)
    hint = _HINTS.get(answer.status, said)
    raise FetchError(f"it answers {answer.status_line}" + (f": {hint}" if hint else ""))


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
