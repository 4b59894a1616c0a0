"""Who holds a namespace's suspicious sockets, from poll to poll."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from sockmon.kernel.inspector import Answer, Inspector
from sockmon.model.descriptors import LEAST_CLOSED, Descriptors, DescriptorUse, growth
from sockmon.model.distinct import distinct
from sockmon.model.owner import Owners, Process
from sockmon.model.table import SocketTable

#: An answer that takes longer than this is not waited for: the holders count as unknown.
_PENDING_SECONDS = 60.0
#: Growth of a process's descriptors is measured over this window.
_GROWTH_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class _Absent:
    """Of one process, the TCP sockets that no table had, by the look that listed them."""

    started: float | None
    number: int
    inodes: frozenset[int]
    closed: int


class OwnerFinder:
    """Asks the inspector for one namespace. For one thread."""

    def __init__(self, inspector: Inspector, namespace: Callable[[], int | None]) -> None:
        """namespace: return its number, None if it is not known."""
        self._inspector = inspector
        self._namespace = namespace
        self._pending_since: float | None = None
        self._made: tuple[Answer, frozenset[int], frozenset[int]] | None = None
        self._owners = Owners()
        self._absent: dict[int, _Absent] = {}
        self.hidden = 0

    def coarse(self) -> Owners:
        """Return what is known of cgroups only: no two owners are ever taken for less than one."""
        return Owners.of({}, self._made[0].units if self._made else {}, looked=False)

    def name(self, cgroup_ids: Collection[int], now: float) -> Mapping[int, str | None]:
        """Return the owners of cgroups by their ids, as far as they are known."""
        return self._inspector.name(cgroup_ids, now)

    def find(self, inodes: Iterable[int], cgroup_ids: Iterable[int], now: float) -> Owners:
        """Return who holds these sockets and who is in these cgroups, as far as it is known.

        now: when the poll began, in monotonic seconds.
        """
        wanted = frozenset(inodes)
        answer = self._inspector.ask(self, wanted, set(cgroup_ids), now)
        self.hidden = answer.hidden
        pending = wanted - answer.asked
        if not pending:
            self._pending_since = None
        elif self._pending_since is None:
            self._pending_since = now
        elif now - self._pending_since > _PENDING_SECONDS:
            pending = frozenset()
        if self._made is None or not _same(self._made, (answer, wanted, pending)):
            self._owners = Owners.of(_holders(answer, wanted, now), answer.units, pending=pending)
        self._made = answer, wanted, pending
        return self._owners

    def descriptors(
        self, table: SocketTable, now: float, *, whole: bool, others: bool
    ) -> tuple[Descriptors, ...]:
        """Return the processes of this namespace that use much of their descriptors.

        whole: the table has all TCP sockets of the namespace. others: processes whose namespace is
        not known count too.
        """
        mine = self._namespace()
        walked = self._inspector.walk(now).walked
        uses = [
            use
            for use in walked.uses
            if use.namespace == mine or (use.namespace is None and others)
        ]
        closed: Mapping[int, int] = {}
        if whole and walked.closed >= LEAST_CLOSED:
            closed = self._closed(uses, table)
        if sum(closed.values()) > walked.closed:
            closed = {}  # some are of another namespace: it is not known which
        return tuple(
            Descriptors(
                replace(use.process, growth=growth(use.samples, now, _GROWTH_SECONDS)),
                use.listing.kinds if use.listing else {},
                use.listing.tcp if use.listing else np.empty(0, np.uint32),
                closed.get(use.process.pid, 0),
            )
            for use in uses
        )

    def close(self) -> None:
        """Want nothing any more."""
        self._inspector.forget(self)

    def _closed(self, uses: Iterable[DescriptorUse], table: SocketTable) -> dict[int, int]:
        """Count by PID the sockets that it holds and that no table has.

        A socket that is in two listings, and not in the dump between them, is in no table. At first
        there is one listing; the next poll must agree before that is told.
        """
        before, self._absent = self._absent, {}
        listed = []
        for use in uses:
            known = before.get(use.process.pid)
            if known and known.started != use.process.started:
                known = None  # another process of the same PID
            if known and use.listing and known.number == use.listing.number:
                self._absent[use.process.pid] = known  # not listed again since
            elif use.listing and use.judged_sockets.size:
                listed.append((use.process, use.listing, known, use.judged_sockets))
        absences = _absent([tcp for *_, tcp in listed], table)
        for (process, listing, known, _), absent in zip(listed, absences, strict=True):
            closed = len(known.inodes & absent if known else absent)
            if absent:
                made = _Absent(process.started, listing.number, absent, closed)
                self._absent[process.pid] = made
        self._inspector.list_again(self._absent.keys())
        return {pid: absent.closed for pid, absent in self._absent.items()}


def _same(
    one: tuple[Answer, frozenset[int], frozenset[int]],
    other: tuple[Answer, frozenset[int], frozenset[int]],
) -> bool:
    (was, *asked), (answer, *asks) = one, other
    return (
        was.holders is answer.holders
        and was.units is answer.units
        and was.walked is answer.walked
        and asked == asks
    )


def _holders(
    answer: Answer, wanted: frozenset[int], now: float
) -> Mapping[int, tuple[Process, ...]]:
    """Return the holders of the wanted sockets, with what is known of their descriptors now."""
    uses = {(use.process.pid, use.process.started): use for use in answer.walked.uses}
    latest: dict[Process, Process] = {}

    def now_known(process: Process) -> Process:
        if process not in latest:
            use = uses.get((process.pid, process.started))
            latest[process] = (
                process
                if use is None
                else replace(use.process, growth=growth(use.samples, now, _GROWTH_SECONDS))
            )
        return latest[process]

    made: dict[tuple[Process, ...], tuple[Process, ...]] = {}
    found = {}
    for inode in wanted:
        held = answer.holders.get(inode)
        if held:
            if held not in made:
                made[held] = tuple(map(now_known, held))
            found[inode] = made[held]
    return found


def _absent(listed: list[np.ndarray], table: SocketTable) -> list[frozenset[int]]:
    """Return of each list of inodes those that the table does not have."""
    if not listed:
        return []
    wanted = distinct(np.concatenate(listed))
    at = np.minimum(np.searchsorted(wanted, table.inode), wanted.size - 1)
    present = np.zeros(wanted.size, np.bool_)
    hit = wanted[at] == table.inode
    present[at[hit]] = True
    absent = wanted[~present]
    return [frozenset(inodes[np.isin(inodes, absent)].tolist()) for inodes in listed]
