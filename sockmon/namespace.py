"""One network namespace from poll to poll: what it is asked, and what it was like before."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from sockmon.config import Config
from sockmon.config import Ports as PortsConfig
from sockmon.detect import limits_of
from sockmon.diagnosis import Diagnostician
from sockmon.kernel.errors import KernelError
from sockmon.kernel.owners import OwnerFinder
from sockmon.kernel.source import HOST, Source
from sockmon.kernel.uapi import Family
from sockmon.model import counts
from sockmon.model.ages import NOTHING_HEARD, LastHeard
from sockmon.model.counts import StateCounts
from sockmon.model.finding import Finding
from sockmon.model.limits import Limits, PortRange
from sockmon.model.listeners import ListenDrops, listen_queues, listeners
from sockmon.model.observation import Failure, Moment, NamespaceObservation, Ports, Timed
from sockmon.model.ports import PortForecast, ephemeral_ports
from sockmon.model.roles import Listened, roles
from sockmon.model.series import SeriesMemory
from sockmon.model.sight import Sight
from sockmon.model.states import STATE_SLOTS, TcpState
from sockmon.model.table import SocketTable

T = TypeVar("T")

#: A changed sysctl is seen within this time.
_SETTINGS_BELIEVED_SECONDS = 30.0


class NamespaceMonitor:
    """Polls one network namespace, and remembers what the next poll builds on."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._observation = NamespaceObservation(source.name, degraded=source.degraded)
        self._diagnostician = Diagnostician(OwnerFinder(source.proc, source.stop_requested))
        self._settings: Timed[Limits] | None = None
        self._listened = Listened()
        self._drops = ListenDrops()
        self._series = SeriesMemory()
        self._forecast = PortForecast()

    @property
    def name(self) -> str:
        """The namespace's name, as in the label netns."""
        return self._source.name

    def remember(self) -> Callable[[], Mapping[str, Any]]:
        """Return what makes a record of what is to survive a restart, JSON-ready."""
        return self._diagnostician.remember()

    def recall(self, record: Mapping[str, Any]) -> None:
        """Take up what remember()'s record was in an earlier process of this boot."""
        self._diagnostician.recall(record)

    @property
    def observation(self) -> NamespaceObservation:
        """What the last poll found out."""
        return self._observation

    @property
    def troubled(self) -> bool:
        """Whether the last poll left something to be watched closely."""
        return self._diagnostician.suspects

    def close(self) -> None:
        """Let go of the namespace."""
        self._source.close()

    def poll(
        self, now: Moment, config: Config, *, empty: bool = False
    ) -> tuple[NamespaceObservation, list[Failure]]:
        """Read the namespace once; what the kernel refuses is a Failure.

        empty: it is known to have no sockets, so there is nothing to dump.
        """
        source = self._source
        failures: list[Failure] = []

        def failed(error: KernelError) -> None:
            failures.append(failure(source.name, error))

        def attempt(read: Callable[[], T]) -> Timed[T] | None:
            try:
                return Timed(read(), now)
            except KernelError as error:
                failed(error)
                return None

        families = source.families()
        limits = self._limits(now, failed)
        asked = () if empty else families
        tcp = attempt(lambda: source.tcp(asked))
        heard = attempt(lambda: self._last_heard(tcp.value, asked)) if tcp else None
        udp = attempt(lambda: source.udp(asked))
        before = self._observation
        self._observation = replace(
            before,
            limits=Timed(limits, now),
            tcp=_by_family(tcp, families) or before.tcp,
            udp=_by_family(udp, families) or before.udp,
            looked_at=now,
        )
        # Everything by port needs the port range, by which sockets are given their roles.
        if tcp is not None and limits.port_range is not None:
            sight, ports = self._see(
                tcp.value, limits, limits.port_range, now.monotonic, config.ports
            )
            self._observation = replace(self._observation, ports=Timed(ports, now))
            if heard is not None and not source.degraded:
                diagnosis = self._diagnostician.diagnose(
                    sight, heard.value, self._drops, limits_of(config.detect)
                )
                diagnosis = replace(diagnosis, findings=self._with_way_in(diagnosis.findings))
                self._observation = replace(self._observation, diagnosis=Timed(diagnosis, now))
        return self._observation, failures

    def _limits(self, now: Moment, failed: Callable[[KernelError], None]) -> Limits:
        """Read levels and counters, and now and then the settings; all of them after a failure."""
        known = self._settings
        if known is not None and now.monotonic - known.at.monotonic < _SETTINGS_BELIEVED_SECONDS:
            limits, errors = self._source.limits(known.value)
        else:
            limits, errors = self._source.limits()
            self._settings = None if errors else Timed(limits, now)
        for error in errors:
            failed(error)
        return limits

    def _with_way_in(self, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
        """Advise how to look at another namespace's sockets: from here, ss does not show them."""
        way_in = self._source.way_in()
        if not way_in:
            return findings
        advice = (
            f"They are in the network namespace {self.name}: to see them, put {way_in} before ss "
            "and other commands."
        )
        return tuple(replace(found, advice=(*found.advice, advice)) for found in findings)

    def _last_heard(self, table: SocketTable, families: tuple[Family, ...]) -> LastHeard:
        """Ask only when there are such sockets: each dump walks the whole table."""
        counted = np.bincount(table.state, minlength=STATE_SLOTS)
        if not counted[TcpState.CLOSE_WAIT] and not counted[TcpState.FIN_WAIT2]:
            return NOTHING_HEARD
        return self._source.last_heard(families)

    def _see(
        self,
        table: SocketTable,
        limits: Limits,
        port_range: PortRange,
        now: float,
        shown_ports: PortsConfig,
    ) -> tuple[Sight, Ports]:
        """Put together what the poll saw by port, for detectors and for display."""
        self._listened = self._listened.seen(table)
        listening = listeners(table)
        self._drops = self._drops.seen(listening)
        by_role = roles(table, self._listened, port_range)
        folded, self._series = self._series.fold(
            counts.by_role_and_port(table, by_role), now, shown_ports.top, shown_ports.always
        )
        ephemeral = ephemeral_ports(table, by_role, port_range, limits.time_wait_reuse)
        self._forecast = self._forecast.seen(ephemeral, now)
        sight = Sight(
            netns=self._source.name,
            now=now,
            table=table,
            roles=by_role,
            listen_queues=listen_queues(listening),
            ephemeral=ephemeral,
            exhaustion_seconds=self._forecast.exhaustion_seconds(ephemeral.usable),
            limits=limits,
        )
        shown = {group.key.port for group in folded.groups if group.key.role == "listener"}
        # A queue that fills is shown however few sockets its port has.
        shown |= {queue.port for queue in sight.listen_queues if 2 * queue.length > queue.limit}
        return sight, Ports(
            groups=folded.groups,
            folded=folded.folded,
            listen_queues=tuple(q for q in sight.listen_queues if q.port in shown),
            listen_drops={p: n for p, n in self._drops.totals.items() if p in shown},
            ephemeral=ephemeral,
            exhaustion_seconds=sight.exhaustion_seconds,
        )


def failure(netns: str, error: KernelError) -> Failure:
    """Say what failed, and where if that is not the daemon's own namespace."""
    where = "" if netns == HOST else f" in netns {netns}"
    message = str(error).replace(error.operation, error.operation + where, 1)
    return Failure(netns, error.reason, message)


def _by_family(
    table: Timed[SocketTable] | None, families: tuple[Family, ...]
) -> Timed[Mapping[int, StateCounts]] | None:
    if table is None:
        return None
    by_family = counts.by_family(table.value)
    if Family.IPV6 not in families:
        del by_family[6]  # no IPv6 in this kernel: nothing is not zero
    return Timed(by_family, table.at)
