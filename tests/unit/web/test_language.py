"""In which language a client is answered (RFC 9110, 12.5.4)."""

import asyncio

import pytest
from starlette.requests import Request
from starlette.responses import Response

from sockmon.web import assets
from sockmon.web.language import preferred


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-US,en;q=0.9,zh;q=0.8", "en"),
        ("de, zh-Hans;q=0.5", "zh"),
        ("en;q=0.1, zh;q=0.2", "zh"),
        ("zh;q=0", "en"),
        ("zh;q=nonsense", "en"),
        ("zh;level=1", "en"),
        ("*", "en"),
    ],
)
def test_the_best_that_there_is(accepted: str, language: str) -> None:
    assert preferred(accepted) == language


def ask(name: str, query: str = "", accepted: str = "") -> Response:
    scope = {
        "type": "http",
        "query_string": query.encode(),
        "headers": [(b"accept-language", accepted.encode())],
        "path_params": {"name": name} if name else {},
    }
    return asyncio.run(assets.runbook(Request(scope)))


def test_every_alert_has_a_runbook_that_is_served() -> None:
    for name in assets.runbooks():
        answer = ask(name)
        assert (answer.status_code, answer.media_type) == (200, None)
        assert b"<script" not in answer.body
    assert b'href="/runbooks/SockmonCloseWaitLeak"' in ask("").body
    assert ask("SockmonNothing").status_code == 404
    assert ask("../index").status_code == 404


def test_a_language_that_is_not_there_is_refused_and_one_without_translation_falls_back() -> None:
    answer = ask("SockmonDown", "lang=xx")
    assert (answer.status_code, bytes(answer.body)) == (400, b"lang: expected en or zh\n")
    assert ask("SockmonDown", "lang=zh").status_code == 200
    assert "Accept-Language" in ask("SockmonDown").headers["vary"]
