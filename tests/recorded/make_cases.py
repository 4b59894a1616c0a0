"""Made the recordings in `cases/`, or NAME of them: `python -m tests.recorded.make_cases [NAME]`.

Needs root. Each situation is made by a process of its own in namespaces of its own, and lasts
longer than what its detector waits for. It is recorded as `sockmon record` does it, but at chosen
moments, so that few polls show a minute. `tests/unit/recording/test_cases.py` compares what is said
of each.
"""

import platform
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sockmon import __version__
from sockmon.drill.lab.conditions import (
    begins_to_abort,
    fin_wait2,
    late_close,
    ports_exhausted,
    refused_connects,
)
from sockmon.drill.lab.sockets import connections
from sockmon.recording.anonymous import Anonymous
from sockmon.recording.file import Head, Writer
from sockmon.recording.recorder import Recorder
from sockmon.settings import Config
from tests.cgroups import tree
from tests.lab import SERVER, AddressKind, NetNs, experiments, linked, queues, states
from tests.recorded import CASES
from tests.world import small_world

_LONGER_THAN_A_MINUTE = 66.0
_AT_ONCE = 6
#: The first poll is done.
_HAS_BEGUN = threading.Event()

Files = dict[str, str]
Situation = Callable[[], AbstractContextManager[NetNs]]


@dataclass(frozen=True, slots=True)
class Case:
    """situation: yields the namespace that is recorded.

    after: seconds until the first poll. polls: when they are. events: whether they are counted.
    host: settings that a namespace of its own lacks, or has from this machine: those of a host
    that has less, from the files that were recorded.
    """

    situation: Situation
    after: float = _LONGER_THAN_A_MINUTE
    polls: tuple[float, ...] = (0.0, 1.0, 2.0)
    events: bool = False
    host: Callable[[Mapping[str, str]], Files] = field(default=lambda _: {})


def alone(
    condition: Callable[[NetNs], AbstractContextManager[object]], **sysctls: object
) -> Situation:
    """A condition of the laboratory in one namespace. sysctls: net.ipv4.*, by their last part."""

    @contextmanager
    def made() -> Iterator[NetNs]:
        with NetNs() as netns:
            for name, value in sysctls.items():
                netns.set_sysctl(f"net.ipv4.{name}", str(value))
            with condition(netns):
                yield netns

    return made


def soon(condition: Callable[[NetNs], AbstractContextManager[object]]) -> Situation:
    """A condition that begins after the first poll."""

    @contextmanager
    def made() -> Iterator[NetNs]:
        over = threading.Event()

        def hold() -> None:
            _HAS_BEGUN.wait()
            with condition(netns):
                over.wait()

        with NetNs() as netns:
            thread = threading.Thread(target=hold)
            thread.start()
            yield netns
            over.set()
            thread.join()

    return made


def story(name: str) -> Situation:
    """A situation of tests/cases/stories, made as `make cases` makes it."""

    @contextmanager
    def made() -> Iterator[NetNs]:
        with ExitStack() as stack:
            world = stack.enter_context(small_world())
            cgroup = stack.enter_context(tree())
            stack.callback(subprocess.run, ["kill", "-KILL", str(world.init)], check=False)
            own = stack.enter_context(world.own())
            command = [*world.within(), sys.executable, "-m", "tests.cases.play", name, str(cgroup)]
            playing = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert playing.stdout is not None
            if "READY" not in playing.stdout.readline():
                raise RuntimeError(f"{name} cannot be made")
            yield own

    return made


@contextmanager
def _cut_off(*, orphaned: bool) -> Iterator[NetNs]:
    with linked() as link, experiments.last_ack(link, count=20, orphaned=orphaned):
        yield link.server


@contextmanager
def _waiting_in_fin_wait2() -> Iterator[NetNs]:
    with ExitStack() as stack:
        link = stack.enter_context(linked())
        ends = (link.client, link.server, AddressKind.IPV4, 12)
        for client in stack.enter_context(connections(*ends, host=SERVER)).clients:
            client.shutdown(socket.SHUT_WR)
        yield link.client


@contextmanager
def _behind_a_firewall() -> Iterator[NetNs]:
    with NetNs() as netns:
        rule = "-A INPUT -m conntrack --ctstate INVALID -j DROP"
        netns.run(["iptables", "-w", *rule.split()])
        with states.established(netns, count=20):
            yield netns


def _counter(files: Mapping[str, str], line: str, name: str) -> int:
    for each in files["thread-self/net/sockstat"].splitlines():
        if each.startswith(line):
            words = each.split()[1:]
            return int(dict(zip(words[::2], words[1::2], strict=True))[name])
    raise AssertionError(f"no {name} of {line}")


