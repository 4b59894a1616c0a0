"""One POST to a receiver, as its settings say.

Secrets are read from their files at each use, so that they can be renewed, and appear in no
message; nor does a URL's path, which may be one, nor what the other side answered, which may repeat
one.
"""

import contextlib
import hashlib
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from sockmon.alert.notify.receiver import DeliveryError, RejectedError
from sockmon.alert.settings import HttpSettings, TlsConfig
from sockmon.http import Answer, HttpClient, HttpError, basic_authorization, reason, tls_context

_SECRET_LIMIT = 64 << 10


def identity_of(kind: str, url: str) -> str:
    """Return a name for a receiver that does not contain its URL: some URLs are secrets."""
    return f"{kind}:{hashlib.sha256(url.encode()).hexdigest()[:16]}"


def host_of(url: str) -> str:
    """Return only the host and port: the rest may be a secret."""
    return urlsplit(url).netloc.rpartition("@")[2]


def post(url: str, body: bytes, settings: HttpSettings) -> None:
    """POST JSON; raises DeliveryError unless the answer is 2xx and comes in time."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"Content-Type": "application/json", **_authorization(settings)}
    tls = _context(settings.tls_config) if parts.scheme == "https" else None
    with contextlib.closing(HttpClient(url, settings.timeout, tls)) as client:
        try:
            answer = client.request("POST", target, body, headers)
        except HttpError as error:
            raise DeliveryError(str(error)) from error
    _judge(answer)


def _judge(answer: Answer) -> None:
    status = answer.status
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        origin = _origin(answer.headers.get("Location"))
        raise RejectedError(f"redirects ({status}) to {origin}: not followed")
    if 400 <= status < 500 and status not in (408, 429):
        raise RejectedError(f"answered {answer.status_line}")
    raise DeliveryError(f"answered {answer.status_line}")


def _origin(location: str | None) -> str:
    """Return only the host of a redirect, since the rest may be a secret."""
    try:
        parts = urlsplit(location or "")
        if parts.scheme and parts.hostname:
            return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"
    except ValueError:
        pass
    return "another address"


def _context(tls: TlsConfig) -> ssl.SSLContext:
    try:
        context = tls_context(tls.ca_file)
        if tls.cert_file is not None:
            context.load_cert_chain(tls.cert_file, tls.key_file)
    except (OSError, ssl.SSLError) as error:
        raise DeliveryError(f"tls_config: {reason(error)}") from error
    return context


def _authorization(settings: HttpSettings) -> dict[str, str]:
    if settings.basic_auth is not None:
        secret = _secret("password_file", settings.basic_auth.password_file)
        user = settings.basic_auth.username.encode()
        return {"Authorization": basic_authorization(user, secret)}
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
