"""UDP sockets by port, under the same rule as those of TCP.

A UDP socket that is not connected (CLOSE) serves its local port, as a listener of TCP does; one
that is connected to a port outside of ip_local_port_range, and whose local port nobody serves, is
its client.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from sockmon.model import counts
from sockmon.model.counts import PortGroup
from sockmon.model.direction import Listened, directions, no_ports
from sockmon.model.limits import PortRange
from sockmon.model.series import SeriesMemory
from sockmon.model.states import TcpState
from sockmon.model.table import SocketTable


@dataclass(frozen=True, slots=True)
class UdpGroups:
    """The groups of the last poll; memory: of which ports have series."""

    groups: tuple[PortGroup, ...] = ()
    memory: SeriesMemory = field(default_factory=SeriesMemory)

    def seen(
        self,
        table: SocketTable,
        port_range: PortRange,
        now: float,
        top: int,
        always: Collection[int],
        services: Collection[int] = (),
    ) -> "UdpGroups":
        """Return what is known after one more poll (`now` in monotonic seconds).

        services: ports that have been served for long, wherever they are.
        """
        if not len(table) and not self.groups:
            return self
        served = no_ports()
        served[table.local_port[table.state == TcpState.CLOSE]] = True
        by_direction = directions(table, Listened(np.packbits(served)), port_range, parity=False)
        nameless = port_range.inside()
        nameless[[*always, *services]] = False
        folded, memory = self.memory.fold(
            counts.by_direction_and_port(table, by_direction), now, top, always, nameless
        )
        return UdpGroups(folded.groups, memory)
