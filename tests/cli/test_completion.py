"""The shells' completions, each asked in its own shell as a user's Tab asks it."""

import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sockmon.poll.count_keys import KEYS
from tests.conftest import REPOSITORY
from tests.lab import eventually

COMPLETIONS = REPOSITORY / "deploy" / "completions"

Complete = Callable[[str, Path], set[str]]

_BASH = """\
source "$1"
read -ra COMP_WORDS <<<"$2"
[[ $2 != *' ' ]] || COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
read -r _ _ _ _ completer _ <<<"$(complete -p sockmon)"
"$completer" sockmon "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""
_FISH = 'source "$argv[1]"; complete --do-complete "$argv[2]"'
# What compadd adds is noted down, and Tab tells when all of it has been added.
_ZSH = """\
fpath=({completions} $fpath)
autoload -Uz compinit && compinit -u -D
compadd() {{
  local -a hits
  if [[ ${{@[1,(i)(-|--)]}} == *-(O|A|D)\\ * ]]; then builtin compadd "$@"; return; fi
  builtin compadd -A hits "$@"
  print -rl -- $hits >>hits
}}
capture() {{ _main_complete; touch done }}
zle -C capture complete-word capture
bindkey '^I' capture
"""


def in_bash(line: str, _: Path) -> set[str]:
    command = ["bash", "--norc", "-c", _BASH, "bash", str(COMPLETIONS / "sockmon.bash"), line]
    return set(subprocess.check_output(command, text=True).split())


def in_fish(line: str, _: Path) -> set[str]:
    script = str(COMPLETIONS / "sockmon.fish")
    command = ["fish", "--no-config", "--command", _FISH, script, line]
    answer = subprocess.check_output(command, text=True)
    return {hit.partition("\t")[0] for hit in answer.splitlines()}


def in_zsh(line: str, directory: Path) -> set[str]:
    """It completes only for someone who types at a terminal."""
    (directory / "setup").write_text(_ZSH.format(completions=COMPLETIONS))
    hits, done = directory / "hits", directory / "done"
    hits.touch()
    master, slave = pty.openpty()
    shell = subprocess.Popen(
        ["zsh", "-f", "-i"],
        cwd=directory,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "TERM": "xterm", "HOME": str(directory)},
        start_new_session=True,
    )
    try:
        os.write(master, f"source ./setup\n{line}\t".encode())
        eventually(done.exists)
    finally:
        shell.kill()
        shell.wait()
        os.close(slave)
        os.close(master)
    return set(hits.read_text().split())


SHELLS = [
    pytest.param(in_bash, id="bash"),
    pytest.param(in_zsh, id="zsh", marks=pytest.mark.component("zsh")),
    pytest.param(in_fish, id="fish", marks=pytest.mark.component("fish")),
]


@pytest.mark.parametrize("complete", SHELLS)
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("sockmon cou", {"count"}),
        ("sockmon count --fam", {"--family"}),
        (
            "sockmon run --web.",
            {f"--web.{name}" for name in ("listen-address", "systemd-socket", "config.file")},
        ),
        ("sockmon count --by ", set(KEYS)),
        ("sockmon count --by po", {"port"}),
        ("sockmon count --by state,po", {"port"}),
        ("sockmon count --state clos", {"close", "close_wait", "closing"}),
        ("sockmon count --family ", {"4", "6"}),
        ("sockmon count --state-names s", {"sockmon", "ss"}),
        ("sockmon count --state close_wait --format ", {"table", "json", "csv", "plain"}),
        ("sockmon doctor --color ", {"auto", "always", "never"}),
    ],
)
def test_completes_what_fits_there(
    complete: Complete, line: str, expected: set[str], tmp_path: Path
) -> None:
    assert {hit.rpartition(",")[2] for hit in complete(line, tmp_path)} == expected


@pytest.mark.parametrize("complete", SHELLS)
@pytest.mark.parametrize(
    "command",
    [
        "check-config",
        "check-config --web.config.file",
        "run --config",
        "run --web.config.file",
        "rules --config",
    ],
)
def test_completes_files(complete: Complete, command: str, tmp_path: Path) -> None:
    (tmp_path / "of-mine.yaml").touch()
    hits = complete(f"sockmon {command} {tmp_path}/of-", tmp_path)
    assert {Path(hit).name for hit in hits} == {"of-mine.yaml"}


@pytest.mark.parametrize("complete", SHELLS)
def test_completes_every_command_with_all_its_options(complete: Complete, tmp_path: Path) -> None:
    for index, command in enumerate(commands := sorted(complete("sockmon ", tmp_path))):
        asked = subprocess.run(
            [sys.executable, "-m", "sockmon", command, "--help"],
            capture_output=True,
            text=True,
            check=True,
        )
        shown = {
            word.strip("[],") for word in asked.stdout.split() if word.startswith(("--", "[--"))
        }
        room = tmp_path / str(index)
        room.mkdir()
        assert shown - {"--"} <= complete(f"sockmon {command} --", room), command
    assert {"run", "count", "doctor", "top", "rules", "check-config"} <= set(commands)


def generate(script: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, script, *arguments], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


def test_the_completions_are_current() -> None:
    assert generate(COMPLETIONS / "generate.py", "--check") == (0, "")


def test_a_completion_that_is_not_current_is_named_and_mended(tmp_path: Path) -> None:
    script = tmp_path / "generate.py"
    shutil.copy(COMPLETIONS / "generate.py", script)
    assert generate(script, "--check")[0] == 1
    assert generate(script) == (0, "")
    (tmp_path / "_sockmon").write_text("")
    status, said = generate(script, "--check")
    assert (status, said) == (1, f"{tmp_path / '_sockmon'} is not current: run generate.py\n")
