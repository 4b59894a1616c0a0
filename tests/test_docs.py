"""What the documents show is true: commands parse, links lead to headings, the READMEs agree.

Also: the files of a public forge use make targets that exist, and changes can be collected.
"""

import itertools
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from sockmon.commands.cli import build_parser
from sockmon.commands.command import UsageError
from tests.captures.__main__ import PAGES as CAPTURED
from tests.captures.blocks import blocks
from tests.captures.hosts import HOSTS
from tests.conftest import REPOSITORY

PAGES = [
    page
    for pattern in ("*.md", "docs/**/*.md", "deploy/**/*.md", "grafana/*.md", "changes/README.md")
    for page in sorted(REPOSITORY.glob(pattern))
]
READMES = [REPOSITORY / name for name in ("README.md", "README.zh.md")]

#: Where a shell begins a command; `-- ` is kubectl's.
_CALL = re.compile(r"(?:^|sudo |[;|&] |-- |\$\()(?:[^\s=]*/)?sockmon (?=\S)")
#: What ends a command's words there.
_ENDS = {"|", "||", "&&", ";", ">", ">>", "<", "&", ")", ">&"}
#: What stands for something else in a synopsis.
_PLACEHOLDERS = {"SCENARIO": "close-wait"}


def shown_commands(page: str) -> Iterator[str]:
    """What a reader is to type: after prompts, in shell blocks, in indented ones, in the text."""
    for block in blocks(page):
        if block.language == "console":
            yield from (command.words for command in block.commands())
        elif block.language == "sh":
            yield from block.body.splitlines()
    yield from indented(page)
    yield from (span for span in spans(page) if re.match(r"sockmon .* -", span))


def indented(page: str) -> list[str]:
    """The lines of code blocks that are indented, not fenced."""
    fences = [range(block.start, block.end) for block in blocks(page)]
    return [
        found[1]
        for found in re.finditer(r"^ {4,}(\S.*)$", page, re.MULTILINE)
        if not any(found.start() in fence for fence in fences)
    ]


