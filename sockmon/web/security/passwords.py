"""Whether a name and a password are a user's: by bcrypt, which takes long on purpose.

Hence a thread of its own, a short queue before it, and a memory of what was right. How long an
answer takes says nothing about which names there are.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import queue
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import bcrypt

#: Passwords waiting to be checked: in all, and of one client.
WAITING, WAITING_OF_ONE = 16, 4
#: Passwords known to be right.
_REMEMBERED = 100
_BCRYPT_BYTES = 72  # bcrypt's own limit: it looks at no more


class BusyError(Exception):
    """Too many passwords wait to be checked; `client` when they are all this client's."""

    def __init__(self, *, client: bool) -> None:
        self.client = client
        super().__init__("too many passwords wait to be checked")


class Passwords:
    """Checks passwords; `matches(password, hash)` is bcrypt's own function."""

    def __init__(self, matches: Callable[[bytes, bytes], bool] = bcrypt.checkpw) -> None:
        self._matches = matches
        self._secret = secrets.token_bytes(32)
        self._right: dict[bytes, None] = {}
        self._waiting: dict[bytes, asyncio.Future[bool]] = {}
        self._waiting_of: Counter[str] = Counter()
        self._jobs: queue.SimpleQueue[tuple[bytes, bytes, asyncio.Future[bool]]] | None = None

    async def are_right(
        self, users: Mapping[str, str], credentials: tuple[bytes, bytes], client: str
    ) -> bool:
        """Return whether a user of this name has this password; raises BusyError.

        `users` has bcrypt hashes; `client` is whose share of the queue this takes.
        """
        name, password = credentials
        # A name that nobody has is checked against somebody's hash, always the same one, so that
        # it takes as long as a name that somebody has; and is refused whatever comes out.
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
        """Name what must not be kept itself, under a key that this process alone has."""
        text = b"".join(len(part).to_bytes(4) + part for part in parts)
        return hmac.digest(self._secret, text, hashlib.sha256)

    async def _check(self, key: bytes, password: bytes, hashed: bytes, client: str) -> bool:
        waiting = self._waiting.get(key)
        if waiting is None:
            if self._waiting_of[client] >= WAITING_OF_ONE:
                raise BusyError(client=True)
            if len(self._waiting) >= WAITING:
                raise BusyError(client=False)
            waiting = self._waiting[key] = asyncio.get_running_loop().create_future()
            self._waiting_of[client] += 1
            waiting.add_done_callback(lambda _: self._checked(key, client))
            self._submit(password, hashed, waiting)
        return await asyncio.shield(waiting)  # whoever asked first may leave before the answer

    def _checked(self, key: bytes, client: str) -> None:
        del self._waiting[key]
        self._waiting_of[client] -= 1
        if not self._waiting_of[client]:
            del self._waiting_of[client]

    def _submit(self, password: bytes, hashed: bytes, answer: asyncio.Future[bool]) -> None:
        if self._jobs is None:
            self._jobs = queue.SimpleQueue()
            # A daemon thread, since nothing can interrupt bcrypt and stopping must not wait for it.
            threading.Thread(
                target=self._work, args=(self._jobs,), name="bcrypt", daemon=True
            ).start()
        self._jobs.put((password, hashed, answer))

    def _work(self, jobs: queue.SimpleQueue[tuple[bytes, bytes, asyncio.Future[bool]]]) -> None:
        while True:
            password, hashed, answer = jobs.get()
            matches = self._matches(password, hashed)
            try:
                answer.get_loop().call_soon_threadsafe(answer.set_result, matches)
            except RuntimeError:  # the event loop has ended, and so has the daemon
                return


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
