"""One namespace's sockets by port, from poll to poll."""

from sockmon.model import counts
from sockmon.model.counts import Groups
from sockmon.model.detector_input import Sight
from sockmon.model.limits import Limits, PortRange
from sockmon.model.listeners import ListenDrops, listen_queues, listeners
from sockmon.model.moment import Moment, Timed
from sockmon.model.observation import Ports
from sockmon.model.ports import PortForecast, ephemeral_ports
from sockmon.model.resting import Resting
from sockmon.model.roles import Listened, roles
from sockmon.model.series import SeriesMemory
from sockmon.model.table import SocketTable
from sockmon.settings import Ports as PortsConfig

#: A table with so many sockets is large: reading it whole costs some 30 ms of CPU time.
LARGE = 20_000


class PortMonitor:
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
        self._forecast = PortForecast()

    def seen(
        self,
        table: SocketTable,
        limits: Limits,
        port_range: PortRange,
        at: Moment,
        config: PortsConfig,
        resting: Timed[Resting] | None = None,
    ) -> tuple[Sight, Ports]:
        """Return what a poll saw, for detectors and for display.

        resting: of a large table that was read in part, the rest.
        """
        now = at.monotonic
        listened = self._listened
        self._listened = listened.seen_in_part(table) if resting else listened.seen(table)
        listening = listeners(table)
        self.drops = self.drops.seen(listening)
        by_role = roles(table, self._listened, port_range)
        groups = counts.by_role_and_port(table, by_role)
        if resting is None:
            ephemeral = ephemeral_ports(table, by_role, port_range, limits.time_wait_reuse)
            self._forecast = self._forecast.seen(ephemeral, now)
            self.resting = None
            if self._paced and len(table) >= LARGE:
                self.resting = Timed(Resting.of(table, by_role, groups, ephemeral), at)
        else:
            groups, ephemeral = resting.value.groups_with(groups), resting.value.ephemeral
        sight = Sight(
            netns=self._netns,
            now=now,
            table=table,
            roles=by_role,
            listen_queues=listen_queues(listening),
            ephemeral=ephemeral,
            exhaustion_seconds=self._forecast.exhaustion_seconds(ephemeral.usable),
            limits=limits,
        )
        return sight, self._displayed(groups, sight, config)

    def _displayed(self, groups: Groups, sight: Sight, config: PortsConfig) -> Ports:
        folded, self._series = self._series.fold(groups, sight.now, config.top, config.always)
        shown = {group.key.port for group in folded.groups if group.key.role == "listener"}
        # A queue that fills is shown however few sockets its port has.
        shown |= {queue.port for queue in sight.listen_queues if 2 * queue.length > queue.limit}
        return Ports(
            groups=folded.groups,
            folded=folded.folded,
            listen_queues=tuple(q for q in sight.listen_queues if q.port in shown),
            listen_drops={p: n for p, n in self.drops.totals.items() if p in shown},
            ephemeral=sight.ephemeral,
            exhaustion_seconds=sight.exhaustion_seconds,
        )
