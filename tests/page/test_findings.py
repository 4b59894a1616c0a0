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


def shown(site: Site, told: Json, *found: Finding) -> Page:
    """A page of a namespace with these findings."""
    namespace = {**told["namespace"], "findings": rendered(found)}
    page, _ = open_with(site, spoken({**told, "namespace": namespace}))
    return page


def section(page: Page, heading: str) -> Locator:
    return (
        page.get_by_role("article")
        .locator("section")
        .filter(has=page.get_by_role("heading", name=heading))
    )


def test_advice_is_shown_by_purpose_and_evidence_by_its_unit(site: Site, told: Json) -> None:
    page = shown(site, told, leak())
    stop = section(page, "Stop the bleeding")
    expect(stop).to_contain_text("Restart it.changes the systemsystemctl restart orderscopy")
    expect(section(page, "Find the bug")).to_contain_text("It must close these sockets.")
    evidence = section(page, "Evidence")
    expect(evidence.locator("dl")).to_have_text("oldest1m 3speers192.0.2.1 (3)")
    expect(evidence.locator("code")).to_have_text([LINE, "ss -tn state fin-wait-2"])
    expect(evidence.locator("li").last).to_contain_text("on the peer")
    expect(page.locator(".facts")).to_contain_text("Until it fails5m, then descriptors run out")
    expect(page.locator(".because")).to_have_text(
        "Critical because its descriptors run out in about 5 minutes."
    )
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


def test_a_symptom_is_folded_below_its_cause(site: Site, told: Json) -> None:
    cause = finding(detector="accept_queue", port=443, summary="nginx does not accept")
    symptom = replace(
        finding(detector="connect_stalled", owner=None, summary="nobody answers"), cause=cause.key
    )
    page = shown(site, told, symptom, cause, finding(port=99, summary="another leaks"))
    expect(page.locator(".saying")).to_contain_text("2 things are wrong")
    cards = page.get_by_role("article").and_(page.locator(":visible"))
    expect(cards).to_have_count(2)
    first = page.locator("#finding-1")
    expect(first.locator(".symptom summary")).to_contain_text("Caused by this: warning")
    page.locator(".overview .symptoms a").click()
    expect(cards).to_have_count(3)
    expect(first.get_by_role("article").nth(1)).to_contain_text("nobody answers")
    page.context.close()
