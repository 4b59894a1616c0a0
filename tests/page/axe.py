"""What is wrong with the page for those who cannot see it well, or have little room."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Page, ViewportSize

from tests.page.browser import PHONE, TABLET, WIDE

#: Each width, and both schemes.
VIEWS: tuple[tuple[Literal["light", "dark"], ViewportSize], ...] = (
    ("light", WIDE),
    ("dark", TABLET),
    ("light", PHONE),
    ("dark", PHONE),
)


def complaints(page: Page, source: Path) -> list[str]:
    """What axe-core finds in these views, and whether the page is too wide for one."""
    axe = (source / "node_modules/axe-core/axe.min.js").read_text()
    page.emulate_media(reduced_motion="reduce")
    found = []
    for scheme, size in VIEWS:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size(size)
        found += [f"{scheme}, {size['width']} wide: {each}" for each in _violations(page, axe)]
        if page.evaluate("document.documentElement.scrollWidth - innerWidth") > 0:
            found.append(f"too wide for {size['width']}")
    return found


def _violations(page: Page, axe: str) -> Iterator[str]:
    page.evaluate(axe)  # the policy refuses scripts of others, so it is not loaded
    found: dict[str, Any] = page.evaluate("() => axe.run()")
    for rule in found["violations"]:
        for node in rule["nodes"]:
            yield f"{rule['id']} ({rule['impact']}): {node['target']} {node['failureSummary']}"
