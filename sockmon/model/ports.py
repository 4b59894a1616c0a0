"""Ephemeral ports: how many are left towards each (source, destination, destination port).

connect() needs a unique 4-tuple, so ports run out for each destination alone; ports held by
bind() are lost for all (net/ipv4/inet_hashtables.c, __inet_hash_connect). A client socket that
called bind() before connect(), and a range set by IP_LOCAL_PORT_RANGE, cannot be seen in a dump.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sockmon.model.direction import Directions, no_ports
from sockmon.model.limits import PortRange, TimeWaitReuse
from sockmon.model.states import STATE_SLOTS, TcpState
from sockmon.model.table import IPAddress, SocketTable, address

TIME_WAIT_MS = 60_000  # TCP_TIMEWAIT_LEN: fixed in the kernel

_TRACKED = 8
_SAMPLES = 60
_SAMPLES_NEEDED = 6
_HORIZON_SECONDS = 86_400.0
_MIX = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)  # odd 64-bit constants


@dataclass(frozen=True, slots=True)
class Destination:
    """Where connections go: one set of ephemeral ports each."""

    source: IPAddress
    address: IPAddress
    port: int


@dataclass(frozen=True, slots=True)
class PortUse:
    """Ports in use towards one destination, by the state of the socket that holds them."""

    destination: Destination
    used: int
    states: Mapping[TcpState, int]


@dataclass(frozen=True, slots=True)
class EphemeralPorts:
    """`usable` = range less `reserved` less `bound`; connect() fails when a use reaches it."""

    usable: int
    reserved: int
    bound: int
    busiest: tuple[PortUse, ...]

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
    return EphemeralPorts(
        usable=int(usable.sum()),
        reserved=port_range.high - port_range.low + 1 - int(choosable.sum()),
        bound=int(bound.sum()),
        busiest=_busiest(table, holders),
    )


def reusable(
    table: SocketTable, rows: NDArray[np.intp], reuse: TimeWaitReuse | None
) -> NDArray[np.bool_]:
    """Mask over the rows: TIME_WAIT sockets whose port connect() would take over.

    net/ipv4/tcp_ipv4.c, tcp_twsk_unique(): mode 2 does so on loopback alone, both need
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
    for words in (table.local[rows], table.remote[rows]):
        first_octet = words[:, :1].copy().view(np.uint8).reshape(rows.size, 4)[:, 0]
        last_word = words[:, 3].byteswap()
        v6_loopback = ~words[:, :3].any(axis=1) & (last_word == 1)
        found |= np.where(is_v4, first_octet == 127, v6_loopback)
    return found


def _busiest(table: SocketTable, rows: NDArray[np.intp]) -> tuple[PortUse, ...]:
    """Return the destinations with most sockets among the rows."""
    if not rows.size:
        return ()
    mixed = _mix(table, rows)
    ordered = np.sort(mixed)
    starts = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] ^ np.uint64(1)))
    counts = np.diff(starts, append=ordered.size)
    top = np.argsort(-counts, kind="stable")[:_TRACKED]
    uses = [_use(table, rows[mixed == ordered[starts[run]]]) for run in top.tolist()]
    return tuple(sorted(uses, key=lambda use: -use.used))


def _mix(table: SocketTable, rows: NDArray[np.intp]) -> NDArray[np.uint64]:
    """A 64-bit key of each row's (source, destination, destination port).

    Two destinations of a million share a key with a chance of 1 in 10**7.
    """
    key = table.remote_port[rows].astype(np.uint64)
    words = 4 if (table.family[rows] == 6).any() else 1
    for column in (table.local, table.remote):
        for word in range(words):
            key += column[rows, word]
            key *= np.uint64(_MIX[word % len(_MIX)])
            key ^= key >> np.uint64(29)
    return key


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
    )


@dataclass(frozen=True, slots=True)
class PortForecast:
    """The last minutes of the busiest destinations: (monotonic seconds, ports used) each."""

    samples: Mapping[Destination, tuple[tuple[float, int], ...]] = field(default_factory=dict)

    def seen(self, ports: EphemeralPorts, now: float) -> "PortForecast":
        """Remember one more poll; destinations that are no longer among the busiest are let go."""
        return PortForecast(
            {
                use.destination: (
                    *self.samples.get(use.destination, ())[-_SAMPLES + 1 :],
                    (now, use.used),
                )
                for use in ports.busiest
            }
        )

    def exhaustion_seconds(self, usable: int) -> float:
        """Seconds until a destination has no port left at its present rate; inf if none grows."""
        if usable <= 0:
            return 0.0
        soonest = math.inf
        for samples in self.samples.values():
            used = samples[-1][1]
            if used >= usable:
                return 0.0
            slope = robust_slope(samples) if len(samples) >= _SAMPLES_NEEDED else 0.0
            if slope > 0:
                soonest = min(soonest, (usable - used) / slope)
        return soonest if soonest <= _HORIZON_SECONDS else math.inf


def robust_slope(samples: Sequence[tuple[float, float]]) -> float:
    """Theil-Sen: the median of all slopes between two samples, which one burst cannot turn."""
    times, values = np.array(samples, np.float64).T
    first, second = np.triu_indices(times.size, 1)
    spans = times[second] - times[first]
    rises = (values[second] - values[first])[spans > 0]
    return _median(rises / spans[spans > 0]) if rises.size else 0.0


def _median(values: NDArray[np.float64]) -> float:
    """Return what np.median() does; that would load numpy.ma, 1 MB."""
    middle = (values.size - 1) // 2, values.size // 2
    return float(np.partition(values, middle)[list(middle)].mean())
