"""What a page makes of what a daemon might say: another version's words, much, or long."""

from dataclasses import replace

import pytest
from playwright.sync_api import Page, expect

from sockmon.export.findings import findings
from sockmon.model.owner import Owner, Process
from tests.page.browser import ORIGIN, PHONE
from tests.page.conftest import Site
from tests.page.speaking import Json, open_with, spoken
from tests.unit.alert.making import finding as leak

pytestmark = [pytest.mark.root, pytest.mark.component("chromium")]


def expect_no_understanding(page: Page) -> None:
    expect(page.get_by_role("alert")).to_contain_text("does not understand what the daemon sends")
    expect(page.locator(".pulse")).to_have_count(0)
    expect(page.get_by_role("heading", level=1)).to_have_count(0)


def test_a_page_is_loaded_again_once_after_an_upgrade(site: Site, told: Json) -> None:
    newer = {**told, "version": "9.9"}
    page, asked = open_with(site, spoken(told, newer), spoken(newer))
    expect(page.locator("footer")).to_contain_text("sockmon 9.9")
    assert asked[:2] == [spoken(told, newer), spoken(newer)]
    page.close()


def test_versions_that_take_turns_do_not_make_it_load_for_ever(site: Site, told: Json) -> None:
    page, asked = open_with(site, spoken(told, {**told, "version": "9.9"}))
    expect_no_understanding(page)
    assert len(asked) == 2
    page.close()


@pytest.mark.parametrize("namespace", [{}, {"findings": 7}], ids=["nothing", "another type"])
def test_what_cannot_be_drawn_is_no_all_clear(site: Site, told: Json, namespace: Json) -> None:
    page, _ = open_with(site, spoken(told, {**told, "namespace": {"netns": "host", **namespace}}))
    expect_no_understanding(page)
    page.close()


def test_what_is_no_json_is_no_all_clear(site: Site, told: Json) -> None:
    page, _ = open_with(site, spoken(told) + "event: observation\ndata: {\n\n")
    expect_no_understanding(page)
    page.close()


def finding(number: int, name: str) -> Json:
    owner = Owner(name, None, (Process(7, name),))
    (rendered,) = findings([replace(leak(port=number, summary=f"{name} leaks"), owner=owner)])
    return {**rendered}


def test_many_findings_are_seen_at_a_glance_on_a_phone(site: Site, told: Json) -> None:
    host = told["namespace"]
    many = [finding(8000 + number, "w" * 200) for number in range(4)]
    page, _ = open_with(site, spoken({**told, "namespace": {**host, "findings": many}}))
    page.set_viewport_size(PHONE)
    expect(page.locator(".overview li")).to_have_count(4)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    shown = page.get_by_role("article").and_(page.locator(":visible"))
    expect(shown).to_have_count(2)
    page.locator(".overview a").last.click()
    expect(shown).to_have_count(3)
    expect(shown.last).to_contain_text("connections to port 8003 here")
    page.close()


@pytest.mark.parametrize(
    ("seconds_ago", "line", "whole"),
    [
        (4.0, "healthy", "pod The sockets are healthy"),
        (19.0, "19s ago", "These numbers are 19s old: this namespace is polled about every 20s"),
        (61.0, "could not be read", "No poll has succeeded for 1m 1s:"),
    ],
)
def test_what_waits_its_turn_is_dated_until_it_is_too_old(
    site: Site, told: Json, seconds_ago: float, line: str, whole: str
) -> None:
    host, then = told["namespace"], told["taken_at"] - seconds_ago
    (own,) = told["namespaces"]
    waiting = {"netns": "pod", "beat_seconds": 20.0, "looked_at": then, "diagnosed_at": then}
    parts = {part: {**host[part], "taken_at": then} for part in ("tcp", "ports", "limits")}
    namespaces = [own, {**own, **waiting, "counted_at": then}]
    pod = {**host, **waiting, **parts}
    page, _ = open_with(site, spoken({**told, "namespace": pod, "namespaces": namespaces}))
    expect(page.locator(".namespaces tr").filter(has_text="pod")).to_contain_text(line)
    expect(page.locator("#namespace")).to_contain_text(whole)
    page.close()


@pytest.mark.usefixtures("told")
def test_that_there_is_no_history_is_said_and_why(site: Site) -> None:
    page = site.browser.new_page()
    nothing: Json = {"step_seconds": None, "times": [], "max": {}, "alert_changes": []}
    page.route("**/api/v1/history*", lambda route: route.fulfill(json=nothing))
    page.goto(ORIGIN)
    expect(page.locator(".past")).to_contain_text("No history is kept of this namespace")
    expect(page.locator(".plot canvas")).to_be_visible()
    page.close()


def test_a_change_of_severity_is_one_event(site: Site, told: Json) -> None:
    labels = {"alertname": "SockmonConnectStalled", "netns": "host", "severity": "critical"}
    now = told["taken_at"]
    worse = {
        "at": now,
        "state": "firing",
        "firing_since": now,
        "labels": labels,
        "summary": "x",
        "previous_severity": "warning",
    }
    begun = {**worse, "labels": {**labels, "severity": "warning"}, "previous_severity": None}
    history: Json = {
        "step_seconds": None, "times": [], "max": {}, "alert_changes": [begun, worse]
    }  # fmt: skip
    page = site.browser.new_page()
    page.route("**/api/v1/history*", lambda route: route.fulfill(json=history))
    page.goto(ORIGIN)
    events = page.locator(".alerts .past li")
    expect(events).to_have_count(2)
    expect(events.first).to_contain_text("now critical")
    expect(events.first).to_contain_text("warning → critical")
    expect(events.last).to_contain_text("firing")
    page.close()
