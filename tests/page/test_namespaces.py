"""The page of a host with containers: one verdict for all, and a way to each."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.lab import NetNs, states
from tests.page.axe import complaints
from tests.page.browser import ORIGIN
from tests.page.conftest import Site
from tests.page.scenes import OF_CONTAINERS, leaking

pytestmark = [pytest.mark.root, pytest.mark.component("chromium")]

WELL = "The sockets are healthy in every network namespace"
LEAKS = "An application does not close its connections"
#: More than are shown at first.
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


def rows(page: Page) -> list[str]:
    """The names of the namespaces that are listed."""
    return page.locator(".namespaces tbody th").all_inner_texts()


def test_a_leak_in_a_container_is_the_verdict_of_the_host(
    page: Page, named: dict[str, NetNs], tmp_path: Path
) -> None:
    verdict = page.get_by_role("heading", level=1)
    expect(verdict).to_have_text(WELL)
    expect(page.locator("#verdict")).to_contain_text(f"own: {WORKERS + 2} polled.")
    expect(page.locator("#namespace")).to_contain_text("host The sockets are healthy")
    with leaking(named["orders"], tmp_path, "orders-api", 12):
        expect(verdict).to_have_text(LEAKS)
        expect(page.locator("#verdict")).to_contain_text(
            "orders-api leaking_server.py must act. It is in orders. 1 warning among"
        )
        expect(page).to_have_title("▲ web-1")
        assert rows(page)[0] == "orders", "the worst comes first"
        expect(page.locator("#namespace")).to_contain_text("host The sockets are healthy")
        page.locator("#verdict").get_by_role("link", name="orders").click()
        expect(page).to_have_url(f"{ORIGIN}/#netns=orders")
        details = page.locator("#namespace")
        expect(details).to_contain_text(f"orders {LEAKS}")
        expect(details).to_be_in_viewport()
        expect(page.get_by_role("article")).to_contain_text("--net=/run/netns/orders")
        expect(page.get_by_role("article")).to_contain_text("firing, warning · found")
        expect(page.get_by_role("button", name="CLOSE_WAIT 12 sockets")).to_be_visible()
        expect(page.locator(".alerts .past")).to_contain_text("SockmonCloseWaitLeak :8080")
        expect(page.locator(".namespaces tr.chosen")).to_contain_text("orders")
        page.locator(".namespaces").get_by_role("link", name="cache", exact=True).click()
        expect(page.locator(".alerts")).to_contain_text("None is firing here.1 alert in other")
        assert verdict.inner_text() == LEAKS
    expect(verdict).to_have_text(WELL)
    expect(page).to_have_title("✓ web-1")


@pytest.mark.usefixtures("orders_leak")
def test_a_colleague_is_sent_to_a_namespace(site: Site, page: Page) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(LEAKS)
    site.complaints.clear()
    sent = site.open("#netns=orders")
    expect(sent.locator("#namespace")).to_contain_text(f"orders {LEAKS}")
    expect(sent.locator("#namespace")).to_be_in_viewport()
    sent.get_by_role("link", name="To the verdict").press("Enter")
    expect(sent.locator("#verdict")).to_be_focused()
    expect(sent).to_have_url(f"{ORIGIN}/#netns=orders")
    sent.context.close()


def test_one_that_is_not_there_is_said_to_be_gone(site: Site) -> None:
    sent = site.open("#netns=left")
    expect(sent.locator("#namespace")).to_contain_text("There is no network namespace left now")
    sent.get_by_role("link", name="own instead").click()
    expect(sent.locator("#namespace")).to_contain_text("host The sockets are healthy")
    sent.context.close()


def test_the_list_sorts_filters_and_is_shown_whole_when_asked(page: Page) -> None:
    everyone = page.get_by_role("button", name=f"Show all {WORKERS + 3}")
    assert len(rows(page)) < WORKERS + 3
    everyone.press("Enter")
    expect(page.locator(".namespaces tbody tr")).to_have_count(WORKERS + 3)
    header = page.locator(".namespaces").get_by_role("columnheader", name="ESTABLISHED")
    header.get_by_role("button").press("Enter")
    expect(header).to_have_attribute("aria-sort", "descending")
    assert rows(page)[0] == "cache"
    name = page.locator(".namespaces").get_by_role("columnheader", name="namespace")
    name.get_by_role("button").press("Enter")
    expect(name).to_have_attribute("aria-sort", "ascending")
    assert rows(page)[:4] == ["cache", "host", "orders", "worker-00"]
    box = page.get_by_role("searchbox", name="Filter namespaces")
    box.fill("worker healthy")
    expect(page.locator(".namespaces tbody tr")).to_have_count(WORKERS)
    expect(page.locator(".namespaces .note")).to_have_text(f"{WORKERS} of {WORKERS + 3}")
    box.fill("critical")
    expect(page.locator(".namespaces")).to_contain_text("Nothing matches.")


def test_each_has_a_past_of_its_own(page: Page) -> None:
    page.locator(".namespaces").get_by_role("link", name="cache", exact=True).click()
    page.wait_for_function("() => document.querySelector('.plot canvas')")
    established = page.locator(".legend button").filter(has_text="ESTABLISHED")
    expect(established).to_contain_text("18")
    page.go_back()
    expect(established).not_to_contain_text("18")
    expect(page.locator("#namespace")).to_contain_text("host")


@pytest.mark.component("npm")
@pytest.mark.usefixtures("orders_leak")
def test_axe_finds_nothing_and_nothing_is_too_wide(page: Page, source: Path) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(LEAKS)
    page.locator("#verdict").get_by_role("link", name="orders").click()
    expect(page.get_by_role("article")).to_be_visible()
    expect(page.locator(".plot canvas")).to_be_visible()
    assert complaints(page, source) == []
