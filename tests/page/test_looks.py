"""The page for everybody: accessible, on a phone, in the dark, by keyboard."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.lab import eventually, states
from tests.page.axe import complaints
from tests.page.browser import ORIGIN
from tests.page.conftest import Site
from tests.page.scenes import leaking

pytestmark = [pytest.mark.root, pytest.mark.component("chromium")]


@pytest.fixture(scope="module", autouse=True)
def troubled(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A daemon, a leak, and sockets in many states."""
    with (
        site.daemon(),
        leaking(site.netns, tmp_path_factory.mktemp("leak"), "orders-api", 12),
        states.established(site.netns, count=5),
        states.time_wait(site.netns, count=5),
    ):
        yield


@pytest.mark.component("npm")
@pytest.mark.parametrize(("locale", "tab"), [("en-US", "By port"), ("zh-CN", "按对端")])
def test_axe_finds_nothing_and_nothing_is_too_wide(
    site: Site, source: Path, locale: str, tab: str
) -> None:
    page = site.open(locale=locale)
    expect(page.locator(".details")).to_be_visible()
    expect(page.locator(".plot canvas")).to_be_visible()
    page.get_by_role("button", name=tab).click()
    page.locator(".tables .opener").first.click()
    page.locator(".alerts summary").click()
    page.locator(".states summary").click()
    expect(page.locator(".parts code")).to_be_visible()
    assert complaints(page, source) == []
    page.context.close()


@pytest.mark.component("npm")
def test_axe_finds_nothing_in_a_runbook(page: Page, source: Path) -> None:
    page.goto(f"{ORIGIN}/runbooks/SockmonCloseWaitLeak")
    expect(page.get_by_role("heading", level=1)).to_have_text("SockmonCloseWaitLeak")
    assert complaints(page, source) == []


def test_the_scheme_can_be_chosen_and_is_kept(page: Page) -> None:
    ground = "() => getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="dark").click()
    dark = eventually(lambda: page.evaluate(ground), until=light.__ne__)
    page.reload()
    eventually(lambda: page.evaluate(ground), until=dark.__eq__)


def test_all_of_it_can_be_reached_by_keyboard(page: Page) -> None:
    expect(page.locator(".details")).to_be_visible()
    page.locator(".states summary").click()
    reached = set()
    for _ in range(100):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                """() => {
                  const at = document.activeElement
                  return at.getAttribute('aria-label') ?? at.textContent
                }"""
            )
        )
    expected = {
        "To the verdict",
        "dark",
        "Runbook: SockmonCloseWaitLeak",
        "中文",
        "24 h",
        "log",
        "By peer",
        "Copy the command",
        "CLOSE_WAIT 12 sockets",
        "Filter all tables by name, port, address, direction or state",
        "port",
        "metrics",
    }
    assert expected <= reached
    page.locator(".node.fin_wait2").focus()
    expect(page.locator(".explained")).to_have_attribute("data-state", "fin_wait2")


def test_nothing_moves_for_those_who_do_not_want_it(site: Site) -> None:
    page = site.open(reduced_motion="reduce")
    assert page.locator(".meter > div").first.evaluate(
        "node => getComputedStyle(node).transitionDuration"
    ) in ("0s", "")
    page.context.close()
