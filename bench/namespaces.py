"""A host full of containers: what polling all of its network namespaces costs."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass

from bench.load import enter_namespace, share, start_workers
from bench.measure import Sample, interleaved, median_cpu
from bench.polling import Floor, Poll
from bench.report import Row, Section
from sockmon.drill.lab.netns import NetNs
from sockmon.settings import parse
from tests.resident import resident, seeing_pids

NAMESPACES = 100
OCCUPIED = 5  # of these; the bench's own is the sixth that is dumped
ROUNDS = 15
MOST_RATIO = 1.5
EVERYWHERE = parse(b"poll: {namespaces: all}", "bench")


def section(sockets: int) -> Section:
    """Measure polls of all namespaces, and the dumps alone that they need."""
    connections = sockets // 5
    with containers(connections, OCCUPIED) as made, ExitStack() as stack:
        floors = [stack.enter_context(closing(Floor()))]
        floors += [stack.enter_context(closing(netns.call(Floor))) for netns in made.occupied]
        floor = Floors(floors)
        poll = stack.enter_context(closing(Poll(EVERYWHERE, seeing_pids(*made.pids))))
        samples = interleaved([floor, poll], ROUNDS, nullcontext)
        require_all_seen(poll)
    reference = median_cpu(samples[floor.name])
    rows = [
        Row(
            name,
            "CPU",
            [sample.cpu for sample in of_one],
            sockets=of_one[-1].sockets,
            reference=reference,
            most_ratio=MOST_RATIO if name == poll.name else None,
        )
        for name, of_one in samples.items()
    ]
    title = (
        f"{2 * connections:,} established sockets in {OCCUPIED} of {NAMESPACES} network namespaces"
    )
    return Section(title, rows)


@dataclass(frozen=True, slots=True)
class Containers:
    """The namespaces that have connections, and a process in each of all."""

    occupied: Sequence[NetNs]
    pids: Sequence[int]


@contextmanager
def containers(connections: int, occupied: int) -> Iterator[Containers]:
    """A hundred namespaces beside a new one of the bench's own; so many share the connections.

    All share the host's table of sockets, as those of containers do.
    """
    enter_namespace(own_table=False)
    with ExitStack() as stack:
        inside = [stack.enter_context(NetNs()) for _ in range(NAMESPACES)]
        pids = [stack.enter_context(resident(netns)) for netns in inside]
        each = connections // occupied
        for netns in inside[:occupied]:
            nsenter_prefix = ("nsenter", f"--net={shlex.quote(netns.path)}")
            share(
                stack.enter_context(start_workers(each, nsenter_prefix=nsenter_prefix)),
                each,
                "hold",
            )
        yield Containers(inside[:occupied], pids)


class Floors:
    """The dumps that are needed, received in each namespace that has sockets and thrown away."""

    name = f"floor: {OCCUPIED + 1} namespaces' dumps received, not parsed"

    def __init__(self, floors: Sequence[Floor]) -> None:
        self._floors = floors

    def run(self) -> Sample:
        samples = [floor.run() for floor in self._floors]
        return Sample(sum(s.wall for s in samples), sum(s.cpu for s in samples), None)


def require_all_seen(poll: Poll) -> None:
    """Raise RuntimeError unless the last poll saw which have sockets and which do not."""
    assert poll.seen is not None
    there = poll.seen.neighbours
    if there is None or (there.inside, there.empty) != (OCCUPIED, NAMESPACES - OCCUPIED):
        raise RuntimeError(f"not the namespaces that were made: {there}")
