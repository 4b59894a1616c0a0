"""What sockets that are not TCP add to a poll."""

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext

from bench.load import load
from bench.measure import interleaved, median_cpu
from bench.polling import Part, Poll
from bench.report import Row, Section
from sockmon.kernel.netlink.source import KernelSource
from sockmon.model.unix_listeners import UnixListeners
from sockmon.poll.namespace_poller import NamespacePoller

NAME = "sockmon: UDP and Unix sockets within a poll"
UDP_SOCKETS = 2_000
UNIX_SOCKETS = 4_000  # a tenth of them listens
CONNECTIONS = 50
ROUNDS = 100
MOST_SECONDS = 0.003
PARTS = (
    (KernelSource, "udp"),
    (KernelSource, "unix_listeners"),
    (NamespacePoller, "_see_udp"),
    (NamespacePoller, "_udp_ports"),
    (UnixListeners, "seen"),
)


def section(_: int) -> Section:
    """Measure what polls of few TCP sockets spend on others, without any and with very many."""
    with load(CONNECTIONS), closing(Poll()) as poll, closing(Part(NAME, *PARTS)) as part:
        without = interleaved([poll, part], ROUNDS, nullcontext)[NAME]
        with others():
            beside = interleaved([poll, part], ROUNDS, nullcontext)[NAME]
    added = [sample.cpu - median_cpu(without) for sample in beside]
    return Section(
        f"{UDP_SOCKETS:,} UDP sockets and {UNIX_SOCKETS:,} Unix sockets",
        [
            Row(f"{NAME}, without any", "CPU", [sample.cpu for sample in without]),
            Row(f"{NAME}, with these", "CPU", [sample.cpu for sample in beside]),
            Row("added by these", "CPU", added, most=MOST_SECONDS),
        ],
    )


@contextmanager
def others() -> Iterator[None]:
    """Hold these sockets, in this process and namespace, until the block ends."""
    needed = UDP_SOCKETS + UNIX_SOCKETS + 1000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), max(hard, needed)))
    with ExitStack() as stack:
        for _ in range(UDP_SOCKETS):
            stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)).bind(("127.0.0.1", 0))
        for number in range(UNIX_SOCKETS):
            one = stack.enter_context(socket.socket(socket.AF_UNIX))
            one.bind(b"\0sockmon-bench-%d" % number)
            if not number % 10:
                one.listen()
        yield
