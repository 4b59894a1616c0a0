"""Addresses, names and PIDs -> others, each always to the same one within a recording. Pure.

Loopback stays loopback, and both ends of a connection on one host stay on that host. Ports, states,
queues, timers, inodes and cookies stay as they are.
"""

import hashlib
import ipaddress
import re
import struct
from dataclasses import dataclass, field

from sockmon.kernel.netlink import uapi

_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
#: Where struct inet_diag_msg has both addresses, and the user.
_ADDRESSES, _UID = (8, 24), 64
_UNIX_HEAD, _UNIX_NAME = 16, 0
_MAPPED = bytes(10) + b"\xff\xff"
_CONTAINER = re.compile(r"[0-9a-f]{64}")
_SUFFIX = re.compile(r"\.(?:service|scope|slice|socket)$")
#: Parts of a cgroup's path that name nobody's programs.
_GENERAL = re.compile(
    r"|[0-9a-f]{64}|(?:system|user|machine|init|background|app|session)\.(?:slice|scope)"
    r"|user-\d+\.slice|user@\d+\.service|session-\d+\.scope|kubepods[-.\w]*|docker"
    r"|(?:docker|libpod|cri-containerd|crio)-[0-9a-f]{64}\.scope"
)


@dataclass(frozen=True, slots=True)
class Anonymous:
    """What has been replaced so far; salt: random bytes, so that no name can be tried."""

    salt: bytes
    _names: dict[str, dict[str, str]] = field(default_factory=dict)  # by kind
    _addresses: dict[bytes, bytes] = field(default_factory=dict)
    _pids: dict[int, int] = field(default_factory=dict)

    def pid(self, pid: int) -> int:
        """Replace a PID; 1 stays init."""
        return 1 if pid == 1 else self._pids.setdefault(pid, 1001 + len(self._pids))

    def name(self, name: str, kind: str) -> str:
        """Replace a name by its kind and a number."""
        its = self._names.setdefault(kind, {})
        return its.setdefault(name, f"{kind}-{1 + len(its)}")

    def cgroup(self, path: str) -> str:
        """Replace the names of units and containers in a cgroup's path."""
        hidden = _CONTAINER.sub(self._container, path)
        return "/".join(map(self._part, hidden.split("/")))

    def _container(self, found: re.Match[str]) -> str:
        return hashlib.sha256(self.salt + found[0].encode()).hexdigest()

    def _part(self, part: str) -> str:
        if _GENERAL.fullmatch(part):
            return part
        suffix = _SUFFIX.search(part)
        return self.name(part, "unit") + (suffix[0] if suffix else "")

    def address(self, address: bytes) -> bytes:
        """Replace an IPv4 or IPv6 address of 4 or 16 bytes."""
        if address[:12] == _MAPPED:
            return _MAPPED + self.address(address[12:])
        ip = ipaddress.ip_address(address)
        if ip.is_loopback or ip.is_unspecified:
            return address
        if address not in self._addresses:
            number = 1 + len(self._addresses)
            if ip.version == 4:
                replaced = ipaddress.ip_address("10.0.0.0") + number
            else:
                replaced = ipaddress.ip_address("fe80::" if ip.is_link_local else "fd00::") + number
            self._addresses[address] = replaced.packed
        return self._addresses[address]

    def datagram(self, datagram: bytes) -> bytes:
        """Replace what a netlink datagram of sock_diag has; what is malformed stays."""
        answer, at = bytearray(datagram), 0
        while at + uapi.NLMSG_HEADER_BYTES <= len(answer):
            length, kind = struct.unpack_from("=IH", answer, at)
            body, end = at + uapi.NLMSG_HEADER_BYTES, at + length
            if length < uapi.NLMSG_HEADER_BYTES or end > len(answer):
                break
            if kind == uapi.SOCK_DIAG_BY_FAMILY and end > body:
                self._message(answer, body, end)
            at = end + 3 & ~3
        return bytes(answer)

    def _message(self, answer: bytearray, body: int, end: int) -> None:
        family = answer[body]
        if family == _AF_UNIX:
            self._unix(answer, body + _UNIX_HEAD, end)
        elif family in (_AF_INET, _AF_INET6) and end - body >= uapi.INET_DIAG_MSG_BYTES:
            size = 4 if family == _AF_INET else 16
            for at in _ADDRESSES:
                place = slice(body + at, body + at + size)
                answer[place] = self.address(bytes(answer[place]))
            answer[body + _UID : body + _UID + 4] = bytes(4)

    def _unix(self, answer: bytearray, at: int, end: int) -> None:
        while at + 4 <= end:
            size, kind = struct.unpack_from("=HH", answer, at)
            if not 4 <= size <= end - at:
                return
            if kind == _UNIX_NAME:
                place = slice(at + 4, at + size)
                answer[place] = self._path(bytes(answer[place]))
            at += size + 3 & ~3

    def _path(self, name: bytes) -> bytes:
        """Replace a socket's name by one as long: the kernel's messages keep their layout."""
        first = name[:1] if name[:1] in (b"/", b"\0") else b""
        last = b"\0" if name[1:].endswith(b"\0") else b""
        room = len(name) - len(first) - len(last)
        number = self.name(name.decode("utf-8", "backslashreplace"), "socket").rpartition("-")[2]
        words = f"socket-{number}" if room >= len(number) + 7 else number
        return first + words.rjust(room, "-").encode()[-room:] + last if room else name
