"""Contexts as configured, in handshakes with real clients; and certificates that are no good."""

import ssl
import subprocess
from pathlib import Path

import pytest

from sockmon.config.load import ConfigError
from sockmon.web.security import tls
from sockmon.web.security.tls import ServerTls
from sockmon.web.security.web_config import CIPHERS, CURVES, parse
from tests.pki import Authority

pytestmark = pytest.mark.component("openssl")

Pair = tuple[Path, Path]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("pki"))
    made.issue("server", "DNS:localhost")
    return made


@pytest.fixture(scope="module")
def directory(authority: Authority) -> Path:
    return authority.certificate.parent


@pytest.fixture(scope="module")
def client(authority: Authority) -> Pair:
    return authority.issue(
        "client",
        *("DNS:prometheus.example", "IP:2001:DB8::1", "IP:192.0.2.7"),
        *("email:ops@example.com", "URI:spiffe://example/prometheus"),
    )


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Authority(tmp_path_factory.mktemp("elsewhere")).issue("client", "DNS:prometheus.example")


def server(directory: Path, *lines: str) -> ServerTls:
    """The server's side, with such lines in its tls_server_config."""
    text = "\n  ".join(
        ("tls_server_config:", "cert_file: server.crt", "key_file: server.key", *lines)
    )
    config = parse(text.encode(), directory / "web.yml")
    assert config.tls_server_config is not None
    return tls.load(config.tls_server_config, "web.yml")


def trusting(authority: Authority, certificate: Pair | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.certificate))
    if certificate is not None:
        context.load_cert_chain(*certificate)
    return context


def shaken(side: ServerTls, context: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both ends after a handshake in memory; raises ssl.SSLError."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = side.context.wrap_bio(there, back, server_side=True)
    theirs = context.wrap_bio(back, there, server_hostname="localhost")
    done: set[ssl.SSLObject] = set()
    for _ in range(10):
        for end in (theirs, ours):
            try:
                end.do_handshake()
                done.add(end)
            except ssl.SSLWantReadError:
                pass
    assert done == {ours, theirs}
    return ours, theirs


def test_speaks_tls_1_2_and_1_3_and_nothing_older(directory: Path, authority: Authority) -> None:
    side = server(directory)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = trusting(authority)
        context.minimum_version = context.maximum_version = version
        assert shaken(side, context)[1].version() == version.name.replace("_", ".")
    assert side.context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("line", "agreed"), [("min_version: TLS13", "TLSv1.3"), ("max_version: TLS12", "TLSv1.2")]
)
def test_keeps_to_the_versions_configured(
    directory: Path, authority: Authority, line: str, agreed: str
) -> None:
    side, context = server(directory, line), trusting(authority)
    assert shaken(side, context)[1].version() == agreed
    if agreed == "TLSv1.3":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    else:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    with pytest.raises(ssl.SSLError):
        shaken(side, context)


def agreed_cipher(side: ServerTls, context: ssl.SSLContext) -> str:
    cipher = shaken(side, context)[1].cipher()
    assert cipher is not None
    return cipher[0]


@pytest.mark.parametrize("name", [name for name in CIPHERS if "_ECDSA_" in name])
def test_every_cipher_can_be_had(directory: Path, authority: Authority, name: str) -> None:
    side = server(directory, f"cipher_suites: [{name}]", "max_version: TLS12")
    context = trusting(authority)
    context.set_ciphers("ALL")
    assert agreed_cipher(side, context) == CIPHERS[name]


def test_the_server_prefers_unless_told_otherwise(directory: Path, authority: Authority) -> None:
    strong, weak = "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256"
    lines = (
        "max_version: TLS12",
        "cipher_suites:",
        "  - TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "  - TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    )
    context = trusting(authority)
    context.set_ciphers(f"{weak}:{strong}")
    assert agreed_cipher(server(directory, *lines), context) == strong
    theirs = server(directory, *lines, "prefer_server_cipher_suites: false")
    assert agreed_cipher(theirs, context) == weak