def calls(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Each line of the page that calls sockmon, with the call's words."""
    for line in shown_commands(page.read_text()):
        for found in _CALL.finditer(line):
            lexer = shlex.shlex(line[found.end() :], posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            yield line, list(itertools.takewhile(lambda word: word not in _ENDS, lexer))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_commands_shown_are_commands(page: Path) -> None:
    for line, words in calls(page):
        # A synopsis has its options in brackets, and names in capitals.
        plain = [_PLACEHOLDERS.get(word, word) for word in (w.strip("[]") for w in words)]
        try:
            with suppress(SystemExit):  # --version ends well; mistakes are UsageError
                build_parser().parse_args(plain)
        except UsageError as error:
            pytest.fail(f"{line}: {error}")


def test_the_commands_of_the_pages_are_found() -> None:
    """The guard of the test above: it reads what it should."""
    found = {words[0] for page in PAGES for _, words in calls(page)}
    assert {"run", "count", "doctor", "top", "drill", "rules", "check-config"} <= found


def test_what_was_captured_was_captured_where_it_says() -> None:
    pages = [page for pattern in CAPTURED for page in REPOSITORY.glob(pattern)]
    captured = [block for page in pages for block in blocks(page.read_text()) if block.host]
    assert {block.host for block in captured} == set(HOSTS)
    for block in captured:
        assert list(block.commands()), block.body


def test_runbooks_begin_with_two_minutes() -> None:
    folder = REPOSITORY / "docs" / "runbooks"
    index = (folder / "README.md").read_text()
    for page in folder.glob("Sockmon*.md"):
        text = page.read_text()
        assert f"| [{page.stem}][] |" in index
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [
            "In two minutes",
            "Meaning",
            "Impact",
            "Confirm",
            "Fix",
            "Kernel settings",
            "How sockmon decides",
        ], page.name
        first = text.partition("## In two minutes\n")[2].partition("\n## ")[0]
        assert re.findall(r"^\d\. \*(.+?)\*: ", first, re.MULTILINE) == [
            "It is",
            "Look",
            "Now",
            "Not",
            "Then",
        ], page.name
        assert len(first) < 1300, page.name  # two minutes of reading


def test_what_must_not_be_dropped_is_what_the_rules_read() -> None:
    page = (REPOSITORY / "docs" / "scaling.md").read_text()
    never = page.partition("Never drop the following")[2].partition("\n## ")[0]
    named = "|".join(name.replace("*", ".*") for name in re.findall(r"`([a-z_*]+)`", never))
    for file in (REPOSITORY / "deploy" / "prometheus" / "rules").glob("*.yml"):
        for metric in re.findall(r"\b((?:sockmon|process)_\w+)\{", file.read_text()):
            assert re.fullmatch(named, metric), f"{file.name}: {metric}"


def test_links_to_files_lead_to_files() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|mailto:)([^)#]+)", prose(page.read_text())):
            assert (page.parent / target).exists(), f"{page}: {target}"


def test_chinese_pages_are_chinese() -> None:
    """Each has an English one of its name, and sentences of its own."""
    for page in (REPOSITORY / "docs" / "zh").rglob("*.md"):
        relative = page.relative_to(REPOSITORY / "docs" / "zh")
        assert relative.name == "README.md" or (REPOSITORY / "docs" / relative).is_file(), page
        text = prose(page.read_text())
        assert len(re.findall(r"[\u4e00-\u9fff]", text)) > len(text) / 8, page


def test_links_to_headings_lead_to_headings() -> None:
    for page in PAGES:
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", page.read_text()):
            aim = page.parent / target if target else page
            assert anchor in anchors(aim.read_text()), f"{page}: {target}#{anchor}"


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    fences = [range(block.start, block.end) for block in blocks(page)]
    return {
        re.sub(r"[^\w\- ]", "", found[1].lower()).replace(" ", "-")
        for found in re.finditer(r"^#+ (.+)$", page, re.MULTILINE)
        if not any(found.start() in fence for fence in fences)
    }


def test_both_readmes_say_the_same() -> None:
    english, chinese = (path.read_text() for path in READMES)
    for part in (code, spans, links, rows, headings):
        assert part(chinese) == part(english), part.__name__


def code(page: str) -> list[str]:
    """All code blocks, fenced or indented."""
    return [block.body for block in blocks(page)] + indented(page)


def spans(page: str) -> list[str]:
    """What is set in code style, block for block."""
    return sorted(re.findall(r"`([^`\n]+)`", prose(page)))


def prose(page: str) -> str:
    """The page without its fenced blocks."""
    for block in reversed(list(blocks(page))):
        page = page[: block.start] + page[block.end :]
    return page.replace("```", "")


def links(page: str) -> list[str]:
    """Which pages and pictures links lead to; a page and its translation are one."""
    found = re.findall(r"\]\(([^)#]+)", page)
    return sorted(re.sub(r"\.zh\.md$", ".md", to).replace("docs/zh/", "docs/") for to in found)


def rows(page: str) -> list[list[str]]:
    """The numbers in each row of each table, in whichever order a language has them."""
    lines = [line for line in page.splitlines() if line.startswith("|")]
    return [sorted(re.findall(r"\d+(?:[.,]\d+)*", line)) for line in lines]


def headings(page: str) -> list[str]:
    """The levels of the headings."""
    return re.findall(r"^(#+) ", prose(page), re.MULTILINE)


WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_call_only_make_targets_that_exist(path: Path) -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for job in yaml.safe_load(path.read_text())["jobs"].values():
        matrix = job.get("strategy", {}).get("matrix", {})
        chosen = {
            *matrix.get("target", ()),
            *(row["target"] for row in matrix.get("include", ()) if "target" in row),
        }
        for step in job["steps"]:
            if "run" in step:
                make, *words = step["run"].replace("${{ matrix.target }}", " ".join(chosen)).split()
                assert make == "make"
                assert words
                assert set(words) <= targets


def test_make_help_names_every_target_of_the_documents() -> None:
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    helped = set(re.findall(r"^make ([a-z-]+)", shown, re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"`make ([a-z-]+)", page.read_text()))
        assert named <= helped | {"components", "help"}, page


COLLECTED = "### Added\n\n- One more.\n\n### Fixed\n\n- Two.\n"


@pytest.mark.parametrize(
    ("changelog", "wanted"),
    [
        (
            "# Changelog\n\n## Unreleased 1.2.0\n\nFirst.\n",
            "# Changelog\n\n## 1.2.0 - 2027-01-02\n\nFirst.\n\n" + COLLECTED,
        ),
        (
            "# Changelog\n\n## 1.1.0 - 2026-12-31\n\n- 1.\n",
            f"# Changelog\n\n## 1.2.0 - 2027-01-02\n\n{COLLECTED}\n## 1.1.0 - 2026-12-31\n\n- 1.\n",
        ),
    ],
    ids=["first", "next"],
)
def test_changes_are_collected_into_the_changelog(
    tmp_path: Path, changelog: str, wanted: str
) -> None:
    folder = tmp_path / "changes"
    folder.mkdir()
    for name in ("collect.py", "README.md"):
        shutil.copy(REPOSITORY / "changes" / name, folder)
    (folder / "a.fixed.md").write_text("Two.\n")
    (folder / "b.added.md").write_text("One\nmore.\n")
    page = tmp_path / "CHANGELOG.md"
    page.write_text(changelog)
    command = [sys.executable, str(folder / "collect.py"), "1.2.0", "2027-01-02"]
    subprocess.run(command, check=True)
    assert page.read_text() == wanted
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "collect.py"]


def test_every_change_has_a_known_kind() -> None:
    kinds = "added|changed|deprecated|removed|fixed|security"
    for path in (REPOSITORY / "changes").glob("*.md"):
        assert path.name == "README.md" or re.fullmatch(rf"[\w-]+\.({kinds})\.md", path.name)
