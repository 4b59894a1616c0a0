"""However many namespaces have come and gone, none is kept alive, and nothing of them is kept."""

import itertools
import json
import subprocess
import sys
from contextlib import ExitStack

import pytest

from sockmon.clock import now
from tests.clocks import clock, costing
from tests.conftest import REPOSITORY
from tests.lab import NetNs, eventually, states
from tests.polling import polling
from tests.resident import nomad, resident, seeing_pids

pytestmark = pytest.mark.root

#: Of the 750 namespaces between the two looks; one that is kept takes tens of kilobytes.
_KEPT_BYTES_AT_MOST = 8 * 1024 * 1024
_KEPT_LINES_AT_MOST = 50


@pytest.mark.parametrize("cost", [0.0, 0.05], ids=["cheap", "dear"])
def test_no_namespace_is_kept_alive_even_if_it_is_not_its_turn(cost: float) -> None:
    """The kernel takes a device away with its namespace: the other end of each pair tells."""
    beats, cpu = itertools.count(1000.0, 5.0), costing(cost)
    with NetNs() as observer, ExitStack() as stack:
        pids, ends = [], set()
        for number in range(8):
            netns = stack.enter_context(NetNs())
            pids.append(stack.enter_context(resident(netns)))
            observer.ip(f"link add end{number} type veth peer name eth0 netns {netns.path}")
            ends.add(f"end{number}")
            stack.enter_context(states.listen(netns))

        def left() -> set[str]:
            links = observer.run(["ip", "-o", "link"]).stdout
            return {end for end in ends if f" {end}@" in links}

        with polling(seeing_pids(*pids)) as monitor:
            read = False
            while not read:
                observation = monitor.poll(clock(next(beats)), cpu)
                assert observation.failures == ()
                _, *others = observation.namespaces
                read = len(others) == 8 and all(one.tcp for one in others)
            stack.close()
            assert left() == ends, "the netlink sockets hold them still"
            monitor.poll(clock(next(beats)), cpu)
            eventually(left, until=lambda alive: not alive)


def test_the_kernels_count_of_namespaces_stays_what_it_was() -> None:
    """It lets no more than a few of the traveller's namespaces live at once."""
    with nomad(most=5) as traveller, polling(seeing_pids(traveller.pid)) as monitor:
        for _ in range(100):
            name = f"netns-{traveller.move()}"
            assert [n.name for n in monitor.poll(now).namespaces] == ["host", name]


def test_descriptors_and_memory_are_flat_over_a_thousand_namespaces() -> None:
    """Of a daemon alone with them in a PID namespace: other tests' sockets take memory too."""
    alone = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    done = subprocess.run(
        [*alone, sys.executable, "-m", "tests.thousand"], cwd=REPOSITORY,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    early, late = json.loads(done.stdout)
    assert late["lines"] - early["lines"] < _KEPT_LINES_AT_MOST
    assert late["bytes"] - early["bytes"] < _KEPT_BYTES_AT_MOST
