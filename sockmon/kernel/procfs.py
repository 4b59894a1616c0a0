"""KernelLimits and counters from /proc: each read_x(proc) beside the pure parse_x(text) it uses.

`proc` is /proc, or a recording of it. Files under net/ are those of the network namespace which
the calling thread is in, or, where a `task` can be given, which that process is in. Those under
sys/net are always the calling thread's.
"""

import os
import re
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeVar

from sockmon.kernel.errors import HiddenSettingsError, ProcError
from sockmon.model.limits import (
    CONNTRACK_DROPS,
    TCP_EVENTS,
    TCP_TRAFFIC,
    UDP_COUNTERS,
    KernelLimits,
    PortRange,
    Sockstat,
    TcpMemoryLimits,
    TcpSettings,
    TimeWaitReuse,
)
from sockmon.model.states import TcpState
from sockmon.model.unix_listeners import UnixSocket

T = TypeVar("T")

#: Everything below /proc that read_limits(), has_ipv6() and has_mptcp() look at, if it is there.
FILES = (
    "thread-self/net/sockstat",
    "thread-self/net/sockstat6",
    "thread-self/net/netstat",
    "thread-self/net/snmp",
    "thread-self/net/snmp6",
    "thread-self/net/stat/nf_conntrack",
    "sys/net/ipv4/ip_local_port_range",
    "sys/net/ipv4/ip_local_reserved_ports",
    "sys/net/ipv4/tcp_tw_reuse",
    "sys/net/ipv4/tcp_tw_reuse_delay",
    "sys/net/ipv4/tcp_timestamps",
    "sys/net/ipv4/tcp_mem",
    "sys/net/ipv4/tcp_max_tw_buckets",
    "sys/net/ipv4/tcp_max_orphans",
    "sys/net/ipv4/tcp_fin_timeout",
    "sys/net/ipv4/tcp_syn_retries",
    "sys/net/ipv4/tcp_syn_linear_timeouts",
    "sys/net/ipv4/tcp_synack_retries",
    "sys/net/ipv4/tcp_max_syn_backlog",
    "sys/net/ipv4/tcp_syncookies",
    "sys/net/core/somaxconn",
    "sys/net/mptcp/enabled",
    "sys/net/netfilter/nf_conntrack_count",
    "sys/net/netfilter/nf_conntrack_max",
)

#: What parsers raise for a text that no kernel writes.
MALFORMED = (ValueError, KeyError, IndexError, OverflowError)

_OWN = "thread-self"
_IPV4 = "sys/net/ipv4"
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_FILE_LIMIT = 1 << 20


def read_sockstat(proc: Path, task: str = _OWN) -> Sockstat:
    """Read /proc/net/sockstat; raises ProcError."""
    return _read(proc / task / "net/sockstat", parse_sockstat)


def read_occupied(proc: Path, task: str = _OWN) -> bool:
    """Whether the namespace has TCP or UDP sockets, by sockstat and sockstat6; raises ProcError."""
    if _read(proc / task / "net/sockstat", parse_occupied):
        return True
    return bool(_read_if_present(proc / task / "net/sockstat6", parse_occupied))


def parse_occupied(text: str) -> bool:
    """Parse lines such as `TCP: inuse 4 orphan 0 tw 2 alloc 6 mem 1` and `UDP6: inuse 3`.

    `inuse` and `tw` are the namespace's own. A socket that is bound, and no more, is in neither.
    """
    for line in text.splitlines():
        name, *words = line.split()
        if name in {"TCP:", "UDP:", "TCP6:", "UDP6:"}:
            fields = dict(zip(words[::2], words[1::2], strict=True))
            if int(fields["inuse"]) or int(fields.get("tw", 0)):
                return True
    return False


def parse_sockstat(text: str) -> Sockstat:
    """Parse the line `TCP: inuse 4 orphan 0 tw 2 alloc 6 mem 1` (mem in pages)."""
    for line in text.splitlines():
        if line.startswith("TCP: "):
            words = line.split()[1:]
            fields = dict(zip(words[::2], map(int, words[1::2]), strict=True))
            return Sockstat(
                in_use=fields["inuse"],
                time_wait=fields["tw"],
                orphans=fields["orphan"],
                memory_bytes=fields["mem"] * _PAGE_BYTES,
            )
    raise ValueError("no line 'TCP:'")


