"""The page in a real browser, while real trouble comes and goes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.lab import eventually, states
from tests.page.conftest import Site
from tests.page.scenes import leaking

pytestmark = [pytest.mark.root, pytest.mark.component("chromium")]

#: Few, so that they run out.
LOCAL_PORTS = 400


@pytest.fixture(scope="module", autouse=True)
def daemon(site: Site) -> Iterator[None]:
    site.netns.set_sysctl("net.ipv4.ip_local_port_range", f"40000 {40000 + LOCAL_PORTS - 1}")
    with site.daemon():
        yield


def test_a_leak_comes_and_goes(site: Site, page: Page, tmp_path: Path) -> None:
    verdict = page.get_by_role("heading", level=1)
    expect(verdict).to_have_text("The sockets are healthy")
    expect(page).to_have_title("✓ " + page.locator(".host").inner_text())
    with leaking(site.netns, tmp_path, "orders-api", 12):
        expect(verdict).to_have_text("An application does not close its connections")
        expect(page.locator(".saying")).to_contain_text(
            "orders-api leaking_server.py must act. 1 warning among"
        )
        card = page.get_by_role("article")
        expect(card).to_contain_text("orders-api leaking_server.py (pid ")
        expect(card).to_contain_text("connections to port 8080 here")
        expect(card.get_by_role("heading", level=3)).to_have_text(
            ["Stop the bleeding", "Find the bug", "Evidence"]
        )
        look = card.locator("section.look")
        expect(look.locator("code")).to_have_text("ss -tnpo state close-wait '( sport = :8080 )'")
        expect(card.get_by_role("link")).to_have_text("Runbook: SockmonCloseWaitLeak")
        expect(page).to_have_title("▲ " + page.locator(".host").inner_text())
        expect(page.locator(".alerts .current")).to_contain_text("firing")
        expect(card).to_contain_text("firing, warning · found")
        expect(page.locator(".alerts .past")).to_contain_text("SockmonCloseWaitLeak :8080")
        expect(page.get_by_role("button", name="CLOSE_WAIT 12 sockets")).to_be_visible()
        expect(page.locator(".bars")).to_contain_text("12")
        expect(page.locator(".explained")).to_contain_text("12 clients of port 8080")
    expect(verdict).to_have_text("The sockets are healthy")
    expect(page.locator(".alerts")).to_contain_text("None is firing.")
    expect(page.locator(".alerts .past li").first).to_contain_text("resolved")
    expect(page.locator(".ages")).to_contain_text("No socket is in CLOSE_WAIT")


def test_a_process_that_calls_itself_html_is_text(site: Site, page: Page, tmp_path: Path) -> None:
    with leaking(site.netns, tmp_path, "<img src=q>", 10, port=8081):
        expect(page.get_by_role("article")).to_contain_text("<img src=q> leaking_server.py (pid ")
        assert page.locator("main img").count() == 0


def test_a_name_neither_turns_nor_hides_what_is_beside_it(
    site: Site, page: Page, tmp_path: Path
) -> None:
    with leaking(site.netns, tmp_path, "a\x1b[7m\u202eb", 10, port=8082):
        expect(page.get_by_role("article")).to_contain_text(
            r"a\x1b[7m\u202eb leaking_server.py (pid "
        )
        assert not {"\x1b", "\u202e"} & set(page.content())


def test_ports_that_run_out(site: Site, page: Page) -> None:
    with states.established(site.netns, count=LOCAL_PORTS * 3 // 4) as held:
        expect(page.get_by_role("article")).to_contain_text(
            "Local ports run out towards one destination"
        )
        gauge = page.get_by_role("meter", name="Local ports")
        expect(gauge).to_have_attribute("aria-valuetext", "300 of 400, warning")
        expect(page.locator(".gauge").first).to_contain_text(f"towards 127.0.0.1:{held.port}")


def test_each_state_is_explained_with_the_numbers_of_this_host(site: Site, page: Page) -> None:
    with states.established(site.netns, count=7) as held:
        page.locator(".node.established").hover()
        explained = page.locator(".explained")
        expect(explained).to_contain_text("The connection is open")
        expect(explained).to_contain_text(f"7 towards port {held.port}")
        page.locator(".node.time_wait").click()
        expect(explained).to_contain_text("After 60 s it is gone.")


def test_the_plot_draws_what_happens(site: Site, page: Page) -> None:
    def coloured() -> int:
        """Pixels of the plot in the colour of ESTABLISHED."""
        return int(
            page.evaluate(
                """() => {
                  const canvas = document.querySelector('.plot canvas')
                  const { data } = canvas.getContext('2d')
                    .getImageData(0, 0, canvas.width, canvas.height)
                  let n = 0
                  for (let i = 0; i < data.length; i += 4)
                    n += data[i] === 29 && data[i + 1] === 111 && data[i + 2] === 209
                  return n
                }"""
            )
        )

    shown = page.get_by_role("button", name="ESTABLISHED", exact=False).and_(
        page.locator(".legend button")
    )
    with states.established(site.netns, count=30):
        page.wait_for_function("() => document.querySelector('.plot canvas')")
        eventually(coloured, until=lambda n: n > 50)
        shown.click()
        expect(shown).to_have_attribute("aria-pressed", "false")
        eventually(coloured, until=lambda n: n == 0)
        shown.click()
    page.get_by_role("button", name="day").click()
    expect(page.get_by_role("heading", name="States over the last day")).to_be_visible()
    page.get_by_role("button", name="log").click()
    page.wait_for_function("() => document.querySelector('.plot canvas')")
    page.locator(".plot[role=img]").focus()

    def pointed() -> str:
        page.keyboard.press("ArrowLeft")  # again, if new data has come in between
        return page.locator(".when").inner_text()

    eventually(pointed)


def test_the_table_sorts_and_filters(site: Site, page: Page) -> None:
    with states.established(site.netns, count=120) as many, states.close_wait(site.netns) as one:
        ports = page.get_by_label("Ports by state")
        first = ports.locator("tbody tr").first
        expect(first.get_by_role("rowheader")).to_have_text(str(many.port))
        header = ports.get_by_role("columnheader", name="CLOSE_WAIT")
        header.get_by_role("button").press("Enter")
        expect(header).to_have_attribute("aria-sort", "descending")
        expect(first.get_by_role("rowheader")).to_have_text(str(one.port))
        header.get_by_role("button").press("Enter")
        expect(header).to_have_attribute("aria-sort", "ascending")
        box = page.get_by_role("searchbox")
        box.fill(f"{many.port} inbound")
        expect(ports.locator("tbody tr")).to_have_count(1)
        expect(first).to_contain_text("inbound")
        box.fill("close-wait")
        expect(first.get_by_role("rowheader")).to_have_text(str(one.port))
        box.fill("nothing like it")
        expect(ports).to_contain_text("Nothing matches.")
