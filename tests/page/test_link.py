"""What the page says when the daemon is gone, comes back, or stands still."""

import signal
from contextlib import ExitStack

import pytest
from playwright.sync_api import Route, expect

from sockmon.web.events import STREAMS
from tests.page.browser import ORIGIN
from tests.page.conftest import Site
from tests.page.streams import listening

pytestmark = [pytest.mark.root, pytest.mark.component("chromium")]


def test_the_daemon_is_gone_and_back(site: Site) -> None:
    with site.daemon() as daemon:
        page = site.open()
        expect(page.locator(".pulse.live")).to_be_visible()
        daemon.stop()
        banner = page.get_by_role("alert")
        expect(banner).to_contain_text("sockmon is gone. The daemon does not answer.")
        expect(page.locator(".banner")).to_contain_text("What you see is")
        expect(page).to_have_title("… " + page.locator(".host").inner_text())
    with site.daemon():
        expect(banner).to_be_hidden()
        expect(page.locator(".pulse.live")).to_be_visible()
    page.context.close()


def test_old_data_is_called_old(site: Site) -> None:
    with site.daemon() as daemon:
        page = site.open()
        expect(page.locator(".pulse.live")).to_be_visible()
        daemon.signal(signal.SIGSTOP)
        try:
            banner = page.get_by_role("alert")
            expect(banner).to_contain_text("Old data. No poll has ended")
        finally:
            daemon.signal(signal.SIGCONT)
        expect(banner).to_be_hidden()
        page.context.close()


def test_a_page_that_is_turned_away_says_so_and_comes_back(site: Site) -> None:
    with site.daemon(), ExitStack() as others:
        for _ in range(STREAMS):
            others.enter_context(listening(site.netns))
        page = site.browser.new_page()
        page.goto(ORIGIN)
        banner = page.get_by_role("alert")
        expect(banner).to_contain_text("sockmon refuses live updates to this page")
        others.close()
        expect(page.locator(".pulse.live")).to_be_visible()
        expect(banner).to_be_hidden()
        page.close()


def test_history_that_did_not_come_is_asked_for_again_and_then_no_more(site: Site) -> None:
    asked: list[str] = []

    def fail_at_first(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) == 1:
            route.abort()
        else:
            route.continue_()

    with site.daemon() as daemon:
        page = site.browser.new_page()
        page.route("**/api/v1/history?range=hour&netns=*", fail_at_first)
        page.goto(ORIGIN)
        expect(page.locator(".plot canvas")).to_be_visible()
        daemon.wait_for_polls(8)
        expect(page.locator(".plot canvas")).to_be_visible()
        page.close()
    assert len(asked) == 2, "polls are told by the stream"
