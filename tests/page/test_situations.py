"""Eight recorded situations: the page says of each what it said before, in both languages."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.page import situations

pytestmark = [pytest.mark.component("chromium")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with situations.browser() as launched:
        yield launched


@pytest.mark.parametrize("name", situations.NAMES)
def test_a_situation_is_shown_as_it_was(browser: Browser, name: str) -> None:
    """After a wanted change: `python -m tests.page.situations`, then read the difference."""
    observation = situations.observed(name)
    for language in situations.LANGUAGES:
        kept = situations.KEPT / f"{name}.{language}.txt"
        assert situations.said(browser, observation, language) == kept.read_text()
