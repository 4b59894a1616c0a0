"""What is written about the code is true: the map, the example configuration, the links."""

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from sockmon.config.fields import ListenAddress
from sockmon.settings import Config, load
from tests.conftest import REPOSITORY

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


def test_the_map_of_the_house_has_a_row_for_each_folder_and_no_other() -> None:
    text = (REPOSITORY / "docs" / "house.md").read_text()
    rows = re.findall(r"^\| `([\w/]+)/` \|", text, re.MULTILINE)
    package = REPOSITORY / "sockmon"
    folders = {
        str(path.parent.relative_to(package))
        for path in package.rglob("__init__.py")
        if path.parent != package
    }
    assert sorted(rows) == sorted(folders)


def test_every_decision_has_its_line_in_the_index() -> None:
    decisions = REPOSITORY / "docs" / "decisions"
    index = (decisions / "README.md").read_text()
    for page in decisions.glob("0*.md"):
        assert f"({page.name})" in index, page.name


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page}: {target}"


def test_no_page_names_a_path_of_somebodys_machine() -> None:
    for path in PAGES:
        assert not re.search(r"/(?:work|root)/|\.pyenv", path.read_text()), path
