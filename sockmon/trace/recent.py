"""The connections that ended last. Pure, and of bounded size."""

from collections.abc import Iterable

from sockmon.trace.connection import Connection


class Recent:
    """Remembers at least the last half of `limit` connections by their keys.

    None stands for one that was counted and not followed. In two generations: to delete the oldest
    of a dictionary, one by one, takes longer the more are deleted.
    """

    def __init__(self, limit: int) -> None:
        self._most = max(1, limit // 2)
        self._new: dict[bytes, Connection | None] = {}
        self._old: dict[bytes, Connection | None] = {}

    def __contains__(self, key: bytes) -> bool:
        return key in self._new or key in self._old

    def __getitem__(self, key: bytes) -> Connection | None:
        return self._new[key] if key in self._new else self._old[key]

    def remember(self, key: bytes, connection: Connection) -> None:
        """Remember one that was followed."""
        self._new[key] = connection
        self._age()

    def remember_counted(self, keys: Iterable[bytes]) -> None:
        """Remember those that were counted."""
        self._new.update(dict.fromkeys(keys))
        self._age()

    def forget(self, key: bytes) -> None:
        """Forget one, if it is there."""
        self._new.pop(key, None)
        self._old.pop(key, None)

    def clear(self) -> None:
        """Forget all."""
        self._new, self._old = {}, {}

    def _age(self) -> None:
        if len(self._new) > self._most:
            self._old, self._new = self._new, {}
