"""The order of play: `python -m bench` (root). Prints one table; exit status 1 on a missed target.

Nothing is measured on the host's own sockets: every load lives in a network namespace of its own.
"""

import argparse
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import (
    AbstractContextManager,
    ExitStack,
    closing,
    contextmanager,
    nullcontext,
    suppress,
)

from bench import (
    budget,
    contenders,
    events,
    namespaces,
    others,
    pages,
    report,
    starting,
    tracing,
)
from bench.load import Load, load
from bench.measure import Contender, Sample, interleaved, median_cpu, median_wall
from bench.polling import Floor, Poll, Rendering, diagnosis, owner_counting
from bench.report import Row, Section, megabytes, percent
from sockmon import settings
from sockmon.detect import close_wait_leak
from sockmon.model.observation import NamespaceObservation
from sockmon.model.states import TcpState

SOCKETS = 250_000
ROUNDS = 9
FEW_CONNECTIONS = 50
FEW_SOCKETS_ROUNDS = 200
RENDERED_PORTS = 400  # listened on, each with one connection: makes about 5,000 series
RENDERINGS = 25
PSUTIL_ROUNDS = 3  # seconds each
PYROUTE2_ROUNDS = 1  # tens of seconds
SOCKETS_PER_LEAKED = 25  # established ones, for each in CLOSE_WAIT: of 250,000, 10,000
LEAKING_PROCESSES = 50
LEAK_ROUNDS = 18  # of 5 s: owners are looked up anew at every sixth
LEAK_CONFIG = b"detect: {close_wait_leak: {stale_after: 1s}}"
DAEMON_POLLS = (3, 4, 5)  # after which its memory is read
TIME_LIMIT_SECONDS = 2700


def few(_: int) -> Section:
    """Measure a quiet host: what polling costs when there is next to nothing to count."""
    with load(FEW_CONNECTIONS):
        rows = poll_rows(nullcontext, FEW_SOCKETS_ROUNDS, most_added=0.003)
        rows += starting.rows()
        rows += daemon_rows(most=50e6)
    return Section(f"{2 * FEW_CONNECTIONS} established sockets", rows)


def render(_: int) -> Section:
    """Measure a page of metrics with many ports on it."""
    with (
        load(RENDERED_PORTS, ports=RENDERED_PORTS),
        closing(Rendering(top=2 * RENDERED_PORTS)) as page,
    ):
        samples = interleaved([page], RENDERINGS, page.fresh)[page.name]
        row = Row(page.name, "CPU", [sample.cpu for sample in samples], most=0.050)
        return Section(f"/metrics with {page.series:,} series, as OpenMetrics, gzipped", [row])


