"""What the log says of failures: a line when one begins, and one when it ends."""

import logging
from collections.abc import Sequence

from sockmon.model.names import HOST
from sockmon.model.observation import Observation
from sockmon.model.poll_statistics import COMPONENT, Failure

log = logging.getLogger("sockmon")

#: The part that looks up who holds sockets: what it cannot read, findings lack.
PROCESSES = "processes"
#: Reasons of failures that their components have logged.
_LOGGED_BEFORE = (COMPONENT, PROCESSES)
#: At most this many failures that begin or end in one poll get a line each.
_LOGGED = 20


class Troubles:
    """Remembers what the log has said. For one thread."""

    def __init__(self) -> None:
        self._failing: frozenset[Failure] = frozenset()
        self._optional: frozenset[Failure] = frozenset()
        self._hinted = False

    def log(self, observation: Observation) -> None:
        """Log failures when they begin and when they end, not at every poll; hints once.

        What a kernel need not have is missing for good: it is logged once of each namespace.
        """
        if observation.hints and not self._hinted:
            log.warning("%s", "; ".join(observation.hints))
            self._hinted = True
        waiting = {
            namespace.name
            for namespace in observation.namespaces
            if namespace.looked_at not in {None, observation.at}
        }
        untried = {failure for failure in self._failing if failure.netns in waiting}
        optional = {failure for failure in observation.failures if failure.is_optional}
        logged = (
            f for f in observation.failures if not f.is_optional and f.reason not in _LOGGED_BEFORE
        )
        failing = frozenset(logged) | untried
        _log_some(logging.INFO, sorted({each.message for each in optional - self._optional}))
        begun = sorted({failure.message for failure in failing - self._failing})
        ended = {failure.message.partition(":")[0] for failure in self._failing - failing}
        _log_some(logging.WARNING, begun)
        _log_some(logging.INFO, [f"works again: {what}" for what in sorted(ended)])
        there = {HOST, *(namespace.name for namespace in observation.namespaces)}
        known = (failure for failure in self._optional if failure.netns in there)
        self._failing, self._optional = failing, frozenset([*known, *optional])


def _log_some(level: int, lines: Sequence[str]) -> None:
    for line in lines[:_LOGGED]:
        log.log(level, "%s", line)
    if len(lines) > _LOGGED:
        log.log(level, "and %d more of this kind", len(lines) - _LOGGED)