def parse_sockstat_sum(text: str) -> tuple[int, int]:
    """Parse sockstat and sockstat6, one after the other: TCP sockets allocated, and in use.

    `alloc` counts those of the whole host and of both families; `inuse` is the namespace's own,
    of IPv4 in the line `TCP:`, of IPv6 in `TCP6:`. Raises ValueError.
    """
    alloc = in_use = 0
    for line in text.splitlines():
        name, *words = line.split()
        if name in {"TCP:", "TCP6:"}:
            fields = dict(zip(words[::2], map(int, words[1::2]), strict=True))
            alloc += fields.get("alloc", 0)
            in_use += fields.get("inuse", 0)
    return alloc, in_use


def read_events(proc: Path, task: str = _OWN) -> dict[str, int]:
    """Read the counters of TCP_EVENTS that this kernel has; raises ProcError."""
    return _read(proc / task / "net/netstat", parse_events)


def parse_events(text: str) -> dict[str, int]:
    """Parse /proc/net/netstat."""
    return _parse_section(text, "TcpExt: ", TCP_EVENTS)


class Snmp(NamedTuple):
    """Counters of TCP_TRAFFIC, and of UDP_COUNTERS for both families; None where there are none."""

    traffic: dict[str, int] | None
    datagrams: dict[str, int] | None


def read_snmp(proc: Path, task: str = _OWN) -> Snmp:
    """Read net/snmp and net/snmp6, as far as there are such files; raises ProcError."""
    found = _read_if_present(proc / task / "net/snmp", parse_snmp) or Snmp(None, None)
    if found.datagrams is None:
        return found
    more = _read_if_present(proc / task / "net/snmp6", parse_snmp6) or {}
    both = {name: count + more.get(name, 0) for name, count in found.datagrams.items()}
    return found._replace(datagrams=both)


def parse_snmp(text: str) -> Snmp:
    """Parse /proc/net/snmp."""
    datagrams = _parse_section(text, "Udp: ", UDP_COUNTERS) if "\nUdp: " in text else None
    return Snmp(_parse_section(text, "Tcp: ", TCP_TRAFFIC), datagrams)


def parse_snmp6(text: str) -> dict[str, int]:
    """Parse UDP_COUNTERS of /proc/net/snmp6: lines of a name and a number."""
    rows = (line.split() for line in text.splitlines())
    values = {name: int(number) for name, number in rows}
    return {name: values[f"Udp6{name}"] for name in UDP_COUNTERS if f"Udp6{name}" in values}


def _parse_section(text: str, section: str, wanted: Collection[str]) -> dict[str, int]:
    """Parse pairs of lines, names above numbers. By name: columns move."""
    lines = text.splitlines()
    for names, numbers in zip(lines[::2], lines[1::2], strict=True):
        if names.startswith(section) and numbers.startswith(section):
            values = dict(zip(names.split()[1:], numbers.split()[1:], strict=True))
            return {name: int(values[name]) for name in wanted if name in values}
    raise ValueError(f"no lines '{section.strip()}'")


def read_port_range(proc: Path) -> PortRange:
    """Read ip_local_port_range and ip_local_reserved_ports; raises ProcError."""
    low, high = _read(proc / _IPV4 / "ip_local_port_range", parse_port_pair)
    reserved = _read(proc / _IPV4 / "ip_local_reserved_ports", parse_port_list)
    return PortRange(low, high, reserved)


def read_port_range_if_shown(proc: Path) -> PortRange | None:
    """Read as read_port_range() does, None where this /proc shows no settings; raises ProcError."""
    return read_port_range(proc) if _is_present(proc / _IPV4) else None


def parse_port_pair(text: str) -> tuple[int, int]:
    """Parse `32768 60999`."""
    low, high = map(int, text.split())
    if not 0 <= low <= high <= 65535:
        raise ValueError(f"not a range of ports: {low} {high}")
    return low, high


def parse_port_list(text: str) -> tuple[tuple[int, int], ...]:
    """Parse `8080,9000-9010`, or nothing, into (first, last) pairs."""
    pairs = []
    for item in filter(None, text.strip().split(",")):
        first, _, last = item.partition("-")
        pair = int(first), int(last or first)
        if not 0 <= pair[0] <= pair[1] <= 65535:
            raise ValueError(f"not a range of ports: {item}")
        pairs.append(pair)
    return tuple(pairs)


