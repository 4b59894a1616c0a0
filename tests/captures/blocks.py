"""The code blocks of a page, and the commands in them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_FENCED = re.compile(
    r"(?:^ *<!-- run: (?P<host>[\w-]+) -->\n)?"
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<body>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_COMMAND = re.compile(r"^(?P<where>\w*)[$#] (?P<words>.+)$")


@dataclass(frozen=True, slots=True)
class Command:
    """A line after a prompt: `$ `, `# `, or `server$ ` for the host of that name."""

    line: str
    where: str
    words: str


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. host: of `<!-- run: HOST -->` above it, where its output was made.

    start, end: of its body in the page.
    """

    host: str | None
    language: str
    body: str
    start: int
    end: int

    def commands(self) -> Iterator[Command]:
        """Its lines with a prompt."""
        for line in self.body.splitlines():
            if found := _COMMAND.match(line):
                yield Command(line, found["where"], found["words"])


def blocks(page: str) -> Iterator[Block]:
    """All fenced blocks, in order."""
    for found in _FENCED.finditer(page):
        yield Block(
            found["host"], found["language"], found["body"], found.start("body"), found.end("body")
        )
