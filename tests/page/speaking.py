"""Pages that hear what a test says, in place of a daemon."""

import json
from typing import Any

from playwright.sync_api import Page, Route

from tests.page.browser import ORIGIN
from tests.page.conftest import Site

Json = dict[str, Any]


def open_with(site: Site, *streams: str, **context: Any) -> tuple[Page, list[str]]:
    """Open a page that hears these one after the other, the last again and again."""
    page = site.browser.new_context(**{"locale": "en-US", **context}).new_page()
    asked: list[str] = []

    def answer(route: Route) -> None:
        body = streams[min(len(asked), len(streams) - 1)]
        asked.append(body)
        route.fulfill(content_type="text/event-stream", body=body)

    page.route("**/api/v1/events*", answer)
    page.goto(ORIGIN)
    return page, asked


def spoken(*observations: object) -> str:
    beat = 'event: beat\ndata: {"age_seconds": 0.1, "interval_seconds": 0.5}\n\n'
    return "".join(f"event: observation\ndata: {json.dumps(o)}\n\n{beat}" for o in observations)
