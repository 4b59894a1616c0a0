"""What is written about the house is true: the map, the example configuration, the metrics."""

import re
from dataclasses import fields

import pytest

from sockmon.config import Config, load
from tests.conftest import REPOSITORY

INTERFACE = REPOSITORY.parent / "shared" / "INTERFACE.md"


def test_the_example_configuration_holds_the_defaults() -> None:
    assert load(REPOSITORY / "config.example.yaml") == Config()


def test_the_example_configuration_names_every_key() -> None:
    text = (REPOSITORY / "config.example.yaml").read_text()
    for section in fields(Config()):
        assert re.search(rf"^{section.name}:", text, re.M), section.name
        for key in fields(getattr(Config(), section.name)):
            assert re.search(rf"^ +{key.name}:.* # ", text, re.M), f"{key.name} has no comment"


def test_the_map_of_the_house_names_every_module_and_no_other() -> None:
    text = (REPOSITORY / "docs" / "house.md").read_text()
    mapped = set(re.findall(r"^\| `([\w/]+\.py)` \|", text, re.M))
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
    pages = [REPOSITORY / "README.md", *REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")]
    for page in pages:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page}: {target}"


@pytest.mark.skipif(not INTERFACE.exists(), reason="only where ../shared stands beside it")
def test_every_metric_shown_is_a_published_one() -> None:
    golden = REPOSITORY / "tests" / "recorded" / "mixed" / "metrics.txt"
    shown = set(re.findall(r"^# TYPE (sockmon_\w+)", golden.read_text(), re.M))
    published = set(re.findall(r"`(sockmon_\w+)`", INTERFACE.read_text()))
    assert shown <= published


def test_no_page_names_a_path_of_somebodys_machine() -> None:
    for path in [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")]:
        assert not re.search(r"/(?:work|root)/|\.pyenv", path.read_text()), path


