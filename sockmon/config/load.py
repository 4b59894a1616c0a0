"""YAML files as frozen values; every mistake is reported at once, with its line.

The values are dataclasses; pydantic checks them, strictly. It is imported only when a file is
read, as the YAML parser is.
"""

import json
import stat
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

from sockmon.text import did_you_mean

if TYPE_CHECKING:
    from sockmon.config.yaml_document import KeyPath, Problem


class ConfigError(Exception):
    """A configuration that cannot be used; `problems` holds a line for each mistake."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


T = TypeVar("T")

#: The path of a key, and what is wrong with its value.
Mistake = tuple[tuple[str | int, ...], str]

_FILE_LIMIT = 1 << 20
_PROBLEMS_REPORTED = 50


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
    """Return in a few words why read_bytes() failed."""
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def parse(
    kind: type[T], data: bytes, check: Callable[[T], Iterable[Mistake]] = lambda _: ()
) -> tuple[T, "list[Problem]"]:
    """Return the value, and what is wrong with it; if anything is, the value is the defaults.

    `check` finds mistakes that types and bounds cannot express; it is called once those are right.
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


def report(problems: "list[Problem]", name: str) -> list[str]:
    """Return a line for each mistake in the file called `name`, up to a bound."""
    lines = [f"{name}:{problem}" for problem in problems[:_PROBLEMS_REPORTED]]
    if len(problems) > _PROBLEMS_REPORTED:
        lines.append(f"{name}: and {len(problems) - _PROBLEMS_REPORTED} more mistakes")
    return lines


def _validate(kind: type[T], value: object) -> tuple[T, list[Mistake]]:
    """Check types and bounds: the value, or the defaults and a mistake for each."""
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 - see the module's docstring

    try:
        # As JSON, since strict validation of Python values takes no dict for a dataclass.
        return TypeAdapter(kind).validate_json(json.dumps(value)), []
    except ValidationError as error:
        return kind(), [
            (item["loc"], _message(kind, item["loc"], item["type"], item["msg"]))
            for item in error.errors(include_url=False, include_context=False, include_input=False)
        ]


def _message(root: type, path: "KeyPath", kind: str, message: str) -> str:
    """Replace the library's words by plainer ones."""
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        keys = _keys(root, path[:-1])
        nearest = did_you_mean(str(path[-1]), keys)
        return "unknown key" + (nearest or f": expected {', '.join(keys)}" * bool(keys))
    if kind in ("missing", "missing_argument"):
        return "missing"
    if kind in ("dataclass_type", "dataclass_exact_type", "dict_type"):
        return "expected keys and values"
    if kind in ("tuple_type", "list_type"):
        return "expected a list"
    return message.removeprefix("Value error, ").replace("Input should be", "expected")


def _keys(kind: Any, path: "KeyPath") -> list[str]:
    """Return the keys that the table at this path may have."""
    for part in path:
        kind = get_type_hints(kind).get(str(part)) if is_dataclass(kind) else None
        kind = next((each for each in (kind, *get_args(kind)) if is_dataclass(each)), None)
    return [field.name.rstrip("_") for field in fields(kind)] if is_dataclass(kind) else []
