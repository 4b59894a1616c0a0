"""Which targets are sockmon's: label matchers as monitoring mixins have them, pure.

They stand in every metric selector of the rules, so that one Prometheus can watch several fleets.

Sources: Prometheus, docs/querying/basics.md, and promql/parser/lex.go (strings and escapes).
"""

import re
from dataclasses import dataclass
from typing import Self

_MATCHER = re.compile(
    r"\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"
    r'("(?:[^"\\]|\\[abfnrtv\\"])*"|'
    r"'(?:[^'\\]|\\[abfnrtv\\'])*'|"
    r"`[^`]*`)\s*"
)

#: Labels of sockmon's own series. `up` lacks them: with one of them, it would match nothing.
_NO_TARGETS = frozenset(
    {
        "netns",
        "protocol",
        "family",
        "state",
        "direction",
        "port",
        "owner",
        "detector",
        "severity",
        "event",
        "level",
        "reason",
        "first",
        "by",
        "le",
    }
)


@dataclass(frozen=True, slots=True)
class Selector:
    """Label matchers that every target of sockmon's fulfils."""

    matchers: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read matchers such as job="sockmon",env=~"prod.*"; raises ValueError.

        Regular expressions are left for Prometheus to judge.
        """
        if not text.isprintable():
            raise ValueError("expected printable text")
        text, at = text.strip(), 0
        matchers: list[str] = []
        while at < len(text) or not matchers:
            found = _MATCHER.match(text, at)
            if found is None or text[found.end() : found.end() + 1] not in ("", ","):
                raise ValueError(f'expected label matchers such as job="sockmon" at {text[at:]!r}')
            name, operator, value = found.groups()
            if name in _NO_TARGETS or name.startswith("__"):
                raise ValueError(f"{name} is no label of a target: expected one such as job or env")
            matchers.append(f"{name}{operator}{value}")
            at = found.end() + 1
        return cls(tuple(matchers))

    def of(self, metric: str, **labels: str) -> str:
        """Return the selector of a metric with these matchers and the labels given."""
        own = (f'{name}="{value}"' for name, value in labels.items())
        return f"{metric}{{{','.join((*self.matchers, *own))}}}"


#: The scrape job of deploy/prometheus/prometheus.yml.
SOCKMON = Selector(('job="sockmon"',))
