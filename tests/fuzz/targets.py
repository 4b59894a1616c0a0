"""What is fed to sockmon, and what it may answer: a clean error of its own, or a right result."""

import contextlib
import json
import logging
import random
import re
import socket
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sockmon.alert.manager import AlertManager
from sockmon.alert.records import to_record
from sockmon.alert.settings import Alerting
from sockmon.export.alerts import AlertingStatus
from sockmon.export.metrics import Build, Reload
from sockmon.history.file import HistoryFile
from sockmon.kernel import cgroups, procfs
from sockmon.kernel.errors import DumpError
from sockmon.kernel.family import Family
from sockmon.kernel.netlink import unixdiag, wire
from sockmon.kernel.netlink.replay import replay
from sockmon.kernel.netlink.uapi import Protocol as Transport
from sockmon.kernel.netns import procfs_source
from sockmon.kernel.netns.helper import protocol
from sockmon.kernel.processes import parse_descriptor_limits, parse_started
from sockmon.model.program import LONGEST, program
from sockmon.poll.poller import Poller
from sockmon.settings import Config
from sockmon.state.file import StateError, StateFile, WholeFile
from sockmon.state.store import StateStore
from sockmon.web.app import create_app
from sockmon.web.daemon_status import LatestObservation
from sockmon.web.server import Bounds
from tests import forge
from tests.fuzz import captures
from tests.recorded import MIXED, QUIET
from tests.unit import golden, reference
from tests.unit.alert.making import finding, firing
from tests.unit.polls import at, everything, poll, saw
from tests.unit.test_history_file import past
from tests.unit.test_wire import as_rows
from tests.unit.web.serving import Serving, serving

_BOOT = "f2ab0d41-4d0d-4b3b-9a4c-3a4dd4b1a8a5"
_SEQUENCE = 1


class Target(Protocol):
    """Something that parses bytes from outside."""

    name: str

    def seeds(self) -> Sequence[bytes]:
        """Return good inputs to begin with."""

    def feed(self, data: bytes) -> None:
        """Parse it; whatever is raised is a failure."""

    def close(self) -> None:
        """Release what it holds."""


@dataclass
class Parsing:
    """A target that is one function."""

    name: str
    parse: Callable[[bytes], None]
    make: Callable[[], Sequence[bytes]]

    def seeds(self) -> Sequence[bytes]:
        return self.make()

    def feed(self, data: bytes) -> None:
        self.parse(data)

    def close(self) -> None:
        pass


# --- netlink -------------------------------------------------------------------------------------


def _parts(data: bytes) -> list[bytes]:
    """Split an input of several datagrams, each behind its length (16 bits)."""
    parts = []
    while len(data) > 2:
        length = int.from_bytes(data[:2], "little")
        parts.append(data[2 : 2 + length])
        data = data[2 + length :]
    return parts


def _joined(parts: Sequence[bytes]) -> bytes:
    return b"".join(len(part).to_bytes(2, "little") + part for part in parts)


def _dumps() -> list[bytes]:
    """One datagram of each recorded dump, of a few sockets, with the end."""
    made = []
    for recording in (MIXED, QUIET):
        for file in sorted((recording / "dumps").glob("tcp-*")):
            recorded = file.read_bytes()
            family = b"\x04" if "ipv4" in file.name else b"\x06"
            first = forge.with_sequence(recorded[4 : 4 + int.from_bytes(recorded[:4], "little")], 1)
            made.append(family + _joined([first[:16384], forge.join(forge.done())]))
            for number in (1, 3):
                few = [m.encode() for m in forge.split(first)[:number]]
                made.append(family + _joined([b"".join(few), forge.join(forge.done())]))
    return made


def _netlink(data: bytes) -> None:
    """Decode as the slow reference does, or refuse what it refuses."""
    family = Family.IPV6 if data[:1] == b"\x06" else Family.IPV4
    chunks = [part for part in _parts(data[1:]) if part]
    try:
        expected = reference.decode(family, _SEQUENCE, chunks)
    except reference.RefusedError:
        expected = None
    found = None
    with contextlib.suppress(DumpError):
        found = as_rows(wire.decode(wire.DumpRequest(Transport.TCP, family), _SEQUENCE, chunks))
    assert found == expected


