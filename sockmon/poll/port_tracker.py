"""One namespace's sockets by port, from poll to poll."""

from sockmon.model import counts
from sockmon.model.counts import Groups
from sockmon.model.detector_input import DetectorInput
from sockmon.model.direction import Listened, directions
from sockmon.model.limits import KernelLimits, PortRange
from sockmon.model.listeners import ListenDrops, listen_queues, listeners
from sockmon.model.moment import Moment, Timed
from sockmon.model.observation import Ports
from sockmon.model.ports import PortForecast, ephemeral_ports
from sockmon.model.resting import Resting
from sockmon.model.series import SeriesMemory
from sockmon.model.table import SocketTable
from sockmon.settings import Ports as PortsConfig

#: A table with so many sockets is large: reading it whole costs some 30 ms of CPU time.
LARGE = 20_000


class PortTracker:
    """Puts together what each poll saw by port, and remembers what the next one builds on.

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
        self._listened_last: frozenset[int] = frozenset()
        self._steady = self._listened_last  # listened on in this poll and the one before
        self._forecast = PortForecast()

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
        listened_now = frozenset(listening.local_port.tolist())
        self._steady = listened_now & self._listened_last
        self._listened_last = listened_now
        return data, self._displayed(groups, data, config, port_range)

    def _displayed(
        self, groups: Groups, data: DetectorInput, config: PortsConfig, port_range: PortRange
    ) -> Ports:
        nameless = port_range.inside()
        nameless[list(self._steady)] = False
        folded, self._series = self._series.fold(
            groups, data.now, config.top, config.always_shown, nameless
        )
        shown = {group.key.port for group in folded.groups if group.key.direction == "inbound"}
        # A queue that fills is shown however few sockets its port has.
        shown |= {queue.port for queue in data.listen_queues if 2 * queue.length > queue.limit}
        return Ports(
            groups=folded.groups,
            folded=folded.folded,
            listen_queues=tuple(q for q in data.listen_queues if q.port in shown),
            listen_drops={p: n for p, n in self.drops.totals.items() if p in shown},
            ephemeral=data.ephemeral,
            exhaustion_seconds=self._forecast.soonest(data.ephemeral.usable),
        )