def read_time_wait_reuse(proc: Path) -> TimeWaitReuse:
    """Read tcp_tw_reuse and what it depends on; raises ProcError."""
    delay = _read_if_present(proc / _IPV4 / "tcp_tw_reuse_delay", int)
    return TimeWaitReuse(
        mode=_read(proc / _IPV4 / "tcp_tw_reuse", int),
        delay_ms=1000 if delay is None else delay,
        timestamps=_read(proc / _IPV4 / "tcp_timestamps", int) != 0,
    )


def read_tcp_settings(proc: Path) -> TcpSettings:
    """Read the settings that decide how long states last; raises ProcError."""
    return TcpSettings(
        fin_timeout=_read(proc / _IPV4 / "tcp_fin_timeout", int),
        syn_retries=_read(proc / _IPV4 / "tcp_syn_retries", int),
        syn_linear_timeouts=_read_if_present(proc / _IPV4 / "tcp_syn_linear_timeouts", int) or 0,
        synack_retries=_read(proc / _IPV4 / "tcp_synack_retries", int),
        max_syn_backlog=_read(proc / _IPV4 / "tcp_max_syn_backlog", int),
        somaxconn=_read_if_present(proc / "sys/net/core/somaxconn", int),
        syncookies=_read_if_present(proc / _IPV4 / "tcp_syncookies", int) or 0,
    )


def read_tcp_memory(proc: Path) -> TcpMemoryLimits | None:
    """Read tcp_mem, None in a child namespace, where there is none; raises ProcError."""
    return _read_if_present(proc / _IPV4 / "tcp_mem", parse_tcp_memory)


def parse_tcp_memory(text: str) -> TcpMemoryLimits:
    """Parse three counts of pages."""
    low, pressure, high = (int(word) * _PAGE_BYTES for word in text.split())
    return TcpMemoryLimits(low, pressure, high)


def read_time_wait_limit(proc: Path) -> int:
    """Read tcp_max_tw_buckets, which each namespace has; raises ProcError."""
    return _read(proc / _IPV4 / "tcp_max_tw_buckets", int)


def read_orphan_limit(proc: Path) -> int | None:
    """Read tcp_max_orphans, None in a child namespace; raises ProcError."""
    return _read_if_present(proc / _IPV4 / "tcp_max_orphans", int)


def read_conntrack_entries(proc: Path) -> int | None:
    """Read nf_conntrack_count, None where conntrack is not loaded; raises ProcError."""
    return _read_if_present(proc / "sys/net/netfilter/nf_conntrack_count", int)


def read_conntrack_limit(proc: Path) -> int | None:
    """Read nf_conntrack_max, None where conntrack is not loaded; raises ProcError."""
    return _read_if_present(proc / "sys/net/netfilter/nf_conntrack_max", int)


def read_conntrack_drops(proc: Path) -> dict[str, int] | None:
    """Read the counters of CONNTRACK_DROPS, None where conntrack is not loaded; raises ProcError.

    The file needs CONFIG_NF_CONNTRACK_PROCFS, which some kernels do without.
    """
    return _read_if_present(proc / _OWN / "net/stat/nf_conntrack", parse_conntrack_drops)


def parse_conntrack_drops(text: str) -> dict[str, int]:
    """Parse a line of names and one of hexadecimal numbers a processor; return the sums.

    net/netfilter/nf_conntrack_standalone.c, ct_cpu_seq_show(). By name: columns have changed.
    """
    names, *processors = (line.split() for line in text.splitlines())
    if any(len(row) != len(names) for row in processors):
        raise ValueError("not as many numbers as names")
    places = {name: names.index(name) for name in CONNTRACK_DROPS if name in names}
    return {name: sum(int(row[at], 16) for row in processors) for name, at in places.items()}


def read_unix(proc: Path, task: str = _OWN) -> tuple[UnixSocket, ...]:
    """Read all Unix sockets from /proc/net/unix; raises ProcError.

    Names are bytes of any kind, but for a line break the kernel escapes none of them.
    """
    operation = "read of /proc/net/unix"
    try:
        return parse_unix((proc / task / "net/unix").read_bytes())
    except OSError as error:
        raise ProcError.from_errno(operation, error.errno or 0) from error
    except MALFORMED as error:
        raise ProcError(operation, "malformed", f"malformed: {error}") from error


