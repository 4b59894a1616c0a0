"""Ephemeral ports: how many are left towards each (source, destination, destination port).

connect() needs a unique 4-tuple, so ports run out for each destination separately; ports held by
bind() are lost for all (net/ipv4/inet_hashtables.c, __inet_hash_connect). A range set by
IP_LOCAL_PORT_RANGE cannot be seen in a dump.

A client that called bind() before connect() looks like any other, but for its port: connect() takes
ports of the parity of the range's first port until that half is full, bind() to port 0 the others
first (net/ipv4/inet_connection_sock.c, inet_csk_find_open_port()). And a port that connect() chose
may serve several destinations, one that bind() chose serves one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sockmon.model.direction import Directions, no_ports
from sockmon.model.distinct import kinds
from sockmon.model.limits import PORTS, PortRange, TimeWaitReuse
from sockmon.model.states import STATE_SLOTS, TcpState
from sockmon.model.table import IPAddress, SocketTable, address

TIME_WAIT_MS = 60_000  # TCP_TIMEWAIT_LEN: fixed in the kernel

_TRACKED = 8
#: More destinations are described if they use this share of the ports.
_WORTH_DESCRIBING = 0.4
_DESCRIBED_MOST = 100
_SAMPLES = 60
_SAMPLES_NEEDED = 6
_LAST_SECONDS = 60.0
#: A slope is computed from so many samples at most, in a millisecond.
_SLOPE_SAMPLES = 200
_LEAST_WINDOW_MS = 10_000
#: Fewer ports of the other parity are chance; a half is full when this share of it is used.
_BOUND_AT_LEAST = 16
_HALF_FULL = 0.9
_CONFINED_AT_LEAST, _CONFINED = 32, 0.95
_HORIZON_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Destination:
    """Where connections go: one set of ephemeral ports each."""

    source: IPAddress
    address: IPAddress
    port: int


@dataclass(frozen=True, slots=True)
class PortUse:
    """Ports in use towards one destination, by the state of the socket that holds them.

    level: ports that will be in use when as many leave TIME_WAIT as enter it, at the present rate;
    no less than used. low, high: the first and last of them.
    """

    destination: Destination
    used: int
    states: Mapping[TcpState, int]
    level: float = 0.0
    low: int = field(default=0, compare=False)
    high: int = field(default=PORTS - 1, compare=False)

    @property
    def is_confined(self) -> bool:
        """Whether they are a block of ports with hardly a gap.

        Of its own accord connect() leaves every second port free, until half of all are used.
        """
        block = self.high - self.low + 1
        return self.used >= _CONFINED_AT_LEAST and self.used >= _CONFINED * block


@dataclass(frozen=True, slots=True)
class BoundBeforeConnect:
    """Ports of one source address that bind() chose before connect(): lost for all destinations."""

    source: IPAddress
    ports: int


@dataclass(frozen=True, slots=True)
class EphemeralPorts:
    """`usable` = range less `reserved` less `bound`; connect() fails when a use reaches it.

    bound: None where the kernel does not list sockets that only bind() has given a port: then
    `usable` is less only what listeners hold.
    in_use: distinct ports that connections of this host hold, towards any destination.
    bound_before_connect: by source address, most first.
    """

    usable: int
    reserved: int
    bound: int | None
    busiest: tuple[PortUse, ...]
    in_use: int = 0
    bound_before_connect: tuple[BoundBeforeConnect, ...] = ()

    @property
    def used_max(self) -> int:
        """Ports in use towards the destination that uses most."""
        return self.busiest[0].used if self.busiest else 0


def ephemeral_ports(
    table: SocketTable, directions: Directions, port_range: PortRange, reuse: TimeWaitReuse | None
) -> EphemeralPorts:
    """Count the ports in use towards each destination, and name the busiest, most used first."""
    choosable = port_range.choosable()
    clients = np.flatnonzero(~directions.is_inbound)
    bound = no_ports()
    bound[table.local_port[directions.is_inbound]] = True
    bound[table.local_port[clients[table.state[clients] == TcpState.CLOSE]]] = True
    bound &= choosable
    usable = choosable & ~bound
    holders = clients[usable[table.local_port[clients]]]
    holders = holders[~reusable(table, holders, reuse)]
    count = int(usable.sum())
    in_use = no_ports()
    in_use[table.local_port[holders]] = True
    return EphemeralPorts(
        usable=count,
        reserved=port_range.high - port_range.low + 1 - int(choosable.sum()),
        bound=int(bound.sum()),
        busiest=_busiest(table, holders, count),
        in_use=int(in_use.sum()),
        bound_before_connect=_bound_before_connect(table, holders, port_range, usable),
    )


def _bound_before_connect(
    table: SocketTable, rows: NDArray[np.intp], port_range: PortRange, usable: NDArray[np.bool_]
) -> tuple[BoundBeforeConnect, ...]:
    """Count the ports that must have been chosen by bind(), by source address."""
    by_connect = np.arange(PORTS) % 2 == port_range.low % 2
    half = max(1, int((usable & by_connect).sum()))
    others = rows[~by_connect[table.local_port[rows]]]
    if others.size < _BOUND_AT_LEAST:  # none, as a rule
        return ()
    found = []
    for other in others[kinds(*table.addresses(table.local, others)).rows].tolist():
        family, source = table.family[other], table.local[other]
        mine = rows[(table.family[rows] == family) & (table.local[rows] == source).all(axis=1)]
        ports = table.local_port[mine]
        destination = kinds(*table.remote_ends(mine)).which
        # Towards a destination that has used up its half, connect() takes the others too.
        chosen = np.bincount(destination[by_connect[ports]], minlength=destination.max() + 1)
        full = chosen >= _HALF_FULL * half
        serves = np.bincount(ports[kinds(ports, destination).rows], minlength=PORTS)
        single = (serves[ports] == 1) & ~full[destination]
        bound = no_ports()
        bound[ports[single & ~by_connect[ports]]] = True
        if bound.sum() >= _HALF_FULL * half and not (serves > 1).any():
            bound[ports[single]] = True  # bind() has gone on to the other half
        if bound.any():
            found.append(BoundBeforeConnect(address(int(family), source), int(bound.sum())))
    return tuple(sorted(found, key=lambda its: -its.ports))


def reusable(
    table: SocketTable, rows: NDArray[np.intp], reuse: TimeWaitReuse | None
) -> NDArray[np.bool_]:
    """Mask over the rows: TIME_WAIT sockets whose port connect() would take over.

    net/ipv4/tcp_ipv4.c, tcp_twsk_unique(): mode 2 does so only on loopback, both need
    timestamps and an age above the delay. FIN_WAIT2 is never taken over.
    """
    if reuse is None or not reuse.mode or not reuse.timestamps:
        return np.zeros(rows.size, np.bool_)
    mask: NDArray[np.bool_] = table.state[rows] == TcpState.TIME_WAIT
    mask &= table.expires[rows] < TIME_WAIT_MS - reuse.delay_ms
    if reuse.mode == 2:
        candidates = np.flatnonzero(mask)
        mask[candidates] = _is_loopback(table, rows[candidates])
    return mask


def _is_loopback(table: SocketTable, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Either end in 127.0.0.0/8, or ::1."""
    found = np.zeros(rows.size, np.bool_)
    is_v4 = table.family[rows] == 4
    for end in (table.local[rows], table.remote[rows]):
        first_octet = end[:, :1].copy().view(np.uint8).reshape(rows.size, 4)[:, 0]
        last_word = end[:, 3].byteswap()
        v6_loopback = ~end[:, :3].any(axis=1) & (last_word == 1)
        found |= np.where(is_v4, first_octet == 127, v6_loopback)
    return found


