"""Who is answered what."""

import asyncio
import base64
from collections.abc import Sequence

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import PlainTextResponse
from starlette.types import Message

from sockmon.web.security.access import KNOWN_CLIENT, PUBLIC, AccessControl, TokenBucket
from sockmon.web.security.policy import NO_DEMANDS, Policy
from sockmon.web.security.web_config import HttpServerConfig, RateLimit, WebConfig

LOCAL, ELSEWHERE = "127.0.0.1", "192.0.2.1"
PRIVATE = ("/", "/api/v1/observation", "/api/v1/alerts", "/assets/page.js", "/metrics/", "/nowhere")

Headers = dict[str, str]


def guard(policy: Policy = NO_DEMANDS, clock: Sequence[float] = (0.0,)) -> AccessControl:
    """A guard before an application that answers everything."""
    times = list(clock)
    return AccessControl(
        PlainTextResponse("let through", headers={"X-Frame-Options": "the application's"}),
        lambda: policy,
        lambda: times.pop(0) if len(times) > 1 else times[0],
    )


def ask(
    asked: AccessControl,
    path: str = "/metrics",
    client: str = LOCAL,
    headers: Headers | None = None,
    *,
    known: bool = False,
) -> tuple[int, Headers]:
    """The status and the headers of the answer."""
    sent: list[Message] = []
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "client": (client, 40000),
        "headers": [(n.lower().encode(), v.encode()) for n, v in (headers or {}).items()],
        "state": {KNOWN_CLIENT: known},
    }

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(asked(scope, receive, send))
    answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], answered


def status(path: str, client: str = LOCAL, headers: Headers | None = None) -> int:
    return ask(guard(), path, client, headers)[0]


@pytest.mark.parametrize("path", sorted(PUBLIC))
def test_everybody_may_see_what_names_nobody(path: str) -> None:
    assert status(path, ELSEWHERE) == 200
    assert status(path, ELSEWHERE, {"Host": "evil.example", "X-Forwarded-For": ELSEWHERE}) == 200


@pytest.mark.parametrize("path", PRIVATE)
def test_the_rest_is_for_this_host(path: str) -> None:
    assert status(path, LOCAL) == 200
    assert status(path, ELSEWHERE) == 403


@pytest.mark.parametrize(
    ("client", "local"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:192.0.2.1", False),
        ("10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("::", False),
        ("0.0.0.0", False),
    ],
)
def test_which_addresses_are_this_host(client: str, local: bool) -> None:  # noqa: FBT001 - a case's column
    assert status("/", client) == (200 if local else 403)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("localhost:10776", True),
        ("127.0.0.1:10776", True),
        ("[::1]:10776", True),
        ("[::1]", True),
        ("192.0.2.1", True),
        ("evil.example", False),
        ("evil.example:10776", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost:10776:80", False),
        ("", True),
    ],
)
def test_no_name_from_elsewhere_leads_a_browser_here(host: str, local: bool) -> None:  # noqa: FBT001 - a case's column
    assert status("/api/v1/observation", LOCAL, {"Host": host}) == (200 if local else 403)


@pytest.mark.parametrize(
    "header", ["X-Forwarded-For", "X-Forwarded-Proto", "Forwarded", "X-Real-IP", "Via"]
)
def test_a_proxy_on_this_host_is_not_somebody_on_it(header: str) -> None:
    assert status("/", LOCAL, {header: "127.0.0.1"}) == 403


def test_a_client_with_a_good_certificate_is_as_good_as_this_host() -> None:
    assert ask(guard(), "/", ELSEWHERE, {"Host": "sockmon.example"}, known=True)[0] == 200


def authorized(user: str, password: str) -> Headers:
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


USERS = {"ops": bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()}


@pytest.mark.parametrize("path", [*sorted(PUBLIC), *PRIVATE])
def test_where_there_are_users_all_needs_a_password(path: str) -> None:
    asked = guard(Policy(WebConfig(basic_auth_users=USERS)))
    for client in (LOCAL, ELSEWHERE):
        assert ask(asked, path, client)[0] == 401
        assert ask(asked, path, client, authorized("ops", "wrong"))[0] == 401
        assert ask(asked, path, client, authorized("nobody", "secret"))[0] == 401
        assert ask(asked, path, client, known=True)[0] == 401
        host = {"Host": "sockmon.example", "X-Forwarded-For": ELSEWHERE}
        assert ask(asked, path, client, {**host, **authorized("ops", "secret")})[0] == 200


def test_says_what_is_needed() -> None:
    _, headers = ask(guard(Policy(WebConfig(basic_auth_users=USERS))))
    assert headers["www-authenticate"] == 'Basic realm="sockmon", charset="UTF-8"'


def test_every_answer_keeps_other_sites_out() -> None:
    for answer in (ask(guard()), ask(guard(), "/", ELSEWHERE)):
        headers = answer[1]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["content-security-policy"].startswith("default-src 'none'; ")
        assert "unsafe" not in headers["content-security-policy"]
        assert not any(name.startswith("access-control-") for name in headers)


def test_configured_headers_stand_on_every_answer_and_before_all_others() -> None:
    configured = {
        "X-Frame-Options": "deny",
        "Strict-Transport-Security": "max-age=1",
        "Content-Security-Policy": "default-src 'self'",
        "X-XSS-Protection": "",
    }
    asked = guard(Policy(WebConfig(http_server_config=HttpServerConfig(headers=configured))))
    for path, client in (("/metrics", LOCAL), ("/", ELSEWHERE)):
        _, headers = ask(asked, path, client)
        assert headers["x-frame-options"] == "deny"
        assert headers["strict-transport-security"] == "max-age=1"
        assert headers["content-security-policy"] == "default-src 'self'"
        assert "x-xss-protection" not in headers


def test_the_rate_limit_refuses_what_is_too_many_and_still_sends_the_headers() -> None:
    policy = Policy(
        WebConfig(
            http_server_config=HttpServerConfig(headers={"X-Frame-Options": "deny"}),
            rate_limit=RateLimit(interval=10.0, burst=1),
        )
    )
    asked = guard(policy, clock=[0.0, 1.0, 12.0])
    answers = [ask(asked) for _ in range(3)]
    assert [status for status, _ in answers] == [200, 429, 200]
    assert all(headers["x-frame-options"] == "deny" for _, headers in answers)


def test_a_bucket_without_an_interval_never_empties() -> None:
    bucket = TokenBucket(RateLimit(0.0, 0), 0.0)
    assert all(bucket.take(0.0) for _ in range(1000))


def test_a_bucket_without_a_burst_gives_nothing() -> None:
    bucket = TokenBucket(RateLimit(1.0, 0), 0.0)
    assert not any(bucket.take(float(now)) for now in range(100))


@given(st.integers(1, 5), st.lists(st.integers(0, 3), max_size=40))
def test_a_bucket_gives_no_more_than_its_burst_and_one_an_interval(
    burst: int, pauses: list[int]
) -> None:
    bucket, now, taken = TokenBucket(RateLimit(1.0, burst), 0.0), 0.0, 0
    for pause in pauses:
        now += pause
        taken += bucket.take(now)
        assert taken <= burst + now
    assert taken >= min(len(pauses), burst)
