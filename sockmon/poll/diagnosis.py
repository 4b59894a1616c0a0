"""One namespace's diagnosis from poll to poll: ages, rates, owners, findings.

The detectors are pure; what they need of the past and of the kernel comes together here.
"""

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from sockmon.contained import COMPONENTS
from sockmon.detect.causes import with_causes, without_the_found
from sockmon.detect.confirm import Confirmed
from sockmon.detect.detector import Detector, DetectorThresholds
from sockmon.detect.halted import explained
from sockmon.detect.registry import (
    ALL,
    OF_PART,
    diagnose,
    inapplicable,
    stale_after,
    unavailable,
)
from sockmon.model import close_wait
from sockmon.model.ages import NO_AGES, Aged, LastHeard, count_by_age
from sockmon.model.connects import Connects
from sockmon.model.counters import Counters
from sockmon.model.detector_input import DetectorInput
from sockmon.model.distinct import distinct
from sockmon.model.finding import Finding, FindingKey
from sockmon.model.limits import RESENT
from sockmon.model.listeners import NONE_STUCK, DropWindow, ListenDrops, listening_rows
from sockmon.model.names import HOST
from sockmon.model.observation import Diagnosis, PortSockets
from sockmon.model.owner import UNKNOWN, Owner, Owners
from sockmon.model.queues import NO_QUEUES
from sockmon.model.stale import StaleMemory
from sockmon.model.states import TcpState
from sockmon.model.vanished import Vanished
from sockmon.poll.figures import counted, descriptors_shown, dropped_datagrams, stale_shown
from sockmon.poll.owners import OwnerFinder
from sockmon.poll.passing_ports import is_passing, without_passing_ports

_KEEPALIVE_TIMER = 2
#: Owners are asked for at most so many times at one poll.
_ROUNDS = 3
#: How many ports are asked about at a poll; each takes a walk over the table.
PORTS_ASKED = 8
#: Seconds over which dropped connections are counted.
DROPS_WINDOW = 300.0
#: A host that is lost now, and a firewall here that was mended before, are two troubles.
RESENT_WINDOW = 60.0
_ORDER = {detector.name: place for place, detector in enumerate(ALL)}
_WHOLE_TABLE = frozenset(detector.name for detector in ALL if detector.needs_whole_table)


