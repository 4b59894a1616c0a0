"""YAML read safely, with the line of every key, and duplicate keys told.

Only what a configuration needs: no tags, no anchors or aliases (a small file of them can stand
for gigabytes), no multiple documents.
"""

from dataclasses import dataclass, field
from typing import Any

import yaml

KeyPath = tuple[str | int, ...]


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
        return f"{self.line}: {where + ': ' if where else ''}{_printable(self.message)}"


@dataclass(slots=True)
class Document:
    """What a file says: plain dicts, tuples and scalars; `readable` if there is a value at all."""

    value: Any = None
    readable: bool = True
    problems: list[Problem] = field(default_factory=list)
    lines: dict[KeyPath, int] = field(default_factory=dict)

    def line(self, path: KeyPath) -> int:
        """Return the line of the nearest enclosing key that the file has."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read(data: bytes) -> Document:
    """Read one YAML document; mistakes are in `problems`, none is raised."""
    document = Document()
    try:
        loader = _Loader(data.decode("utf-8"))
        try:
            node = loader.get_single_node()
            if node is not None:
                document.value = _construct(loader, node, (), document)
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
    """SafeLoader without aliases."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise yaml.MarkedYAMLError(
                problem="anchors and aliases are not supported", problem_mark=event.start_mark
            )
        return super().compose_node(parent, index)


def _construct(loader: _Loader, node: Any, path: KeyPath, document: Document) -> Any:
    """Build plain values, noting each one's line and each duplicate key."""
    document.lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        result: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                document.problems.append(Problem(path, "a key must be a word", line))
                continue
            inner = (*path, _printable(str(key_node.value)))
            if inner[-1] in result:
                first = document.lines[inner]
                document.problems.append(
                    Problem(inner, f"duplicate key, first on line {first}", line)
                )
                continue
            document.lines[inner] = line
            result[inner[-1]] = _construct(loader, value_node, inner, document)
        return result
    if isinstance(node, yaml.SequenceNode):
        return tuple(
            _construct(loader, item, (*path, at), document) for at, item in enumerate(node.value)
        )
    return loader.construct_object(node)


def _unreadable(document: Document, message: str, line: int) -> None:
    document.readable = False
    document.problems.append(Problem((), message, line))


def _printable(text: str) -> str:
    """One line, whatever a file says: control characters escaped, cut at 200 characters."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return plain if len(plain) <= 200 else plain[:200] + "..."