def _unix_seeds() -> list[bytes]:
    made = []
    for show, name in ((b"l", b"/run/x.sock"), (b"a", b"\0abstract"), (b"w", b"")):
        body = bytes([1, 1, 10, 0]) + (7).to_bytes(4, "little") + bytes(8)
        attributes = [(0, name), (4, (3).to_bytes(4, "little") + (4).to_bytes(4, "little"))]
        attributes += [(3, (9).to_bytes(4, "little") * 2), (2, bytes(4))]
        for kind, payload in attributes:
            length = 4 + len(payload)
            body += length.to_bytes(2, "little") + kind.to_bytes(2, "little")
            body += payload + bytes(-length % 4)
        one = forge.Message(body).encode()
        made.append(show + _joined([one, forge.join(forge.done())]))
    return made


def _unix(data: bytes) -> None:
    parse = {b"a": unixdiag.parse_all, b"w": unixdiag.parse_waiting}.get(data[:1], unixdiag.parse)
    with contextlib.suppress(DumpError):
        parse(_SEQUENCE, _parts(data[1:]))


# --- texts of /proc ------------------------------------------------------------------------------

#: By the name in the input's first line; all may raise procfs.MALFORMED.
_TEXTS: dict[str, Callable[[str], Any]] = {
    "sockstat": procfs.parse_sockstat,
    "sockstat-sum": procfs.parse_sockstat_sum,
    "occupied": procfs.parse_occupied,
    "netstat": procfs.parse_events,
    "snmp": procfs.parse_snmp,
    "snmp6": procfs.parse_snmp6,
    "port-pair": procfs.parse_port_pair,
    "port-list": procfs.parse_port_list,
    "tcp_mem": procfs.parse_tcp_memory,
    "nf_conntrack": procfs.parse_conntrack_drops,
    "tcp": lambda text: procfs_source.parse_sockets(text, Family.IPV4),
    "tcp6": lambda text: procfs_source.parse_sockets(text, Family.IPV6),
    "unix": lambda text: procfs.parse_unix(text.encode()),
    "stat": lambda text: parse_started(text.encode()),
    "limits": parse_descriptor_limits,
    "cgroup": lambda text: _plain(cgroups.owning_unit(cgroups.parse_cgroup(text)) or ""),
    "cmdline": lambda text: _plain(program(text.split("\0"), text[:15]), LONGEST + 3),
}

_TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000005 00:00000000 00000000     0        0 4711 1
   1: 0100007F:1F90 0100007F:C350 08 00000001:00000002 02:000003E8 00000003  1000        0 4712 1
