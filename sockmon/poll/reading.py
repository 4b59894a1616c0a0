"""Reads one network namespace: its settings, counters and sockets, and what the kernel refused."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from sockmon.kernel.errors import FallbackError, HiddenSettingsError, KernelError
from sockmon.kernel.family import Family
from sockmon.kernel.interfaces import Source
from sockmon.model.ages import NOTHING_HEARD, LastHeard
from sockmon.model.limits import KernelLimits
from sockmon.model.moment import Moment, Timed
from sockmon.model.poll_statistics import Failure
from sockmon.model.queues import worth_asking
from sockmon.model.states import STATE_SLOTS, TcpState
from sockmon.model.table import SocketTable
from sockmon.model.unix_listeners import UnixListener
from sockmon.poll.diagnosis import PORTS_ASKED
from sockmon.poll.failures import failure, optional_failure

T = TypeVar("T")
Clock = Callable[[], Moment]

#: A changed sysctl is seen within this time.
_SETTINGS_BELIEVED_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What one poll has read, until `at`. tcp, heard, udp: None where that failed.

    families: that the kernel has. udp_has_drops: udp is not from /proc/net/udp, which was read in
    place of sock_diag.
    """

    at: Moment
    families: tuple[Family, ...]
    limits: KernelLimits
    tcp: SocketTable | None
    heard: LastHeard | None
    udp: SocketTable | None
    udp_has_drops: bool
    unix: tuple[UnixListener, ...]
    failures: tuple[Failure, ...]


class NamespaceReader:
    """Reads one namespace; settings are kept for a while."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._settings: Timed[KernelLimits] | None = None
        self._is_first = True
        self._failures: list[Failure] = []  # of the reading that is under way

    def read(
        self,
        now: Moment,
        clock: Clock,
        ports: Sequence[tuple[bool, int]],
        *,
        empty: bool,
        part: bool,
    ) -> Reading:
        """Read all that a poll needs; raises KernelError when nothing can be read.

        ports: whose sockets tcp_info is asked about: (whether it is the local port, port).
        empty: it is known to have no sockets, so there is nothing to dump.
        part: of the TCP sockets, only those that are not at rest.
        """
        source = self._source
        self._failures = []
        families = source.families()
        limits = self._limits(now)
        dumped = () if empty else families
        tcp, heard = self._tcp(dumped, ports, part=part)
        udp = self._attempt(lambda: source.udp(dumped))
        unix = () if empty else source.unix_listeners()
        optional = source.take_errors()
        self._failures += (optional_failure(source.name, error) for error in optional)
        has_drops = not any(isinstance(error, FallbackError) for error in optional)
        failures = tuple(self._failures)
        return Reading(clock(), families, limits, tcp, heard, udp, has_drops, unix, failures)

    def _attempt(self, read: Callable[[], T]) -> T | None:
        """Return what was read; None, and a failure is noted, if it could not be."""
        try:
            return read()
        except KernelError as error:
            self._failures.append(failure(self._source.name, error))
            return None

    def _limits(self, now: Moment) -> KernelLimits:
        """Read levels and counters; settings too if they are old, or after a failure."""
        known = self._settings
        if known is not None and now.monotonic - known.at.monotonic < _SETTINGS_BELIEVED_SECONDS:
            limits, errors = self._source.limits(known.value)
        else:
            limits, errors = self._source.limits()
            failing = any(not isinstance(error, HiddenSettingsError) for error in errors)
            self._settings = None if failing else Timed(limits, now)
        self._failures += (failure(self._source.name, error) for error in errors)
        return limits

    def _tcp(
        self, families: tuple[Family, ...], ports: Sequence[tuple[bool, int]], *, part: bool
    ) -> tuple[SocketTable | None, LastHeard | None]:
        """Read the table, whole or in part, and when sockets last heard, each if it succeeds."""
        source = self._source
        if part:
            return self._attempt(lambda: source.passing(families)) or (None, None)
        table = self._attempt(lambda: source.tcp(families))
        if table is None:
            return None, None
        return table, self._attempt(lambda: self._last_heard(table, families, ports))

    def _last_heard(
        self, table: SocketTable, families: tuple[Family, ...], ports: Sequence[tuple[bool, int]]
    ) -> LastHeard:
        """Dump only if there are such sockets: each dump walks the whole table."""
        counted = np.bincount(table.state, minlength=STATE_SLOTS)
        heard = NOTHING_HEARD
        if counted[TcpState.CLOSE_WAIT] or counted[TcpState.FIN_WAIT2]:
            heard = self._source.last_heard(families)
        if self._is_first:
            self._is_first = False
            ports = worth_asking(table, PORTS_ASKED)
        if ports:
            with contextlib.suppress(KernelError):  # a minute later history shows it
                heard = heard.joined(self._source.last_heard_by_port(families, ports))
        return heard
