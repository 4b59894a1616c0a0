"""A finding on the page: commands to copy, evidence by its unit, a cause above its symptoms."""

from dataclasses import replace

import pytest
from playwright.sync_api import Locator, Page, expect

from sockmon.export.findings import findings as rendered
from sockmon.language import Text
from sockmon.model.finding import Advice, Command, Deadline, Finding, Quantity
from tests.page.conftest import Site
from tests.page.speaking import Json, open_with, spoken
from tests.unit.alert.making import finding

pytestmark = [pytest.mark.root, pytest.mark.component("chromium")]

LINE = "nsenter --net=/run/netns/orders ss -tnpo state close-wait '( sport = :80 )'"
NO_CLIPBOARD = "Object.defineProperty(navigator, 'clipboard', { value: undefined })"


def leak() -> Finding:
    return replace(
        finding("critical", summary="orders.service leaks"),
        critical_because=Text("its descriptors run out in about 5 minutes"),
        deadline=Deadline(Text("descriptors run out"), 300.0),
        entry="nsenter --net=/run/netns/orders",
        evidence={
            "oldest": Quantity(63.0, "seconds"),
            "peers": (("192.0.2.1", Quantity(3, "sockets")),),
        },
        advice=(
            Advice(
                Text("Restart it."), Command("systemctl restart orders", "here", "changes"), "stop"
            ),
            Advice(Text("It must close these sockets.")),
            Advice(Text("List the sockets:"), Command(LINE.partition("orders ")[2]), "look"),
            Advice(Text("Look there."), Command("ss -tn state fin-wait-2", "peer"), "look"),
        ),
    )


def shown(site: Site, told: Json, *found: Finding, locale: str = "en-US") -> Page:
    """A page of a namespace with these findings."""
    namespace = {**told["namespace"], "findings": rendered(found)}
    page, _ = open_with(site, spoken({**told, "namespace": namespace}), locale=locale)
    return page


def section(page: Page, heading: str) -> Locator:
    return (
        page.locator(".findings section")
        .filter(has=page.get_by_role("heading", name=heading, exact=True))
        .first
    )


def test_advice_is_shown_by_purpose_and_evidence_by_its_unit(site: Site, told: Json) -> None:
    page = shown(site, told, leak())
    expect(page.get_by_role("heading", level=1)).to_have_text(
        "nginx leaks connections; descriptors run out in 5m"
    )
    stop = section(page, "Stop the bleeding")
    expect(stop).to_contain_text("Restart it.changes the systemsystemctl restart orderscopy")
    expect(section(page, "Find the bug")).to_contain_text("It must close these sockets.")
    evidence = section(page, "Evidence")
    expect(evidence.locator("dl")).to_have_text(
        "until it failsdescriptors run out in 5moldest1m 3speers192.0.2.1 (3)"
    )
    expect(evidence.locator("code")).to_have_text([LINE, "ss -tn state fin-wait-2"])
    expect(evidence.locator("li").last).to_contain_text("on the peer")
    expect(page.locator(".figure.fails")).to_have_text("until it fails 5m")
    expect(page.locator(".because")).to_have_text(
        "Critical because its descriptors run out in about 5 minutes."
    )
    page.context.close()


def test_a_row_is_closed_and_opened_and_stays_so(site: Site, told: Json) -> None:
    page = shown(site, told, leak(), finding(port=99, owner="b.service", summary="b leaks"))
    rows = page.locator(".findings > li > h2 > button")
    expect(rows).to_have_count(2)
    expect(rows.first).to_have_attribute("aria-expanded", "true")
    expect(rows.last).to_have_attribute("aria-expanded", "false")
    rows.last.press("Enter")
    expect(page.locator(".details")).to_have_count(2)
    rows.first.click()
    expect(page.locator(".details")).to_have_count(1)
    expect(page.locator(".details")).to_contain_text("b leaks")
    page.context.close()


def test_it_is_said_in_chinese(site: Site, told: Json) -> None:
    found = replace(
        leak(),
        summary=Text("x leaks", "有 12 个连接没有 close()"),
        advice=(Advice(Text("Restart it.", "重启服务。"), None, "stop"),),
    )
    page = shown(site, told, found, locale="zh-CN")
    expect(page.get_by_role("heading", level=1)).to_contain_text("nginx 没有关闭连接")
    expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
    expect(page.locator(".summary")).to_have_text("有 12 个连接没有 close()。")
    expect(section(page, "先止血")).to_contain_text("重启服务。")
    expect(section(page, "证据").locator("dl")).to_contain_text("最久1 分 3 秒")
    page.get_by_role("button", name="English").click()
    expect(page.locator(".summary")).to_have_text("x leaks.")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    page.reload()
    expect(page.locator(".summary")).to_have_text("x leaks.")
    page.context.close()


def test_a_command_is_copied_whole(site: Site, told: Json) -> None:
    page = shown(site, told, leak())
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    button = section(page, "Evidence").get_by_role("button").first
    button.press("Enter")
    expect(button).to_have_text("copied")
    assert page.evaluate("navigator.clipboard.readText()") == LINE
    expect(button).to_have_text("copy")
    page.context.close()


def test_where_there_is_no_clipboard_the_command_is_selected(site: Site, told: Json) -> None:
    """As on a page that is neither from HTTPS nor from loopback."""
    page = shown(site, told, leak())
    page.evaluate(NO_CLIPBOARD)
    button = section(page, "Evidence").get_by_role("button").first
    button.click()
    expect(button).not_to_have_text("copy")
    assert page.evaluate("getSelection().toString()") == LINE
    page.context.close()


def test_a_symptom_is_below_its_cause(site: Site, told: Json) -> None:
    cause = finding(detector="accept_queue", port=443, summary="nginx does not accept")
    symptom = replace(
        finding(detector="connect_stalled", owner=None, summary="nobody answers"), cause=cause.key
    )
    page = shown(site, told, symptom, cause, finding(port=99, owner="b", summary="b leaks"))
    expect(page.get_by_role("heading", level=1)).to_have_text(
        "nginx does not accept its connections; b leaks connections"
    )
    expect(page.locator(".findings > li")).to_have_count(2)
    below = page.locator(".findings > li").first.locator(".symptoms > li")
    expect(below).to_contain_text("caused by the finding above")
    expect(below).to_contain_text("Nobody answers")
    expect(below.locator(".details")).to_have_count(0)
    below.get_by_role("button").click()
    expect(below.locator(".details")).to_contain_text("nobody answers")
    page.context.close()
