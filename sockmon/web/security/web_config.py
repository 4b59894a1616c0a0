"""The file of --web.config.file, in the form of Prometheus' exporter-toolkit (its
docs/web-configuration.md): TLS, client certificates, passwords, headers, a rate limit.

Settings that Python's TLS cannot apply as the toolkit does are refused if the result would be
weaker, and accepted silently if it makes no difference: see
docs/decisions/0011-tls-and-authentication.md.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge

from sockmon.config import load
from sockmon.config.fields import Checked
from sockmon.config.load import ConfigError, Mistake
from sockmon.durations import parse_duration

_STRICT: dict[str, object] = {"extra": "forbid", "strict": True}

#: Go's cipher suites and OpenSSL's names; those of TLS 1.3 cannot be chosen, in Go either.
CIPHERS: Mapping[str, str | None] = {
    "TLS_AES_128_GCM_SHA256": None,
    "TLS_AES_256_GCM_SHA384": None,
    "TLS_CHACHA20_POLY1305_SHA256": None,
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
}

#: Go's curves and OpenSSL's names; OpenSSL from 3.5 on also has _POST_QUANTUM, by default.
CURVES: Mapping[str, str] = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}
_POST_QUANTUM = "X25519MLKEM768"

#: Headers that may be set, and the values they may have (none named: any).
HEADERS: Mapping[str, tuple[str, ...]] = {
    "Content-Security-Policy": (),
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
}

#: bcrypt costs: from the first on a check takes seconds; above the second, over half a minute.
SLOW_COST, HIGHEST_COST = 15, 18

_BCRYPT = re.compile(r"\$2[aby]\$(?P<cost>[0-9]{2})\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")


@dataclass(frozen=True, slots=True)
class _Parsed:
    """Marks a field that `parse` converts from YAML; `parse` raises ValueError."""

    parse: Callable[[object], Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Parse (pydantic's protocol)."""
        from pydantic_core import core_schema  # noqa: PLC0415 - only a loaded file needs it

        return core_schema.no_info_plain_validator_function(self.parse)


def _interval(value: object) -> float:
    return 0.0 if value in (0, "0") else parse_duration(value)


def _text(value: object) -> str:
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)
    raise ValueError("expected text: put it in quotes")


def _is_given(value: object) -> None:
    if value is None:
        raise ValueError("expected keys and values: leave the key out for no TLS")


@dataclass(frozen=True, slots=True)
class TlsServerConfig:
    """The server's certificate, and which clients it admits; texts are PEM, empty if not given."""

    __pydantic_config__: ClassVar = _STRICT

    cert: str = ""
    key: str = field(default="", repr=False)
    client_ca: str = ""
    cert_file: str = ""
    key_file: str = ""
    client_ca_file: str = ""
    client_auth_type: Literal[
        "",
        "NoClientCert",
        "RequestClientCert",
        "RequireClientCert",
        "RequireAnyClientCert",
        "VerifyClientCertIfGiven",
        "RequireAndVerifyClientCert",
    ] = ""
    client_allowed_sans: tuple[str, ...] | None = None
    min_version: Literal["TLS12", "TLS13"] = "TLS12"
    max_version: Literal["TLS12", "TLS13"] = "TLS13"
    cipher_suites: tuple[str, ...] = ()
    prefer_server_cipher_suites: bool = True
    curve_preferences: tuple[str, ...] = ()

    @property
    def requires_clients(self) -> bool:
        """Whether a client without a valid certificate is refused."""
        return self.client_auth_type == "RequireAndVerifyClientCert"

    @property
    def verifies_clients(self) -> bool:
        """Whether a client's certificate is verified."""
        return self.requires_clients or self.client_auth_type == "VerifyClientCertIfGiven"


