"""YAML files as frozen values, every mistake told at once with its line.

The values are dataclasses; pydantic checks them, strictly. It is imported only when a file is
read, as the YAML parser is.
"""

import json
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from sockmon.config.yaml_document import Problem


class ConfigError(Exception):
    """A configuration that cannot be used; `problems` holds a line for each mistake."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


T = TypeVar("T")

#: The path of a key, and what is wrong with its value.
Mistake = tuple[tuple[str | int, ...], str]

_FILE_LIMIT = 1 << 20
_PROBLEMS_TOLD = 50


def read_bytes(path: Path) -> bytes:
    """Read a small regular file; raises OSError, or ValueError with the reason."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("not a regular file")
    with path.open("rb") as file:
        data = file.read(_FILE_LIMIT + 1)
    if len(data) > _FILE_LIMIT:
        raise ValueError(f"larger than {_FILE_LIMIT} bytes")
    return data


def why_unreadable(error: OSError | ValueError) -> str:
    """Return what read_bytes met, in a few words."""
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def parse(
    kind: type[T], data: bytes, check: Callable[[T], Iterable[Mistake]] = lambda _: ()
) -> tuple[T, "list[Problem]"]:
    """Return the value, and what is wrong with it: then it holds defaults alone.

    `check` finds what types and bounds cannot say; it is asked once those are right.
    """
    from sockmon.config import yaml_document  # noqa: PLC0415 - see the module's docstring

    document = yaml_document.read(data)
    problems = list(document.problems)
    value = kind()
    if document.readable:
        value, mistakes = _validate(kind, {} if document.value is None else document.value)
        problems += [
            yaml_document.Problem(path, message, document.line(path))
            for path, message in mistakes or check(value)
        ]
    return value, sorted(problems, key=lambda problem: problem.line)


def told(problems: "list[Problem]", name: str) -> list[str]:
    """Return a line for each mistake in the file called `name`, up to a bound."""
    lines = [f"{name}:{problem}" for problem in problems[:_PROBLEMS_TOLD]]
    if len(problems) > _PROBLEMS_TOLD:
        lines.append(f"{name}: and {len(problems) - _PROBLEMS_TOLD} more mistakes")
    return lines


def _validate(kind: type[T], value: object) -> tuple[T, list[Mistake]]:
    """Check types and bounds: the value, or the defaults and a mistake for each."""
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 - see the module's docstring

    try:
        # As JSON, since strict validation of Python values takes no dict for a dataclass.
        return TypeAdapter(kind).validate_json(json.dumps(value)), []
    except ValidationError as error:
        return kind(), [
            (item["loc"], _message(item["type"], item["msg"]))
            for item in error.errors(include_url=False, include_context=False, include_input=False)
        ]


def _message(kind: str, message: str) -> str:
    """Put a library's words into ours where ours are plainer."""
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        return "unknown key"
    if kind in ("dataclass_type", "dataclass_exact_type", "dict_type"):
        return "expected keys and values"
    if kind in ("tuple_type", "list_type"):
        return "expected a list"
    return message.removeprefix("Value error, ").replace("Input should be", "expected")
