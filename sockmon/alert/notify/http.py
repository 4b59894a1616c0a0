"""One POST, with bounds on everything: time, redirects (none), proxies (none), what is believed.

The standard library's client, in the receiver's own thread. Secrets are read from their files at
each use, so that they can be renewed, and appear in no message: nor does a URL's path, which may be
one, nor what the other side answered, which may repeat one.
"""

import base64
import contextlib
import hashlib
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from sockmon import __version__
from sockmon.alert.notify.receiver import DeliveryError, RejectedError
from sockmon.alert.settings import HttpSettings, TlsConfig

_SECRET_LIMIT = 64 << 10


def identity_of(kind: str, url: str) -> str:
    """Name a receiver by its URL without telling it: some URLs are secrets."""
    return f"{kind}:{hashlib.sha256(url.encode()).hexdigest()[:16]}"


def host_of(url: str) -> str:
    """Name the host and port alone: the rest may be a secret."""
    return urlsplit(url).netloc.rpartition("@")[2]


def post(url: str, body: bytes, settings: HttpSettings) -> None:
    """POST JSON; raises DeliveryError unless the answer is 2xx and comes in time."""
    parts = urlsplit(url)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"sockmon/{__version__}",
        "Connection": "close",
        **_authorization(settings),
    }
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    context = _context(settings.tls_config) if parts.scheme == "https" else None
    connection = _connection(parts, context)
    line = _dialled(connection.host, connection.port, settings.timeout)
    with line, contextlib.closing(connection), _deadline(line, settings.timeout) as late:
        try:
            connection.sock = (
                context.wrap_socket(line, server_hostname=connection.host) if context else line
            )
            connection.request("POST", target, body, headers)
            with connection.getresponse() as answer:
                status, location = answer.status, answer.getheader("Location")
        except (OSError, http.client.HTTPException) as error:
            if not late.is_set() and not isinstance(error, TimeoutError):
                raise DeliveryError(_reason(error)) from error
            late.set()
        if late.is_set():  # hung up on, http.client may take half an answer for a whole one
            raise DeliveryError(f"no whole answer within {settings.timeout:g} s")
        _judge(status, location)


def _judge(status: int, location: str | None) -> None:
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise RejectedError(f"redirects ({status}) to {_origin(location)}: not followed")
    phrase = http.client.responses.get(status, "")
    wanted = f"answered {status} {phrase}".rstrip()
    if 400 <= status < 500 and status not in (408, 429):
        raise RejectedError(wanted)
    raise DeliveryError(wanted)


def _origin(location: str | None) -> str:
    """Of a redirect only who, since the rest may be a secret."""
    try:
        parts = urlsplit(location or "")
        if parts.scheme and parts.hostname:
            return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"
    except ValueError:
        pass
    return "elsewhere"


def _connection(parts: SplitResult, context: ssl.SSLContext | None) -> http.client.HTTPConnection:
    """Return a client that is not connected yet."""
    host = parts.hostname or ""
    if context is not None:
        return http.client.HTTPSConnection(host, parts.port or 443, context=context)
    return http.client.HTTPConnection(host, parts.port or 80)


def _dialled(host: str, port: int, timeout: float) -> socket.socket:
    try:
        return socket.create_connection((host, port), timeout)
    except TimeoutError as error:
        raise DeliveryError(f"cannot connect within {timeout:g} s") from error
    except (OSError, UnicodeError) as error:
        raise DeliveryError(f"cannot connect: {_reason(error)}") from error


@contextlib.contextmanager
def _deadline(connected: socket.socket, seconds: float) -> Iterator[threading.Event]:
    """Hang up when time is over; a socket's own timeout starts anew with every byte that drips."""
    over = threading.Event()
    line = connected.dup()  # TLS takes the other descriptor away

    def hang_up() -> None:
        over.set()
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield over
    finally:
        timer.cancel()
        timer.join()
        line.close()


def _context(tls: TlsConfig) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        if tls.cert_file is not None:
            context.load_cert_chain(tls.cert_file, tls.key_file)
    except (OSError, ssl.SSLError) as error:
        raise DeliveryError(f"tls_config: {_reason(error)}") from error
    return context


def _authorization(settings: HttpSettings) -> dict[str, str]:
    if settings.basic_auth is not None:
        user = settings.basic_auth.username.encode()
        secret = _secret("password_file", settings.basic_auth.password_file)
        pair = base64.b64encode(user + b":" + secret).decode()
        return {"Authorization": f"Basic {pair}"}
    if settings.authorization is not None:
        secret = _secret("credentials_file", settings.authorization.credentials_file)
        if not secret.isascii() or not secret.decode().isprintable():
            raise DeliveryError("credentials_file: not one line of printable ASCII")
        return {"Authorization": f"{settings.authorization.type} {secret.decode()}"}
    return {}


def _secret(key: str, path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            secret = file.read(_SECRET_LIMIT + 1)
    except OSError as error:
        raise DeliveryError(f"{key}: {path}: {error.strerror}") from error
    if len(secret) > _SECRET_LIMIT:
        raise DeliveryError(f"{key}: {path}: too long for a secret")
    secret = secret.rstrip(b"\r\n")
    if not secret:
        raise DeliveryError(f"{key}: {path}: empty")
    return secret


def _reason(error: Exception) -> str:
    """Say in a word what went wrong, leaving out what the other side sent."""
    if isinstance(error, http.client.RemoteDisconnected):
        return "it hung up without an answer"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    if isinstance(error, UnicodeError):
        return "its name makes no sense"
    return f"its answer is not HTTP ({type(error).__name__})"
