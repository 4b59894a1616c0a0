"""Polls one network namespace, and keeps what the next poll needs."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import numpy as np

from sockmon.contained import COMPONENTS
from sockmon.detect.registry import OF_EVENTS, thresholds_of
from sockmon.kernel.errors import FallbackError, HiddenSettingsError, KernelError, UdpFallbackError
from sockmon.kernel.family import Family
from sockmon.kernel.inspector import Inspector
from sockmon.kernel.interfaces import Source
from sockmon.model import counts
from sockmon.model.ages import NOBODY, NOTHING_HEARD, LastHeard
from sockmon.model.connection_events import RecentEvents
from sockmon.model.counts import StateCounts
from sockmon.model.detector_input import DetectorInput
from sockmon.model.direction import Listened
from sockmon.model.finding import Finding
from sockmon.model.limits import DEFAULT_PORT_RANGE, KernelLimits, PortRange
from sockmon.model.moment import Moment, Timed
from sockmon.model.names import HOST
from sockmon.model.observation import ContainerNames, NamespaceObservation, Ports
from sockmon.model.poll_statistics import Failure
from sockmon.model.queues import worth_asking
from sockmon.model.resting import Resting
from sockmon.model.socket_sample import SocketSample
from sockmon.model.states import STATE_SLOTS, TcpState
from sockmon.model.table import SocketTable
from sockmon.model.udp import Udp, UdpPort, udp_ports
from sockmon.model.unix_listeners import UnixListeners
from sockmon.poll.diagnosis import DROPS_WINDOW, PORTS_ASKED, DiagnosisState
from sockmon.poll.owner_tracker import OwnerTracker
from sockmon.poll.owners import OwnerFinder
from sockmon.poll.port_tracker import PortTracker
from sockmon.poll.udp_groups import UdpGroups
from sockmon.settings import Config
from sockmon.settings import Ports as PortsConfig

T = TypeVar("T")
Clock = Callable[[], Moment]


class Attempt(Protocol):
    """Reads something, or records why it could not be read."""

    def __call__(self, read: Callable[[], T]) -> T | None:
        """Return what was read, None if it could not be."""
        ...


#: UDP ports that are shown.
_UDP_PORTS_SHOWN = 50
#: A changed sysctl is seen within this time.
_SETTINGS_BELIEVED_SECONDS = 30.0


def nothing_counted(_name: str, _now: float) -> RecentEvents | None:
    """Stand in where connections are not counted between polls."""
    return None


class NamespacePoller:
    """Polls one network namespace, and keeps what the next poll needs."""

    def __init__(
        self,
        source: Source,
        inspector: Inspector,
        *,
        paced: bool = False,
        names: ContainerNames | None = None,
    ) -> None:
        """paced: its table may be read in part when it is large. names: see the observation."""
        self._source = source
        self._observation = NamespaceObservation(source.name, degraded=source.degraded, names=names)
        self._owners = OwnerFinder(inspector, source.number)
        self._diagnostician = DiagnosisState(self._owners)
        self._settings: Timed[KernelLimits] | None = None
        self._ports = PortTracker(source.name, paced=paced)
        self._owner_sockets = OwnerTracker(self._owners.name)
        self._whole_failed = False
        self._is_first = True
        self._udp = Udp()
        self._udp_groups = UdpGroups()
        self._unix = UnixListeners()
        #: Returns what was counted between polls in a namespace of this name, up to now.
        self.recent_events: Callable[[str, float], RecentEvents | None] = nothing_counted

    @property
    def listened(self) -> Listened:
        """The ports that are or were listened on."""
        return self._ports.listened

    @property
    def name(self) -> str:
        """The namespace's name, as in the label netns."""
        return self._source.name

    def remember(self) -> Callable[[], Mapping[str, Any]]:
        """Return a function that makes a record of what is kept over a restart, for JSON."""
        ages, ports = self._diagnostician.remember(), self._ports.remember()
        return lambda: {**ages(), **ports()}

    def recall(self, record: Mapping[str, Any]) -> None:
        """Take over a record that remember() made in an earlier process of this boot."""
        self._diagnostician.recall(record)
        self._ports.recall(record)

    @property
    def observation(self) -> NamespaceObservation:
        """The result of the last poll."""
        return self._observation

    @property
    def troubled(self) -> bool:
        """Whether the last poll found something that needs close watching."""
        return self._diagnostician.suspects

    @property
    def large(self) -> bool:
        """Whether its table may be read in part, and is worth it."""
        return self._ports.resting is not None

    def close(self) -> None:
        """Release the namespace."""
        self._source.close()
        self._owners.close()

    def poll(
        self,
        now: Moment,
        clock: Clock,
        config: Config,
        *,
        empty: bool = False,
        whole: bool = True,
    ) -> tuple[NamespaceObservation, list[Failure]]:
        """Read the namespace once; what the kernel refuses is a Failure.

        now: of the poll of all namespaces. Ages are reckoned from the clock after this one is read:
        the kernel tells times before its answer, and an age must never be too high.
        empty: it is known to have no sockets, so there is nothing to dump.
        whole: all of its table; if not, of a large one what is not at rest.
        A mistake of ours is a Failure too: it must not keep other namespaces from being polled.
        """
        name = self._source.name
        try:
            failures = self._poll(now, clock, config, empty=empty, whole=whole)
        except KernelError as error:  # to stop, for example, in the middle of a read
            self._observation = replace(self._observation, looked_at=now)
            failures = [failure(name, error)]
        except Exception as error:  # noqa: BLE001 - as it says
            self._observation = replace(self._observation, looked_at=now)
            failures = [broken(name, "poll", COMPONENTS.failed("poll", error, name))]
        else:
            COMPONENTS.works("poll", name)
        return self._observation, failures

    def _poll(
        self, now: Moment, clock: Clock, config: Config, *, empty: bool, whole: bool
    ) -> list[Failure]:
        source = self._source
        failures: list[Failure] = []

        def failed(error: KernelError) -> None:
            failures.append(failure(source.name, error))

        def attempt(read: Callable[[], T]) -> T | None:
            try:
                return read()
            except KernelError as error:
                failed(error)
                return None

        families = source.families()
        limits = self._limits(now, failed)
        asked = () if empty else families
        resting = None if whole else self._ports.resting
        tcp, heard = self._dump(attempt, asked, part=resting is not None)
        udp = attempt(lambda: source.udp(asked))
        unix = () if empty else source.unix_listeners()
        optional = source.take_errors()
        failures += map(self._of_optional, optional)
        read = clock()
        self._unix = self._unix.seen(unix, read.monotonic)
        # What was read of UDP in place of sock_diag has no drops.
        whole_udp = None if any(isinstance(e, FallbackError) for e in optional) else udp
        before = self._observation
        self._observation = replace(
            before,
            limits=Timed(limits, now),
            tcp=before.tcp if tcp is None else _counted(tcp, families, now, resting),
            udp=before.udp if udp is None else _counted(udp, families, now),
            udp_ports=before.udp_ports if udp is None else self._udp_ports(udp, now),
            looked_at=now,
            degraded=source.degraded,
            entry=source.nsenter_prefix(),
            lists_bound=source.lists_bound(),
        )
        if whole_udp is not None:
            self._udp = self._udp.seen(whole_udp, read.monotonic, DROPS_WINDOW, limits.datagrams)
        port_range = _port_range(limits)
        if udp is not None and port_range is not None:
            self._see_udp(udp, port_range, read, config.ports)
        if resting is None:
            self._whole_failed = tcp is None or port_range is None
        self._see_owners(tcp, now, resting)
        # Everything by port needs the port range, by which sockets are given their directions.
        if tcp is not None and port_range is not None:
            data, ports = self._ports.seen(tcp, limits, port_range, read, config.ports, resting)
            data, ports = self._as_listed(data, ports)
            read_at = now if resting is None else resting.at
            self._observation = replace(self._observation, ports=Timed(ports, read_at))
            if heard is not None and not source.degraded:
                data = replace(
                    data,
                    udp=self._udp,
                    udp_table=whole_udp,
                    unix=self._unix,
                    events=self.recent_events(source.name, now.monotonic),
                )
                failures += self._diagnose(data, heard, now, config, whole=resting is None)
            if resting is None:
                known = heard is not None and not source.degraded
                aged = self._diagnostician.aged if known else NOBODY
                sample = SocketSample.of(
                    tcp, data.directions, aged, read.monotonic, self._owner_sockets.names
                )
                self._observation = replace(self._observation, sample=Timed(sample, now))
        return failures

    def _udp_ports(self, udp: SocketTable, now: Moment) -> tuple[UdpPort, ...]:
        ports = udp_ports(udp, _UDP_PORTS_SHOWN)
        names = self._owners.name({id_ for its in ports for id_, _ in its.cgroups}, now.monotonic)
        return tuple(its.named(names) for its in ports)

    def _see_udp(
        self, udp: SocketTable, port_range: PortRange, at: Moment, config: PortsConfig
    ) -> None:
        shown = config.top, config.always_shown
        services = self._udp.held.services(at.monotonic)
        self._udp_groups = self._udp_groups.seen(udp, port_range, at.monotonic, *shown, services)
        groups = Timed(self._udp_groups.groups, at)
        self._observation = replace(self._observation, udp_groups=groups)

    def _as_listed(self, data: DetectorInput, ports: Ports) -> tuple[DetectorInput, Ports]:
        """Leave out what the kernel does not list here, where it looks like nothing."""
        if self._source.degraded:  # /proc/net/tcp has neither a queue's limit nor its drops
            ports = replace(ports, listen_queues=(), listen_drops={}, dropped={})
        if self._observation.lists_bound:
            return data, ports
        ephemeral = replace(data.ephemeral, bound=None)
        return replace(data, ephemeral=ephemeral), replace(ports, ephemeral=ephemeral)

    def _diagnose(
        self, data: DetectorInput, heard: LastHeard, now: Moment, config: Config, *, whole: bool
    ) -> Iterator[Failure]:
        """Judge what was read; yield what failed by a mistake of ours. The counts stand."""
        name = self._source.name
        try:
            diagnosis = self._diagnostician.diagnose(
                data, heard, self._ports.drops, thresholds_of(config.detect), whole=whole
            )
        except Exception as error:  # noqa: BLE001 - else one namespace would end the daemon
            yield broken(name, "diagnosis", COMPONENTS.failed("diagnosis", error, name))
            return
        COMPONENTS.works("diagnosis", name)
        diagnosis = replace(diagnosis, findings=self._placed(diagnosis.findings))
        if self._whole_failed:  # sockets at rest are no longer known
            diagnosis = replace(diagnosis, unavailable=diagnosis.unavailable | diagnosis.skipped)
        if config.events.enabled and data.events is None:  # a failure, and no end of any trouble
            uncounted = diagnosis.unavailable | OF_EVENTS
            diagnosis = replace(diagnosis, unavailable=uncounted)
        self._observation = replace(self._observation, diagnosis=Timed(diagnosis, now))
        for detector, reason in diagnosis.broken.items():
            yield broken(name, f"detector {detector}", reason)

    def _see_owners(
        self, tcp: SocketTable | None, now: Moment, resting: Timed[Resting] | None
    ) -> None:
        if tcp is None or self._source.degraded:  # /proc/net/tcp has no cgroups
            return
        shown = self._owner_sockets.seen(tcp, now.monotonic, whole=resting is None)
        read_at = now if resting is None else resting.at
        self._observation = replace(self._observation, owners=Timed(shown, read_at))

    def _of_optional(self, error: KernelError) -> Failure:
        """Return the failure to read what a kernel need not have."""
        missing = error.reason == "ENOENT" and not isinstance(error, FallbackError)
        missing |= isinstance(error, UdpFallbackError)
        return replace(failure(self._source.name, error), is_optional=missing)

    def _limits(self, now: Moment, failed: Callable[[KernelError], None]) -> KernelLimits:
        """Read levels and counters; settings too if they are old, or after a failure."""
        known = self._settings
        if known is not None and now.monotonic - known.at.monotonic < _SETTINGS_BELIEVED_SECONDS:
            limits, errors = self._source.limits(known.value)
        else:
            limits, errors = self._source.limits()
            failing = any(not isinstance(error, HiddenSettingsError) for error in errors)
            self._settings = None if failing else Timed(limits, now)
        for error in errors:
            failed(error)
        return limits

    def _placed(self, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
        """Give the findings of another namespace the prefix that runs commands inside it."""
        entry = self._observation.entry
        return tuple(replace(found, entry=entry) for found in findings) if entry else findings

    def _dump(
        self, attempt: Attempt, families: tuple[Family, ...], *, part: bool
    ) -> tuple[SocketTable | None, LastHeard | None]:
        """Read the table, whole or in part, and when sockets last heard, each if it succeeds."""
        source = self._source
        if part:
            return attempt(lambda: source.passing(families)) or (None, None)
        table = attempt(lambda: source.tcp(families))
        if table is None:
            return None, None
        return table, attempt(lambda: self._last_heard(table, families))

    def _last_heard(self, table: SocketTable, families: tuple[Family, ...]) -> LastHeard:
        """Dump only if there are such sockets: each dump walks the whole table."""
        counted = np.bincount(table.state, minlength=STATE_SLOTS)
        heard = NOTHING_HEARD
        if counted[TcpState.CLOSE_WAIT] or counted[TcpState.FIN_WAIT2]:
            heard = self._source.last_heard(families)
        ports = self._diagnostician.doubtful
        if self._is_first:
            self._is_first = False
            ports = worth_asking(table, PORTS_ASKED)
        if ports:
            with contextlib.suppress(KernelError):  # a minute later history shows it
                heard = heard.joined(self._source.last_heard_by_port(families, ports))
        return heard


def broken(netns: str, what: str, reason: str) -> Failure:
    """Return that a part of sockmon has failed, by a mistake of ours."""
    where = "" if netns == HOST else f" in netns {netns}"
    return Failure(netns, "bug", f"{what}{where}: {reason}: please report this bug of sockmon")


def failure(netns: str, error: KernelError) -> Failure:
    """Return what failed, with the namespace if it is not the daemon's own."""
    where = "" if netns == HOST else f" in netns {netns}"
    message = str(error).replace(error.operation, error.operation + where, 1)
    is_optional = isinstance(error, HiddenSettingsError)
    return Failure(netns, error.reason, message, is_optional=is_optional)


def _port_range(limits: KernelLimits) -> PortRange | None:
    """Return the range for directions: where it is hidden, the one that hosts have by default.

    It only decides about sockets without a listener of which one end alone is theirs.
    """
    return DEFAULT_PORT_RANGE if limits.settings_hidden else limits.port_range


def _counted(
    table: SocketTable,
    families: tuple[Family, ...],
    now: Moment,
    resting: Timed[Resting] | None = None,
) -> Timed[Mapping[int, StateCounts]]:
    """Count a table; with `resting`, the counts are as old as that."""
    by_family = counts.by_family(table)
    if resting is not None:
        by_family = resting.value.with_others(by_family)
    if Family.IPV6 not in families:
        del by_family[6]  # this kernel has no IPv6, which is not the same as zero sockets
    return Timed(by_family, now if resting is None else resting.at)
