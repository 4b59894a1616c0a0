"""Whether a name and a password are a user's: by bcrypt, which is slow on purpose.

Hence a thread for it, a queue in which clients take turns, and a memory of what was right. How long
an answer takes does not reveal which names exist.
"""

import asyncio
import base64
import binascii
import contextlib
import hashlib
import hmac
import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

#: Passwords waiting to be checked: in total, and of one client.
WAITING, WAITING_OF_ONE = 64, 4
#: Passwords known to be right.
_REMEMBERED = 100
_BCRYPT_BYTES = 72  # bcrypt's own limit: it ignores the rest


class BusyError(Exception):
    """Too many passwords wait to be checked; `client`: too many of this client."""

    def __init__(self, *, client: bool) -> None:
        self.client = client
        super().__init__("too many passwords wait to be checked")


@dataclass(frozen=True, slots=True)
class _Job:
    password: bytes
    hashed: bytes
    answer: asyncio.Future[bool]


class _Turns:
    """Jobs by client, of which each client in turn gets one done."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, deque[_Job]] = {}
        self._count = 0
        self._has_worker = False

    def add(self, client: str, job: _Job) -> bool:
        """Add a job; return whether a worker must be started.

        Where too many wait in total, the newest job of the client that has most makes room. Raises
        BusyError if no other client has more than one more. For the event loop.
        """
        with self._lock:
            own = len(self._jobs.get(client, ()))
            if own >= WAITING_OF_ONE:
                raise BusyError(client=True)
            if self._count >= WAITING:
                most = max(self._jobs.values(), key=len)
                if len(most) <= own + 1:
                    raise BusyError(client=False)
                most.pop().answer.set_exception(BusyError(client=True))
                self._count -= 1
            self._jobs.setdefault(client, deque()).append(job)
            self._count += 1
            needs_worker, self._has_worker = not self._has_worker, True
            return needs_worker

    def take(self) -> _Job | None:
        """Take the next client's oldest job; None: there is none, and the worker must end."""
        with self._lock:
            if not self._jobs:
                self._has_worker = False
                return None
            client = next(iter(self._jobs))
            jobs = self._jobs.pop(client)
            job = jobs.popleft()
            if jobs:
                self._jobs[client] = jobs  # behind all others
            self._count -= 1
            return job


def _matches(password: bytes, hashed: bytes) -> bool:
    import bcrypt  # noqa: PLC0415 - a daemon without passwords never loads it

    return bcrypt.checkpw(password, hashed)


class Passwords:
    """Checks passwords; `matches(password, hash)` is bcrypt.checkpw()."""

    def __init__(self, matches: Callable[[bytes, bytes], bool] = _matches) -> None:
        self._matches = matches
        self._secret = secrets.token_bytes(32)
        self._right: dict[bytes, None] = {}
        self._checking: dict[bytes, asyncio.Future[bool]] = {}
        self._turns = _Turns()

    async def are_right(
        self, users: Mapping[str, str], credentials: tuple[bytes, bytes], client: str
    ) -> bool:
        """Return whether a user of this name has this password; raises BusyError.

        `users` has bcrypt hashes; `client` is whose turns in the queue are used.
        """
        name, password = credentials
        # A name that no user has is checked against some user's hash, always the same one, so that
        # it takes as long as a name that exists; and is refused whatever the result.
        another = list(users.values())[int.from_bytes(self._digest(name)) % len(users)]
        known = users.get(name.decode("utf-8", "replace"))
        hashed = (known or another).encode()
        key = self._digest(name, hashed, password)
        if key in self._right:
            return True
        matches = await self._check(key, password[:_BCRYPT_BYTES], hashed, client)
        if known is None or not matches:
            return False
        self._right[key] = None
        if len(self._right) > _REMEMBERED:
            del self._right[next(iter(self._right))]
        return True

    def _digest(self, *parts: bytes) -> bytes:
        """Return a name for what must not be kept itself, by a key that only this process has."""
        text = b"".join(len(part).to_bytes(4) + part for part in parts)
        return hmac.digest(self._secret, text, hashlib.sha256)

    async def _check(self, key: bytes, password: bytes, hashed: bytes, client: str) -> bool:
        answer = self._checking.get(key)
        if answer is None:
            answer = asyncio.get_running_loop().create_future()
            needs_worker = self._turns.add(client, _Job(password, hashed, answer))
            self._checking[key] = answer
            answer.add_done_callback(lambda done: self._checked(key, done))
            if needs_worker:
                # Not a daemon thread: one that still runs bcrypt when the interpreter ends aborts
                # the process. The interpreter waits for one check; the rest is dropped.
                threading.Thread(target=self._work, name="bcrypt").start()
        return await asyncio.shield(answer)  # the client that asked first may leave before

    def _checked(self, key: bytes, answer: asyncio.Future[bool]) -> None:
        del self._checking[key]
        if not answer.cancelled():
            answer.exception()  # retrieved, even if every client has left

    def _work(self) -> None:
        while (job := self._turns.take()) is not None:
            loop = job.answer.get_loop()
            if loop.is_closed():  # the daemon stops
                continue
            outcome: bool | Exception
            try:
                outcome = self._matches(job.password, job.hashed)
            except Exception as error:  # noqa: BLE001 - raised where the answer is awaited
                outcome = error
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(_answer, job.answer, outcome)


def _answer(answer: asyncio.Future[bool], outcome: bool | Exception) -> None:  # noqa: FBT001 - a result
    if isinstance(outcome, Exception):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)


def basic_credentials(headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, bytes] | None:
    """Return the name and the password of an Authorization header (RFC 7617), or None."""
    value = next((value for name, value in headers if name == b"authorization"), b"")
    scheme, _, encoded = value.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True)
    except binascii.Error:
        return None
    name, colon, password = decoded.partition(b":")
    return (name, password) if colon else None
