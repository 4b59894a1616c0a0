"""What sockets that are not TCP add to a poll."""

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext

from bench.load import load
from bench.measure import interleaved, median_cpu
from bench.polling import Poll
from bench.report import Row, Section

UDP_SOCKETS = 2_000
UNIX_SOCKETS = 4_000  # a tenth of them listens
CONNECTIONS = 50
ROUNDS = 100
MOST_SECONDS = 0.003


def section(_: int) -> Section:
    """Measure polls of few TCP sockets, without and with very many others."""
    with load(CONNECTIONS), closing(Poll()) as poll:
        without = interleaved([poll], ROUNDS, nullcontext)[poll.name]
        with others():
            beside = interleaved([poll], ROUNDS, nullcontext)[poll.name]
    few, many = ([sample.cpu for sample in samples] for samples in (without, beside))
    added = [max(0.0, cpu - median_cpu(without)) for cpu in many]
    return Section(
        f"{UDP_SOCKETS:,} UDP sockets and {UNIX_SOCKETS:,} Unix sockets",
        [
            Row(f"{poll.name}, without them", "CPU", few, reference=median_cpu(without)),
            Row(f"{poll.name}, with them", "CPU", many, reference=median_cpu(without)),
            Row("added by them", "CPU", added, most=MOST_SECONDS),
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
