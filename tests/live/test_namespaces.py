"""Every namespace is found and named, and what is counted in it is what is there."""

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from sockmon.clock import now
from sockmon.kernel.errors import NamespaceError
from sockmon.kernel.netlink.source import KernelSource
from sockmon.kernel.netns import setns
from sockmon.kernel.netns.discovery import Place, directory_of
from sockmon.kernel.netns.procfs_source import OutsideSource
from sockmon.model.observation import NamespaceObservation, Observation
from sockmon.model.states import TcpState
from sockmon.model.table import SocketTable
from tests.lab import AddressKind, NetNs, eventually, states
from tests.polling import polling
from tests.resident import PROC, inode_of, name_of, open_files, resident, seeing_pids
from tests.world import World

pytestmark = pytest.mark.root

WITHOUT_PRIVILEGE = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
SOCKMON = [sys.executable, "-m", "sockmon"]


def by_name(observation: Observation) -> Mapping[str, NamespaceObservation]:
    """What was seen of the other namespaces."""
    assert observation.failures == ()
    host, *others = observation.namespaces
    assert host.name == "host"
    return {namespace.name: namespace for namespace in others}


def by_state(namespace: NamespaceObservation) -> Counter[str]:
    assert namespace.tcp is not None
    families = namespace.tcp.value.values()
    return +Counter({str(s.label): sum(counts[s] for counts in families) for s in TcpState})


def test_an_empty_namespace_has_no_series_and_nothing_is_opened_in_it() -> None:
    with NetNs() as netns, resident(netns) as pid, polling(seeing_pids(pid)) as monitor:
        monitor.poll(now)
        before = min(open_files() for _ in range(100))
        observation = monitor.poll(now)
        assert by_name(observation) == {}
        assert observation.neighbours is not None
        assert observation.neighbours.empty == 1
        # A thread that looks for owners opens files of /proc now and then.
        before = eventually(open_files, until=before.__ge__)
        with states.listen(netns, count=2):
            assert by_state(by_name(monitor.poll(now))[name_of(netns)]) == {"listen": 2}
            eventually(open_files, until=(before + 3).__ge__)  # two listeners, one netlink
        emptied = by_name(monitor.poll(now))[name_of(netns)]
        assert by_state(emptied) == {}, "what was shown comes down to zero first"