def _few_orphans(files: Mapping[str, str]) -> Files:
    return {"sys/net/ipv4/tcp_max_orphans": f"{3 * _counter(files, 'TCP:', 'orphan')}\n"}


def _little_memory(files: Mapping[str, str]) -> Files:
    pages = _counter(files, "TCP:", "mem")
    return {"sys/net/ipv4/tcp_mem": f"{pages // 2}\t{pages * 7 // 8}\t{pages * 21 // 20}\n"}


def _small_table(files: Mapping[str, str]) -> Files:
    entries = int(files["sys/net/netfilter/nf_conntrack_count"])
    return {"sys/net/netfilter/nf_conntrack_max": f"{entries * 6 // 5}\n"}


MADE: Mapping[str, Case] = {
    "leak": Case(alone(lambda netns: experiments.unclosed(netns, count=12))),
    "leak-of-descriptors": Case(story("leak_has_used_up_descriptors"), after=90),
    "half-close": Case(alone(lambda netns: experiments.half_close(netns, count=12))),
    "idle-pool": Case(story("idle_pool"), after=80),
    "fin-wait2": Case(alone(lambda netns: fin_wait2(netns, count=12))),
    "fin-wait2-elsewhere": Case(_waiting_in_fin_wait2),
    "time-wait": Case(
        alone(lambda netns: states.time_wait(netns, count=19), tcp_max_tw_buckets=20), after=5
    ),
    "no-port-left": Case(alone(lambda netns: ports_exhausted(netns, count=20))),
    "dead-upstream": Case(story("short_connect_timeouts"), after=20, polls=(0, 1, 2, 10, 11)),
    "half-open": Case(story("syn_flood_of_both_families"), after=25),
    "full-queue": Case(alone(experiments.full_queue)),
    "full-queue-unix": Case(story("unix_full")),
    "one-queue-of-two": Case(
        alone(lambda netns: queues.one_of_several_hangs(netns, AddressKind.IPV4, 20))
    ),
    "unread": Case(story("slow_readers")),
    "unsent": Case(story("slow_readers_elsewhere")),
    "udp-drops": Case(story("udp_nobody_reads"), after=10, polls=(0, 1, 2, 15, 30)),
    "last-ack": Case(lambda: _cut_off(orphaned=False)),
    "dead-peers": Case(story("host_lost_in_mid_answer")),
    "descriptors": Case(story("out_of_descriptors")),
    "orphans": Case(lambda: _cut_off(orphaned=True), host=_few_orphans),
    "memory": Case(story("slow_readers"), host=_little_memory),
    "conntrack": Case(_behind_a_firewall, after=5, host=_small_table),
    "refused": Case(
        soon(lambda netns: refused_connects(netns, count=30)), 0, (0, 2, 4, 5), events=True
    ),
    "reset-burst": Case(
        soon(lambda netns: begins_to_abort(netns, count=40, after=72.0)),
        0,
        (0, 2, 20, 40, 60, 70, 75, 77),
        events=True,
    ),
    "slow-close": Case(
        soon(lambda netns: late_close(netns, count=20)), 0, (0, 4, 8, 12, 16), events=True
    ),
}


def make(name: str) -> None:
    """Make one."""
    case = MADE[name]
    with case.situation() as netns:
        time.sleep(case.after)
        netns.call(_record, CASES / f"{name}.rec", case)


def _record(path: Path, case: Case) -> None:
    path.unlink(missing_ok=True)
    recorder = Recorder(Anonymous(path.name.encode()))
    release = ".".join(platform.release().split(".")[:2])
    head = Head(
        __version__,
        release,
        time.time(),
        anonymous=True,
        poll_seconds=1.0,
        detect=asdict(Config().detect),
    )
    writer = Writer(path, head)
    begun = time.monotonic()
    if case.events:
        recorder.count_events()
    for at in case.polls:
        time.sleep(max(0.0, begun + at - time.monotonic()))
        poll: dict[str, Any] = dict(recorder.poll(round(time.monotonic() - begun, 3)))
        poll["files"] |= case.host(poll["files"])
        writer.poll(poll)
        _HAS_BEGUN.set()
    writer.close()
    recorder.close()


def main(names: list[str]) -> int:
    """Make those named, or all."""
    CASES.mkdir(exist_ok=True)
    command = [sys.executable, "-m", __spec__.name, "--one"]

    def made(name: str) -> int:
        return subprocess.run([*command, name], check=False).returncode

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        failed = [name for name, status in zip(names, pool.map(made, names), strict=True) if status]
    if failed:
        sys.stderr.write(f"not made: {', '.join(failed)}\n")
    return bool(failed)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        make(sys.argv[2])
    else:
        sys.exit(main(sys.argv[1:] or list(MADE)))
