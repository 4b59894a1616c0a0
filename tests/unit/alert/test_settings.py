"""Mistakes in `alerting` are told where they are, without telling secrets."""

import json
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from sockmon.alert.settings import (
    Alerting,
    AlertmanagerSettings,
    Authorization,
    BasicAuth,
    TlsConfig,
    WebhookSettings,
)

ADAPTER = TypeAdapter(Alerting)


def parse(**settings: Any) -> Alerting:
    return ADAPTER.validate_json(json.dumps(settings))


def mistakes(**settings: Any) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as caught:
        parse(**settings)
    return [
        (".".join(map(str, error["loc"])), error["msg"].removeprefix("Value error, "))
        for error in caught.value.errors(include_url=False, include_input=False)
    ]


def test_nothing_said_is_nobody_told() -> None:
    assert parse() == Alerting()
    assert parse(alertmanager={}, webhook={}, labels={}) == Alerting()
    assert Alerting().alertmanager.urls == Alerting().webhook.urls == ()


def test_everything_can_be_said() -> None:
    assert parse(
        alertmanager={
            "urls": ["http://am-1.example:9093", "https://[fd00::1]:9093/prefix/"],
            "timeout": "5s",
            "resend_delay": "2m",
            "basic_auth": {"username": "sockmon", "password_file": "/run/password"},
            "tls_config": {"ca_file": "/ca.pem", "cert_file": "/c.pem", "key_file": "/k.pem"},
        },
        webhook={
            "urls": ["https://hook.example/alerts?to=me"],
            "send_resolved": False,
            "authorization": {"type": "Token", "credentials_file": "/run/token"},
        },
        labels={"team": "web"},
    ) == Alerting(
        AlertmanagerSettings(
            urls=("http://am-1.example:9093", "https://[fd00::1]:9093/prefix/"),
            timeout=5.0,
            resend_delay=120.0,
            basic_auth=BasicAuth("sockmon", "/run/password"),
            tls_config=TlsConfig("/ca.pem", "/c.pem", "/k.pem"),
        ),
        WebhookSettings(
            urls=("https://hook.example/alerts?to=me",),
            send_resolved=False,
            authorization=Authorization("/run/token", "Token"),
        ),
        {"team": "web"},
    )


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("am.example:9093", "expected a URL such as"),
        ("ftp://am.example", "expected a URL such as"),
        ("http://", "expected a URL such as"),
        ("http://:9093", "expected a URL such as"),
        ("", "expected a URL such as"),
        ("http://am.example:99999", "its host or port is not valid"),
        ("http://am.example:0", "expected a URL such as"),
        ("http://[::1", "its host or port is not valid"),
        ("http://user:hunter2@am.example", "a URL must not contain credentials"),
        ("http://am.example/#top", "no #fragment"),
        ("http://am.example/a b", "percent-encode"),
        ("http://am.example/\r\nX-Evil: 1", "percent-encode"),
        ("http://ämter.example", "percent-encode"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused(url: str, says: str) -> None:
    for receiver in ("alertmanager", "webhook"):
        ((where, what),) = mistakes(**{receiver: {"urls": ["http://good.example", url]}})
        assert where == f"{receiver}.urls.1"
        assert says in what
        assert "hunter2" not in what


@pytest.mark.parametrize(
    ("settings", "where", "says"),
    [
        ({"alertmanager": {"urls": ["http://am/?a=1"]}}, "alertmanager.urls.0", "without a query"),
        ({"webhook": {"urls": ["http://a/", "http://a"]}}, "webhook.urls", "the same URL twice"),
        ({"alertmanager": {"timeout": "0s"}}, "alertmanager.timeout", "greater than or equal"),
        ({"alertmanager": {"resend_delay": "0s"}}, "alertmanager.resend_delay", "greater than"),
        ({"alertmanager": {"resend_delay": 60}}, "alertmanager.resend_delay", "a duration such"),
        ({"webhook": {"urls": "http://a"}}, "webhook.urls", "valid array"),
        ({"webhook": {"resend_delay": "1m"}}, "webhook.resend_delay", "Unexpected keyword"),
        ({"webhook": {"basic_auth": {"username": "a"}}}, "webhook.basic_auth.password_file", ""),
        (
            {"webhook": {"authorization": {"credentials_file": "token"}}},
            "webhook.authorization.credentials_file",
            "absolute path",
        ),
        (
            {"webhook": {"authorization": {"credentials_file": "/t", "type": "Basic"}}},
            "webhook.authorization.type",
            "use basic_auth",
        ),
        (
            {"webhook": {"authorization": {"credentials_file": "/t", "type": "A: b"}}},
            "webhook.authorization.type",
            "one word",
        ),
        (
            {"webhook": {"basic_auth": {"username": "a:b", "password_file": "/p"}}},
            "webhook.basic_auth.username",
            "no colon",
        ),
        (
            {
                "webhook": {
                    "basic_auth": {"username": "a", "password_file": "/p"},
                    "authorization": {"credentials_file": "/t"},
                }
            },
            "webhook",
            "exclude each other",
        ),
        (
            {"webhook": {"tls_config": {"key_file": "/k"}}},
            "webhook.tls_config",
            "belong together",
        ),
        ({"labels": {"severity": "x"}}, "labels", "sockmon's own label"),
        ({"labels": {"__name": "x"}}, "labels", "not a label name"),
        ({"labels": {"my-team": "x"}}, "labels", "not a label name"),
        ({"labels": {"team": ""}}, "labels", "has no value"),
        ({"labels": {"team": 7}}, "labels.team", "valid string"),
    ],
)
def test_what_contradicts_itself_is_refused(
    settings: dict[str, Any], where: str, says: str
) -> None:
    ((told_where, told_what),) = mistakes(**settings)
    assert told_where == where
    assert says in told_what
