"""Listening Unix sockets from poll to poll: how full their accept queues are, and since when."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sockmon.model.listeners import fullness
from sockmon.model.newcomers import KEPT_FOR_SECONDS
from sockmon.model.states import TcpState

#: Characters of a path that are shown; of a longer one the end is replaced by a hash of it all.
LONGEST_PATH = 128
_HASH_CHARACTERS = 16
#: So many paths at most have series.
PATHS_SHOWN = 20
#: So many of those who wait first are remembered.
_REMEMBERED = 64
_PLAIN = range(0x20, 0x7F)  # printable ASCII


#: States of a Unix socket: connected, neither, listening.
UNIX_STATES = (TcpState.ESTABLISHED, TcpState.CLOSE, TcpState.LISTEN)


class UnixSocket(NamedTuple):
    """One Unix socket, in one of UNIX_STATES; name: as UnixListener has it, b"" for most."""

    state: TcpState
    inode: int
    name: bytes


class UnixListener(NamedTuple):
    """One listening socket. name: as the kernel has it; an abstract one begins with a NUL byte.

    length, limit: of its accept queue, in connections; it has room for limit + 1. waiting: inodes
    of the clients in it, the first one first, 0 for one that has given up; () if not known.
    """

    inode: int
    cookie: int
    name: bytes
    length: int
    limit: int
    waiting: tuple[int, ...] = ()

    @property
    def path(self) -> str:
        """Its name for people and labels: an abstract one as @name, odd bytes escaped."""
        return shown_path(self.name)

    @property
    def fullness(self) -> float:
        """How full its queue is, 0 to 1."""
        return fullness(self.length, self.limit)


def shown_path(name: bytes) -> str:
    """Return a socket's name in printable ASCII, at most LONGEST_PATH characters.

    Two names are never shown alike, but by a collision of hashes.
    """
    if name[:1] == b"\0":
        text = "@" + _escaped(name[1:])
    else:
        text = _escaped(name.split(b"\0", 1)[0])
        text = f"./{text}" if text.startswith("@") else text
    if len(text) <= LONGEST_PATH:
        return text
    import hashlib  # noqa: PLC0415 - 3 MB, for names that hardly anybody has

    digest = hashlib.sha256(name).hexdigest()[:_HASH_CHARACTERS]
    return f"{text[: LONGEST_PATH - _HASH_CHARACTERS - 1]}#{digest}"


def _escaped(name: bytes) -> str:
    return "".join(
        chr(byte) if byte in _PLAIN and byte != ord("\\") else f"\\x{byte:02x}" for byte in name
    )


class _Queue(NamedTuple):
    """A queue at the last poll; since: monotonic seconds, no connection was accepted since."""

    length: int
    since: float
    waiting: tuple[int, ...]

    def moved(self, now: UnixListener) -> bool:
        """Whether it is shorter now, or others wait first. Who has given up stays where he was."""
        pairs = zip(self.waiting, now.waiting, strict=False)
        return now.length < self.length or any(new not in (old, 0) for old, new in pairs)


@dataclass(frozen=True, slots=True)
class UnixQueue:
    """The accept queue of a path's fullest listener."""

    path: str
    length: int
    limit: int


@dataclass(frozen=True, slots=True)
class UnixListeners:
    """The listeners of one poll, and what is remembered of those before.

    began: monotonic seconds of the first poll. waited: by path, when a connection waited last.
    """

    listeners: tuple[UnixListener, ...] = ()
    began: float | None = None
    queues: Mapping[int, _Queue] = field(default_factory=dict)
    waited: Mapping[str, float] = field(default_factory=dict)

    def seen(self, listeners: tuple[UnixListener, ...], now: float) -> "UnixListeners":
        """Return the memory after one more poll."""
        queues: dict[int, _Queue] = {}
        waited = {path: at for path, at in self.waited.items() if now - at < KEPT_FOR_SECONDS}
        for its in listeners:
            if its.length:
                before = self.queues.get(its.cookie)
                still = before is not None and not before.moved(its)
                since = before.since if before is not None and still else now
                queues[its.cookie] = _Queue(its.length, since, its.waiting[:_REMEMBERED])
                waited[its.path] = now
        return UnixListeners(listeners, now if self.began is None else self.began, queues, waited)

    def idle(self, listener: UnixListener, now: float) -> float:
        """Return for how long nobody was taken from its queue, as far as that was watched."""
        queue = self.queues.get(listener.cookie)
        return 0.0 if queue is None else now - queue.since

    def shown(self) -> tuple[UnixQueue, ...]:
        """Return the fullest of those at which a connection has waited in the last ten minutes."""
        fullest: dict[str, UnixListener] = {}
        for its in self.listeners:
            path = its.path if self.waited else ""
            before = fullest.get(path)
            if path in self.waited and (before is None or its.fullness > before.fullness):
                fullest[path] = its
        ranked = sorted(fullest.items(), key=lambda item: (-item[1].fullness, item[0]))
        return tuple(UnixQueue(path, its.length, its.limit) for path, its in ranked[:PATHS_SHOWN])