def _busiest(table: SocketTable, rows: NDArray[np.intp], usable: int) -> tuple[PortUse, ...]:
    """Return the destinations with most sockets among the rows."""
    if not rows.size:
        return ()
    found = kinds(*table.remote_ends(rows), *table.addresses(table.local, rows))
    counts = found.counts()
    many = int((counts >= _WORTH_DESCRIBING * max(usable, 1)).sum())
    top = np.argsort(-counts, kind="stable")[: min(max(_TRACKED, many), _DESCRIBED_MOST)]
    uses = [_use(table, rows[found.which == kind]) for kind in top.tolist()]
    return tuple(sorted(uses, key=lambda use: -use.used))


def _use(table: SocketTable, rows: NDArray[np.intp]) -> PortUse:
    """Describe the destination that all the rows share."""
    first = rows[0]
    family = int(table.family[first])
    used = no_ports()
    used[table.local_port[rows]] = True
    states = np.bincount(table.state[rows], minlength=STATE_SLOTS).tolist()
    return PortUse(
        Destination(
            address(family, table.local[first]),
            address(family, table.remote[first]),
            int(table.remote_port[first]),
        ),
        used=int(used.sum()),
        states={state: states[state] for state in TcpState if states[state]},
        level=_level(table, rows, int(used.sum())),
        low=int(table.local_port[rows].min()),
        high=int(table.local_port[rows].max()),
    )


