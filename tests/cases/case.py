"""A case: a situation, and what is to be said of it. Pure but for the registry."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.cases.stage import Stage

#: One finding, as `sockmon doctor --format json` and /api/v1/observation render it.
Finding = Mapping[str, Any]
Situation = Callable[[Stage], None]


@dataclass(frozen=True, slots=True)
class Expect:
    """One finding that must be there; what is None may be anything.

    owner, port: of its subject. summary, advice: patterns that must be found in its summary, and
    in its first advice and that one's command. anywhere, never: patterns that are found somewhere
    in its text, and nowhere.
    """

    detector: str
    severity: str | None = None
    owner: str | None = None
    port: int | None = None
    summary: Sequence[str] = ()
    advice: Sequence[str] = ()
    anywhere: Sequence[str] = ()
    never: Sequence[str] = ()

    def __str__(self) -> str:
        said = [self.severity or "", self.detector, f"port {self.port}" if self.port else ""]
        said += [f"of {self.owner}" if self.owner else ""]
        said += [f"/{pattern}/" for pattern in (*self.summary, *self.advice)]
        return " ".join(word for word in said if word)


@dataclass(frozen=True, slots=True)
class Case:
    """expects: the findings that no other finding causes; none: nothing may ever be found.

    says: patterns in what doctor prints; alone: one in its first line without a daemon. passing:
    detectors whose findings may come and go before.
    ports: of the ephemeral range that may be labels, since they are a service's.
    within: seconds in which the findings must come, and stay so for `settled` seconds; watched:
    seconds in which nothing may.
    """

    name: str
    situation: Situation
    expects: tuple[Expect, ...]
    says: tuple[str, ...] = ()
    passing: tuple[str, ...] = ()
    alone: str = ""
    ports: tuple[int, ...] = ()
    settled: float = 10.0
    within: float = 200.0
    watched: float = 180.0

    @property
    def welcome(self) -> set[str]:
        """Detectors whose findings are no surprise."""
        return {*self.passing, *(expect.detector for expect in self.expects)}

    @property
    def expected(self) -> str:
        """In words, for the table."""
        said = "; ".join(map(str, self.expects)) or f"no finding in {self.watched:.0f} s"
        return said + "".join(f"; doctor says /{pattern}/" for pattern in self.says)


CASES: dict[str, Case] = {}


def case(*expects: Expect, **more: Any) -> Callable[[Situation], Situation]:
    """Register a situation under its function's name."""

    def register(situation: Situation) -> Situation:
        assert situation.__name__ not in CASES
        CASES[situation.__name__] = Case(situation.__name__, situation, expects, **more)
        return situation

    return register


def judge(expects: Sequence[Expect], findings: Sequence[Finding]) -> list[str]:
    """Return what is wrong: each expectation has one finding, and there is no other."""
    left = roots(findings)
    wrong = []
    for expect in expects:
        reasons = {n: list(_differs(expect, finding)) for n, finding in enumerate(left)}
        if not reasons:
            wrong.append(f"not found: {expect}")
            continue
        best = min(reasons, key=lambda n: (len(reasons[n]), left[n]["detector"] != expect.detector))
        if reasons[best] and left[best]["detector"] != expect.detector:
            wrong.append(f"not found: {expect}")
            continue
        wrong += [f"{expect.detector}: {reason}" for reason in reasons[best]]
        left.pop(best)
    return wrong + [f"not expected: {in_words(finding)}" for finding in left]


def roots(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings that no other one causes."""
    causes = [_key(finding) for finding in findings]
    return [f for f in findings if f["cause"] is None or f["cause"] not in causes]


def in_words(finding: Finding) -> str:
    """Return its severity, detector and summary."""
    return f"{finding['severity']} {finding['detector']}: {finding['summary']}"


def first_advice(finding: Finding) -> str:
    """Return what is to be done first, with its command."""
    if not finding["advice"]:
        return ""
    first = finding["advice"][0]
    return str(first["text"]) + (f" [{first['command']['line']}]" if first["command"] else "")


def _key(finding: Finding) -> Any:
    owner = finding["alert"].get("owner")
    subject = {name: finding["subject"][name] for name in ("direction", "port", "path")}
    return {
        "detector": finding["detector"],
        "netns": finding["netns"],
        "subject": {**subject, "owner": owner},
    }


def _differs(expect: Expect, finding: Finding) -> Iterator[str]:
    owner = finding["subject"]["owner"] or {}
    said = {
        "detector": finding["detector"],
        "severity": finding["severity"],
        "port": finding["subject"]["port"],
    }
    for name, value in said.items():
        wanted = getattr(expect, name)
        if wanted not in (None, value):
            yield f"{name} {value}, not {wanted}"
    whole = "\n".join([finding["summary"], *(advice["text"] for advice in finding["advice"])])
    patterns = [expect.owner] if expect.owner else []
    for what, text, its in (
        ("owner", owner.get("unit") or owner.get("name") or "nobody", patterns),
        ("summary", finding["summary"], expect.summary),
        ("first advice", first_advice(finding), expect.advice),
        ("advice", whole, expect.anywhere),
    ):
        yield from (f"{what} without /{it}/: {text}" for it in its if not re.search(it, text))
    yield from (f"it says /{it}/" for it in expect.never if re.search(it, whole))
