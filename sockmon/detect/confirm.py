"""Two polls must agree: a dump is no snapshot, and a burst is no trouble."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sockmon.model.detector_input import PreviousFinding
from sockmon.model.finding import Finding, FindingKey
from sockmon.model.growth import added

#: Samples are kept this long: growth is measured over the last five minutes.
REMEMBERED_SECONDS = 600.0
#: A finding that one poll misses has not ended for its samples: they are kept this long, and over
#: so many polls.
_FORGOTTEN_AFTER_SECONDS = 60.0
_FORGOTTEN_AFTER_POLLS = 3


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The findings of the last poll, and what is remembered of each."""

    findings: tuple[Finding, ...] = ()
    past: Mapping[FindingKey, PreviousFinding] = field(default_factory=dict)
    _last: frozenset[FindingKey] = frozenset()
    _at: float | None = None

    @property
    def found(self) -> bool:
        """Whether the last poll had findings, those not agreed on included."""
        return bool(self._last)

    @property
    def undecided(self) -> int:
        """How many findings of the last poll are new, and wait for the next to agree."""
        return len(self._last) - len(self.findings)

    @property
    def waiting(self) -> frozenset[FindingKey]:
        """The findings of the last poll that are new."""
        return self._last - {finding.key for finding in self.findings}

    def seen(self, found: Iterable[Finding], now: float) -> "Confirmed":
        """Add one poll's findings; `findings` of the result are those the poll before had too."""
        found = tuple(found)
        interval = now - (now if self._at is None else self._at)
        kept = max(_FORGOTTEN_AFTER_SECONDS, _FORGOTTEN_AFTER_POLLS * interval)
        past = {key: was for key, was in self.past.items() if now - was.samples[-1][0] < kept}
        for finding in found:
            before = past.get(finding.key)
            samples = before.samples if before else ()
            recent = tuple(s for s in samples if now - s[0] < REMEMBERED_SECONDS)
            owner = finding.owner
            if before and not (owner and (owner.unit or owner.processes)):
                owner = before.owner
            past[finding.key] = PreviousFinding(
                finding.severity, added(recent, now, finding.value), owner
            )
        return Confirmed(
            tuple(finding for finding in found if finding.key in self._last),
            past,
            frozenset(finding.key for finding in found),
            now,
        )
