"""Holders of sockets: looked for in real processes, off the thread that asks."""

import errno
import os
import resource
import signal
import socket
import string
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockmon.detect.commands import restart
from sockmon.detect.evidence import who
from sockmon.kernel import inspector as inspectors
from sockmon.kernel.inspector import Inspector
from sockmon.kernel.owners import Holders, StoppedError, look_into, read_owners
from sockmon.kernel.processes import (
    parse_descriptor_limits,
    parse_started,
    parse_state,
    process_files,
)
from sockmon.model.owner import (
    PROCESSES_NAMED,
    UNKNOWN,
    Group,
    Halt,
    Manager,
    Owner,
    Owners,
    Process,
    Unit,
)
from sockmon.model.states import TcpState
from sockmon.model.table import SocketTable
from sockmon.poll.owners import OwnerFinder
from sockmon.text import label, one_line
from tests.lab import eventually
from tests.unit.detect.builders import Sock, accepted, looked_up, sight

PROC = Path("/proc")
NOBODY_HOLDS = 4_000_000_001


def no_pause() -> None:
    """Look at full speed."""


@pytest.fixture
def held() -> Iterator[tuple[socket.socket, int]]:
    with socket.socket() as sock:
        yield sock, os.fstat(sock.fileno()).st_ino


@pytest.fixture
def inspector() -> Iterator[Inspector]:
    made = Inspector(PROC, patient=True)
    yield made
    made.close()


