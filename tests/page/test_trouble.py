"""The page in a real browser, while real trouble comes and goes."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.lab import eventually, states
from tests.page.conftest import Site
from tests.page.scenes import leaking

pytestmark = [pytest.mark.root, pytest.mark.component("chromium")]

ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
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
    expect(page.locator(".ages")).to_have_count(0)
    expect(page.locator(".findings")).to_have_count(0)
    with leaking(site.netns, tmp_path, "orders-api", 12):
        expect(verdict).to_have_text("orders-api leaking_server.py leaks connections")
        expect(page.locator(".saying")).to_contain_text("1 warning · ")
        row = page.locator(".findings > li")
        expect(row).to_contain_text("orders-api leaking_server.pyPID ")
        expect(row).to_contain_text("port 8080 here")
        expect(row).to_contain_text("leaks connections (CLOSE_WAIT)")
        expect(row.get_by_role("heading", level=3)).to_have_text(
            ["Stop the bleeding", "Find the bug", "Evidence"]
        )
        look = row.locator("section.look")
        expect(look.locator("code")).to_have_text("ss -tnpo state close-wait '( sport = :8080 )'")
        runbook = row.get_by_role("link")
        expect(runbook).to_have_text("Runbook: SockmonCloseWaitLeak")
        expect(page).to_have_title("▲ " + page.locator(".host").inner_text())
        expect(row).to_contain_text("alert firing for")
        changes = page.locator(".alerts summary")
        expect(changes).to_have_text("Alerts in this time: 1")
        changes.click()
        expect(page.locator(".alerts li")).to_contain_text("SockmonCloseWaitLeak :8080")
        expect(page.locator(".alerts time")).to_have_attribute("datetime", ISO)
        expect(page.locator(".bars")).to_contain_text("12")
        page.locator(".states summary").click()
        expect(page.get_by_role("button", name="CLOSE_WAIT 12 sockets")).to_be_visible()
        expect(page.locator(".explained")).to_contain_text("12 clients of port 8080")
        runbook.click()
        expect(page.get_by_role("heading", level=1)).to_have_text("SockmonCloseWaitLeak")
        page.go_back()
    expect(verdict).to_have_text("The sockets are healthy")
    page.locator(".alerts summary").click()
    expect(page.locator(".alerts li").first).to_contain_text("resolved")
    expect(page.locator(".ages")).to_have_count(0)


def test_names_are_text_and_neither_turn_nor_hide_what_is_beside_them(
    site: Site, page: Page, tmp_path: Path
) -> None:
    with (
        leaking(site.netns, tmp_path, "<img src=q>", 10, port=8081),
        leaking(site.netns, tmp_path, "a\x1b[7m\u202eb", 10, port=8082),
    ):
        findings = page.locator(".findings")
        expect(findings).to_contain_text("<img src=q> leaking_server.py")
        assert page.locator("main img").count() == 0
        expect(findings).to_contain_text(r"a\x1b[7m\u202eb leaking_server.py")
        assert not {"\x1b", "\u202e"} & set(page.content())
        expect(page.get_by_role("heading", level=1)).to_contain_text("leak connections")


def test_ports_that_run_out(site: Site, page: Page) -> None:
    with states.established(site.netns, count=LOCAL_PORTS * 3 // 4) as held:
        expect(page.locator(".findings")).to_contain_text("ocal ports run out towards one")
        gauge = page.get_by_role("meter", name="Local ports")
        expect(gauge).to_have_attribute("aria-valuetext", "300 of 400, warning")
        expect(page.locator(".gauge").first).to_contain_text(f"towards 127.0.0.1:{held.port}")


def test_each_state_is_explained_with_the_numbers_of_this_host(site: Site, page: Page) -> None:
    with states.established(site.netns, count=7) as held:
        page.locator(".states summary").click()
        page.locator(".node.established").focus()
        explained = page.locator(".explained")
        expect(explained).to_contain_text("The connection is open")
        expect(explained).to_contain_text(f"7 towards port {held.port}")
        page.locator(".node.time_wait").hover()
        expect(explained).to_contain_text("The connection is open")
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
    page.get_by_role("button", name="24 h").click()
    expect(page.get_by_role("button", name="24 h")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="log").click()
    page.get_by_role("button", name="15 m").click()
    page.wait_for_function("() => document.querySelector('.plot canvas')")
    page.locator(".plot[role=img]").focus()

    def pointed() -> str:
        page.keyboard.press("ArrowLeft")  # again, if new data has come in between
        tip = page.locator(".tip .when")
        return tip.inner_text() if tip.count() else ""

    eventually(pointed)
    eventually(lambda: dragged(page))
    page.get_by_role("button", name="Show all again").click()
    expect(page.get_by_role("button", name="Show all again")).to_have_count(0)


def dragged(page: Page) -> bool:
    """Drag over a part of the plot; whether it is shown alone now."""
    box = page.locator(".plot .u-over").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 60, steps=3)
    page.mouse.up()
    return page.get_by_role("button", name="Show all again").count() == 1


def test_tables_sort_filter_and_open(site: Site, page: Page) -> None:
    with states.established(site.netns, count=120) as many, states.close_wait(site.netns) as one:
        page.get_by_role("button", name="By port").click()
        tables = page.locator(".tables")
        first = tables.locator("tbody tr").first
        expect(first.get_by_role("rowheader")).to_contain_text(str(many.port))
        header = tables.get_by_role("columnheader", name="CLOSE_WAIT")
        header.get_by_role("button").press("Enter")
        expect(header).to_have_attribute("aria-sort", "descending")
        expect(first.get_by_role("rowheader")).to_contain_text(str(one.port))
        header.get_by_role("button").press("Enter")
        expect(header).to_have_attribute("aria-sort", "ascending")
        box = page.get_by_role("searchbox")
        box.fill(f"{many.port} inbound")
        expect(tables.locator("tbody tr")).to_have_count(1)
        first.get_by_role("button").click()
        parts = tables.locator(".parts")
        expect(parts).to_contain_text("127.0.0.1120")
        expect(parts.locator("code")).to_have_text(f"ss -tanpo '( sport = :{many.port} )'")
        box.fill("close-wait")
        expect(first.get_by_role("rowheader")).to_contain_text(str(one.port))
        box.fill("127.0.0")
        expect(page.get_by_role("button", name="By peer 1")).to_be_visible()
        page.get_by_role("button", name="By peer").click()
        first.get_by_role("button").click()
        expect(tables.locator(".parts code")).to_have_text("ss -tanpo dst 127.0.0.1")
        box.fill("nothing like it")
        expect(tables).to_contain_text("Nothing matches.")
