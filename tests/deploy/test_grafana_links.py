"""Where the dashboards' links lead."""

import re
from typing import Any

import pytest

from sockmon.alert.labels import RUNBOOKS
from sockmon.detect.registry import ALL
from tests.conftest import REPOSITORY
from tests.deploy.grafana_boards import BOARDS, found, of_each_board, panels


@of_each_board
def test_links_lead_somewhere(board: dict[str, Any]) -> None:
    urls = list(found(board, "url"))
    ways = {url.partition("?")[0] for url in urls if url.startswith("/d/")}
    assert ways >= {f"/d/{uid}" for uid in BOARDS.keys() - {board["uid"]}}
    for url in urls:
        if url.startswith(RUNBOOKS):
            for name in _alerts_behind(url.removeprefix(RUNBOOKS)):
                assert (REPOSITORY / "docs" / "runbooks" / name).is_file(), url
        else:
            uid, _, query = url.removeprefix("/d/").partition("?")
            there = {variable["name"] for variable in BOARDS[uid]["templating"]["list"]}
            passed = re.findall(r"\${(\w+):queryparam}|var-(\w+)=", query)
            assert {first or second for first, second in passed} <= there, url


def _alerts_behind(page: str) -> list[str]:
    """A cell's own text is a detector shown as its alert."""
    if "${__value.text}" not in page:
        return [page]
    return [page.replace("${__value.text}", detector.alert) for detector in ALL]


def test_detectors_are_shown_as_their_alerts() -> None:
    shown = [
        options
        for board in BOARDS.values()
        for options in found(board, "options")
        if "close_wait_leak" in options
    ]
    assert len(shown) == 2
    for options in shown:
        assert {name: text["text"] for name, text in options.items()} == {
            detector.name: detector.alert for detector in ALL
        }


@pytest.mark.parametrize(
    ("uid", "title", "passed"),
    [
        ("sockmon-fleet", "Hosts, worst first", {"instance"}),
        ("sockmon-fleet", "Namespaces, worst first", {"instance", "netns"}),
        ("sockmon-fleet", "Findings", {"instance", "netns"}),
        ("sockmon-close-wait", "Leaks, largest first", {"instance", "netns"}),
        ("sockmon-close-wait", "Namespaces that leak, worst first", {"instance", "netns"}),
        ("sockmon-host", "Namespaces, worst first", {"netns"}),
        ("sockmon-host", "Findings", {"netns"}),
        ("sockmon-host", "Ports", {"netns"}),
    ],
)
def test_hosts_and_namespaces_are_reached_from_tables(
    uid: str, title: str, passed: set[str]
) -> None:
    tables = {panel["title"]: panel for panel in panels(BOARDS[uid])}
    (url,) = (url for url in found(tables[title], "url") if "sockmon-host" in url)
    assert set(re.findall(r"var-(\w+)=", url)) == passed
    assert ("${instance:queryparam}" in url) == ("instance" not in passed)