class DiagnosisState:
    """Remembers one namespace between its polls."""

    def __init__(self, owners: OwnerFinder) -> None:
        self._owners = owners
        self._aged: Aged = NO_AGES
        self._queues = NO_QUEUES
        #: Ports about whose queues the next poll should ask: (whether it is the local port, port).
        self.doubtful: list[tuple[bool, int]] = []
        self._counted: Mapping[str, tuple[PortSockets, ...]] = {}
        self._stuck = NONE_STUCK
        self._connects = Connects()
        self._udp_ports: dict[int, bool] = {}  # that have dropped: see dropped_datagrams()
        self._drop_window: DropWindow[int] = DropWindow()
        self._conntrack_window: DropWindow[str] = DropWindow()
        self._resent_window: DropWindow[str] = DropWindow()
        self._counters: Counters | None = None
        self._confirmed = Confirmed()
        self._confirmed_whole = Confirmed()  # of the detectors that judge only whole tables
        self._withheld: frozenset[FindingKey] = frozenset()  # they wait for their owners' names
        self._stale = StaleMemory()
        self._vanished = Vanished()
        self._broken: dict[str, str] = {}

    @property
    def aged(self) -> Aged:
        """The sockets of the last table whose ages are known."""
        return self._aged

    @property
    def suspects(self) -> bool:
        """Whether the last poll found something, agreed on or not, or sockets in CLOSE_WAIT."""
        found = self._confirmed.found or self._confirmed_whole.found
        found = found or bool(self._withheld)
        return found or bool(self._aged.of_state(TcpState.CLOSE_WAIT).size)

    def remember(self) -> Callable[[], Mapping[str, Any]]:
        """Return what makes a record of what is to survive a restart, for its writer."""
        return self._aged.to_record

    def recall(self, record: Mapping[str, Any]) -> None:
        """Take up what an earlier process of this boot remembered; nonsense counts as nothing."""
        with contextlib.suppress(KeyError, TypeError, ValueError, OverflowError):
            self._aged = Aged.from_record(record)

    def diagnose(
        self,
        data: DetectorInput,
        heard: LastHeard,
        drops: ListenDrops,
        thresholds: Mapping[str, DetectorThresholds],
        *,
        whole: bool = True,
    ) -> Diagnosis:
        """Judge one poll, after those before it: `data` holds what it saw, and no past yet.

        whole: sockets at rest are in the table too; if not, what was found of them last holds on.
        """
        self._broken = {}
        data = replace(data, heard=heard, whole=whole)
        data = self._with_ages(data, stale_after(thresholds))
        data = self._with_rates(data, drops)
        data = replace(
            data,
            owners=self._owners.coarse(),
            descriptors=self._owners.descriptors(
                data.table, data.now, whole=whole, others=data.netns == HOST
            ),
            past={**self._confirmed.past, **self._confirmed_whole.past},
        )
        found, data = self._with_owners(data, ALL if whole else OF_PART, thresholds)
        self._confirm(found, data.now, whole=whole)
        if whole:
            self._counted = counted(data, thresholds)
        return self._diagnosis(data, thresholds)

    def _with_ages(self, data: DetectorInput, stale_seconds: float) -> DetectorInput:
        """Add since when sockets are in their states, and what has waited or been stuck."""
        table, now = data.table, data.now
        self._aged = self._aged.seen(table, data.heard, now)
        if data.whole:
            self._queues = self._queues.seen(table, data.heard, now)
            self.doubtful = self._queues.doubtful(table, now, PORTS_ASKED)
            self._vanished = self._vanished.seen(
                self._aged, table, data.directions, now, stale_seconds
            )
        self._stuck = self._stuck.seen(table, listening_rows(table), now)
        self._connects = self._connects.seen(table, now, whole=data.whole)
        return replace(
            data,
            aged=self._aged,
            queues=self._queues if data.whole else NO_QUEUES,
            stuck=self._stuck,
            connects=self._connects,
        )

    def _with_rates(self, data: DetectorInput, drops: ListenDrops) -> DetectorInput:
        """Add how fast counters rise, and what was dropped in the last minutes."""
        now, limits = data.now, data.limits
        counters = Counters(now, limits.events or {}, drops.totals, limits.conntrack_drops or {})
        rose = counters.since(self._counters)
        self._counters = counters
        # As far as the kernel's own count agrees.
        overflows = rose.events.get("ListenOverflows", 0)
        self._drop_window = self._drop_window.seen(now, rose.drops, overflows, DROPS_WINDOW)
        dropped = sum(rose.conntrack.values())
        self._conntrack_window = self._conntrack_window.seen(
            now, rose.conntrack, dropped, DROPS_WINDOW
        )
        resent = {name: rose.events.get(name, 0) for name in RESENT}
        self._resent_window = self._resent_window.seen(
            now, resent, sum(resent.values()), RESENT_WINDOW
        )
        return replace(
            data,
            drop_window=self._drop_window,
            conntrack_window=self._conntrack_window,
            resent_window=self._resent_window,
            rates=rose.rates(),
        )

    def _confirm(self, found: tuple[Finding, ...], now: float, *, whole: bool) -> None:
        """Keep the findings that the poll before had too; those of whole tables, of such polls."""
        of_whole_tables = [finding for finding in found if finding.detector in _WHOLE_TABLE]
        others = [finding for finding in found if finding.detector not in _WHOLE_TABLE]
        self._confirmed = self._confirmed.seen(others, now)
        if whole:
            self._confirmed_whole = self._confirmed_whole.seen(of_whole_tables, now)

    def _diagnosis(
        self, data: DetectorInput, thresholds: Mapping[str, DetectorThresholds]
    ) -> Diagnosis:
        """Return what is shown of this poll."""
        ordered = without_passing_ports(
            sorted(self._confirmed_findings(), key=lambda finding: _ORDER[finding.detector])
        )
        close_waits = close_wait.held(self._aged, data.table)
        oldest = data.now - self._aged.since[close_waits].min() if close_waits.size else 0.0
        kept_alive = data.table.timer[self._aged.rows[close_waits]] == _KEEPALIVE_TIMER
        stale = tuple(stale_shown(data, thresholds))
        self._stale = self._stale.seen(stale, data.now)
        unconfirmed = {*self._withheld, *self._confirmed.waiting, *self._confirmed_whole.waiting}
        return Diagnosis(
            findings=tuple(finding for finding in ordered if not finding.note),
            notes=tuple(finding for finding in ordered if finding.note),
            descriptors=descriptors_shown(data.descriptors, ordered),
            ages=count_by_age(self._aged, data.now),
            stale=stale,
            mended=self._stale.mended,
            oldest_close_wait=float(oldest),
            kept_alive_close_wait=int(kept_alive.sum()),
            hidden_processes=self._owners.hidden,
            stale_after=stale_after(thresholds),
            undecided=self._confirmed.undecided + self._confirmed_whole.undecided,
            waiting=frozenset(
                (key.detector, key.subject.direction, key.subject.port) for key in unconfirmed
            ),
            counted=self._counted,
            dropped_datagrams=dropped_datagrams(data, self._udp_ports),
            unix_queues=data.unix.shown(),
            broken=self._broken,
            unavailable=unavailable(data.limits) | self._broken.keys(),
            inapplicable=inapplicable(data.limits, has_events=data.events is not None),
            skipped=frozenset() if data.whole else _WHOLE_TABLE,
        )

    def _confirmed_findings(self) -> tuple[Finding, ...]:
        return (*self._confirmed.findings, *self._confirmed_whole.findings)

    def _with_owners(
        self,
        data: DetectorInput,
        detectors: tuple[Detector, ...],
        thresholds: Mapping[str, DetectorThresholds],
    ) -> tuple[tuple[Finding, ...], DetectorInput]:
        """Judge by cgroup, then by the processes that hold the sockets of what was found.

        Several owners without a unit are one at first, so that no group is too small to be asked
        about. A finding whose owner is being looked up is withheld if its owner is a part of its
        key: it would be another one later.
        """

        def failed(detector: Detector, error: Exception) -> None:
            self._broken[detector.name] = COMPONENTS.failed(
                f"detect.{detector.name}", error, data.netns
            )

        found = diagnose(data, thresholds, detectors, failed)
        before = self._confirmed_findings()
        inodes = _inodes((*found, *before)) | set(self._vanished.gone)
        listed = data.descriptors
        for _ in range(_ROUNDS):
            asked = frozenset(inodes)
            rows = data.table.rows_of(inodes)
            ids = set(data.table.cgroup_id[rows].tolist()) | self._stale_cgroups(data)
            if data.udp_table is not None:
                ids.update(data.udp_table.cgroup_id[data.udp_table.rows_of(inodes)].tolist())
            owners = self._owners.find(inodes, ids, data.now)
            self._vanished = self._vanished.still_held(owners)
            followed = self._vanished.added(listed, owners)
            data = replace(data, owners=owners, descriptors=followed).with_groups(rows)
            if not (inodes or ids):
                break
            found = diagnose(data, thresholds, detectors, failed)
            # By owners, there can be findings of sockets that nobody has asked about yet.
            inodes |= _inodes(found)
            if inodes <= asked:
                break
        for detector in detectors:
            if detector.name not in self._broken:
                COMPONENTS.works(f"detect.{detector.name}", data.netns)
        past = {finding.key: finding for finding in before}
        owned = tuple(
            explained(replace(finding, owner=_owner(finding, past.get(finding.key), data.owners)))
            for finding in found
        )
        self._withheld = frozenset(f.key for f in owned if _is_pending(f, data.owners))
        known = [finding for finding in owned if finding.key not in self._withheld]
        findings = [finding for finding in known if not finding.note]
        notes = [finding for finding in known if finding.note]
        linked = (*with_causes(findings, data), *without_the_found(notes, findings))
        # Rows are of this poll's table, whose memory the next one takes.
        kept = (replace(its, rows=None, passing=is_passing(its, data)) for its in linked)
        return tuple(kept), data

    def _stale_cgroups(self, data: DetectorInput) -> set[int]:
        """Return the cgroups of sockets in CLOSE_WAIT: the metrics name their units."""
        rows = data.aged.rows[data.aged.of_state(TcpState.CLOSE_WAIT)]
        return set(distinct(data.table.cgroup_id[rows]).tolist())


