"""Who may read what: the rate limit, passwords, and what only this host may see.

One ASGI middleware before every route. Everyone who can connect may read /metrics and health;
anything else shows peers and processes, and is only for clients on this host and for authenticated
ones.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sockmon.web.security.passwords import BusyError, Passwords, basic_credentials
from sockmon.web.security.policy import Policy
from sockmon.web.security.web_config import RateLimit

#: Paths that show neither peers nor processes.
PUBLIC = frozenset({"/metrics", "/-/healthy", "/-/ready"})

#: The key in the ASGI scope's state that says whether the client's certificate is valid.
KNOWN_CLIENT = "known_client"

#: The key there that says that the client is connected to a Unix socket: only this host's can be.
UNIX_CLIENT = "unix_client"

#: Other sites' pages may use nothing of ours, and our page loads nothing from them.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

#: What a proxy adds to say for whom it asks: RFC 7239, RFC 9110, and what the common ones use.
_FORWARDED = re.compile(
    rb"forwarded|via|cdn-loop|(x-)?forwarded-.*|x-original-.*|x-envoy-.*|x-appengine-.*"
    rb"|([a-z-]+-)?(client|connecting|real|remote|user|source)-(ip|ipv6|addr|host)"
)

Headers = Sequence[tuple[bytes, bytes]]


class AccessControl:
    """Passes a request on to `app`, or refuses it; `clock` returns monotonic seconds."""

    def __init__(
        self, app: ASGIApp, policy: Callable[[], Policy], clock: Callable[[], float]
    ) -> None:
        self._app = app
        self._policy = policy
        self._clock = clock
        self._passwords = Passwords()
        self._bucket = TokenBucket(RateLimit(), 0.0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        policy = self._policy()
        added = _headers(policy)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _with(added, message.get("headers", ()))
            await send(message)

        refusal = await self._refusal(scope, policy)
        await (refusal or self._app)(scope, receive, send_with_headers)

    async def _refusal(self, scope: Scope, policy: Policy) -> Response | None:
        now = self._clock()
        if self._bucket.limit != policy.config.rate_limit:
            self._bucket = TokenBucket(policy.config.rate_limit, now)
        if not self._bucket.take(now):
            return _refused(429, "too many requests: see rate_limit in the web configuration")
        if policy.config.basic_auth_users:
            return await self._password_refusal(scope, policy)
        if scope["path"] in PUBLIC or scope["state"].get(KNOWN_CLIENT):
            return None
        return None if is_local(scope) else _refused(403, _FOR_LOCAL_CLIENTS)

    async def _password_refusal(self, scope: Scope, policy: Policy) -> Response | None:
        credentials = basic_credentials(scope["headers"])
        users, client = policy.config.basic_auth_users, _network(scope.get("client"))
        try:
            if credentials and await self._passwords.are_right(users, credentials, client):
                return None
        except BusyError as error:
            return _refused(429 if error.client else 503, f"{error}; try again", retry=True)
        return PlainTextResponse(
            "a user name and a password are required\n",
            status_code=401,
            headers={"WWW-Authenticate": 'Basic realm="sockmon", charset="UTF-8"'},
        )


_FOR_LOCAL_CLIENTS = (
    "Only clients on this host (by localhost or IP address) or authenticated clients may read "
    "this. Use an SSH tunnel, or set up passwords (--web.config.file)."
)


def _refused(status: int, why: str, *, retry: bool = False) -> Response:
    headers = {"Retry-After": "1"} if retry else None
    return PlainTextResponse(f"{why}\n", status_code=status, headers=headers)


@dataclass(slots=True)
class TokenBucket:
    """Gains one token each `limit.interval` seconds, and holds at most `limit.burst`."""

    limit: RateLimit
    at: float
    tokens: float = 0.0

    def __post_init__(self) -> None:
        self.tokens = float(self.limit.burst)

    def take(self, now: float) -> bool:
        """Take a token, if there is one."""
        if not self.limit.interval:
            return True
        gained = (now - self.at) / self.limit.interval
        self.at, self.tokens = now, min(self.limit.burst, self.tokens + gained)
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


def _headers(policy: Policy) -> Headers:
    configured = {
        name: value for name, value in policy.config.http_server_config.headers.items() if value
    }
    return [(k.lower().encode(), v.encode()) for k, v in {**_HEADERS, **configured}.items()]


def _with(added: Headers, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    ours = {name for name, _ in added}
    return [*((name, value) for name, value in headers if name not in ours), *added]


def is_local(scope: Scope) -> bool:
    """Return whether the client is on this host, and asks for itself.

    A proxy does not: it names the client in a header. Nor does a page of another site whose name
    was made to resolve to this host (DNS rebinding): the Host header has that name.
    """
    headers: Headers = scope["headers"]
    return (
        (_is_loopback(scope.get("client")) or UNIX_CLIENT in scope["state"])
        and not any(_FORWARDED.fullmatch(name) for name, _ in headers)
        and _is_local_name(next((value for name, value in headers if name == b"host"), b""))
    )


def _is_local_name(host: bytes) -> bool:
    """Return whether the Host header is localhost or an IP address."""
    name = re.sub(r":\d+$", "", host.decode("latin-1"))
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return name in ("", "localhost")
    return True


def _is_loopback(client: tuple[str, int] | None) -> bool:
    return client is not None and _address(client).is_loopback


def _network(client: tuple[str, int] | None) -> str:
    """Return what a client is counted under: its IPv4 address, or its IPv6 /64."""
    if client is None:
        return ""
    address = _address(client)
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, 64), strict=False))


def _address(client: tuple[str, int]) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(client[0].partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address
