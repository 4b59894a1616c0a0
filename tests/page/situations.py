"""What the page says of recorded situations: `python -m tests.page.situations` writes it anew.

The recordings of tests/recorded/cases are replayed with a clock of their own, and Chromium shows
what a daemon would send of the last poll. Kept is what a screen reader is told of the verdict, its
findings, the limits and each table. No pixels: a change of style changes nothing here. After a
wanted change, read what `git diff` says.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from sockmon.commands.replay_option import config_of, replaying
from sockmon.export import page as export
from sockmon.export.sockets import sockets
from sockmon.model.observation import Observation
from sockmon.poll.poller import Poller
from sockmon.web.assets import assets
from tests.lab import PATIENCE
from tests.page.browser import QUIET, WIDE
from tests.page.speaking import Json, spoken
from tests.recorded import CASES

KEPT = Path(__file__).with_name("situations")
LANGUAGES = {"en": "en-US", "zh": "zh-CN"}
NAMES = (
    "half-close",
    "leak-of-descriptors",
    "no-port-left",
    "dead-upstream",
    "full-queue-unix",
    "udp-drops",
    "refused",
    "unread",
)

_ORIGIN = "http://sockmon.test"
_NO_HISTORY: Json = {"step_seconds": None, "times": [], "max": {}, "alert_changes": []}


def observed(name: str) -> Observation:
    """The last poll of a recording."""
    with replaying(CASES / f"{name}.rec") as playback:
        assert playback is not None
        config = config_of(playback, None).config
        poller = Poller(playback.open_source(lambda: False), config, patient=True)
        try:
            observation = poller.poll(playback.clock)
            for seconds in playback.pauses():
                playback.pause(seconds)
                observation = poller.poll(playback.clock)
        finally:
            poller.close()
    return observation


def _spoken(observation: Observation) -> str:
    (own,) = observation.namespaces
    everywhere = export.everywhere(
        observation, "web-1", "1.2.3", {"name": "UTC", "offset_seconds": 0}
    )
    return spoken({**everywhere, **export.inside(observation, (), own.name)})


def _answering(route: Route, observation: Observation, stream: str) -> None:
    """Answer as a daemon whose last poll this was."""
    url = urlsplit(route.request.url)
    if url.path == "/api/v1/events":
        route.fulfill(content_type="text/event-stream", body=stream)
    elif url.path == "/api/v1/history":
        route.fulfill(json=_NO_HISTORY)
    elif url.path == "/api/v1/sockets":
        sample = observation.namespaces[0].sample
        assert sample is not None
        asked = {name: its[0] for name, its in parse_qs(url.query).items()}
        route.fulfill(json=sockets(asked["netns"], sample))
    else:
        asset = assets()[url.path.rpartition("/")[2] or "index.html"]
        route.fulfill(body=asset.body, content_type=asset.headers["Content-Type"])


def said(browser: Browser, observation: Observation, language: str) -> str:
    """What the page says of this poll."""
    context = browser.new_context(
        viewport=WIDE, locale=LANGUAGES[language], timezone_id="UTC", reduced_motion="reduce"
    )
    context.set_default_timeout(1000 * PATIENCE)
    page, stream = context.new_page(), _spoken(observation)
    page.route("**/*", lambda route: _answering(route, observation, stream))
    page.clock.set_fixed_time(observation.at.wall)
    page.goto(f"{_ORIGIN}/")
    expect(page.locator(".tables .tabs button").first).to_be_visible()
    parts = list(_parts(page))
    context.close()
    return "\n\n".join(parts) + "\n"


def _parts(page: Page) -> Iterator[str]:
    for place in ("#verdict", ".side"):
        yield page.locator(place).aria_snapshot()
    tabs = page.locator(".tables .tabs button")
    for tab in tabs.all():
        tab.click()
        expect(tab).to_have_attribute("aria-pressed", "true")
        shown = page.locator(".tables .scroll, .tables .empty").first
        expect(shown).to_be_visible()
        yield f"# {tab.text_content()}\n{shown.aria_snapshot()}"


@contextmanager
def browser() -> Iterator[Browser]:
    """A Chromium that is answered by the test only."""
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=QUIET)
        try:
            yield launched
        finally:
            launched.close()


def main() -> None:
    """Write all of it."""
    KEPT.mkdir(exist_ok=True)
    with browser() as launched:
        for name in NAMES:
            observation = observed(name)
            for language in LANGUAGES:
                text = said(launched, observation, language)
                (KEPT / f"{name}.{language}.txt").write_text(text)


if __name__ == "__main__":
    main()
