"""The page of a daemon that may not enter other namespaces: counted is not called well."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.lab import states
from tests.page.conftest import Site
from tests.page.scenes import OF_CONTAINERS, WITHOUT_PRIVILEGE
from tests.resident import resident

pytestmark = [pytest.mark.root, pytest.mark.component("chromium")]

SEEN = "seen from outside: counted, not diagnosed"


@pytest.fixture(scope="module", autouse=True)
def unprivileged(site: Site) -> Iterator[None]:
    with (
        site.world.netns() as pod,
        states.close_wait(pod, count=12),
        resident(pod),
        site.daemon(OF_CONTAINERS, *WITHOUT_PRIVILEGE),
    ):
        yield


def test_what_is_seen_from_outside_is_marked_and_what_would_help_is_told(page: Page) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(
        "Nothing wrong was found, but not everything could be read"
    )
    expect(page).to_have_title("? web-1")
    verdict = page.locator("#verdict")
    expect(verdict).to_contain_text(
        "1 of these could not be judged completely; in the others no leak"
    )
    expect(verdict).to_contain_text("What would show more")
    expect(verdict).to_contain_text("CAP_SYS_ADMIN")
    expect(verdict).to_contain_text("own: 1 counted from outside.")
    page.get_by_role("button", name="By namespace").click()
    row = page.locator(".tables tbody tr").filter(has_text=SEEN)
    expect(row).to_contain_text("12")
    row.get_by_role("link").click()
    details = page.locator("#namespace")
    expect(details).to_contain_text("Seen from outside: counted, not diagnosed")
    expect(details).to_contain_text("sockmon may not enter this namespace")
    expect(page.locator(".ages")).to_contain_text("Ages could not be read.")
    expect(page.get_by_role("meter", name="Local ports")).to_have_count(0)
    page.locator(".states summary").click()
    expect(page.get_by_role("button", name="CLOSE_WAIT 12 sockets")).to_be_visible()
