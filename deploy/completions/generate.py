"""Write the shells' completions beside this script, from the command line's own parser.

python deploy/completions/generate.py           # write them
python deploy/completions/generate.py --check   # exit 1 if they are not current
"""  # noqa: INP001 - a script by itself, of no package

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import shtab

from sockmon.commands.cli import build_parser
from sockmon.model.states import TcpState
from sockmon.poll.count_keys import KEYS

HERE = Path(__file__).parent
FILES = {"bash": "sockmon.bash", "zsh": "_sockmon", "fish": "sockmon.fish"}

#: `sockmon count --by` takes several: each once, behind commas.
_SEVERAL_KEYS = {
    "bash": "_sockmon_keys",
    "zsh": f" _values -s , key {' '.join(KEYS)}",
    "fish": f"(__fish_complete_list , 'string split , {','.join(KEYS)}')",
    "preamble": {
        "bash": f"""\
# $1: the word so far, such as state,po
_sockmon_keys() {{
  local before= key
  [[ $1 != *,* ]] || before=${{1%,*}},
  for key in {" ".join(KEYS)}; do
    [[ ,$before == *,$key,* ]] || compgen -W "$before$key" -- "$1"
  done
}}"""
    },
}


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description="Write the completions, or check them.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if not current")
    check = parser.parse_args().check
    texts = {HERE / name: completions(shell) for shell, name in FILES.items()}
    stale = [path for path in texts if not path.exists() or path.read_text() != texts[path]]
    if check:
        for path in stale:
            sys.stderr.write(f"{path} is not current: run {Path(__file__).name}\n")
        return bool(stale)
    for path, text in texts.items():
        path.write_text(text)
    return 0


def completions(shell: str) -> str:
    """Return the script for one of the shells in FILES."""
    parser = build_parser()
    for action in _actions(parser):
        if action.dest == "by":
            action.complete = _SEVERAL_KEYS  # type: ignore[attr-defined]
        elif action.dest == "state":
            action.choices = [state.label for state in TcpState]
        elif action.metavar == "FILE":
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif isinstance(action.metavar, str):
            action.metavar = action.metavar.replace(":", "\\:")  # zsh's own mark
    text = shtab.complete(parser, shell)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """All options and arguments; a command has its short help for a description."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to ask
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            for command in action.choices.values():
                command.description = None
                yield from _actions(command)


if __name__ == "__main__":
    sys.exit(main())