@pytest.fixture
def child(held: tuple[socket.socket, int]) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Start a process that holds the socket too, until its input ends."""
    with ExitStack() as stack:

        def start() -> subprocess.Popen[bytes]:
            program = [sys.executable, "-c", "import sys; sys.stdin.read()"]
            descriptors = (held[0].fileno(),)
            process = subprocess.Popen(program, stdin=subprocess.PIPE, pass_fds=descriptors)
            stack.callback(process.wait)
            assert process.stdin is not None
            stack.callback(process.stdin.close)
            return process

        yield start


@given(st.text())
def test_a_label_is_bounded_and_plain_whatever_a_process_calls_itself(name: str) -> None:
    made = label(name)
    assert 0 < len(made) <= 128
    assert set(made) <= set(string.ascii_letters + string.digits + "._@:+-…")


@given(st.text())
def test_what_is_printed_is_one_bounded_line(name: str) -> None:
    made = one_line(name, 100)
    assert made.isprintable()
    assert len(made) <= 103


class TestALook:
    def test_finds_the_holder(self, held: tuple[socket.socket, int]) -> None:
        inode = held[1]
        found = read_owners(PROC, [inode, 0])
        (process,) = found.holders[inode]
        assert (process.pid, set(found.holders)) == (os.getpid(), {inode})
        assert process.name.startswith("python")
        assert process.fds is not None
        assert process.fd_limit is not None

    def test_finds_no_holder_of_a_closed_socket(self) -> None:
        with socket.socket() as sock:
            inode = os.fstat(sock.fileno()).st_ino
        assert read_owners(PROC, [inode]).holders == {}

    def test_finds_all_that_share_it_the_first_holder_first(
        self, held: tuple[socket.socket, int], child: Callable[[], subprocess.Popen[bytes]]
    ) -> None:
        process = child()
        found = read_owners(PROC, [held[1]]).holders[held[1]]
        assert [holder.pid for holder in found] == [os.getpid(), process.pid]

    def test_passes_over_processes_that_have_ended(self, held: tuple[socket.socket, int]) -> None:
        with subprocess.Popen(["true"]) as ended:
            ended.wait()
        look = look_into(PROC, [held[1]], [ended.pid, os.getpid()], no_pause)
        assert set(look.seen) == {os.getpid()}

    def test_of_a_process_that_ends_meanwhile_says_nothing_of_its_successor(self) -> None:
        with (
            subprocess.Popen(["sleep", "60"]) as process,
            process_files(PROC, process.pid) as files,
        ):
            try:
                # Popen() returns a moment before the kernel has given the process its new name.
                eventually(lambda: files.describe().name, until="sleep".__eq__)
            finally:
                process.kill()
            process.wait()
            with pytest.raises(OSError, match=r"No such (process|file)"):
                files.describe()

    def test_ends_when_told_to(self, held: tuple[socket.socket, int]) -> None:
        def stop() -> None:
            raise StoppedError

        with pytest.raises(StoppedError):
            look_into(PROC, [held[1]], [os.getpid()], stop)
        assert read_owners(PROC, [held[1]], lambda: True).holders == {}

    def test_at_processes_that_hide_their_descriptors_counts_them(self, tmp_path: Path) -> None:
        (tmp_path / "7").mkdir()
        (tmp_path / "7" / "fd").mkdir(mode=0o000)
        look = look_into(tmp_path, [1], [7], no_pause)
        assert look.hidden == (os.geteuid() != 0)


class TestLooksAgain:
    def test_begin_with_those_who_held_some(self, held: tuple[socket.socket, int]) -> None:
        first = Holders().again(PROC, frozenset({held[1]}), no_pause, 0.0, 120.0)
        assert first.all_at == 0.0
        second = first.again(PROC, frozenset({held[1]}), no_pause, 1.0, 120.0)
        assert (second.all_at, second.looked_at) == (0.0, 1.0)
        assert second.look.holders.keys() == {held[1]}

    def test_see_a_process_that_joined_later(
        self, held: tuple[socket.socket, int], child: Callable[[], subprocess.Popen[bytes]]
    ) -> None:
        wanted = frozenset({held[1]})
        first = Holders().again(PROC, wanted, no_pause, 0.0, 120.0)
        process = child()
        second = first.again(PROC, wanted, no_pause, 1.0, 120.0)
        assert {holder.pid for holder in second.look.holders[held[1]]} == {
            os.getpid(),
            process.pid,
        }

    def test_look_everywhere_for_a_socket_without_a_holder_but_not_each_time(self) -> None:
        wanted = frozenset({NOBODY_HOLDS})
        holders = Holders().again(PROC, wanted, no_pause, 0.0, 120.0)
        assert holders.asked == wanted
        assert holders.again(PROC, wanted, no_pause, 119.0, 120.0).all_at == 0.0
        assert holders.again(PROC, wanted, no_pause, 120.0, 120.0).all_at == 120.0


class TestTheInspector:
    def test_answers_who_waits(self, inspector: Inspector, held: tuple[socket.socket, int]) -> None:
        answer = inspector.ask("a", frozenset({held[1]}), {1}, 0.0)
        assert answer.asked == {held[1]}
        assert [process.pid for process in answer.holders[held[1]]] == [os.getpid()]
        assert answer.units == {1: None}

    def test_answers_a_poll_that_cannot_wait_at_a_later_one(
        self, held: tuple[socket.socket, int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(inspectors, "_POLL_WAITS", 0.0)
        impatient = Inspector(PROC)
        wanted = frozenset({held[1]})
        assert impatient.ask("a", wanted, (), 0.0).asked == frozenset()
        assert eventually(
            lambda: impatient.ask("a", wanted, (), 1.0).asked, until=lambda asked: asked == wanted
        )
        impatient.close()

    def test_asks_again_for_a_unit_that_it_could_not_look_for(
        self, inspector: Inspector, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def out_of_descriptors(*_: object) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        with monkeypatch.context() as patched:
            patched.setattr(inspectors, "look_for_cgroups", out_of_descriptors)
            assert inspector.ask("a", frozenset(), {1}, 0.0).units == {}
        assert inspector.ask("a", frozenset(), {1}, 5.0).units == {1: None}

    def test_looks_for_all_askers_at_once(
        self, inspector: Inspector, held: tuple[socket.socket, int]
    ) -> None:
        inspector.ask("a", frozenset({held[1]}), (), 0.0)
        answer = inspector.ask("b", frozenset({NOBODY_HOLDS}), (), 0.0)
        assert answer.asked == {held[1], NOBODY_HOLDS}
        inspector.forget("a")
        assert inspector.ask("b", frozenset({5}), (), 1.0).asked == {5}

    def test_has_no_thread_before_it_is_asked_nor_after_it_is_closed(
        self, held: tuple[socket.socket, int]
    ) -> None:
        before = set(threading.enumerate())

        def begun() -> list[str]:
            return [thread.name for thread in threading.enumerate() if thread not in before]

        made = Inspector(PROC, patient=True)
        made.ask("a", frozenset(), (), 0.0)
        assert begun() == []
        made.ask("a", frozenset({held[1]}), (), 0.0)
        assert begun() == ["processes"]
        made.close()
        assert begun() == []

    def test_stops_in_the_middle_of_a_look(self, held: tuple[socket.socket, int]) -> None:
        stopping = threading.Event()
        made = Inspector(PROC, stopping.is_set, patient=True)
        stopping.set()
        assert made.ask("a", frozenset({held[1]}), (), 0.0).asked == frozenset()
        made.close()

    def test_counts_descriptors(self, inspector: Inspector) -> None:
        with ExitStack() as stack:
            spare = [stack.enter_context(socket.socket()) for _ in range(40)]
            uses = {use.process.pid: use for use in inspector.walk(0.0).walked.uses}
            if os.getpid() in uses:  # else its limit is far away, and nobody holds closed sockets
                assert uses[os.getpid()].process.fds >= len(spare)  # type: ignore[operator]


class TestAFinder:
    def test_says_who_holds_what_and_what_is_still_looked_for(
        self, held: tuple[socket.socket, int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(inspectors, "_POLL_WAITS", 0.0)
        impatient = Inspector(PROC)
        finder = OwnerFinder(impatient, lambda: None)
        owners = finder.find([held[1]], [], 0.0)
        assert owners.pending == {held[1]}
        assert owners.inode.size == 0
        owners = eventually(
            lambda: finder.find([held[1]], [], 1.0), until=lambda found: not found.pending
        )
        assert owners.inode.tolist() == [held[1]]
        impatient.close()

    def test_waits_a_minute_for_an_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(inspectors, "_POLL_WAITS", 0.0)
        closed = Inspector(PROC)
        closed.close()  # so it never answers
        finder = OwnerFinder(closed, lambda: None)
        assert finder.find([5], [], 0.0).pending == {5}
        assert finder.find([5], [], 60.0).pending == {5}
        assert finder.find([5], [], 61.0).pending == frozenset()


class TestOwners:
    SHOP = Process(1, "shop", unit="shop.service")
    ORDERS, CHILD = Process(2, "python3 orders.py"), Process(3, "sleep")

    @staticmethod
    def table(*inodes: int, cgroup_id: int = 9) -> SocketTable:
        return sight([Sock(inode=inode, cgroup_id=cgroup_id) for inode in inodes]).table

    def numbers(self, owners: Owners, table: SocketTable) -> list[str]:
        names = ["unknown", *(owner.label for owner in owners.known)]
        return [names[n] for n in owners.numbers(table, np.arange(len(table))).tolist()]

    def test_are_units_before_programs(self) -> None:
        owners = Owners.of({10: (self.SHOP,), 11: (self.ORDERS, self.CHILD)}, {})
        assert self.numbers(owners, self.table(10, 11, 12)) == [
            "shop.service",
            "python3_orders.py",
            "unknown",
        ]
        assert Owner.of((self.ORDERS,)).name == "python3 orders.py"

    def test_are_those_who_hold_it_not_those_of_its_cgroup(self) -> None:
        """A socket that init made for a service is the service's."""
        owners = Owners.of({10: (self.SHOP,)}, {9: Unit("other.service")})
        assert self.numbers(owners, self.table(10, 11)) == ["shop.service", "other.service"]

    def test_of_a_cgroup_alone_have_its_manager(self) -> None:
        """All that is known of processes of other users, without privilege."""
        owners = Owners.of({}, {9: Unit("notes.service", Manager("user", "1000"))})
        assert owners.known[0].manager == Manager("user", "1000")

    def test_of_a_user_are_not_taken_for_the_systems_of_the_same_name(self) -> None:
        own = Process(2, "sshd", unit="sshd.service")
        users = replace(own, pid=3, manager=Manager("user", "1000"))
        owners = Owners.of({1: (own,), 2: (users,)}, {9: Unit("sshd.service", users.manager)})
        assert [owner.label for owner in owners.known] == [
            "sshd.service", "sshd.service_of_user_1000",
        ]  # fmt: skip
        assert owners.known[1].name == "sshd.service of user 1000"
        assert who(owners.known[1]).zh == "用户 1000 的 sshd.service"
        assert owners.by_cgroup == {9: 2}
        advice = restart(owners.known[1])
        assert advice.text.startswith("Restart sshd.service of user 1000.")
        assert advice.command is not None
        assert advice.command.line == "systemctl --user --machine=1000@ restart sshd.service"

    def test_alike_in_their_labels_are_one(self) -> None:
        owners = Owners.of({10: (self.SHOP,)}, {9: Unit("shop.service")})
        assert len(owners.known) == 1

    def test_name_all_processes_most_sockets_first(self) -> None:
        owners = Owners.of({10: (self.ORDERS, self.CHILD), 11: (self.CHILD,)}, {})
        inodes = np.array([10, 11], np.uint32)
        assert owners.processes(inodes) == (self.CHILD, self.ORDERS)
        assert owners.shared(inodes) == 1

    def test_of_a_group_are_those_who_hold_its_sockets(self) -> None:
        socks = [accepted(TcpState.CLOSE_WAIT, port, inode=port) for port in (80, 443)]
        seen = looked_up(
            sight(socks), {80: (self.SHOP,), 443: (Process(7, "shop", unit="shop.service"),)}
        )
        number = seen.owners.numbers(seen.table, np.array([0]))[0]
        owner = seen.owners.get(Group("inbound", 80, int(number)))
        assert owner is not None
        assert [process.pid for process in owner.processes] == [1]
        both = seen.owners.get(Group("inbound", None, int(number)))
        assert both is not None
        assert {process.pid for process in both.processes} == {1, 7}

    def test_beyond_those_named_are_counted(self) -> None:
        many = tuple(Process(n, "worker") for n in range(PROCESSES_NAMED + 5))
        seen = looked_up(sight([accepted(TcpState.CLOSE_WAIT, 80, inode=80)]), {80: many})
        ((group, _),) = seen.groups(np.array([0]))
        owner = seen.owners.get(group)
        assert owner is not None
        assert (len(owner.processes), owner.more) == (PROCESSES_NAMED, 5)

    def test_not_looked_up_are_none_and_not_found_are_unknown(self) -> None:
        group = Group("inbound", 80, UNKNOWN)
        assert Owners().get(group) is None
        assert Owners.of({}, {}).get(group) == Owner("unknown")

    @given(
        st.dictionaries(st.integers(1, 30), st.lists(st.integers(1, 5), min_size=1, unique=True)),
        st.lists(st.integers(0, 40), min_size=1, max_size=40),
    )
    def test_every_socket_is_of_one_group_and_of_its_holders_owner(
        self, holders: dict[int, list[int]], inodes: list[int]
    ) -> None:
        processes = {n: Process(n, f"program-{n % 3}") for n in range(1, 6)}
        seen = looked_up(
            sight([Sock(inode=inode, local_port=40000 + n) for n, inode in enumerate(inodes)]),
            {inode: tuple(processes[pid] for pid in pids) for inode, pids in holders.items()},
        )
        groups = seen.groups(np.arange(len(inodes)))
        assert sorted(row for _, rows in groups for row in rows.tolist()) == [*range(len(inodes))]
        for group, rows in groups:
            for inode in seen.table.inode[rows].tolist():
                owner = seen.owners.get(group)
                assert owner is not None
                if inode in holders:
                    assert owner.label == processes[holders[inode][0]].name
                    assert {*holders[inode]} <= {process.pid for process in owner.processes}
                else:
                    assert owner == Owner("unknown")


