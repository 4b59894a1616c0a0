"""A daemon while a thousand network namespaces come and go: `python -m tests.thousand`.

To be run in a PID namespace of its own, so that it sees no others. Prints as JSON what the daemon
holds after the first quarter and at the end. Fails if it has other descriptors open than for those
that live, or keeps one alive.
"""

import json
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from sockmon.drill.lab.netns import CurrentNetNs, enter_new_namespace
from tests.lab import eventually
from tests.resident import nomad
from tests.running import RunningDaemon, running_daemon

AT_ONCE = 50
ROUNDS = (5, 15)
MOST_EACH = 4  # of which three may be about to end
CONFIG = "poll: {interval: 100ms, namespaces: all, cpu_budget: 1, top_namespaces: 0}"


def holds(daemon: RunningDaemon) -> dict[str, int]:
    """Its memory in bytes, and the lines it shows to Prometheus once all was read and judged."""
    shown = eventually(
        lambda: daemon.get("/metrics").body, until=lambda b: b"sockmon_findings{" in b
    )
    return {
        "bytes": psutil.Process(daemon.process.pid).memory_info().rss,
        "lines": len(shown.splitlines()),
    }


def at_rest(descriptors: Callable[[], int]) -> int:
    """The fewest of a second: polls and requests open some for a moment."""
    counts = []
    for _ in range(20):
        counts.append(descriptors())
        time.sleep(0.05)
    return min(counts)


def main() -> None:
    enter_new_namespace()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory()))
        (directory / "config.yaml").write_text(CONFIG)
        arguments = ("--config", str(directory / "config.yaml"))
        daemon = stack.enter_context(running_daemon(CurrentNetNs(), *arguments))
        descriptors = psutil.Process(daemon.process.pid).num_fds
        before = at_rest(descriptors)
        travellers = [stack.enter_context(nomad(MOST_EACH)) for _ in range(AT_ONCE)]
        found = []
        for rounds in ROUNDS:
            for _ in range(rounds):
                for traveller in travellers:
                    traveller.move()
                daemon.wait_for_polls()
            # A netlink socket for each that lives, and none for those that have ended.
            eventually(descriptors, until=(before + AT_ONCE).__eq__)
            daemon.wait_for_polls()
            found.append(holds(daemon))
        json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