def established(sockets: int) -> Section:
    """Measure connections alone, both ends of each."""
    with load(sockets // 2) as made:
        rows = poll_rows(made.steady, ROUNDS, most_ratio=1.25, most_diagnosis=0.3, most_owners=0.03)
        psutil, pyroute2 = contenders.libraries()
        rows += program_rows(made, {psutil: PSUTIL_ROUNDS, pyroute2: PYROUTE2_ROUNDS})
        rows += daemon_rows(most=200e6)
    return Section(f"{sockets // 2 * 2:,} established sockets", rows)


def time_wait(sockets: int) -> Section:
    """Measure full sockets among as many time-wait ones, whose messages are shorter."""
    connections = sockets * 3 // 10
    with load(connections, time_waits=2 * connections) as made:
        rows = poll_rows(made.steady, ROUNDS, most_ratio=1.3)
        rows += program_rows(made, {})
    seen = made.time_waits_seen
    return Section(
        f"{2 * connections:,} established sockets and {min(seen):,} to {max(seen):,} in time-wait"
        " (sockstat, before and after each measurement)",
        rows,
    )


def leak(sockets: int) -> Section:
    """Measure polls before, during and after a leak, all of them of as many sockets."""
    leaked = sockets // SOCKETS_PER_LEAKED
    with (
        load((sockets + leaked) // 2) as made,
        closing(Poll(settings.parse(LEAK_CONFIG, "bench"))) as poll,
        closing(diagnosis()) as diagnosing,
    ):
        before = interleaved([poll], LEAK_ROUNDS, nullcontext)[poll.name]
        made.drop(leaked // 2)
        with made.leak(leaked, LEAKING_PROCESSES):
            until_owned(poll, leaked)
            samples = interleaved([poll, diagnosing], LEAK_ROUNDS, lambda: owned(poll, leaked))
        made.hold(leaked // 2)
        after = interleaved([poll], LEAK_ROUNDS, nullcontext)[poll.name]
    leaking = samples[poll.name]
    reference = median_cpu([*before, *after])
    quiet_mean, mean = map(mean_cpu, ([*before, *after], leaking))
    worst = max(sample.cpu for sample in leaking)
    return Section(
        f"{sockets:,} established sockets and {leaked:,} in CLOSE_WAIT, leaked by"
        f" {LEAKING_PROCESSES} processes; quiet: {sockets + leaked:,} established",
        [
            cpu_row("sockmon: one quiet poll, before", before, reference),
            cpu_row("sockmon: one quiet poll, after", after, reference),
            cpu_row("sockmon: one poll of the leak", leaking, reference),
            cpu_row(diagnosing.name, samples[diagnosing.name], None),
            Row("worst poll of the leak", "CPU", [worst], reference=reference),
            Row("quiet polls on average", "mean CPU", [quiet_mean], reference=quiet_mean),
            Row(
                "polls of the leak on average",
                "mean CPU",
                [mean],
                reference=quiet_mean,
                most_ratio=2.0,
            ),
        ],
    )


def until_owned(poll: Poll, leaked: int) -> None:
    """Poll until all of a leak is found, and whose it is: processes are looked into meanwhile.

    Raises RuntimeError if that is not known after a minute.
    """
    for _ in range(60):
        poll.seen = poll.observe()
        with suppress(RuntimeError), owned(poll, leaked):
            return
        time.sleep(1)
    with owned(poll, leaked):
        pass


@contextmanager
def owned(poll: Poll, leaked: int) -> Iterator[None]:
    """Surround a poll of a leak; raises RuntimeError unless it found all of it, and whose it is."""
    yield
    assert poll.seen is not None
    (namespace,) = poll.seen.namespaces
    assert namespace.diagnosis is not None
    findings = [f for f in namespace.diagnosis.value.findings if f.detector == close_wait_leak.NAME]
    owners = [finding.owner for finding in findings if finding.owner]
    named = {process for owner in owners for process in owner.processes}
    seen = (
        in_state(namespace, TcpState.CLOSE_WAIT),
        in_state(namespace, TcpState.FIN_WAIT2),
        sum(finding.value for finding in findings),
        len(named) + sum(owner.more for owner in owners),
    )
    if seen != (leaked, 0, leaked, LEAKING_PROCESSES):
        raise RuntimeError(f"not the leak that was made: {seen}")


def in_state(namespace: NamespaceObservation, state: TcpState) -> int:
    assert namespace.tcp is not None
    return sum(counts[state] for counts in namespace.tcp.value.values())


CASES: dict[str, Callable[[int], Section]] = {
    "few": few,
    "others": others.section,
    "pages": pages.section,
    "render": render,
    "established": established,
    "leak": leak,
    "time-wait": time_wait,
    "namespaces": namespaces.section,
    "trace": tracing.section,
    "events": events.section,
    "budget": budget.namespaces,
    "budget-host": budget.host,
}


def poll_rows(
    around: Callable[[], AbstractContextManager[None]],
    rounds: int,
    *,
    most_added: float | None = None,
    most_ratio: float | None = None,
    most_diagnosis: float | None = None,
    most_owners: float | None = None,
) -> list[Row]:
    """Measure one poll, dumps that are thrown away, and what some parts of it take."""
    with ExitStack() as stack:
        floor, floor_by_family, poll, diagnosing, owners = (
            stack.enter_context(closing(one))
            for one in (Floor(), Floor(one_walk=False), Poll(), diagnosis(), owner_counting())
        )
        samples = interleaved([floor, floor_by_family, poll, diagnosing, owners], rounds, around)
    reference = median_cpu(samples[floor.name])  # asks for what the poll asks for

    def added(part: Contender) -> list[float]:
        pairs = zip(samples[poll.name], samples[part.name], strict=True)
        return [its.cpu / (whole.cpu - its.cpu) for whole, its in pairs]

    by_owner = "sockets by owner: added to the rest of it"
    return [
        cpu_row(floor.name, samples[floor.name], reference),
        cpu_row(floor_by_family.name, samples[floor_by_family.name], reference),
        cpu_row(poll.name, samples[poll.name], reference, most_ratio=most_ratio),
        Row(
            "that poll: added to its dumps",
            "CPU",
            [sample.cpu - reference for sample in samples[poll.name]],
            most=most_added,
        ),
        cpu_row(diagnosing.name, samples[diagnosing.name], None),
        Row(
            "diagnosis: added to the rest of it",
            "CPU",
            added(diagnosing),
            percent,
            most=most_diagnosis,
        ),
        Row(by_owner, "CPU", added(owners), percent, most=most_owners),
    ]


def program_rows(made: Load, slow: Mapping[contenders.Command, int]) -> list[Row]:
    """Measure whole programs, and node_exporter as the server that it is."""
    programs: list[Contender] = [contenders.sockmon_count(), *contenders.pipelines()]
    with contenders.node_exporter() as exporter:
        servers = [] if exporter is None else [exporter]
        samples = interleaved([*programs, *servers], ROUNDS, made.steady)
        memory = [
            Row(server.name, "peak RSS", [server.memory("VmHWM")], megabytes) for server in servers
        ]
    for command, rounds in slow.items():
        samples |= interleaved([command], rounds, made.steady, warm_up=False)
    reference = samples.get(contenders.REFERENCE)
    wall = median_wall(reference) if reference else None
    cpu = median_cpu(reference) if reference else None
    return [
        *(wall_row(name, of_one, wall) for name, of_one in samples.items()),
        *(cpu_row(name, of_one, cpu) for name, of_one in samples.items()),
        *memory,
    ]


def daemon_rows(most: float) -> list[Row]:
    """Measure the memory of the daemon after its third poll and the next ones."""
    with contenders.daemon() as daemon:
        resident = []
        for polls in DAEMON_POLLS:
            daemon.await_count(polls)
            resident.append(daemon.memory("VmRSS"))
        return [
            Row(daemon.name, "RSS", resident, megabytes, most=most),
            Row(daemon.name, "peak RSS", [daemon.memory("VmHWM")], megabytes, most=most),
        ]


def wall_row(name: str, samples: Sequence[Sample], reference: float | None) -> Row:
    values = [sample.wall for sample in samples]
    return Row(name, "wall", values, sockets=samples[-1].sockets, reference=reference)


def cpu_row(
    name: str,
    samples: Sequence[Sample],
    reference: float | None,
    *,
    most_ratio: float | None = None,
) -> Row:
    return Row(
        name,
        "CPU",
        [sample.cpu for sample in samples],
        sockets=samples[-1].sockets,
        reference=reference,
        most_ratio=most_ratio,
    )


def mean_cpu(samples: Sequence[Sample]) -> float:
    return statistics.mean(sample.cpu for sample in samples)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--sockets",
        type=int,
        default=SOCKETS,
        help="established sockets; the targets are those of %(default)s, the default",
    )
    parser.add_argument("--only", choices=CASES, help="only this case")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("needs root: it makes a network namespace")
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    signal.alarm(TIME_LIMIT_SECONDS)  # then it dies, and all that it made with it
    sections = []
    for name in [arguments.only] if arguments.only else CASES:
        print(f"bench: {name} ...", file=sys.stderr, flush=True)
        sections.append(CASES[name](arguments.sockets))
    print(report.machine())
    print(report.table(sections))
    for missing in [*contenders.left_out(), *pages.left_out()]:
        print(f"Left out: {missing}")
    missed = [row for section in sections for row in section.rows if row.met is False]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