def test_all_of_a_hosts_namespaces_are_found_from_within_any(world: World, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("poll: {namespaces: all}")
    count = [*SOCKMON, "count", f"--config={config}", "--by=netns", "--format=plain"]
    with (
        world.own() as ours,
        world.netns() as other,
        resident(other),
        states.listen(other),
    ):
        assert ours.run([*world.seeing, *count]).stdout == f"{name_of(other)} 1\n"
        assert other.run([*world.seeing, *count]).stdout == "host 1\n"


def test_names_are_those_that_people_gave() -> None:
    """In a mount, PID and network namespace of its own, so that this host's /run/netns is safe."""
    script = """
        set -e
        mount -t tmpfs none /run
        for name in blue host deserted; do ip netns add $name; done
        for name in blue host; do ip netns exec $name "$0" -c "$1" > /run/$name & done
        until [ -s /run/blue -a -s /run/host ]; do sleep 0.05; done
        echo 'poll: {namespaces: all}' > /run/config.yaml
        exec "$0" -m sockmon count --config /run/config.yaml --by netns --format plain
    """
    listen = (
        "import socket, time; listener = socket.create_server(('127.0.0.1', 4321));"
        "print('there', flush=True); time.sleep(60)"
    )
    sandbox = ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--mount-proc"]
    done = subprocess.run(
        [*sandbox, "sh", "-c", script, sys.executable, listen],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert re.fullmatch(r"blue 1\nhost-\d+ 1\n", done.stdout)


def test_a_namespace_that_cannot_be_entered_hides_no_other() -> None:
    with ExitStack() as stack:
        inside = [stack.enter_context(NetNs()) for _ in range(3)]
        pids = [stack.enter_context(resident(netns)) for netns in inside]
        for netns in inside:
            stack.enter_context(states.listen(netns))

        see = seeing_pids(*pids)
        broken = Path(f"/proc/{pids[1]}/ns/uts")  # setns() refuses what is no network namespace

        def look() -> Mapping[str, Place]:
            places = dict(see())
            key = f"net:{inode_of(inside[1])}"
            bad = replace(places[key], path=broken, inode=broken.stat().st_ino)
            return places | {key: bad}

        with polling(look) as monitor:
            observation = monitor.poll(now)
        assert {n.name for n in observation.namespaces} == {
            "host", name_of(inside[0]), name_of(inside[2])
        }  # fmt: skip
        (failure,) = observation.failures
        name = f"netns-{broken.stat().st_ino}"
        assert (failure.netns, failure.reason) == (name, "EINVAL")
        assert name in failure.message


def test_entering_moves_nobody_else_and_never_into_another_namespace() -> None:
    where = Path("/proc/thread-self/ns/net")
    before = where.readlink()
    with NetNs() as netns:
        path, inode = Path(netns.path), inode_of(netns)
        assert setns.inside(path, inode, where.readlink) == Path(f"net:[{inode}]")
        with pytest.raises(NamespaceError) as refused:
            setns.inside(path, inode + 1, where.readlink)
        assert refused.value.reason == "gone"
    with pytest.raises(NamespaceError) as refused:
        setns.inside(path, inode, where.readlink)
    assert refused.value.reason == "gone"
    assert where.readlink() == before


def rows(table: SocketTable) -> Counter[tuple[object, ...]]:
    """What both views of a namespace tell of each socket."""
    columns = [
        table.state, table.family, table.local_port, table.remote_port,
        table.local.tolist(), table.remote.tolist(), table.uid, table.inode,
    ]  # fmt: skip
    return Counter(
        tuple(tuple(v) if isinstance(v, list) else int(v) for v in row)
        for row in zip(*columns, strict=True)
    )


@pytest.mark.parametrize("kind", list(AddressKind))
def test_from_outside_the_same_sockets_are_seen(kind: AddressKind) -> None:
    quiet = [
        states.listen,
        states.established,
        states.close_wait,
        states.time_wait,
        states.syn_sent,
    ]
    with NetNs() as netns, resident(netns) as pid, ExitStack() as stack:
        for hold in quiet:
            stack.enter_context(hold(netns, kind, count=3))
        inside = netns.call(KernelSource.live)
        place = Place(Path(netns.path), None, pid, directory_of(Path("/proc"), pid))
        outside = OutsideSource("netns", lambda: place)
        families = inside.families()
        expected = rows(netns.call(inside.tcp, families))
        inside.close()
        assert expected.total() >= 3 * len(quiet)
        assert rows(outside.tcp(families)) == expected


def test_without_privilege_namespaces_are_counted_from_outside_and_that_is_said(
    world: World, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("poll: {namespaces: all}")

    def counted(*prefix: str) -> tuple[dict[str, Counter[str]], str]:
        by = ["--by=netns,state,port,direction,family", "--format=json"]
        command = [*prefix, *SOCKMON, "count", f"--config={config}", *by]
        with world.own() as ours:
            done = ours.run([*world.seeing, *command])
        found: dict[str, Counter[str]] = {}
        for group in json.loads(done.stdout)["groups"]:
            sockets, netns = group.pop("count"), group.pop("netns")
            found.setdefault(netns, Counter())[json.dumps(group)] = sockets
        return found, done.stderr

    with world.netns() as netns, resident(netns) as pid, states.close_wait(netns, count=5):
        inside, nothing = counted()
        outside, hint = counted(*WITHOUT_PRIVILEGE)
        # Not even its nsfs file may be seen: it is known by the number of its directory in procfs.
        number = directory_of(PROC, pid)
        assert outside[f"netns-{number}"] == inside[name_of(netns)]
        assert inside[name_of(netns)].total() == 11
    assert nothing == ""
    assert "CAP_SYS_ADMIN" in hint
    assert hint.count("\n") == 1


def test_what_is_seen_from_outside_is_marked(world: World) -> None:
    script = """if True:
        import json, sys
        from sockmon.clock import now
        from sockmon.settings import Config, Poll
        from sockmon.export import json as render
        from sockmon.kernel.netlink.source import KernelSource
        from sockmon.poll.poller import Poller
        monitor = Poller(KernelSource.live(), Config(poll=Poll(namespaces="all")))
        monitor.poll(now)
        json.dump(render.observation(monitor.poll(now)), sys.stdout)
    """
    with (
        world.own() as ours,
        world.netns() as netns,
        resident(netns) as pid,
        states.close_wait(netns, count=12),
    ):
        done = ours.run([*world.seeing, *WITHOUT_PRIVILEGE, sys.executable, "-c", script])
        number = directory_of(PROC, pid)
    told = json.loads(done.stdout)
    seen = {namespace["netns"]: namespace for namespace in told["namespaces"]}
    assert not seen["host"]["degraded"]
    other = seen[f"netns-{number}"]
    assert other["degraded"]
    assert other["findings"] is None, "a degraded namespace is not well: it was not judged"
    assert other["tcp"]["ipv4"]["close_wait"] == 12
    assert "CAP_SYS_ADMIN" in told["hints"][0]


def test_that_other_users_processes_are_hidden_is_said(tmp_path: Path) -> None:
    """As by ProtectProc=invisible, in a mount and PID namespace of its own."""
    config = tmp_path / "config.yaml"
    config.write_text("poll: {namespaces: all}")
    script = 'mount -t proc -o hidepid=invisible none /proc; "$@"; exit $?'
    sandbox = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh"]
    somebody = [*WITHOUT_PRIVILEGE, "--regid=65534", "--clear-groups"]
    with NetNs() as netns:
        done = netns.run(
            [*sandbox, *somebody, *SOCKMON, "doctor", f"--config={config}"], check=False
        )
    assert done.stderr == ""
    assert done.returncode == 3, "who could not look at all does not say that all is well"
    assert "ProtectProc" in done.stdout
