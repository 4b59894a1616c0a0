"""Tracks one namespace's sockets by port over polls."""

import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sockmon.model import counts
from sockmon.model.counts import Groups
from sockmon.model.detector_input import DetectorInput
from sockmon.model.direction import Listened, PortMask, directions
from sockmon.model.limits import KernelLimits, PortRange
from sockmon.model.listeners import (
    ListenDrops,
    ListeningMemory,
    listen_queues,
    listeners,
    scopes,
)
from sockmon.model.moment import Moment, Timed
from sockmon.model.newcomers import Ranked
from sockmon.model.observation import Ports
from sockmon.model.ports import PortForecast, ephemeral_ports, soonest
from sockmon.model.resting import Resting
from sockmon.model.series import Folded, SeriesMemory
from sockmon.model.table import SocketTable
from sockmon.settings import Ports as PortsConfig

#: A table with this many sockets is large: reading it whole takes about 30 ms of CPU time.
LARGE = 20_000
#: A port inside ip_local_port_range that is listened on for so long is a service's. A data port of
#: passive FTP is listened on for less.
_SERVICE_AFTER_SECONDS = 60.0
#: As many ports that are listened on are shown as this times `top`.
LISTENED_TIMES_TOP = 2
#: So are accept queues that fill, in addition to those of the groups shown.
FILLING_TIMES_TOP = 2


class PortTracker:
    """Makes the result of each poll by port, and keeps what the next one needs.

    resting: of a large table that may be read in part, what its last whole read found at rest.
    drops: connections dropped at each listening port.
    """

    def __init__(self, netns: str, *, paced: bool) -> None:
        """paced: its table may be read in part."""
        self.resting: Timed[Resting] | None = None
        self.drops = ListenDrops()
        self._netns = netns
        self._paced = paced
        self._listened = Listened()
        self._series = SeriesMemory()
        self._listened_since: Mapping[int, float] = {}
        self._services: frozenset[int] = frozenset()  # ports that have been listened on for long
        self._listening = ListeningMemory()
        self._filling: Ranked[int] = Ranked()  # ports whose accept queues fill
        self._forecast = PortForecast()

    @property
    def listened(self) -> Listened:
        """The ports that are or were listened on."""
        return self._listened

    def remember(self) -> Callable[[], Mapping[str, Any]]:
        """Return a function that makes a record of what is kept over a restart, for JSON."""
        listened, services = self._listened, self._services
        return lambda: {"listened": listened.to_record(), "services": sorted(services)}

    def recall(self, record: Mapping[str, Any]) -> None:
        """Take over a record that remember() made; nonsense counts as nothing."""
        with contextlib.suppress(KeyError, TypeError, ValueError, IndexError, OverflowError):
            listened = Listened.from_record(record["listened"])
            self._listened_since = {int(port): -math.inf for port in record["services"]}
            self._listened = listened

    def seen(
        self,
        table: SocketTable,
        limits: KernelLimits,
        port_range: PortRange,
        at: Moment,
        config: PortsConfig,
        resting: Timed[Resting] | None = None,
    ) -> tuple[DetectorInput, Ports]:
        """Return what a poll saw, for detectors and for display.

        resting: of a large table that was read in part, the rest.
        """
        now = at.monotonic
        listened = self._listened
        self._listened = listened.seen_in_part(table) if resting else listened.seen(table)
        listening = listeners(table)
        self.drops = self.drops.seen(listening)
        by_direction = directions(table, self._listened, port_range)
        groups = counts.by_direction_and_port(table, by_direction)
        if resting is None:
            ephemeral = ephemeral_ports(table, by_direction, port_range, limits.time_wait_reuse)
            self._forecast = self._forecast.seen(ephemeral, now)
            self.resting = None
            if self._paced and len(table) >= LARGE:
                self.resting = Timed(Resting.of(table, by_direction, groups, ephemeral), at)
        else:
            groups, ephemeral = resting.value.groups_with(groups), resting.value.ephemeral
        self._see_listeners(listening, now)
        data = DetectorInput(
            netns=self._netns,
            now=now,
            table=table,
            directions=by_direction,
            listen_queues=listen_queues(listening),
            ephemeral=ephemeral,
            exhaustion=self._forecast.exhaustion(ephemeral.usable),
            limits=limits,
        )
        folded, nameless = self._fold(groups, now, config, port_range)
        ports = self._displayed(folded, data, nameless, config)
        there = [each for each in scopes(listening) if not nameless[each[0]]]
        shown, self._listening = self._listening.seen(there, now, LISTENED_TIMES_TOP * config.top)
        return replace(data, nameless=nameless), replace(ports, listening=shown)

    def _see_listeners(self, listening: SocketTable, now: float) -> None:
        before = self._listened_since
        since = {port: before.get(port, now) for port in set(listening.local_port.tolist())}
        self._listened_since = since
        self._services = frozenset(
            port for port, at in since.items() if now - at >= _SERVICE_AFTER_SECONDS
        )

    def _fold(
        self, groups: Groups, now: float, config: PortsConfig, port_range: PortRange
    ) -> tuple[Folded, PortMask]:
        """Return the groups as they are shown, and the ports that may be shown nowhere."""
        nameless = port_range.inside()
        nameless[[*self._services, *config.always_shown]] = False
        folded, self._series = self._series.fold(
            groups, now, config.top, config.always_shown, nameless
        )
        nameless[[its.key.port for its in folded.groups if its.key.port is not None]] = False
        return folded, nameless

    def _displayed(
        self, folded: Folded, data: DetectorInput, nameless: PortMask, config: PortsConfig
    ) -> Ports:
        shown = {group.key.port for group in folded.groups if group.key.direction == "inbound"}
        # A queue that fills is shown however few sockets its port has.
        queues = sorted(data.listen_queues, key=lambda queue: -queue.length)
        filling = [q.port for q in queues if 2 * q.length > q.limit and not nameless[q.port]]
        most = FILLING_TIMES_TOP * max(1, config.top)
        self._filling = self._filling.seen(filling, data.now, most)
        shown |= self._filling.at.keys()
        return Ports(
            groups=folded.groups,
            folded=folded.folded,
            listen_queues=tuple(q for q in data.listen_queues if q.port in shown),
            listen_drops={p: n for p, n in self.drops.totals.items() if p in shown},
            dropped={p: n for p, n in self.drops.since_first.items() if p in shown},
            ephemeral=data.ephemeral,
            exhaustion_seconds=soonest(data.exhaustion, data.ephemeral.usable),
        )