def _inodes(findings: Iterable[Finding]) -> set[int]:
    """Return whose holders are worth finding out."""
    inodes: set[int] = set()
    for finding in findings:
        inodes.update(finding.inodes)
        for _, others in finding.others:
            inodes.update(others)
    return inodes


def _owner(finding: Finding, before: Finding | None, owners: Owners) -> Owner | None:
    """Return who holds a finding's sockets.

    Sockets that live shorter than a look takes are never seen with a holder, or have none any more
    when they are looked up: then it is the holder of the same finding's sockets one poll before.
    """
    if finding.owner is not None or finding.group is None:
        return finding.owner
    if not finding.inodes and before is not None:
        return before.owner
    owner = owners.of_sockets(finding.group, np.array(finding.inodes, np.uint32))
    known = owner is not None and (owner.unit is not None or owner.processes)
    if known or before is None:
        return owner
    held_before = owners.holding(np.array(before.inodes, np.uint32))
    return held_before if held_before and held_before.processes else before.owner


def _is_pending(finding: Finding, owners: Owners) -> bool:
    """Whether the owner in a finding's key is not known yet, and soon will be."""
    if finding.subject.owner is None or (finding.group and finding.group.owner != UNKNOWN):
        return False
    if finding.group is None and finding.owner is not None and finding.owner.processes:
        return False
    return _looked_up(finding, owners)


def _looked_up(finding: Finding, owners: Owners) -> bool:
    return not owners.pending.isdisjoint(finding.inodes)
