"""One namespace, one daemon and one browser for a module's tests; a page of its own for each."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.lab import PATIENCE
from tests.once import once_a_run
from tests.page.browser import ORIGIN, WIDE, chromium
from tests.page.scenes import CONFIG
from tests.page.source import installed
from tests.page.streams import listening
from tests.running import RunningDaemon, running_daemon
from tests.world import World, WorldNetNs, small_world

_MILLISECONDS = 1000 * PATIENCE
expect.set_options(timeout=_MILLISECONDS)


@dataclass(slots=True)
class Site:
    """A daemon and a browser in one namespace; `complaints` is what a page should never cause."""

    world: World
    netns: WorldNetNs
    directory: Path
    browser: Browser
    complaints: list[str] = field(default_factory=list)

    def daemon(self, config: str = CONFIG, *prefix: str) -> AbstractContextManager[RunningDaemon]:
        """Run the daemon of the pages, which sees the processes of the site's world."""
        file = self.directory / "config.yaml"
        file.write_text(config)
        command = (*self.world.seeing, *prefix)
        node = {"NODE_NAME": "web-1"}
        return running_daemon(self.netns, "--config", str(file), prefix=command, environment=node)

    def open(self, fragment: str = "", **context: object) -> Page:
        """Open the page in a context of its own and wait for its verdict."""
        wanted: dict[str, Any] = {"viewport": WIDE, "locale": "en-US", **context}
        page = self.browser.new_context(**wanted).new_page()
        page.set_default_timeout(_MILLISECONDS)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self._judge_request(request.url))
        page.on(
            "console",
            lambda message: (
                self.complaints.append(message.text) if message.type == "error" else None
            ),
        )
        page.goto(f"{ORIGIN}/{fragment}")
        page.wait_for_selector("h1")
        return page

    def _judge_request(self, url: str) -> None:
        if not url.startswith((f"{ORIGIN}/", "data:")):
            self.complaints.append(f"asked elsewhere: {url}")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("page")
    with small_world() as world, world.own() as netns, chromium(netns, directory) as browser:
        yield Site(world, netns, directory, browser)


@pytest.fixture
def page(site: Site) -> Iterator[Page]:
    """A page that causes no error, breaks no policy and asks nobody but the daemon."""
    site.complaints.clear()
    page = site.open()
    yield page
    page.context.close()
    assert site.complaints == []


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's source with node_modules, for a test that needs npm."""
    return once_a_run(tmp_path_factory, "source", installed) / "page"


@pytest.fixture(scope="module")
def told(site: Site) -> Iterator[dict[str, Any]]:
    """What a real daemon says of one poll; it runs for as long as the pages do."""
    with site.daemon(), listening(site.netns) as stream:
        yield stream.next("observation")