def parse_unix(text: bytes) -> tuple[UnixSocket, ...]:
    """Parse lines `Num: RefCount Protocol Flags Type St Inode Path`, numbers in hexadecimal.

    net/unix/af_unix.c, unix_seq_show(). An abstract name begins with @ here; a name may have line
    breaks, and what follows one is no socket.
    """
    lines = [*_UNIX.finditer(text)]
    if not text.endswith(b"\n") or (not lines and text.count(b"\n") > 1):
        raise ValueError("not the lines of sockets")
    return tuple(
        UnixSocket(
            _unix_state(int(line["flags"], 16), int(line["state"], 16)),
            int(line["inode"]),
            re.sub(rb"^@", b"\0", line["name"] or b""),
        )
        for line in lines
    )


_UNIX = re.compile(
    rb"^[0-9a-f]+: [0-9A-F]+ [0-9A-F]+ (?P<flags>[0-9A-F]+) [0-9A-F]+ (?P<state>[0-9A-F]+) +"
    rb"(?P<inode>\d+)(?: (?P<name>.*))?$",
    re.MULTILINE,
)
_ACCEPTS = 0x10000  # include/linux/net.h, __SO_ACCEPTCON
_SS_CONNECTING, _SS_CONNECTED = 2, 3  # include/uapi/linux/net.h


def _unix_state(flags: int, state: int) -> TcpState:
    if flags & _ACCEPTS:
        return TcpState.LISTEN
    return TcpState.ESTABLISHED if state in {_SS_CONNECTING, _SS_CONNECTED} else TcpState.CLOSE


def has_ipv6(proc: Path) -> bool:
    """Whether this kernel has IPv6: ipv6.disable=1 removes both files, and gVisor has only one.

    Where /proc is not mounted it may have IPv6, so the kernel is asked.
    """
    net = proc / _OWN / "net"
    return any(map(_is_present, (net / "sockstat6", net / "tcp6"))) or not _is_present(net)


def has_mptcp(proc: Path) -> bool:
    """Whether this kernel has MPTCP, whatever its sysctl net.mptcp.enabled says."""
    return _is_present(proc / "sys/net/mptcp/enabled")


def _is_present(path: Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError:
        return True  # hidden is not absent: the dump will show
    return True


def read_limits(
    proc: Path, known: KernelLimits | None = None
) -> tuple[KernelLimits, list[ProcError]]:
    """Read all of KernelLimits. What cannot be read is None, and its error is in the list.

    known: limits whose settings are still believed, so that only levels and counters are read;
    each file costs tens of microseconds, and there are many settings.
    """
    errors: list[ProcError] = []

    def attempt(read: Callable[[Path], T]) -> T | None:
        try:
            return read(proc)
        except ProcError as error:
            if error.reason != "ENOENT" or known is None or not known.settings_hidden:
                errors.append(error)
            return None

    if known is None and not _is_present(proc / _IPV4):
        errors.append(HiddenSettingsError.of(f"read of /proc/{_IPV4}"))
        known = KernelLimits(settings_hidden=True)
    elif known is None:
        known = KernelLimits(
            time_wait_limit=attempt(read_time_wait_limit),
            orphan_limit=attempt(read_orphan_limit),
            tcp_memory=attempt(read_tcp_memory),
            conntrack_limit=attempt(read_conntrack_limit),
            port_range=attempt(read_port_range),
            time_wait_reuse=attempt(read_time_wait_reuse),
            settings=attempt(read_tcp_settings),
        )
    snmp = attempt(read_snmp)
    limits = replace(
        known,
        sockstat=attempt(read_sockstat),
        conntrack_entries=attempt(read_conntrack_entries),
        conntrack_drops=attempt(read_conntrack_drops),
        events=attempt(read_events),
        traffic=snmp and snmp.traffic,
        datagrams=snmp and snmp.datagrams,
    )
    return limits, errors


def _read_if_present(path: Path, parse: Callable[[str], T]) -> T | None:
    try:
        return _read(path, parse)
    except ProcError as error:
        if error.reason == "ENOENT":
            return None
        raise


def _read(path: Path, parse: Callable[[str], T]) -> T:
    """Read and parse one file. The operation it is known by does not depend on where /proc is."""
    operation = f"read of /proc/{str(path).rpartition('/proc/')[2]}"
    try:
        with path.open("rb", buffering=0) as file:
            data = file.read(_FILE_LIMIT) or b""
    except OSError as error:
        raise ProcError.from_errno(operation, error.errno or 0) from error
    try:
        return parse(data.decode("ascii"))
    except MALFORMED as error:
        raise ProcError(operation, "malformed", f"malformed: {error}") from error
