"""Polls one network namespace, and keeps what the next poll needs."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from sockmon.contained import COMPONENTS
from sockmon.detect.registry import OF_EVENTS, thresholds_of
from sockmon.kernel.errors import KernelError
from sockmon.kernel.family import Family
from sockmon.kernel.inspector import Inspector
from sockmon.kernel.interfaces import Source
from sockmon.model import counts
from sockmon.model.ages import NO_AGES, Aged, LastHeard
from sockmon.model.connection_events import RecentEvents
from sockmon.model.counts import StateCounts
from sockmon.model.detector_input import DetectorInput
from sockmon.model.direction import Listened
from sockmon.model.finding import Finding
from sockmon.model.limits import DEFAULT_PORT_RANGE, KernelLimits, PortRange
from sockmon.model.moment import Moment, Timed
from sockmon.model.observation import ContainerNames, NamespaceObservation, Ports
from sockmon.model.poll_statistics import Failure
from sockmon.model.resting import Resting
from sockmon.model.socket_sample import SocketSample
from sockmon.model.table import SocketTable
from sockmon.model.udp import Udp, UdpPort, udp_ports
from sockmon.model.unix_listeners import UnixListeners
from sockmon.poll.diagnosis import DROPS_WINDOW, DiagnosisState
from sockmon.poll.failures import broken, failure
from sockmon.poll.owner_tracker import OwnerTracker
from sockmon.poll.owners import OwnerFinder
from sockmon.poll.port_tracker import PortTracker
from sockmon.poll.reading import Clock, NamespaceReader, Reading
from sockmon.poll.udp_groups import UdpGroups
from sockmon.settings import Config
from sockmon.settings import Ports as PortsConfig

#: UDP ports that are shown.
_UDP_PORTS_SHOWN = 50


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
        self._reader = NamespaceReader(source)
        self._observation = NamespaceObservation(source.name, degraded=source.degraded, names=names)
        self._owners = OwnerFinder(inspector, source.number)
        self._diagnostician = DiagnosisState(self._owners)
        self._ports = PortTracker(source.name, paced=paced)
        self._owner_sockets = OwnerTracker(self._owners.name)
        self._whole_failed = False
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
        resting = None if whole else self._ports.resting
        read = self._reader.read(
            now, clock, self._diagnostician.doubtful, empty=empty, part=resting is not None
        )
        failures = list(read.failures)
        port_range = _port_range(read.limits)
        self._see_tables(read, now, resting)
        self._see_udp(read, port_range, config.ports)
        if resting is None:
            self._whole_failed = read.tcp is None or port_range is None
        self._see_owners(read.tcp, now, resting)
        # Everything by port needs the port range, by which sockets are given their directions.
        if read.tcp is not None and port_range is not None:
            data = self._see_ports(read, read.tcp, port_range, now, config.ports, resting)
            heard = None if self._source.degraded else read.heard
            if heard is not None:
                data = self._with_others(data, read, now)
                failures += self._diagnose(data, heard, now, config, whole=resting is None)
            if resting is None:
                aged = NO_AGES if heard is None else self._diagnostician.aged
                self._see_sample(data, aged, read.at, now)
        return failures

    def _see_tables(self, read: Reading, now: Moment, resting: Timed[Resting] | None) -> None:
        """Take over limits and counts; what was not read keeps its value and age."""
        source, before, families = self._source, self._observation, read.families
        tcp, udp = read.tcp, read.udp
        self._unix = self._unix.seen(read.unix, read.at.monotonic)
        self._observation = replace(
            before,
            limits=Timed(read.limits, now),
            tcp=before.tcp if tcp is None else _counted(tcp, families, now, resting),
            udp=before.udp if udp is None else _counted(udp, families, now),
            udp_ports=before.udp_ports if udp is None else self._udp_ports(udp, now),
            looked_at=now,
            degraded=source.degraded,
            entry=source.nsenter_prefix(),
            lists_bound=source.lists_bound(),
        )

    def _see_ports(
        self,
        read: Reading,
        tcp: SocketTable,
        port_range: PortRange,
        now: Moment,
        config: PortsConfig,
        resting: Timed[Resting] | None,
    ) -> DetectorInput:
        """Take over what there is by port; return what detectors need of it."""
        data, ports = self._ports.seen(tcp, read.limits, port_range, read.at, config, resting)
        data, ports = self._as_listed(data, ports)
        read_at = now if resting is None else resting.at
        self._observation = replace(self._observation, ports=Timed(ports, read_at))
        return data

    def _with_others(self, data: DetectorInput, read: Reading, now: Moment) -> DetectorInput:
        """Add UDP and Unix sockets, and what was counted between polls."""
        return replace(
            data,
            udp=self._udp,
            udp_table=read.udp if read.udp_has_drops else None,
            unix=self._unix,
            events=self.recent_events(self._source.name, now.monotonic),
        )

    def _see_sample(self, data: DetectorInput, aged: Aged, read_at: Moment, now: Moment) -> None:
        sample = SocketSample.of(
            data.table, data.directions, aged, read_at.monotonic, self._owner_sockets.names
        )
        self._observation = replace(self._observation, sample=Timed(sample, now))

    def _udp_ports(self, udp: SocketTable, now: Moment) -> tuple[UdpPort, ...]:
        ports = udp_ports(udp, _UDP_PORTS_SHOWN)
        names = self._owners.name({id_ for its in ports for id_, _ in its.cgroups}, now.monotonic)
        return tuple(its.named(names) for its in ports)

    def _see_udp(self, read: Reading, port_range: PortRange | None, config: PortsConfig) -> None:
        at, udp = read.at, read.udp
        if udp is not None and read.udp_has_drops:
            self._udp = self._udp.seen(udp, at.monotonic, DROPS_WINDOW, read.limits.datagrams)
        if udp is None or port_range is None:
            return
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

    def _placed(self, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
        """Give the findings of another namespace the prefix that runs commands inside it."""
        entry = self._observation.entry
        return tuple(replace(found, entry=entry) for found in findings) if entry else findings


def _port_range(limits: KernelLimits) -> PortRange | None:
    """Return the range for directions: where it is hidden, the one that hosts have by default.

    It only decides about sockets without a listener, where only one end has such a port.
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
