"""The web configuration: the exporter-toolkit's own good and bad files, and more mistakes."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sockmon.config.load import ConfigError
from sockmon.web.security.web_config import CIPHERS, CURVES, parse, warnings

PAIR = """\
tls_server_config:
  cert_file: server.crt
  key_file: server.key
"""
VERIFY = PAIR + "  client_auth_type: VerifyClientCertIfGiven\n"
REQUIRE = PAIR + "  client_auth_type: RequireAndVerifyClientCert\n"
HASH = "$2y$10$2UXri9cIDdgeKjBo4Rlpx.U3ZLDV8X1IxKmsfOvhcM5oXQt/mLmXq"


def told(text: str) -> list[str] | None:
    """What is wrong with a file called f; None, if it is taken."""
    try:
        parse(text.encode(), Path("f"))
    except ConfigError as error:
        return error.problems
    return None


def problems(text: str) -> list[str]:
    found = told(text)
    assert found
    return found


# As web/testdata of github.com/prometheus/exporter-toolkit has them, by the names of its files.
@pytest.mark.parametrize(
    "case",
    {
        "empty": "",
        "noAuth": VERIFY,
        "noAuth.good.blocking": REQUIRE,
        "noAuth_allCiphers": f"{VERIFY}  cipher_suites: [{', '.join(CIPHERS)}]\n",
        "noAuth_allCurves": f"{VERIFY}  curve_preferences: [{', '.join(CURVES)}]\n",
        "allCurves_post_quantum": (
            f"{VERIFY}  curve_preferences: [{', '.join(CURVES)}, X25519MLKEM768]\n"
        ),
        "noAuth_noHTTP2": (
            f"{VERIFY}  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]\n"
            "  max_version: TLS12\nhttp_server_config: {http2: false}\n"
        ),
        "noAuth_someCiphers_noOrder": (
            f"{VERIFY}  cipher_suites:\n"
            "  - TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384\n"
            "  - TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\n"
            "  prefer_server_cipher_suites: false\n  min_version: TLS12\n  max_version: TLS12\n"
        ),
        "noAuth_someCurves": (
            f"{VERIFY}  min_version: TLS13\n  curve_preferences:\n  - CurveP521\n"
        ),
        "noAuth_tlsInline": "tls_server_config: {cert: a certificate, key: a key}\n",
        "auth_client_san": REQUIRE + "  client_ca_file: ca.pem\n  client_allowed_sans: [one]\n",
        "users": f"{PAIR}basic_auth_users: {{alice: {HASH}, bob: {HASH.replace('10', '18', 1)}}}\n",
        "users_noTLS": f"basic_auth_users: {{dave: {HASH}}}\n",
        "headers": """\
http_server_config:
  headers:
    X-Frame-Options: deny
    Strict-Transport-Security: max-age=31536000; includeSubDomains
    X-Content-Type-Options: nosniff
    X-XSS-Protection: 1
    Content-Security-Policy: "default-src 'self' *.test.example.net"
