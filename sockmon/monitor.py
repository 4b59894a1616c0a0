"""One poll: kernel -> Observation. Remembers what the next poll needs; has no clock of its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from sockmon.config import Config
from sockmon.detect import limits_of
from sockmon.diagnosis import Diagnostician
from sockmon.kernel.errors import KernelError
from sockmon.kernel.owners import OwnerFinder
from sockmon.kernel.source import KernelSource
from sockmon.kernel.uapi import Family
from sockmon.model import counts
from sockmon.model.ages import NOTHING_HEARD, LastHeard
from sockmon.model.counts import StateCounts
from sockmon.model.limits import Limits, PortRange
from sockmon.model.listeners import ListenDrops, listen_queues, listeners
from sockmon.model.observation import (
    Failure,
    Moment,
    NamespaceObservation,
    Observation,
    PollStatistics,
    Ports,
    Timed,
)
from sockmon.model.ports import PortForecast, ephemeral_ports
from sockmon.model.roles import Listened, roles
from sockmon.model.series import SeriesMemory
from sockmon.model.sight import Sight
from sockmon.model.states import STATE_SLOTS, TcpState
from sockmon.model.table import SocketTable

T = TypeVar("T")

#: A changed sysctl is seen within this time.
_SETTINGS_BELIEVED_SECONDS = 30.0


@dataclass(slots=True)
class _Memory:
    """What one namespace's next poll builds on."""

    observation: NamespaceObservation
    diagnostician: Diagnostician
    settings: Timed[Limits] | None = None
    listened: Listened = field(default_factory=Listened)
    drops: ListenDrops = field(default_factory=ListenDrops)
    series: SeriesMemory = field(default_factory=SeriesMemory)
    forecast: PortForecast = field(default_factory=PortForecast)


class Monitor:
    """Polls one kernel, again and again."""

    def __init__(self, source: KernelSource, config: Config) -> None:
        self.config = config
        self._source = source
        self._memory = _Memory(
            NamespaceObservation(source.name),
            Diagnostician(OwnerFinder(source.proc, source.stop_requested)),
        )
        self._statistics = PollStatistics()

    def poll(self, clock: Callable[[], Moment]) -> Observation:
        """Read the kernel once. Never raises for what the kernel refuses: that is a Failure."""
        begun = clock()
        failures: list[Failure] = []
        namespace = self._poll_namespace(begun, failures)
        seconds = clock().monotonic - begun.monotonic
        self._statistics = self._statistics.polled(seconds, tuple(failures))
        return Observation(
            at=begun,
            interval=self.config.poll.interval,
            namespaces=(namespace,),
            failures=tuple(failures),
            statistics=self._statistics,
        )

    def remember(self) -> Callable[[], Mapping[str, Any]]:
        """Return what makes a record of what is to survive a restart, JSON-ready, by namespace.

        The record is large, and wanted only now and then, by the thread that writes it.
        """
        name, record = self._source.name, self._memory.diagnostician.remember()
        return lambda: {name: record()}

    def recall(self, remembered: Mapping[str, Any]) -> None:
        """Take up what remember()'s record was in an earlier process of this boot."""
        if self._source.name in remembered:
            self._memory.diagnostician.recall(remembered[self._source.name])

    def close(self) -> None:
        """Close the kernel's sockets."""
        self._source.diag.close()

    def _poll_namespace(self, now: Moment, failures: list[Failure]) -> NamespaceObservation:
        source, memory = self._source, self._memory

        def failed(error: KernelError) -> None:
            failures.append(Failure(source.name, error.reason, str(error)))

        def attempt(read: Callable[[], T]) -> Timed[T] | None:
            try:
                return Timed(read(), now)
            except KernelError as error:
                failed(error)
                return None

        families = source.families()
        limits = self._limits(now, failed)
        tcp = attempt(lambda: source.tcp(families))
        heard = attempt(lambda: self._last_heard(tcp.value, families)) if tcp else None
        udp = attempt(lambda: source.udp(families))
        before = memory.observation
        memory.observation = replace(
            before,
            limits=Timed(limits, now),
            tcp=_by_family(tcp, families) or before.tcp,
            udp=_by_family(udp, families) or before.udp,
        )
        # Everything by port needs the port range, by which sockets are given their roles.
        if tcp is not None and limits.port_range is not None:
            sight, ports = self._see(tcp.value, limits, limits.port_range, now.monotonic)
            memory.observation = replace(memory.observation, ports=Timed(ports, now))
            if heard is not None:
                diagnosis = memory.diagnostician.diagnose(
                    sight, heard.value, memory.drops, limits_of(self.config.detect)
                )
                memory.observation = replace(memory.observation, diagnosis=Timed(diagnosis, now))
        return memory.observation

    def _limits(self, now: Moment, failed: Callable[[KernelError], None]) -> Limits:
        """Read levels and counters, and now and then the settings; all of them after a failure."""
        memory = self._memory
        known = memory.settings
        if known is not None and now.monotonic - known.at.monotonic < _SETTINGS_BELIEVED_SECONDS:
            limits, errors = self._source.limits(known.value)
        else:
            limits, errors = self._source.limits()
            memory.settings = None if errors else Timed(limits, now)
        for error in errors:
            failed(error)
        return limits

    def _last_heard(self, table: SocketTable, families: tuple[Family, ...]) -> LastHeard:
        """Ask only when there are such sockets: each dump walks the whole table."""
        counted = np.bincount(table.state, minlength=STATE_SLOTS)
        if not counted[TcpState.CLOSE_WAIT] and not counted[TcpState.FIN_WAIT2]:
            return NOTHING_HEARD
        return self._source.last_heard(families)

    def _see(
        self, table: SocketTable, limits: Limits, port_range: PortRange, now: float
    ) -> tuple[Sight, Ports]:
        """Put together what the poll saw by port, for detectors and for display."""
        memory, settings = self._memory, self.config.ports
        memory.listened = memory.listened.seen(table)
        listening = listeners(table)
        memory.drops = memory.drops.seen(listening)
        by_role = roles(table, memory.listened, port_range)
        folded, memory.series = memory.series.fold(
            counts.by_role_and_port(table, by_role), now, settings.top, settings.always
        )
        ephemeral = ephemeral_ports(table, by_role, port_range, limits.time_wait_reuse)
        memory.forecast = memory.forecast.seen(ephemeral, now)
        sight = Sight(
            netns=self._source.name,
            now=now,
            table=table,
            roles=by_role,
            listen_queues=listen_queues(listening),
            ephemeral=ephemeral,
            exhaustion_seconds=memory.forecast.exhaustion_seconds(ephemeral.usable),
            limits=limits,
        )
        shown = {group.key.port for group in folded.groups if group.key.role == "listener"}
        # A queue that fills is shown however few sockets its port has.
        shown |= {queue.port for queue in sight.listen_queues if 2 * queue.length > queue.limit}
        return sight, Ports(
            groups=folded.groups,
            folded=folded.folded,
            listen_queues=tuple(q for q in sight.listen_queues if q.port in shown),
            listen_drops={p: n for p, n in memory.drops.totals.items() if p in shown},
            ephemeral=ephemeral,
            exhaustion_seconds=sight.exhaustion_seconds,
        )


def _by_family(
    table: Timed[SocketTable] | None, families: tuple[Family, ...]
) -> Timed[Mapping[int, StateCounts]] | None:
    if table is None:
        return None
    by_family = counts.by_family(table.value)
    if Family.IPV6 not in families:
        del by_family[6]  # no IPv6 in this kernel: nothing is not zero
    return Timed(by_family, table.at)
