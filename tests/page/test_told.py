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
    expect(page.locator(".findings > li")).to_have_count(4)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    expect(page.locator(".details")).to_have_count(1)
    page.locator(".findings > li").last.get_by_role("button").first.click()
    expect(page.locator(".details")).to_have_count(2)
    page.close()


def test_findings_do_not_change_places(site: Site, told: Json) -> None:
    host = told["namespace"]
    one, two = finding(8001, "a"), finding(8002, "b")
    later = [
        {**told, "taken_at": told["taken_at"] + 1, "namespace": {**host, "findings": [two, one]}}
    ]
    page, _ = open_with(
        site, spoken({**told, "namespace": {**host, "findings": [one, two]}}, *later)
    )
    names = page.locator(".findings .who > bdi")
    expect(names).to_have_text(["a", "b"])
    page.close()


def test_owners_events_udp_and_unix_sockets_have_tables(site: Site, told: Json) -> None:
    owners = [
        {"owner": "nginx.service", "states": {"established": 3, "close_wait": 2}},
        {"owner": "other", "states": {"time_wait": 9}},
    ]
    events = {
        "direction": "outbound",
        "port": 5432,
        "opened": 70,
        "failed": {"refused": 4},
        "closed": {"here": 60},
        "aborted": {"there": 2},
        "connect_seconds": None,
        "close_wait_seconds": {
            "bounds": [0.001, 0.01, 0.04, 0.2, 1.0, 5.0, 30.0, 60.0, 300.0],
            "counts": [50, 0, 3, 2, 0, 0, 0, 0, 4, 1],
            "sum": 900.0,
        },
        "lifetime_seconds": None,
    }
    namespace = {
        **told["namespace"],
        "owners": {"taken_at": told["taken_at"], "owners": owners},
        "udp_ports": [
            {
                "port": 514,
                "sockets": 1,
                "receive_queue_bytes": 2048,
                "drops": 77,
                "owners": [{"owner": "rsyslog.service", "sockets": 1}],
            }
        ],
        "connection_events": {"since": told["taken_at"], "ports": [events]},
        "unix_queues": [{"path": "@api", "queue": 3, "limit": 4}],
    }
    page, _ = open_with(site, spoken({**told, "namespace": namespace}))
    tables = page.locator(".tables")
    expect(tables.locator("tbody tr")).to_have_text(["nginx.service5320", "no service known9009"])
    page.get_by_role("button", name="Opened and closed").click()
    expect(tables.locator("tbody tr")).to_have_text(["5432 outbound704602"])
    tables.locator(".opener").click()
    expect(tables.locator(".parts")).to_have_text("Failedrefused4Aborted bythere2")
    closing = tables.get_by_role("region", name="Time to close")
    expect(closing.locator("li.marked .edge")).to_have_text(["40 ms", "1m"])
    expect(closing.locator("li.some .unseen")).to_have_text(
        ["0s to 1 ms: 50", "10 ms to 40 ms: 3", "40 ms to 200 ms: 2", "1m to 5m: 4", "over 5m: 1"]
    )
    expect(closing.locator("li.old .n")).to_have_text(["4", "1"])
    page.get_by_role("button", name="UDP").click()
    expect(tables.locator("tbody tr")).to_have_text(["51412.0 KiB77"])
    tables.locator(".opener").click()
    expect(tables.locator(".parts")).to_contain_text("Servicesrsyslog.service1")
    expect(tables.locator(".parts code")).to_have_text("ss -uanpm '( sport = :514 )'")
    page.get_by_role("button", name="Unix").click()
    expect(tables.locator("tbody tr")).to_have_text(["@api3460%"])
    tables.locator(".opener").click()
    expect(tables.locator(".parts code")).to_have_text("ss -xlp src @api")
    page.close()


def test_times_are_those_of_the_host_or_of_the_reader(site: Site, told: Json) -> None:
    zone = {"name": "CST", "offset_seconds": 28_800}
    page, _ = open_with(site, spoken({**told, "zone": zone}), timezone_id="Europe/Lisbon")
    expect(page.locator("#past")).to_contain_text("CST")
    page.get_by_role("button", name="Europe/Lisbon (mine)").click()
    expect(page.locator("#past")).to_contain_text("Europe/Lisbon")
    page.close()
    page, _ = open_with(site, spoken({**told, "zone": zone}), timezone_id="Asia/Shanghai")
    expect(page.locator(".zone")).to_have_text("CST")
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
    expect(page.locator("#namespace")).to_contain_text(whole)
    page.get_by_role("button", name="By namespace").click()
    expect(page.locator(".tables tr").filter(has_text="pod")).to_contain_text(line)
    page.close()


@pytest.mark.usefixtures("told")
def test_that_there_is_no_history_is_said_and_why(site: Site) -> None:
    page = site.browser.new_page()
    nothing: Json = {"step_seconds": None, "times": [], "max": {}, "alert_changes": []}
    page.route("**/api/v1/history*", lambda route: route.fulfill(json=nothing))
    page.goto(ORIGIN)
    expect(page.locator(".past")).to_contain_text("No stored history for this namespace")
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
    page.locator(".alerts summary").click()
    events = page.locator(".alerts li")
    expect(events).to_have_count(2)
    expect(events.first).to_contain_text("now critical")
    expect(events.first).to_contain_text("warning → critical")
    expect(events.last).to_contain_text("firing")
    page.close()
