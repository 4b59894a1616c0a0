"""Which lines of sockmon a run reaches, in all threads: sys.settrace(), slow but always there."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import sockmon

_PACKAGE = str(Path(sockmon.__file__).parent)


class Lines:
    """The lines that have been reached so far."""

    def __init__(self) -> None:
        self._reached: set[tuple[CodeType, int, int]] = set()
        self._ours: dict[CodeType, bool] = {}
        self._last = 0

    @contextmanager
    def traced(self) -> Iterator[None]:
        """Note what this thread, and those that it starts, reach."""
        threading.settrace(self._trace)
        sys.settrace(self._trace)
        try:
            yield
        finally:
            sys.settrace(None)
            threading.settrace(None)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._reached)

    def _trace(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        code = frame.f_code
        ours = self._ours.get(code)
        if ours is None:
            ours = self._ours[code] = code.co_filename.startswith(_PACKAGE)
        return self._line if ours else None

    def _line(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line":
            self._reached.add((frame.f_code, self._last, frame.f_lineno))
            self._last = frame.f_lineno
        return self._line
