"""Who holds a namespace's suspicious sockets, from poll to poll."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

import numpy as np

from sockmon.kernel.inspector import Answer, Inspector
from sockmon.model.closed_sockets import ClosedSockets
from sockmon.model.descriptors import LEAST_CLOSED, Descriptors, growth
from sockmon.model.owner import Owners, Process
from sockmon.model.table import SocketTable

#: An answer that takes longer than this is not waited for: the holders count as unknown.
_PENDING_SECONDS = 60.0
#: Growth of a process's descriptors is measured over this window.
_GROWTH_SECONDS = 300.0


class OwnerFinder:
    """Asks the inspector for one namespace. For one thread."""

    def __init__(self, inspector: Inspector, namespace: Callable[[], int | None]) -> None:
        """namespace: return its number, None if it is not known."""
        self._inspector = inspector
        self._namespace = namespace
        self._asked_at: dict[int, float] = {}
        self._made: tuple[Answer, frozenset[int], frozenset[int]] | None = None
        self._owners = Owners()
        self._closed = ClosedSockets()
        self.hidden = 0

    def coarse(self) -> Owners:
        """Return what is known of cgroups only: several may count as one, never one as several."""
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
        self._asked_at = {i: self._asked_at.get(i, now) for i in wanted - answer.asked}
        pending = frozenset(i for i, at in self._asked_at.items() if now - at <= _PENDING_SECONDS)
        if self._made is None or not _same(self._made, (answer, wanted, pending)):
            self._owners = Owners.of(
                _holders(answer, wanted, now),
                answer.units,
                pending=pending,
                saw_all=not answer.hidden,
            )
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
            mine_alone = (use for use in uses if use.namespace is not None)
            self._closed = self._closed.seen(mine_alone, table, now)
            self._inspector.list_again(self._closed.suspects)
            closed = self._closed.counts
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
                else replace(
                    use.process,
                    growth=growth(use.samples, now, _GROWTH_SECONDS),
                    halt=process.halt,
                )
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