def described(pid: int) -> Process:
    with process_files(PROC, pid) as files:
        return files.describe()


def test_a_process_that_was_stopped_is_seen_to_stand_still() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        assert described(process.pid).halt is None
        os.kill(process.pid, signal.SIGSTOP)
        eventually(lambda: described(process.pid).halt, until=lambda its: its == Halt("stopped"))
        process.kill()


#: Its first thread ends by itself; another goes on.
ENDED_MAIN = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
print(flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""


def test_a_process_whose_first_thread_has_ended_still_holds_its_sockets(
    held: tuple[socket.socket, int],
) -> None:
    sock, inode = held
    command = [sys.executable, "-c", ENDED_MAIN]
    with subprocess.Popen(command, pass_fds=[sock.fileno()], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        eventually(
            lambda: {its.pid: its.name for its in read_owners(PROC, {inode}).holders[inode]},
            until=lambda names: names.get(process.pid, "").startswith("python"),
        )
        assert parse_state(Path(f"/proc/{process.pid}/stat").read_bytes()) == b"Z"
        process.kill()


def test_a_sandbox_that_has_taken_its_descriptors_from_itself_has_no_limit() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        assert described(process.pid).fd_limit is not None
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (1, 4096))
        its = described(process.pid)
        assert (its.fd_limit, its.fd_hard_limit) == (None, None)
        process.kill()


def test_limits_and_starts_are_parsed() -> None:
    text = (
        "Limit  Soft Limit Hard Limit Units\nMax open files            1024      524288    files\n"
    )
    assert parse_descriptor_limits(text) == (1024, 524288)
    assert parse_descriptor_limits("Max open files   unlimited   unlimited   files \n") == (
        None,
        None,
    )
    assert parse_descriptor_limits("") == (None, None)
    with process_files(PROC, os.getpid()) as files:
        assert files.started() > 0
    line = b"7 (a) b) c) S 1 " + b" ".join([b"0"] * 17) + b" 4200 0"
    assert parse_started(line) == 4200 / os.sysconf("SC_CLK_TCK")
    with pytest.raises(ValueError, match="not a line"):
        parse_started(b"")
    assert parse_state(line) == b"S"