@dataclass(frozen=True, slots=True)
class HttpServerConfig:
    """Headers for every answer. http2 has no effect: the server has no HTTP/2."""

    __pydantic_config__: ClassVar = _STRICT

    http2: bool = True
    headers: Mapping[str, Annotated[str, _Parsed(_text)]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A token bucket: one request each `interval` (seconds; 0: no limit), `burst` at once."""

    __pydantic_config__: ClassVar = _STRICT

    interval: Annotated[float, _Parsed(_interval)] = 0.0
    burst: Annotated[int, Ge(0)] = 0


@dataclass(frozen=True, slots=True)
class WebConfig:
    """The file's content; without a file, all of it is empty: no TLS, no passwords."""

    __pydantic_config__: ClassVar = _STRICT

    tls_server_config: Annotated[TlsServerConfig | None, Checked(_is_given)] = None
    http_server_config: HttpServerConfig = field(default_factory=HttpServerConfig)
    basic_auth_users: Mapping[str, str] = field(default_factory=dict, repr=False)
    rate_limit: RateLimit = field(default_factory=RateLimit)


def parse(data: bytes, path: Path) -> WebConfig:
    """Parse the bytes of the file at `path`; relative names in it are relative to its directory.

    No other file is read: tls.py checks the certificates. Raises ConfigError with every mistake.
    """
    config, problems = load.parse(WebConfig, data, _mistakes)
    if problems:
        raise ConfigError(load.report(problems, str(path)))
    tls = config.tls_server_config
    if tls is None:
        return config
    here = path.parent
    located = replace(
        tls,
        cert_file=_located(here, tls.cert_file),
        key_file=_located(here, tls.key_file),
        client_ca_file=_located(here, tls.client_ca_file),
    )
    return replace(config, tls_server_config=located)


def _located(directory: Path, name: str) -> str:
    return str(directory / name) if name else ""


def warnings(config: WebConfig, *, exposed: bool) -> Iterator[str]:
    """Yield what is allowed but unsafe; `exposed`: other hosts can connect."""
    tls, users = config.tls_server_config, config.basic_auth_users
    if exposed and not users and not (tls and tls.requires_clients):
        yield "everyone who can connect may read /metrics: --web.config.file can require passwords"
    if exposed and users and not tls:
        yield "basic_auth_users without tls_server_config: passwords cross the network unencrypted"
    if tls and tls.verifies_clients and not (tls.client_ca or tls.client_ca_file):
        yield (
            f"{tls.client_auth_type} without client_ca_file: "
            "a certificate of any authority that this host trusts is accepted"
        )
    slow = [name for name, hashed in users.items() if _cost(hashed) >= SLOW_COST]
    if slow:
        yield f"basic_auth_users: checking a password of {', '.join(slow)} takes seconds"
    if config.rate_limit.interval and not config.rate_limit.burst:
        yield "rate_limit.burst is 0: every request is refused"


def _cost(hashed: str) -> int:
    match = _BCRYPT.fullmatch(hashed)
    return int(match["cost"]) if match else 0


def _mistakes(config: WebConfig) -> Iterator[Mistake]:
    """Yield what is wrong although each value has the right type."""
    if config.tls_server_config is not None:
        for key, message in _tls_mistakes(config.tls_server_config):
            yield ("tls_server_config", *key), message
    for name, value in config.http_server_config.headers.items():
        for message in _header_mistakes(name, value):
            yield ("http_server_config", "headers", name), message
    for name, hashed in config.basic_auth_users.items():
        for message in _user_mistakes(name, hashed):
            yield ("basic_auth_users", name), message


def _tls_mistakes(tls: TlsServerConfig) -> Iterator[Mistake]:
    for inline in ("cert", "key", "client_ca"):
        file = f"{inline}_file"
        if getattr(tls, inline) and getattr(tls, file):
            yield (inline,), f"{inline} and {file} exclude each other"
        elif inline != "client_ca" and not getattr(tls, inline) and not getattr(tls, file):
            yield (), f"missing one of {inline} or {file}"
    yield from _client_mistakes(tls)
    if tls.max_version < tls.min_version:
        yield ("max_version",), f"below min_version, which is {tls.min_version}"
    for at, name in enumerate(tls.cipher_suites):
        if name not in CIPHERS:
            yield ("cipher_suites", at), f"unknown cipher {name!r}, or one without forward secrecy"
    if (
        tls.max_version == "TLS12"
        and tls.cipher_suites
        and not any(CIPHERS.get(name) for name in tls.cipher_suites)
    ):
        yield ("cipher_suites",), "none of them is for TLS 1.2, and max_version allows no more"
    yield from _curve_mistakes(tls.curve_preferences)


def _client_mistakes(tls: TlsServerConfig) -> Iterator[Mistake]:
    kind = tls.client_auth_type
    if kind in ("RequireClientCert", "RequireAnyClientCert"):
        yield (
            ("client_auth_type",),
            "Python's TLS cannot take a certificate unverified: use RequireAndVerifyClientCert",
        )
    for key in ("client_ca", "client_ca_file"):
        if getattr(tls, key) and kind in ("", "NoClientCert"):
            yield (key,), "without client_auth_type no client is asked for a certificate"
    if tls.client_allowed_sans is not None and not tls.requires_clients:
        yield ("client_allowed_sans",), "needs client_auth_type RequireAndVerifyClientCert"
    if tls.client_allowed_sans == ():
        yield ("client_allowed_sans",), "an empty list admits no client: leave the key out"


def _curve_mistakes(names: tuple[str, ...]) -> Iterator[Mistake]:
    unknown = [at for at, name in enumerate(names) if name not in (*CURVES, _POST_QUANTUM)]
    for at in unknown:
        yield ("curve_preferences", at), f"unknown curve {names[at]!r}"
    one, every = len(set(names)) == 1 and names[0] in CURVES, set(names) >= set(CURVES)
    if names and not unknown and not one and not every:
        yield (
            ("curve_preferences",),
            f"Python's TLS takes one or all: name one of {', '.join(CURVES)}, or leave the key out",
        )


def _header_mistakes(name: str, value: str) -> Iterator[str]:
    allowed = HEADERS.get(name)
    if allowed is None:
        yield f"this header cannot be configured: only {', '.join(HEADERS)}"
    elif allowed and value and value not in allowed:
        yield f"expected {' or '.join(allowed)}"
    elif not value.isascii() or not value.isprintable():
        yield "expected printable ASCII"


def _user_mistakes(name: str, hashed: str) -> Iterator[str]:
    if ":" in name:
        yield "a user name has no colon"
    if not _BCRYPT.fullmatch(hashed):
        yield "expected a bcrypt hash, such as `htpasswd -nBC 10 ''` prints"
    elif not 4 <= _cost(hashed) <= HIGHEST_COST:
        yield f"expected a bcrypt cost from 4 to {HIGHEST_COST}: higher takes minutes"
