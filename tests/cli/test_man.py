"""The manual page: current, well formed, and whole."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

MAN = REPOSITORY / "deploy" / "man"
PAGE = MAN / "sockmon.1"


def run(*command: str | Path) -> tuple[int, str, str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def sockmon(*arguments: str) -> str:
    return run(sys.executable, "-m", "sockmon", *arguments)[1]


@pytest.fixture(scope="module")
def text() -> str:
    """The page as a reader has it, without bold and hyphenation."""
    status, out, err = run("mandoc", "-T", "utf8", "-O", "width=200", PAGE)
    assert (status, err) == (0, "")
    return re.sub(".\b", "", out).replace("\N{NO-BREAK SPACE}", " ")


def test_the_page_is_current() -> None:
    assert run(sys.executable, MAN / "generate.py", "--check") == (0, "", "")


def test_a_page_that_is_not_current_is_named_and_mended(tmp_path: Path) -> None:
    for name in ("generate.py", "sockmon.1.in"):
        shutil.copy(MAN / name, tmp_path)
    script, page = tmp_path / "generate.py", tmp_path / "sockmon.1"
    told = (1, "", f"{page} is not current: run generate.py\n")
    assert run(sys.executable, script, "--check") == told
    assert run(sys.executable, script) == (0, "", "")
    assert page.read_bytes() == PAGE.read_bytes()
    page.write_text(page.read_text() + ".\n")
    assert run(sys.executable, script, "--check") == told


@pytest.mark.component("mandoc")
def test_mandoc_has_nothing_to_complain_of() -> None:
    assert run("mandoc", "-T", "lint", "-W", "warning", PAGE) == (0, "", "")


@pytest.mark.component("groff")
def test_groff_has_nothing_to_complain_of() -> None:
    status, _, warnings = run("groff", "-ww", "-man", "-T", "utf8", "-z", PAGE)
    assert (status, warnings) == (0, "")


@pytest.mark.component("mandoc")
def test_it_tells_every_command_and_option_with_an_explanation(text: str) -> None:
    commands = re.findall(r"^    ([a-z-]+)  ", sockmon("--help"), re.MULTILINE)
    assert "count" in commands
    for command in commands:
        part = text.partition(f"\n   sockmon {command}\n")[2].partition("\n   sockmon ")[0]
        for option in re.findall(r"^  (--[\w.-]+)", sockmon(command, "--help"), re.MULTILINE):
            assert re.search(rf"^ {{7}}{re.escape(option)}\b.*\n +\w", part, re.MULTILINE), option


@pytest.mark.component("mandoc")
def test_what_it_says_can_be_typed(text: str) -> None:
    """No typographic dash or quote, which no shell takes."""
    assert set(text) <= {*map(chr, range(32, 127)), "\n"}


@pytest.mark.component("mandoc")
def test_it_has_the_sections_that_people_look_for(text: str) -> None:
    sections = re.findall(r"^([A-Z][A-Z ]+)$", text, re.MULTILINE)
    for section in ("EXIT STATUS", "ENVIRONMENT", "SIGNALS", "FILES", "EXAMPLES", "SEE ALSO"):
        assert section in sections


@pytest.mark.component("mandoc")
def test_its_examples_are_commands_that_there_are(text: str) -> None:
    examples = text.partition("\nEXAMPLES\n")[2].partition("\nSEE ALSO\n")[0]
    commands = re.findall(r"^ {9}(?:.*)(sockmon [a-z-]+.*)$", examples, re.MULTILINE)
    assert len(commands) == 6
    for command in commands:
        words = command.split(" > ")[0].split()[1:]
        status, _, err = run(sys.executable, "-m", "sockmon", *words, "--help")
        assert (status, err) == (0, ""), command
