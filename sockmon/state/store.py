"""What outlives the process, in sections of one state file. The owner of a section gives and takes
it by its name."""

import logging
from collections.abc import Callable
from typing import Any

from sockmon.state.file import AnotherBootError, State, StateError, StateFile
from sockmon.state.writer import StateWriter

log = logging.getLogger("sockmon")

#: How often tick() saves: what a kill -9 costs of a section whose owner does not call save().
SAVE_SECONDS = 30.0
_WHAT = "alerts and ages"


class StateStore:
    """The sections. `tick` is for one thread, `close` comes last; all else is for any thread."""

    def __init__(self, file: StateFile | None, now: float) -> None:
        """Read the file; one that cannot be used costs a line in the log.

        file: None keeps nothing. now: monotonic seconds.
        """
        self._at = self._saved_at = now
        restored = {} if file is None else _read(file, now)
        self._sections = {name: _constant(section) for name, section in restored.items()}
        self._writer = None if file is None else StateWriter(file, _WHAT)

    def take(self, name: str) -> Any | None:
        """Return what an earlier process of this boot gave, as JSON gives it back; or None."""
        section = self._sections.get(name)
        return None if section is None else section()

    def give(self, name: str, section: Callable[[], Any]) -> None:
        """Have what `section` returns (for JSON) saved from now on; the writing thread calls it."""
        self._sections[name] = section

    def save(self) -> None:
        """Have all sections written soon."""
        if self._writer is not None:
            self._writer.write(self._state)

    def wait(self, timeout: float) -> None:
        """Wait until what save() asked for is on the disk; give up after so many seconds."""
        if self._writer is not None:
            self._writer.wait(timeout)

    def tick(self, now: float) -> None:
        """Save if that is due; `now` in monotonic seconds."""
        self._at = now
        if now - self._saved_at >= SAVE_SECONDS:
            self._saved_at = now
            self.save()

    def close(self, timeout: float) -> None:
        """Save and end; give up if the disk takes longer than this."""
        self.save()
        if self._writer is not None:
            self._writer.close(timeout)

    def _state(self) -> State:
        sections = dict(self._sections)
        return {"at": self._at, "sections": {name: make() for name, make in sections.items()}}


def _constant(value: Any) -> Callable[[], Any]:
    return lambda: value


def _read(file: StateFile, now: float) -> State:
    """Return the sections in the file."""
    try:
        return _sections(file, now)
    except AnotherBootError as error:
        log.info("%s cannot be restored, starting without them: %s", _WHAT, error)
    except StateError as error:
        log.warning("%s cannot be restored, starting without them: %s", _WHAT, error)
    return {}


def _sections(file: StateFile, now: float) -> State:
    state = file.read()
    if state is None:
        return {}
    try:
        at, sections = float(state["at"]), dict(state["sections"])
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"{file.path}: the state is not valid: {error!r}") from error
    if at > now:  # the clock of another time namespace
        raise StateError(f"{file.path}: from later than now")
    return sections
