"""The page of a host with containers: one verdict for all, and a way to each."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.lab import NetNs, states
from tests.page.axe import complaints
from tests.page.browser import ORIGIN
from tests.page.conftest import Site
from tests.page.scenes import OF_CONTAINERS, leaking

pytestmark = [pytest.mark.root, pytest.mark.component("chromium")]

WELL = "The sockets are healthy in every network namespace"
LEAKS = "orders-api leaking_server.py leaks connections"
WORKERS = 9


@pytest.fixture(scope="module", autouse=True)
def named(site: Site) -> Iterator[dict[str, NetNs]]:
    """Namespaces by name, each with sockets in it, and the daemon that sees them."""
    with ExitStack() as stack:
        made: dict[str, NetNs] = {}
        for name in ("orders", "cache", *(f"worker-{number:02}" for number in range(WORKERS))):
            made[name] = stack.enter_context(site.world.netns())
            site.world.name(made[name], name)
            stack.enter_context(states.listen(made[name]))
        stack.enter_context(states.established(made["cache"], count=9))
        stack.enter_context(states.time_wait(made["orders"], count=4))
        stack.enter_context(site.daemon(OF_CONTAINERS))
        yield made


@pytest.fixture
def orders_leak(named: dict[str, NetNs], tmp_path: Path) -> Iterator[None]:
    with leaking(named["orders"], tmp_path, "orders-api", 12):
        yield


def listed(page: Page) -> Locator:
    """The rows of the namespaces, whose table is shown."""
    page.get_by_role("button", name="By namespace").click()
    return page.locator(".tables tbody tr")


def rows(page: Page) -> list[str]:
    """The names of the namespaces that are listed."""
    return listed(page).locator("th").all_inner_texts()


def test_a_leak_in_a_container_is_the_verdict_of_the_host(
    page: Page, named: dict[str, NetNs], tmp_path: Path
) -> None:
    verdict = page.get_by_role("heading", level=1)
    expect(verdict).to_have_text(WELL)
    expect(page.locator("#verdict")).to_contain_text(f"own: {WORKERS + 2} polled.")
    expect(page.locator("#namespace")).to_contain_text("host The sockets are healthy")
    with leaking(named["orders"], tmp_path, "orders-api", 12):
        expect(verdict).to_have_text(f"{LEAKS}, in orders")
        expect(page.locator("#verdict")).to_contain_text("1 warning · ")
        expect(page).to_have_title("▲ web-1")
        assert rows(page)[0] == "orders", "the worst comes first"
        expect(page).to_have_url(f"{ORIGIN}/")
        finding = page.locator(".findings > li")
        expect(finding).to_contain_text("--net=/run/netns/orders")
        expect(finding).to_contain_text("alert firing for")
        expect(page.locator(".bars")).to_contain_text("12")
        expect(page.locator(".tables tr.chosen")).to_contain_text("orders")
        listed(page).get_by_role("link", name="cache", exact=True).click()
        expect(page).to_have_url(f"{ORIGIN}/#netns=cache")
        details = page.locator("#namespace")
        expect(details).to_contain_text("cache The sockets are healthy")
        expect(details).to_be_in_viewport()
        expect(page.locator(".alerts")).to_contain_text("1 alert in other namespaces.")
        assert LEAKS in verdict.inner_text()
        listed(page).get_by_role("link", name="orders", exact=True).click()
        expect(finding).to_contain_text("orders-api")
    expect(verdict).to_have_text(WELL)
    expect(page).to_have_title("✓ web-1")


@pytest.mark.usefixtures("orders_leak")
def test_a_colleague_is_sent_to_a_namespace(site: Site, page: Page) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{LEAKS}, in orders")
    site.complaints.clear()
    sent = site.open("#netns=cache")
    expect(sent.locator("#namespace")).to_contain_text("cache The sockets are healthy")
    expect(sent.locator("#namespace")).to_be_in_viewport()
    sent.get_by_role("link", name="To the verdict").press("Enter")
    expect(sent.locator("#verdict")).to_be_focused()
    expect(sent).to_have_url(f"{ORIGIN}/#netns=cache")
    sent.context.close()


def test_one_that_is_not_there_is_said_to_be_gone(site: Site) -> None:
    sent = site.open("#netns=left")
    expect(sent.locator("#namespace")).to_contain_text("There is no network namespace left now")
    sent.get_by_role("link", name="own instead").click()
    expect(sent.locator("#namespace")).to_contain_text("host The sockets are healthy")
    sent.context.close()


def test_the_list_sorts_filters_and_is_shown_whole_when_asked(page: Page) -> None:
    shown = listed(page)
    expect(shown).to_have_count(WORKERS + 3)
    tables = page.locator(".tables")
    header = tables.get_by_role("columnheader", name="ESTABLISHED")
    header.get_by_role("button").press("Enter")
    expect(header).to_have_attribute("aria-sort", "descending")
    expect(shown.first).to_contain_text("cache")
    name = tables.get_by_role("columnheader", name="namespace")
    name.get_by_role("button").press("Enter")
    expect(name).to_have_attribute("aria-sort", "ascending")
    assert shown.locator("th").all_inner_texts()[:4] == ["cache", "host", "orders", "worker-00"]
    box = page.get_by_role("searchbox")
    box.fill("worker healthy")
    expect(shown).to_have_count(WORKERS)
    expect(page.get_by_role("button", name=f"By namespace {WORKERS}")).to_be_visible()
    box.fill("critical")
    expect(tables).to_contain_text("Nothing matches.")


def test_each_has_a_past_of_its_own(page: Page) -> None:
    listed(page).get_by_role("link", name="cache", exact=True).click()
    page.wait_for_function("() => document.querySelector('.plot canvas')")
    established = page.locator(".legend button").filter(has_text="ESTABLISHED")
    expect(established).to_contain_text("18")
    page.go_back()
    expect(page.locator("#namespace")).to_contain_text("host")
    expect(page.locator(".legend")).not_to_contain_text("18")


@pytest.mark.component("npm")
@pytest.mark.usefixtures("orders_leak")
def test_axe_finds_nothing_and_nothing_is_too_wide(page: Page, source: Path) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{LEAKS}, in orders")
    listed(page)
    expect(page.locator(".details")).to_be_visible()
    expect(page.locator(".plot canvas")).to_be_visible()
    assert complaints(page, source) == []