def _level(table: SocketTable, rows: NDArray[np.intp], used: int) -> float:
    """Return how many ports will be in use once TIME_WAIT has levelled off.

    Each stays 60 s, so there come to be as many as enter in 60 s: as entered in the last half
    minute, twice; or as fast as since the first of them, which is younger.
    """
    waiting = rows[table.state[rows] == TcpState.TIME_WAIT]
    if not waiting.size:
        return float(used)
    ages = np.maximum(TIME_WAIT_MS - table.expires[waiting].astype(np.int64), 1)
    window = min(max(int(ages.max()), _LEAST_WINDOW_MS), TIME_WAIT_MS // 2)
    entered = int((ages <= window).sum())
    return float(max(used, used - waiting.size + entered * TIME_WAIT_MS / window))


@dataclass(frozen=True, slots=True)
class PortForecast:
    """The last minutes of the busiest destinations.

    samples: (monotonic seconds, ports used but for those in TIME_WAIT) of each; last: the last use.
    """

    samples: Mapping[Destination, tuple[tuple[float, int], ...]] = field(default_factory=dict)
    last: Mapping[Destination, PortUse] = field(default_factory=dict)

    def seen(self, ports: EphemeralPorts, now: float) -> "PortForecast":
        """Remember one more poll; destinations that are no longer among the busiest are let go."""
        return PortForecast(
            {
                use.destination: (
                    *self.samples.get(use.destination, ())[-_SAMPLES + 1 :],
                    (now, use.used - use.states.get(TcpState.TIME_WAIT, 0)),
                )
                for use in ports.busiest
            },
            {use.destination: use for use in ports.busiest},
        )

    def exhaustion(self, usable: int) -> Mapping[Destination, float]:
        """Return, for each destination that runs out of ports within a day, in how many seconds.

        What is in TIME_WAIT levels off, so only the rest is extrapolated: by the slope of the
        whole window, and no faster than that of the last minute.
        """
        found = {}
        for destination, samples in self.samples.items():
            left = self._seconds_left(destination, samples, usable)
            if left <= _HORIZON_SECONDS:
                found[destination] = left
        return found

    def _seconds_left(
        self, destination: Destination, samples: tuple[tuple[float, int], ...], usable: int
    ) -> float:
        use = self.last[destination]
        if use.used >= usable:
            return 0.0
        waiting = use.states.get(TcpState.TIME_WAIT, 0)
        level = max(use.level, use.used)
        entering = max(0.0, level - use.used + waiting) / (TIME_WAIT_MS / 1000)  # a second
        if len(samples) < _SAMPLES_NEEDED:
            return math.inf
        now = samples[-1][0]
        recent = sum(now - at <= _LAST_SECONDS for at, _ in samples)
        last_minute = robust_slope(samples[-max(recent, _SAMPLES_NEEDED // 2) :])
        slope = max(0.0, min(robust_slope(samples), last_minute))
        if level >= usable:  # TIME_WAIT does not level off in time
            return (usable - use.used) / max(entering + slope, 1e-9)
        return (usable - level) / slope if slope > 0 else math.inf


def soonest(exhaustion: Mapping[Destination, float], usable: int) -> float:
    """Return the least of what exhaustion() has returned; inf of nothing, 0 if none is usable."""
    return min(exhaustion.values(), default=math.inf) if usable > 0 else 0.0


def robust_slope(samples: Sequence[tuple[float, float]]) -> float:
    """Theil-Sen: the median of all slopes between two samples, which one burst cannot turn.

    Of very many samples, some stand for the rest: there are half as many slopes as samples squared.
    """
    thinned = np.linspace(0, len(samples) - 1, min(len(samples), _SLOPE_SAMPLES)).astype(np.intp)
    times, values = np.array(samples, np.float64)[thinned].T
    if (values == values[0]).all():
        return 0.0
    first, second = np.triu_indices(times.size, 1)
    spans = times[second] - times[first]
    rises = (values[second] - values[first])[spans > 0]
    return _median(rises / spans[spans > 0]) if rises.size else 0.0


def _median(values: NDArray[np.float64]) -> float:
    """Return what np.median() does; that would load numpy.ma, 1 MB."""
    middle = (values.size - 1) // 2, values.size // 2
    return float(np.partition(values, middle)[list(middle)].mean())
