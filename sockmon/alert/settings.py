"""The configuration of alerting, with the keys of Prometheus's and Alertmanager's files."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from annotated_types import Ge, Le

from sockmon.alert.labels import IDENTITY
from sockmon.config.fields import _STRICT, AbsolutePath, Checked, Seconds

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, an authentication scheme


def _is_url(text: str) -> None:
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("a URL has no spaces and only ASCII: percent-encode the rest")
    try:
        url = urlsplit(text)
        port, host = url.port, url.hostname
    except ValueError:
        raise ValueError("not a URL: its host or port is not valid") from None
    if url.scheme not in ("http", "https") or not host or port == 0:
        raise ValueError("expected a URL such as http://alertmanager.example:9093")
    if "@" in url.netloc:
        raise ValueError("a URL must not contain credentials: use basic_auth or authorization")
    if url.fragment:
        raise ValueError("a URL to send to has no #fragment")


def _is_base_url(text: str) -> None:
    _is_url(text)
    if "?" in text:
        raise ValueError("expected Alertmanager's base URL, without a query")


def _are_different(urls: tuple[str, ...]) -> None:
    if len({url.rstrip("/") for url in urls}) < len(urls):
        raise ValueError("the same URL twice")


def _is_scheme(text: str) -> None:
    if not _TOKEN.fullmatch(text):
        raise ValueError("expected one word such as Bearer")
    if text.lower() == "basic":
        raise ValueError("for Basic use basic_auth")


def _is_user_name(text: str) -> None:
    if ":" in text or not text.isprintable():
        raise ValueError("a user name has no colon and no control characters")


def _are_labels(labels: Mapping[str, str]) -> None:
    for name, value in labels.items():
        if not _LABEL_NAME.fullmatch(name) or name.startswith("__"):
            raise ValueError(f"{name!r} is not a label name: only letters, digits and _")
        if name in IDENTITY:
            raise ValueError(f"{name!r} is sockmon's own label: choose another name")
        if not value:
            raise ValueError(f"{name!r} has no value: Prometheus drops a label with an empty value")


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """A user name, and the file that holds the password (read at each use)."""

    __pydantic_config__: ClassVar = _STRICT

    username: Annotated[str, Checked(_is_user_name)]
    password_file: AbsolutePath


@dataclass(frozen=True, slots=True)
class Authorization:
    """The Authorization header: its scheme, and the file that holds the rest (read at each use)."""

    __pydantic_config__: ClassVar = _STRICT

    credentials_file: AbsolutePath
    type: Annotated[str, Checked(_is_scheme)] = "Bearer"


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """Authorities to trust instead of the system's, and our own certificate."""

    __pydantic_config__: ClassVar = _STRICT

    ca_file: AbsolutePath | None = None
    cert_file: AbsolutePath | None = None
    key_file: AbsolutePath | None = None

    def __post_init__(self) -> None:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """How to connect to any receiver."""

    __pydantic_config__: ClassVar = _STRICT

    timeout: Annotated[Seconds, Ge(0.1), Le(300)] = 10.0
    basic_auth: BasicAuth | None = None
    authorization: Authorization | None = None
    tls_config: TlsConfig = field(default_factory=TlsConfig)

    def __post_init__(self) -> None:
        if self.basic_auth is not None and self.authorization is not None:
            raise ValueError("basic_auth and authorization exclude each other")


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertmanagerSettings(HttpSettings):
    """Every Alertmanager is sent every alert, as the members of a cluster expect."""

    __pydantic_config__: ClassVar = _STRICT

    urls: Annotated[tuple[Annotated[str, Checked(_is_base_url)], ...], Checked(_are_different)] = ()
    resend_delay: Annotated[Seconds, Ge(1), Le(3600)] = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings(HttpSettings):
    """Each URL is sent each alert once when it begins to fire, changes severity or is resolved."""

    __pydantic_config__: ClassVar = _STRICT

    urls: Annotated[tuple[Annotated[str, Checked(_is_url)], ...], Checked(_are_different)] = ()
    send_resolved: bool = True


@dataclass(frozen=True, slots=True)
class Alerting:
    """Who is notified of alerts besides the log, and labels that every alert has."""

    __pydantic_config__: ClassVar = _STRICT

    alertmanager: AlertmanagerSettings = field(default_factory=AlertmanagerSettings)
    webhook: WebhookSettings = field(default_factory=WebhookSettings)
    labels: Annotated[Mapping[str, str], Checked(_are_labels)] = field(default_factory=dict)
