"""A poller that polls one of the lab's namespaces from within the test's process."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from sockmon.clock import now
from sockmon.kernel.netlink.source import KernelSource
from sockmon.kernel.netns.access import Look
from sockmon.model.finding import Finding
from sockmon.model.observation import Diagnosis, Observation, Ports
from sockmon.model.states import TcpState
from sockmon.poll.poller import Poller
from sockmon.settings import Config, Poll, parse
from tests.lab import NetNs

EVERYWHERE = Config(poll=Poll(namespaces="all"))


@contextmanager
def polling(look: Look | None = None, config: Config = EVERYWHERE) -> Iterator[Poller]:
    """A poller of the test's own namespace, and of all others that `look` finds."""
    poller = Poller(KernelSource.live(), config, look)
    try:
        yield poller
    finally:
        poller.close()


class Polling:
    """Polls when told to; a poll that fails in part fails the test."""

    def __init__(self, netns: NetNs, config: str = "") -> None:
        self._netns = netns
        self._monitor = Poller(
            KernelSource.live(),
            parse(config.encode(), "config") if config else Config(),
            patient=True,
        )

    def poll(self) -> Observation:
        observation = self._netns.call(self._monitor.poll, now)
        assert observation.failures == ()
        return observation

    def tcp(self) -> dict[int, Counter[TcpState]]:
        part = self.poll().namespaces[0].tcp
        assert part is not None
        return {
            family: Counter({state: counts[state] for state in TcpState if counts[state]})
            for family, counts in part.value.items()
        }

    def ports(self) -> Ports:
        part = self.poll().namespaces[0].ports
        assert part is not None
        return part.value

    def diagnosis(self) -> Diagnosis:
        part = self.poll().namespaces[0].diagnosis
        assert part is not None
        return part.value

    def findings(self) -> tuple[Finding, ...]:
        """Poll twice, as two polls must agree; return what they found."""
        self.poll()
        return self.diagnosis().findings

    def close(self) -> None:
        self._monitor.close()
