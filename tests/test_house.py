"""What is written about the house is true: the map, the example configuration, the metrics."""

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass

import pytest

from sockmon.config import Config, ListenAddress, load
from tests.conftest import REPOSITORY

INTERFACE = REPOSITORY.parent / "shared" / "INTERFACE.md"
PAGES = [
    page
    for pattern in ("*.md", "docs/**/*.md", "deploy/**/*.md", "grafana/*.md")
    for page in REPOSITORY.glob(pattern)
]


def test_the_example_configuration_holds_the_defaults() -> None:
    assert load(REPOSITORY / "config.example.yaml") == Config()


def test_the_example_configuration_names_every_key_with_a_comment() -> None:
    text = (REPOSITORY / "config.example.yaml").read_text()
    named = dict(_keys_with_comments(text))
    missing = [path for path in _leaves(Config()) if not named.get(path)]
    assert missing == []


def _leaves(value: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The paths of all keys that hold a value and no table."""
    if not is_dataclass(value) or isinstance(value, ListenAddress):
        return [path]
    return [
        leaf
        for field in fields(value)
        for leaf in _leaves(getattr(value, field.name), (*path, field.name.rstrip("_")))
    ]


def _keys_with_comments(text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """The path and the comment of each line that holds a key."""
    path: list[str] = []
    for line in text.splitlines():
        found = re.match(r"^( *)(\w+):(?:.* # (.+))?", line)
        if found:
            path = [*path[: len(found[1]) // 2], found[2]]
            yield tuple(path), found[3] or ""


def test_the_map_of_the_house_names_every_module_and_no_other() -> None:
    text = (REPOSITORY / "docs" / "house.md").read_text()
    mapped = set(re.findall(r"^\| `([\w/]+\.py)` \|", text, re.MULTILINE))
    package = REPOSITORY / "sockmon"
    modules = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if path.name not in {"__init__.py", "__main__.py"}
    }
    assert mapped == modules


def test_every_decision_has_its_line_in_the_index() -> None:
    decisions = REPOSITORY / "docs" / "decisions"
    index = (decisions / "README.md").read_text()
    for page in decisions.glob("0*.md"):
        assert f"({page.name})" in index, page.name


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page}: {target}"


@pytest.mark.skipif(not INTERFACE.exists(), reason="only where ../shared stands beside it")
def test_every_metric_shown_is_a_published_one() -> None:
    golden = REPOSITORY / "tests" / "recorded" / "mixed" / "metrics.txt"
    # In the older text format a gauge histogram's sum and count are families by themselves.
    shown = set(
        re.findall(r"^# TYPE (sockmon_\w+?)(?:_gsum|_gcount)? ", golden.read_text(), re.MULTILINE)
    )
    published = set(re.findall(r"`(sockmon_\w+)`", INTERFACE.read_text()))
    assert shown <= published


def test_no_page_names_a_path_of_somebodys_machine() -> None:
    for path in PAGES:
        assert not re.search(r"/(?:work|root)/|\.pyenv", path.read_text()), path