def test_ciphers_of_tls_1_3_alone_leave_tls_1_3_alone(
    directory: Path, authority: Authority
) -> None:
    side = server(directory, "cipher_suites: [TLS_AES_128_GCM_SHA256]")
    context = trusting(authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        shaken(side, context)


def can_restrict_to(curve: str) -> bool:
    """Whether this Python knows how: Debian 12's 3.11.2 does not for X25519."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).set_ecdh_curve(CURVES[curve])
    except (ssl.SSLError, ValueError):
        return False
    return True


@pytest.mark.parametrize("curve", list(CURVES))
def test_one_curve_is_the_only_one(directory: Path, authority: Authority, curve: str) -> None:
    if not can_restrict_to(curve):
        with pytest.raises(ConfigError, match=f"cannot restrict TLS to {curve}: leave the key out"):
            server(directory, f"curve_preferences: [{curve}]")
        return
    side = server(directory, f"curve_preferences: [{curve}]")
    for offered in filter(can_restrict_to, CURVES):
        context = trusting(authority)
        context.set_ecdh_curve(CURVES[offered])
        if offered == curve:
            shaken(side, context)
        else:
            with pytest.raises(ssl.SSLError):
                shaken(side, context)


VERIFY = ("client_auth_type: VerifyClientCertIfGiven", "client_ca_file: authority.crt")
REQUIRE = ("client_auth_type: RequireAndVerifyClientCert", "client_ca_file: authority.crt")


def test_a_required_certificate_is_required(
    directory: Path, authority: Authority, client: Pair, stranger: Pair
) -> None:
    side = server(directory, *REQUIRE)
    assert side.knows(shaken(side, trusting(authority, client))[0])
    for certificate in (None, stranger):
        with pytest.raises(ssl.SSLError):
            shaken(side, trusting(authority, certificate))


def test_a_certificate_if_given_is_verified(
    directory: Path, authority: Authority, client: Pair, stranger: Pair
) -> None:
    side = server(directory, *VERIFY)
    assert side.knows(shaken(side, trusting(authority, client))[0])
    assert not side.knows(shaken(side, trusting(authority))[0])
    with pytest.raises(ssl.SSLError):
        shaken(side, trusting(authority, stranger))


@pytest.mark.parametrize("kind", ["NoClientCert", "RequestClientCert"])
def test_a_certificate_that_nobody_verifies_proves_nothing(
    directory: Path, authority: Authority, stranger: Pair, kind: str
) -> None:
    side = server(directory, f"client_auth_type: {kind}")
    assert not side.knows(shaken(side, trusting(authority, stranger))[0])


def test_without_authorities_of_its_own_the_hosts_count_but_prove_nothing(
    directory: Path, authority: Authority, client: Pair
) -> None:
    side = server(directory, "client_auth_type: VerifyClientCertIfGiven")
    with pytest.raises(ssl.SSLError):
        shaken(side, trusting(authority, client))
    assert not side.authenticates


def test_a_certificate_may_be_trusted_by_itself(
    directory: Path, authority: Authority, client: Pair
) -> None:
    side = server(directory, REQUIRE[0], "client_ca_file: client.crt")
    assert side.knows(shaken(side, trusting(authority, client))[0])


@pytest.mark.parametrize(
    ("names", "admitted"),
    [
        ("[prometheus.example]", True),
        ("[other, prometheus.example]", True),
        ("[192.0.2.7]", True),
        ('["2001:db8::1"]', True),
        ("[ops@example.com]", True),
        ("['spiffe://example/prometheus']", True),
        ("[other]", False),
        ("['*.example']", False),
        ("[client]", False),  # the common name is no alternative name
    ],
)
def test_only_allowed_names_are_admitted(
    directory: Path,
    authority: Authority,
    client: Pair,
    names: str,
    *,
    admitted: bool,
) -> None:
    side = server(directory, *REQUIRE, f"client_allowed_sans: {names}")
    assert side.admits(shaken(side, trusting(authority, client))[0]) is admitted


def test_takes_certificates_from_the_file_itself(directory: Path, authority: Authority) -> None:
    def block(key: str, path: Path) -> str:
        return f"  {key}: |\n" + "".join(f"    {line}\n" for line in path.read_text().splitlines())

    text = "tls_server_config:\n" + block("cert", directory / "server.crt")
    text += block("key", directory / "server.key") + block("client_ca", authority.certificate)
    text += "  client_auth_type: VerifyClientCertIfGiven\n"
    config = parse(text.encode(), Path("web.yml")).tls_server_config
    assert config is not None
    side = tls.load(config, "web.yml")
    shaken(side, trusting(authority))
    assert side.authenticates


def why_not(directory: Path, *lines: str) -> str:
    with pytest.raises(ConfigError) as caught:
        server(directory, *lines)
    (problem,) = caught.value.problems
    assert problem.isprintable()
    return problem


# As web/testdata of the exporter-toolkit: somefile, and tls-ca-chain-invalid.pem.
def test_says_which_file_is_missing_or_no_good(tmp_path: Path, directory: Path) -> None:
    assert f"cert_file: {tmp_path}/server.crt: No such file or directory" in why_not(tmp_path)
    (tmp_path / "server.crt").write_bytes((directory / "server.crt").read_bytes())
    assert f"key_file: {tmp_path}/server.key: No such file or directory" in why_not(tmp_path)
    key = tmp_path / "server.key"
    key.write_bytes((directory / "authority.key").read_bytes())
    assert "web.yml: tls_server_config.key_file: no usable pair of certificate and key" in why_not(
        tmp_path
    )
    key.write_text("junk")
    assert "no usable pair" in why_not(tmp_path)
    key.write_bytes(_encrypted(directory / "server.key"))
    assert "key_file: it is encrypted" in why_not(tmp_path)
    key.unlink()
    key.mkdir()
    assert f"{key}: not a regular file" in why_not(tmp_path)


def _encrypted(key: Path) -> bytes:
    command = ["openssl", "ec", "-in", str(key), "-aes128", "-passout", "pass:hunter2"]
    return subprocess.run(command, check=True, capture_output=True).stdout


@pytest.mark.parametrize("authorities", ["somefile", "server.key", "/dev/null"])
def test_says_that_authorities_are_no_good(directory: Path, authorities: str) -> None:
    said = why_not(directory, VERIFY[0], f"client_ca_file: {authorities}")
    assert "tls_server_config.client_ca_file: " in said


def test_says_that_a_text_holds_no_authorities(directory: Path) -> None:
    said = why_not(directory, VERIFY[0], "client_ca: this is not a PEM encoded certificate")
    assert "tls_server_config.client_ca: it contains no certificates" in said
