"""Rule files as Prometheus reads them and people do: blocks instead of quotes, pure.

Source: Prometheus, docs/configuration/recording_rules.md.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import yaml

Rule = Mapping[str, Any]


class _Lines(str):
    """Text that keeps its lines: PromQL, broken where its author broke it."""

    __slots__ = ()


class _Prose(str):
    """Text that is folded as the page is wide."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Writes both as blocks."""


def _block(style: str) -> Callable[[yaml.SafeDumper, str], yaml.ScalarNode]:
    return lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(_Lines, _block("|"))
_Dumper.add_representer(_Prose, _block(">"))


def dump(header: str, group: str, rules: Iterable[Rule]) -> str:
    """Return a rule file of one group; `header` is its comment, each line with its #."""
    groups = {"groups": [{"name": group, "rules": [_blocks(rule) for rule in rules]}]}
    return header + yaml.dump(groups, Dumper=_Dumper, sort_keys=False, width=100)


def _blocks(rule: Rule) -> Rule:
    written = {**rule, "expr": _Lines(rule["expr"])}
    if "annotations" in rule:
        written["annotations"] = {
            name: _Prose(text) if " " in text else text
            for name, text in rule["annotations"].items()
        }
    return written
