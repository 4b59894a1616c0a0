"""Answers that are rendered in a thread, each once between two polls."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from sockmon.web.daemon_status import LatestObservation

Asked = TypeVar("Asked", bound=Hashable)


class KeptAnswers(Generic[Asked]):
    """What was rendered of the latest poll. For one event loop."""

    def __init__(
        self, latest: LatestObservation, render: Callable[[Asked], bytes | None], most: int
    ) -> None:
        """render: runs in a thread. most: different answers that are kept."""
        self._latest, self._render, self._most = latest, render, most
        self._rendering = asyncio.Lock()
        self._of: object = None
        self._answers: dict[Asked, bytes | None] = {}

    async def answer(self, asked: Asked) -> bytes | None:
        """Return what was asked for; it is rendered if nobody has asked since the latest poll."""
        async with self._rendering:
            if self._of is not self._latest.observation:
                self._of = self._latest.observation
                self._answers.clear()
            if asked not in self._answers:
                if len(self._answers) == self._most:
                    self._answers.clear()
                self._answers[asked] = await asyncio.to_thread(self._render, asked)
            return self._answers[asked]