"""
_UNIX = """\
Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 4713 /run/x.sock
0000000000000000: 00000003 00000000 00000000 0001 03 4714 @abstract name
"""


def _plain(text: str, longest: int = 1 << 30) -> None:
    assert text.isprintable() or not text
    assert len(text) <= longest


def _proc_seeds() -> list[bytes]:
    net, ipv4 = MIXED / "proc/thread-self/net", MIXED / "proc/sys/net/ipv4"
    texts = {
        "sockstat": (net / "sockstat").read_text(),
        "sockstat-sum": (net / "sockstat").read_text() + (net / "sockstat6").read_text(),
        "occupied": (net / "sockstat").read_text(),
        "netstat": (net / "netstat").read_text(),
        "snmp": (net / "snmp").read_text() + "Udp: InDatagrams RcvbufErrors\nUdp: 4 5\n",
        "snmp6": "Udp6InDatagrams                 \t4\nUdp6RcvbufErrors \t5\n",
        "port-pair": (ipv4 / "ip_local_port_range").read_text(),
        "port-list": "1,5-9,40000-40010\n",
        "tcp_mem": (ipv4 / "tcp_mem").read_text(),
        "nf_conntrack": "entries found drop early_drop insert_failed\n00000001 0a 00 ff 1\n",
        "tcp": _TCP,
        "tcp6": _TCP.replace("0100007F", "0" * 24 + "01000000"),
        "unix": _UNIX,
        "stat": f"4711 (a) b) S {' '.join(map(str, range(50)))}\n",
        "limits": "Limit  Soft Limit  Hard Limit  Units\nMax open files  1024  unlimited  files\n",
        "cgroup": "1:name=systemd:/\n0::/user.slice/user-1000.slice/user@1000.service/a.service\n",
        "cmdline": "/usr/bin/python3\0-W\0error\0-m\0orders.main\0--port=1\0",
    }
    return [f"{name}\n{text}".encode() for name, text in texts.items()]


def _proc(data: bytes) -> None:
    name, _, text = data.partition(b"\n")
    parse = _TEXTS.get(name.decode("latin-1"))
    if parse is not None:
        with contextlib.suppress(*procfs.MALFORMED):
            parse(text.decode("utf-8", "backslashreplace"))


# --- captures, helper ----------------------------------------------------------------------------


def _capture_seeds() -> list[bytes]:
    return [captures.whole(random.Random(seed)) for seed in range(24)]


def _capture(data: bytes) -> None:
    captures.read(data, random.Random(len(data)))


def _helper_seeds() -> list[bytes]:
    limits, _ = procfs.read_limits(MIXED / "proc")
    place = ["/proc/7/ns/net", 4026531840, 7, 12, "blue", True]
    bodies = [
        {"places": [place, ["/run/netns/x", 1, None, None, None, None]], "more": False},
        protocol.limits_body(limits, []),
        {"cgroup": "/system.slice/x.service"},
        {"error": ["open", "EPERM", "no", ""]},
    ]
    requests = [protocol.Request(ask, 3).encode() for ask in protocol.Ask]
    return [*(protocol.encode_answer(3, 0.1, body) for body in bodies), *requests]


def _helper(data: bytes) -> None:
    """Parse it as a request, and as an answer of every kind."""
    with contextlib.suppress(protocol.MessageError):
        protocol.parse_request(data)
    with contextlib.suppress(protocol.MessageError):
        body = protocol.parse_answer(data, 3).body
        for parse in (protocol.parse_page, protocol.parse_limits, protocol.parse_cgroup):
            with contextlib.suppress(protocol.MessageError):
                parse(body)


# --- state files ---------------------------------------------------------------------------------


class StateFiles:
    """A state and a history: their bytes, and bodies whose digest is right."""

    name = "state"

    def __init__(self) -> None:
        self._held = tempfile.TemporaryDirectory()
        directory = Path(self._held.name)
        self._state = StateFile(directory / "state", _BOOT)
        self._history = HistoryFile(directory / "history", _BOOT)
        self._body = WholeFile(self._state.path, "state", 1, _BOOT)

    def seeds(self) -> Sequence[bytes]:
        poller = Poller(replay(MIXED), Config())
        poller.poll(golden.clock())
        alerts = [to_record(alert) for alert in firing(finding()).values()]
        sections = {"alerts": {"alerts": alerts, "reported": {"x": alerts}}}
        sections["ages"] = poller.remember()()  # type: ignore[assignment]
        poller.close()
        body = json.dumps({"at": 1.0, "sections": sections}).encode()
        self._history.write(past(polls=4))
        self._body.write(body)
        history = self._history.path.read_bytes()
        return [b"s" + self._state.path.read_bytes(), b"h" + history, b"b" + body]

    def feed(self, data: bytes) -> None:
        kind, rest = data[:1], data[1:]
        if kind == b"h":
            self._history.path.write_bytes(rest)
            with contextlib.suppress(StateError):
                self._history.read(at(0.0))
            return
        if kind == b"b":
            self._body.write(rest)
        else:
            self._state.path.write_bytes(rest)
        store = StateStore(self._state, 1e9)
        try:
            manager = AlertManager(Alerting(), {}, store)
            manager.close()
            if store.take("ages") is None:
                return
            poller = Poller(replay(MIXED), Config())
            try:
                poller.recall(store.take("ages") or {})
                poller.poll(golden.clock())
            finally:
                poller.close()
        finally:
            store.close(5.0)

    def close(self) -> None:
        self._held.cleanup()


# --- HTTP ----------------------------------------------------------------------------------------

_STATUS = re.compile(rb"^HTTP/1\.[01] (\d{3}) ", re.MULTILINE)
_PATHS = (
    "/", "/metrics", "/-/healthy", "/-/ready", "/api/v1/observation?netns=host", "/api/v1/alerts",
    "/api/v1/history?netns=pod&range=day&groups=3", "/assets/none.js", "/api/v1/events?netns=pod",
)  # fmt: skip


@dataclass
class Http:
    """The server with the whole application: no 5xx, and not a line in the log.

    patience: seconds that an answer is waited for, since streams do not end.
    """

    patience: float = 0.2
    name: str = "http"
    _stack: ExitStack = field(default_factory=ExitStack)
    _server: Serving | None = None
    _records: list[logging.LogRecord] = field(default_factory=list)

    def seeds(self) -> Sequence[bytes]:
        heads = (
            "Host: localhost\r\nAccept: application/openmetrics-text\r\nAccept-Encoding: gzip\r\n"
        )
        plain = [f"GET {path} HTTP/1.1\r\n{heads}\r\n".encode() for path in _PATHS]
        chunked = (
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        )
        sized = b"PUT /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcdef"
        odd = b"GET / HTTP/1.0\r\nX-Forwarded-For: 1\r\nAuthorization: Basic eDp5\r\n\r\n"
        upgrade = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
        return [*plain, plain[1] + plain[2] + plain[3], chunked, sized, odd, upgrade]

    def feed(self, data: bytes) -> None:
        server = self._started()
        del self._records[:]
        received = b""
        with server.connect() as client, contextlib.suppress(OSError):
            client.settimeout(self.patience)
            head = data.find(b"\r\n\r\n") + 4  # the rest comes after the first answer, if at all
            client.sendall(data[:head])
            if data[head:]:
                with contextlib.suppress(TimeoutError):
                    received += client.recv(1 << 16)
                client.sendall(data[head:])
            client.shutdown(socket.SHUT_WR)
            while part := client.recv(1 << 16):
                received += part
        statuses = [int(status) for status in _STATUS.findall(received)]
        assert not [status for status in statuses if status >= 500], statuses
        assert not self._records, [record.getMessage() for record in self._records]

    def close(self) -> None:
        self._stack.close()

    def _started(self) -> Serving:
        if self._server is None:
            moment = at(0.0)
            latest = LatestObservation(
                lambda: moment.monotonic,
                Build("1", "3"),
                Reload(successful=True, succeeded_at=0.0),
                0.0,
                5.0,
                observation=poll(moment, everything(moment, [finding()]), saw(moment, name="pod")),
                alerting=AlertingStatus(tuple(firing(finding()).values())),
                past=past,
            )
            bounds = Bounds(request_seconds=2.0, response_seconds=2.0)
            handler = logging.Handler()
            handler.emit = self._records.append  # type: ignore[assignment,method-assign]
            logging.getLogger().addHandler(handler)
            self._stack.callback(logging.getLogger().removeHandler, handler)
            self._server = self._stack.enter_context(serving(create_app(latest), bounds))
        return self._server


#: What makes each of them.
TARGETS: Mapping[str, Callable[[], Target]] = {
    "netlink": lambda: Parsing("netlink", _netlink, _dumps),
    "unix": lambda: Parsing("unix", _unix, _unix_seeds),
    "proc": lambda: Parsing("proc", _proc, _proc_seeds),
    "captures": lambda: Parsing("captures", _capture, _capture_seeds),
    "helper": lambda: Parsing("helper", _helper, _helper_seeds),
    "state": StateFiles,
    "http": Http,
}
