"""TLS as configured: contexts for new connections, and what a client's certificate says."""

import ipaddress
import os
import platform
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from sockmon.config.load import ConfigError, read_bytes, why_unreadable
from sockmon.web.security.web_config import CIPHERS, CURVES, TlsServerConfig

_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}

Mistake = Callable[[str, str], ConfigError]


@dataclass(frozen=True, slots=True)
class ServerTls:
    """How a new connection is encrypted, and which clients are admitted."""

    context: ssl.SSLContext
    #: A client's certificate must contain one of these names; None: any will do.
    allowed_sans: frozenset[str] | None
    #: Whether a certificate proves who the client is: the file names the authorities.
    authenticates: bool

    def admits(self, connection: ssl.SSLObject) -> bool:
        """Return whether the client's certificate has an allowed name."""
        return self.allowed_sans is None or not self.allowed_sans.isdisjoint(_names(connection))

    def knows(self, connection: ssl.SSLObject) -> bool:
        """Return whether the client has proved who it is."""
        return self.authenticates and bool(connection.getpeercert())


def _names(connection: ssl.SSLObject) -> Iterator[str]:
    """Return the client's names: DNS, e-mail, URI, IP, as Go spells them."""
    certificate = connection.getpeercert() or {}
    for kind, name in cast("tuple[tuple[str, str], ...]", certificate.get("subjectAltName", ())):
        if kind == "IP Address":
            yield str(ipaddress.ip_address(name.strip()))
        elif kind in ("DNS", "email", "URI"):
            yield name


def load(tls: TlsServerConfig, name: str) -> ServerTls:
    """Read the certificates; raises ConfigError, whose messages name the file `name`."""

    def mistake(key: str, message: str) -> ConfigError:
        return ConfigError([f"{name}: tls_server_config.{key}: {message}"])

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[tls.min_version]
    context.maximum_version = _VERSIONS[tls.max_version]
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    if not tls.prefer_server_cipher_suites:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    _choose_ciphers(context, tls)
    if len(set(tls.curve_preferences)) == 1:
        _choose_curve(context, tls.curve_preferences[0], mistake)
    _load_certificate(context, tls, mistake)
    if tls.verifies_clients:
        context.verify_mode = ssl.CERT_REQUIRED if tls.requires_clients else ssl.CERT_OPTIONAL
        _load_authorities(context, tls, mistake)
    return ServerTls(
        context,
        None if tls.client_allowed_sans is None else frozenset(tls.client_allowed_sans),
        authenticates=bool(tls.client_ca or tls.client_ca_file) and tls.verifies_clients,
    )


def _choose_ciphers(context: ssl.SSLContext, tls: TlsServerConfig) -> None:
    """Restrict TLS 1.2 to those named; TLS 1.3 has its own, all of them secure."""
    if not tls.cipher_suites:
        return
    chosen = [cipher for name in tls.cipher_suites if (cipher := CIPHERS[name])]
    if chosen:
        context.set_ciphers(":".join(chosen))
    else:
        context.minimum_version = ssl.TLSVersion.TLSv1_3


def _choose_curve(context: ssl.SSLContext, curve: str, mistake: Mistake) -> None:
    """Restrict key exchanges to one curve; Debian 12's Python 3.11.2 takes only NIST's."""
    try:
        context.set_ecdh_curve(CURVES[curve])
    except (ssl.SSLError, ValueError) as error:
        version = platform.python_version()
        message = f"Python {version} cannot restrict TLS to {curve}: leave the key out"
        raise mistake("curve_preferences", message) from error


def _load_certificate(context: ssl.SSLContext, tls: TlsServerConfig, mistake: Mistake) -> None:
    which = "key_file" if tls.key_file else "key"

    def passphrase() -> str:
        raise mistake(which, "it is encrypted: only keys without a passphrase can be read")

    with (
        _in_memory(_pem(tls.cert, tls.cert_file, "cert", mistake)) as certificate,
        _in_memory(_pem(tls.key, tls.key_file, "key", mistake)) as key,
    ):
        try:
            context.load_cert_chain(certificate, key, passphrase)
        except ssl.SSLError as error:
            reason = error.reason.replace("_", " ").lower() if error.reason else "not PEM"
            raise mistake(which, f"no usable pair of certificate and key ({reason})") from error


def _load_authorities(context: ssl.SSLContext, tls: TlsServerConfig, mistake: Mistake) -> None:
    if not tls.client_ca and not tls.client_ca_file:
        context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
        return
    # As in Go, a certificate in the file is trusted, whether or not it is a root.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    with _in_memory(_pem(tls.client_ca, tls.client_ca_file, "client_ca", mistake)) as authorities:
        try:
            context.load_verify_locations(authorities)
        except ssl.SSLError as error:
            which = "client_ca_file" if tls.client_ca_file else "client_ca"
            raise mistake(which, "it contains no certificates in PEM form") from error


def _pem(text: str, path: str, key: str, mistake: Mistake) -> bytes:
    if not path:
        return text.encode()
    try:
        return read_bytes(Path(path))
    except (OSError, ValueError) as error:
        raise mistake(f"{key}_file", f"{path}: {why_unreadable(error)}") from error


@contextmanager
def _in_memory(data: bytes) -> Iterator[str]:
    """Yield a path to bytes that are on no disk: OpenSSL reads certificates only from files."""
    fd = os.memfd_create("sockmon-certificate")
    try:
        os.write(fd, data)
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)
