"""The hosts that the pages of docs/ were captured on: the laboratory's experiments."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial

from tests.lab import AddressKind, Direction, Held, NetNs, closes, experiments, linked, states
from tests.running import running_daemon

# Past close_wait_leak's `stale_after`, and the orphaned FIN_WAIT2 at the clients' end has gone.
_STALE_SECONDS = 68.0


@dataclass(frozen=True, slots=True)
class Host:
    """Where commands run: namespaces by the name before the prompt, and the shell's variables."""

    namespaces: Mapping[str, NetNs]
    variables: Mapping[str, str] = field(default_factory=dict)


HostMaker = Callable[[], AbstractContextManager[Host]]


@contextmanager
def _alone(make: Callable[[NetNs], AbstractContextManager[Held]]) -> Iterator[Host]:
    with NetNs() as netns, make(netns) as held:
        yield Host({"": netns}, {"PORT": str(held.port)})


@contextmanager
def _dead_peer() -> Iterator[Host]:
    with linked() as link, experiments.vanished_peers(link, count=12):
        yield Host({"client": link.client, "server": link.server})


@contextmanager
def _last_ack() -> Iterator[Host]:
    """Two hosts, and a daemon on the server: ages in LAST_ACK are known to who has watched."""
    with (
        linked() as link,
        running_daemon(link.server),
        experiments.last_ack(link, count=12),
    ):
        yield Host({"client": link.client, "server": link.server})


@contextmanager
def _leaking_process() -> Iterator[Host]:
    with NetNs() as netns, experiments.process_killed(netns, count=12) as leaking:
        variables = {"PORT": str(leaking.held.port), "PID": str(leaking.process.pid)}
        yield Host({"": netns}, variables)


@contextmanager
def _busy() -> Iterator[Host]:
    """A server that leaks, another that works, and a client that connects for each request.

    All ages are past what the diagnosis waits for, but for TIME_WAIT, which lasts a minute.
    """
    with NetNs() as netns, ExitStack() as stack:
        leaking = stack.enter_context(experiments.process_killed(netns, count=34))
        stack.enter_context(states.established(netns, AddressKind.MAPPED, 20))
        time.sleep(_STALE_SECONDS)
        stack.enter_context(states.time_wait(netns, count=40))
        yield Host({"": netns}, {"PORT": str(leaking.held.port)})


@contextmanager
def _two_destinations() -> Iterator[Host]:
    """A client of two services; one of them it calls anew for each request.

    Without tcp_tw_reuse, whose default is different on loopback, as between hosts.
    """
    with NetNs() as netns:
        netns.set_sysctl("net.ipv4.tcp_tw_reuse", 0)
        with states.established(netns, count=25), states.time_wait(netns, count=40):
            yield Host({"": netns})


@contextmanager
def _watched() -> Iterator[Host]:
    """Nothing but a daemon."""
    with NetNs() as netns, running_daemon(netns):
        yield Host({"": netns})


@contextmanager
def _traced(way: closes.Way) -> Iterator[Host]:
    """A connection that ends in this way, each time that somebody watches packets."""
    with NetNs() as netns, closes.whenever_watched(netns, way) as port:
        yield Host({"": netns}, {"PORT": str(port)})


@contextmanager
def _unanswered() -> Iterator[Host]:
    """A host that nobody answers; it gives up soon."""
    with linked() as link:
        link.client.set_sysctl("net.ipv4.tcp_syn_retries", 2)
        link.client.set_sysctl("net.ipv4.tcp_syn_linear_timeouts", 0)
        link.cut()
        yield Host({"": link.client})


HOSTS: Mapping[str, HostMaker] = {
    "busy": _busy,
    "two-destinations": _two_destinations,
    "watched": _watched,
    "leak": partial(_alone, partial(experiments.unclosed, count=12)),
    "leaking-process": _leaking_process,
    "orderly-close": partial(_alone, partial(experiments.orderly_close, count=12)),
    "server-closes-first": partial(
        _alone, partial(states.time_wait, count=12, closed_first_by=Direction.INBOUND)
    ),
    "half-close": partial(_alone, partial(experiments.half_close, count=12)),
    "fin-wait2": partial(_alone, partial(states.fin_wait2, count=12)),
    "linger-zero": partial(_alone, partial(experiments.linger_zero, count=12)),
    "rebind": partial(_alone, partial(experiments.rebind, count=12)),
    "last-ack": _last_ack,
    "three-segments": partial(_traced, closes.client_first),
    "four-segments": partial(_traced, closes.four_segments),
    "half-close-traced": partial(_traced, closes.half_close),
    "linger-zero-traced": partial(_traced, closes.linger_zero),
    "unread-bytes-traced": partial(_traced, closes.unread_bytes),
    "no-answer": _unanswered,
    "dead-peer": _dead_peer,
}