""",
        "rate_limiter_nonblocking": "rate_limit: {interval: 0, burst: 0}\n",
        "rate_limiter_one_second": 'rate_limit: {interval: "1s", burst: 0}\n',
    }.items(),
    ids=lambda case: case[0],
)
def test_takes_the_toolkits_good_files(case: tuple[str, str]) -> None:
    assert told(case[1]) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hey\n", "f:1: expected keys and values"),
        (
            "tls_server_config:\n  cert_filse: server.crt\n",
            "f:2: tls_server_config.cert_filse: unknown key",
        ),
        (
            'tls_server_config:\n  cert_file: ""\n  key_file: server.key\n',
            "f:1: tls_server_config: missing one of cert or cert_file",
        ),
        (
            'tls_server_config:\n  cert: ""\n  key_file: server.key\n',
            "f:1: tls_server_config: missing one of cert or cert_file",
        ),
        (
            'tls_server_config:\n  cert_file: server.crt\n  key_file: ""\n',
            "f:1: tls_server_config: missing one of key or key_file",
        ),
        (
            'tls_server_config:\n  cert_file: ""\n  key_file: ""\n  client_auth_type: x\n',
            "f:4: tls_server_config.client_auth_type: expected",
        ),
        (
            PAIR + "  client_ca_file: /dev/null\n",
            "f:4: tls_server_config.client_ca_file: without client_auth_type no client is asked",
        ),
        (
            PAIR + "basic_auth_users:\n  john: doe\n",
            "f:5: basic_auth_users.john: expected a bcrypt",
        ),
        (
            VERIFY + "  cipher_suites:\n  - TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA2048\n",
            "f:6: tls_server_config.cipher_suites[0]: unknown cipher",
        ),
        (
            VERIFY + "  cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]\n  max_version: TLS12\n",
            "f:5: tls_server_config.cipher_suites[0]: unknown cipher",
        ),
        (
            VERIFY + "  curve_preferences:\n    - CurveP257\n",
            "f:6: tls_server_config.curve_preferences[0]: unknown curve",
        ),
        (
            VERIFY + "  min_version: TLS111\n",
            "f:5: tls_server_config.min_version: expected 'TLS12' or 'TLS13'",
        ),
        (
            "http_server_config: {headers: {X-Content-Type-Options: sniff}}\n",
            "f:1: http_server_config.headers.X-Content-Type-Options: expected nosniff",
        ),
        (
            "http_server_config: {headers: {X-Frame-Options: foo}}\n",
            "f:1: http_server_config.headers.X-Frame-Options: expected deny or sameorigin",
        ),
        (
            "http_server_config: {headers: {Content-Type: foo}}\n",
            "f:1: http_server_config.headers.Content-Type: this header cannot be configured",
        ),
        (
            PAIR + "  client_allowed_sans:\n    - one\n",
            "f:4: tls_server_config.client_allowed_sans: needs client_auth_type",
        ),
        (
            VERIFY + "  client_ca_file: ca.pem\n  client_allowed_sans: [one]\n",
            "f:6: tls_server_config.client_allowed_sans: needs client_auth_type",
        ),
    ],
)
def test_refuses_the_toolkits_bad_files(text: str, says: str) -> None:
    assert any(problem.startswith(says) for problem in problems(text)), problems(text)


# What the toolkit would take, and serve with less than was asked for.
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tls_server_config:\n", "f:1: tls_server_config: expected keys and values"),
        ("tls_server_config: {}\n", "missing one of cert or cert_file"),
        ("tls_server_config: {min_version: TLS13}\n", "missing one of key or key_file"),
        ("basic_auth_users:\n", "f:1: basic_auth_users: expected keys and values"),
        (PAIR + "  cert: text\n", "cert and cert_file exclude each other"),
        (PAIR + "  client_auth_type: RequireAnyClientCert\n", "use RequireAndVerifyClientCert"),
        (PAIR + "  client_auth_type: RequireClientCert\n", "use RequireAndVerifyClientCert"),
        (REQUIRE + "  client_allowed_sans: []\n", "an empty list admits no client"),
        (PAIR + "  min_version: TLS10\n", "min_version: expected 'TLS12' or 'TLS13'"),
        (PAIR + "  min_version: TLS13\n  max_version: TLS12\n", "below min_version"),
        (PAIR + "  curve_preferences: [CurveP521, CurveP384]\n", "takes one or all"),
        (PAIR + "  curve_preferences: [X25519MLKEM768]\n", "takes one or all"),
        (
            PAIR + "  cipher_suites: [TLS_AES_128_GCM_SHA256]\n  max_version: TLS12\n",
            "none of them is for TLS 1.2",
        ),
        (f'basic_auth_users: {{"a:b": {HASH}}}\n', "a user name has no colon"),
        (f"basic_auth_users: {{a: {HASH.replace('10', '19', 1)}}}\n", "bcrypt cost from 4 to 18"),
        (f"basic_auth_users: {{a: {HASH.replace('10', '03', 1)}}}\n", "bcrypt cost from 4 to 18"),
        (f"basic_auth_users: {{a: {HASH}x}}\n", "expected a bcrypt hash"),
        (f"basic_auth_users: {{a: {HASH}, a: {HASH}}}\n", "duplicate key"),
        (
            'http_server_config: {headers: {Content-Security-Policy: "a\\r\\nSet-Cookie: b"}}\n',
            "expected printable ASCII",
        ),
        ("http_server_config: {headers: {X-Frame-Options: no}}\n", "put it in quotes"),
        ("rate_limit: {interval: 1}\n", "expected a duration"),
        ("rate_limit: {interval: 1s, burst: -1}\n", "rate_limit.burst: expected"),
        ("auth_excluded_paths: [/metrics]\n", "auth_excluded_paths: unknown key"),
    ],
)
def test_refuses_what_would_be_weaker_than_it_looks(text: str, says: str) -> None:
    assert any(says in problem for problem in problems(text)), problems(text)


def test_tells_every_mistake_at_once() -> None:
    text = PAIR + "  client_ca: x\n  curve_preferences: [y]\nbasic_auth_users: {a: b}\n"
    assert [problem.split(":")[1] for problem in problems(text)] == ["4", "5", "6"]


def test_names_in_it_count_from_where_it_is() -> None:
    text = b"tls_server_config: {cert_file: server.crt, key_file: /keys/server.key}"
    tls = parse(text, Path("/etc/sockmon/web.yml")).tls_server_config
    assert tls is not None
    assert (tls.cert_file, tls.key_file, tls.client_ca_file) == (
        "/etc/sockmon/server.crt",
        "/keys/server.key",
        "",
    )


def test_shows_no_secret() -> None:
    text = f"tls_server_config: {{cert: a, key: the key}}\nbasic_auth_users: {{john: {HASH}}}\n"
    shown = repr(parse(text.encode(), Path("f")))
    assert "the key" not in shown
    assert HASH not in shown
    assert "the key" not in "".join(problems("tls_server_config: {key: the key}"))
    assert "hunter2" not in "".join(problems("basic_auth_users: {john: hunter2}"))


@pytest.mark.parametrize(
    ("text", "exposed", "says"),
    [
        ("", True, ["everyone who can connect"]),
        ("", False, []),
        (PAIR, True, ["everyone who can connect"]),
        (f"basic_auth_users: {{a: {HASH}}}", True, ["passwords cross the network unencrypted"]),
        (f"basic_auth_users: {{a: {HASH}}}", False, []),
        (PAIR + f"basic_auth_users: {{a: {HASH}}}", True, []),
        (REQUIRE + "  client_ca_file: ca.pem\n", True, []),
        (REQUIRE, False, ["any authority that this host trusts"]),
        (f"basic_auth_users: {{a: {HASH.replace('10', '15', 1)}}}", False, ["of a takes seconds"]),
        ("rate_limit: {interval: 1s}", False, ["every request is refused"]),
    ],
)
def test_warns_of_what_is_unwise(text: str, exposed: bool, says: list[str]) -> None:  # noqa: FBT001 - a case's column
    told = list(warnings(parse(text.encode(), Path("f")), exposed=exposed))
    assert len(told) == len(says)
    assert all(words in line for words, line in zip(says, told, strict=True))


KEYS = st.sampled_from(
    [
        *("tls_server_config", "http_server_config", "basic_auth_users", "rate_limit"),
        *("cert_file", "key", "client_ca", "client_auth_type", "client_allowed_sans"),
        *("min_version", "cipher_suites", "curve_preferences", "http2", "headers"),
        *("X-Frame-Options", "interval", "burst"),
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats()
    | st.text(max_size=9)
    | st.sampled_from(["TLS13", "CurveP256", "RequireAndVerifyClientCert", "1s", HASH])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.dictionaries(KEYS, VALUES))
def test_whatever_it_holds_is_taken_or_refused_in_lines(content: object) -> None:
    lines = told(yaml.safe_dump(content))
    assert lines is None or (lines and all(line.isprintable() for line in lines))
