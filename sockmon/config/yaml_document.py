"""Reads YAML safely, with the line of every key, and reports duplicate keys.

Only what a configuration needs: no tags, no dates, no anchors or aliases (a small file of them can
expand to gigabytes), no multiple documents.
"""

from dataclasses import dataclass, field
from typing import Any

import yaml

from sockmon.text import one_line

KeyPath = tuple[str | int, ...]

_DEEPEST = 20
_LONGEST_SHOWN = 200
_INTEGER_BITS = 64
_LONGEST_NUMBER = 1000  # longer ones stay text: converting them takes quadratic time
_PLAIN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("bool", "int", "float", "null")}


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where, and what."""

    path: KeyPath
    message: str
    line: int

    def __str__(self) -> str:
        where = ""
        for part in self.path:
            where += f"[{part}]" if isinstance(part, int) else f".{part}" if where else str(part)
        return (
            f"{self.line}: {where + ': ' if where else ''}{one_line(self.message, _LONGEST_SHOWN)}"
        )


@dataclass(slots=True)
class Document:
    """A file's content: plain dicts, tuples and scalars; `readable` if it is YAML at all."""

    value: Any = None
    readable: bool = True
    problems: list[Problem] = field(default_factory=list)
    lines: dict[KeyPath, int] = field(default_factory=dict)

    def line(self, path: KeyPath) -> int:
        """Return the line of the nearest enclosing key that is in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read(data: bytes) -> Document:
    """Read one YAML document; mistakes are listed in `problems`, not raised."""
    document = Document()
    try:
        loader = _Loader(data.decode("utf-8"))
        try:
            node = loader.get_single_node()
            if node is not None:
                value = _construct(loader, node, (), document)
                document.value = None if value is _Invalid else value
        finally:
            loader.dispose()
    except UnicodeDecodeError as error:
        _unreadable(document, f"not UTF-8 text (byte {error.start})", 1)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        _unreadable(document, f"not YAML: {error.problem}", mark.line + 1 if mark else 1)
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        _unreadable(document, f"not YAML: {str(error).splitlines()[0]}", 1)
    except RecursionError:
        _unreadable(document, "nested too deeply", 1)
    return document


class _Loader(yaml.SafeLoader):
    """SafeLoader for plain values only: no aliases, no tags, and dates are text."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise _refused("anchors and aliases are not supported", event)
        if event.tag is not None:
            raise _refused("tags are not supported", event)
        return super().compose_node(parent, index)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in _PLAIN_TAGS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _refused(what: str, event: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=what, problem_mark=event.start_mark)


class _Invalid:
    """Stands for a value that is reported as a problem, and then left out."""


def _construct(loader: _Loader, node: Any, path: KeyPath, document: Document) -> Any:
    """Build plain values; record each one's line, each duplicate key and each impossible value."""
    line = node.start_mark.line + 1
    document.lines.setdefault(path, line)
    if len(path) > _DEEPEST:
        raise RecursionError
    if isinstance(node, yaml.MappingNode):
        return _mapping(loader, node, path, document)
    if isinstance(node, yaml.SequenceNode):
        items = (_construct(loader, n, (*path, at), document) for at, n in enumerate(node.value))
        return tuple(item for item in items if item is not _Invalid)
    value: Any = node.value
    if len(node.value) <= _LONGEST_NUMBER:
        try:
            value = loader.construct_object(node)
        except ValueError:
            value = _Invalid
    if isinstance(value, int) and value.bit_length() > _INTEGER_BITS:
        value = _Invalid
    if isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
        value = _Invalid
    if value is _Invalid:
        document.problems.append(Problem(path, "not a usable number or text", line))
    return value


def _mapping(loader: _Loader, node: Any, path: KeyPath, document: Document) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            document.problems.append(Problem(path, "a key must be a word", line))
            continue
        key = one_line(str(key_node.value), _LONGEST_SHOWN)
        inner = (*path, key)
        if inner in document.lines:
            first = document.lines[inner]
            message = f"duplicate key, first on line {first}"
            document.problems.append(Problem(inner, message, line))
            continue
        document.lines[inner] = line
        value = _construct(loader, value_node, inner, document)
        if value is not _Invalid:
            result[key] = value
    return result


def _unreadable(document: Document, message: str, line: int) -> None:
    document.readable = False
    document.problems.append(Problem((), message, line))
