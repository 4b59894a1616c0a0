"""`python -m tests.captures [PAGE ...]`: run the commands that the pages show, and write it down.

Blocks under `<!-- run: HOST -->` get their output anew, each page's in the order they stand in, on
a host made for it (see `hosts`). Not a test: `make captures` runs it, and somebody reads the pages.
Three minutes; root.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from tests.captures.blocks import Block, Command, blocks
from tests.captures.hosts import HOSTS, Host
from tests.conftest import REPOSITORY

PAGES = ("README.md", "README.zh.md", "docs/guide.md", "docs/*-*.md", "docs/zh/*.md")

_COMMAND_SECONDS = 300  # a drill until its alert has ended takes two thirds of that
_TIMED_OUT = 124  # of timeout(1), which ends what the shell has started, too

Errand = tuple[str, tuple[Command, ...]]  # a host, and what is done there


def main(pages: Sequence[Path]) -> None:
    """Capture the pages' blocks. Pages that do the same on the same host share one run."""
    errands = {page: _errands(page.read_text()) for page in pages}
    wanted = set().union(*errands.values())
    with ThreadPoolExecutor(max_workers=max(1, len(wanted))) as threads:
        outputs = dict(zip(wanted, threads.map(_run, wanted), strict=True))
    for page in pages:
        said = {errand[0]: iter(outputs[errand]) for errand in errands[page]}
        text = page.read_text()
        done, at = "", 0
        for block in _captured(text):
            assert block.host is not None
            outcome = islice(said[block.host], len(list(block.commands())))
            done += text[at : block.start] + "".join(outcome)
            at = block.end
        page.write_text(done + text[at:])


def _captured(page: str) -> list[Block]:
    return [block for block in blocks(page) if block.host is not None]


def _errands(page: str) -> set[Errand]:
    by_host: dict[str, list[Command]] = {}
    for block in _captured(page):
        assert block.host is not None
        by_host.setdefault(block.host, []).extend(block.commands())
    return {(host, tuple(commands)) for host, commands in by_host.items()}


def _run(errand: Errand) -> list[str]:
    """Each command's line with the output below it."""
    name, commands = errand
    with HOSTS[name]() as host:
        return [_shown(host, command) for command in commands]


def _shown(host: Host, command: Command) -> str:
    done = host.namespaces[command.where].call(_shell, command.words, host.variables)
    lines = [command.line, *(line.rstrip() for line in done.rstrip().splitlines())]
    return "".join(f"{line}\n" for line in lines)


def _shell(words: str, variables: Mapping[str, str]) -> str:
    bin_directory = Path(sys.executable).parent
    path = f"{bin_directory}:/usr/sbin:/sbin:{os.environ['PATH']}"
    done = subprocess.run(
        ["timeout", str(_COMMAND_SECONDS), "sh", "-c", words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={**os.environ, **variables, "PATH": path, "LC_ALL": "C.UTF-8"},
        cwd=REPOSITORY,
    )
    if done.returncode == _TIMED_OUT:
        raise TimeoutError(f"{words}: not done in {_COMMAND_SECONDS} s")
    return done.stdout


if __name__ == "__main__":
    main(
        [Path(argument) for argument in sys.argv[1:]]
        or [page for pattern in PAGES for page in sorted(REPOSITORY.glob(pattern))]
    )
