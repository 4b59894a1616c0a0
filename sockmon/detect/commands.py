"""The commands that advice gives: where each runs, and whether it changes something."""

import shlex
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sockmon.detect.evidence import who
from sockmon.language import Text, joined
from sockmon.model.detector_input import DetectorInput
from sockmon.model.direction import Direction
from sockmon.model.finding import Advice, Command
from sockmon.model.owner import PROCESSES_NAMED, Manager, Owner, Owners, Process
from sockmon.model.states import TcpState
from sockmon.model.table import address
from sockmon.text import is_container_id, one_line

_LIST = Text("List the sockets:", "列出这些 socket：")
_WHICH_WAY = Text("Which way do packets to the peer go?", "发往对端的包走哪条路由？")
LOOK_AT_PEER = Text("Look at a peer:", "到一个对端上查看：")
_LOOK_AT_NONE = Advice(
    Text(
        "Find out which process it is: run sockmon doctor as root.",
        "先查出是哪个进程：以 root 运行 sockmon doctor。",
    ),
    Command("sockmon doctor", "here"),
    "stop",
)
_OPEN_NOWHERE = Advice(
    Text(
        "All processes that can be seen were looked into, and none has them open. They may have "
        "been sent through a Unix socket to a process that does not receive them (SCM_RIGHTS), be "
        "files of an io_uring, or be held outside of this PID namespace. See who has Unix sockets "
        "with something unread; if nobody has, run sockmon doctor on the host.",
        "能看到的进程都已查过，没有一个打开了它们。它们可能已通过 Unix socket 发给某个没有接收的"
        "进程（SCM_RIGHTS），或是 io_uring 的文件，或由本 PID 命名空间之外的进程持有。查看哪些 "
        "Unix socket 有未读数据；如果没有，就在宿主机上运行 sockmon doctor。",
    ),
    Command("ss -xp | awk 'NR == 1 || $3 > 0'"),
    "stop",
)


def only(direction: Direction, port: int | None) -> str:
    """Return the ss filter for the sockets of a (direction, port), quoted for a shell.

    Empty for several ports.
    """
    if port is None:
        return ""
    return f"'( {'sport' if direction == 'inbound' else 'dport'} = :{port} )'"


def ss(options: str, *states: TcpState, filter_: str = "") -> str:
    """Return an ss command for these states (man 8 ss)."""
    words = ["ss", options, *(f"state {_filter_name(state)}" for state in states), filter_]
    return " ".join(word for word in words if word)


def _filter_name(state: TcpState) -> str:
    """Return the state as ss filters by it, which is not always as ss prints it."""
    if state is TcpState.ESTABLISHED:
        return "established"
    return "listening" if state is TcpState.LISTEN else state.spelled("ss").lower()


def see(options: str, *states: TcpState, filter_: str = "", mptcp: bool = False) -> Advice:
    """Advise to list the sockets that a finding is about; mptcp: some are MPTCP connections."""
    if mptcp:  # which ss lists only if asked; -t lists their subflows
        options = options.replace("-t", "-tM", 1)
    return Advice(_LIST, Command(ss(options, *states, filter_=filter_)), "look")


class Path(NamedTuple):
    """To which peer from which own address: rules may choose the route by both (man 8 ip-rule).

    mine: empty if it is not known.
    """

    peer: str
    mine: str = ""

    @staticmethod
    def of(data: DetectorInput, rows: NDArray[np.intp]) -> "Path":
        """Return that of most of the rows."""
        table, (peer, _) = data.table, data.peers(rows, 1)[0]
        ends = ((row, address(int(table.family[row]), table.remote[row])) for row in rows.tolist())
        row = next(row for row, end in ends if end == peer)
        return Path(str(peer), str(address(int(table.family[row]), table.local[row])))

    def option(self, name: str) -> str:
        """Return a command's option that gives it the own address."""
        return f" {name} {self.mine}" if self.mine else ""

    @property
    def route(self) -> Advice:
        """Advise to see the route."""
        return Advice(_WHICH_WAY, Command(f"ip route get {self.peer}{self.option('from')}"), "look")

    @property
    def ping(self) -> Command:
        """Ask whether the peer answers."""
        return Command(f"ping -c 3{self.option('-I')} {self.peer}")


def counters(text: Text, *names: str) -> Advice:
    """Advise to read the kernel's TcpExt counters of these names."""
    return Advice(text, Command("nstat -az " + " ".join(f"TcpExt{n}" for n in names)), "look")


def restart(owner: Owner | None) -> Advice:
    """Advise how to restart the holder of the sockets, or else how to find out who it is."""
    if owner is None or not (owner.unit or owner.processes):
        return _OPEN_NOWHERE if owner is not None and owner.absent else _LOOK_AT_NONE
    if is_service_manager(owner):
        return Advice(
            Text(
                "systemd keeps this socket for a service that it starts when a client comes, and "
                "no process of that service has it: the service does not start, or has not ended "
                "yet. Find it in the list, then see systemctl status and journalctl -u of it.",
                "systemd 替某个服务保管这个 socket（有客户端时才启动它），但该服务没有进程持有它："
                "服务没有启动，或还没有退出。先在列表里找到它，再看它的 systemctl status 和 "
                "journalctl -u。",
            ),
            Command("systemctl list-sockets --all", "here"),
            "stop",
        )
    lost = Text("It loses its other connections too.", "它的其他连接也会断开。")
    unit, command = owner.unit, None
    elsewhere = [process for process in owner.processes if process.unit != unit]
    if unit is None:
        if len(owner.processes) + owner.more > 1:
            lost = Text("They lose their other connections too.", "它们的其他连接也会断开。")
        named = processes_named(owner.processes, owner.more)
        return Advice(Text(f"Restart {named}. {lost}", f"重启 {named.zh}。{lost.zh}"), None, "stop")
    line = _restarts(unit, owner.manager)
    if line:
        command = Command(line, "here", "changes")
    what = who(owner)
    if elsewhere:
        others = processes_named(elsewhere, 0)
        lost = Text(
            f"End {others} too: they hold the same sockets. {lost}",
            f"同时结束 {others.zh}：它们持有同一批 socket。{lost.zh}",
        )
    return Advice(Text(f"Restart {what}. {lost}", f"重启 {what.zh}。{lost.zh}"), command, "stop")


def stop(owners: Owners, owner: Owner | None, inodes: NDArray[np.uint32]) -> Advice:
    """Advise how to end what holds these sockets: only their processes, if each has one of them.

    So it is where a server forks for each connection (PostgreSQL, sshd): its others go on.
    """
    held = owners.by_inode(inodes)
    holders = {processes[0] for processes in held.values() if len(processes) == 1}
    if owner is None or not len(holders) == len(held) == inodes.size > 1:
        return restart(owner)
    pids = sorted(process.pid for process in holders)[:PROCESSES_NAMED]
    those = Text("End those", "结束它们")
    if len(holders) > PROCESSES_NAMED:
        those = Text(f"End those; the first {len(pids)} are", f"结束它们，前 {len(pids)} 个是")
    name = who(owner)
    return Advice(
        Text(
            f"Each is held by a process of its own. {those}: the others of {name} go on, which a "
            "restart would end too.",
            f"每个连接由一个单独的进程持有。{those.zh}即可：{name.zh} 的其他进程不受影响，而重启会"
            "把它们也结束。",
        ),
        Command(f"kill {' '.join(map(str, pids))}", "here", "changes"),
        "stop",
    )


def is_service_manager(owner: Owner | None) -> bool:
    """Whether the only holder is systemd, which keeps sockets for services (systemd.socket(5))."""
    if owner is None or owner.unit is not None or len(owner.processes) != 1:
        return False
    process = owner.processes[0]
    return process.name == "systemd" or (process.pid == 1 and process.name == "init")


def restart_line(owner: Owner) -> str | None:
    """Return the command with which root restarts an owner, if it is of a unit and one is known."""
    return _restarts(owner.unit, owner.manager) if owner.unit else None


def _restarts(unit: str, manager: Manager) -> str | None:
    """Return the command with which root restarts a unit or a container, if one is known."""
    if is_container_id(unit):
        engines = {"docker": "docker restart", "podman": "podman restart", "kubelet": "crictl stop"}
        return f"{engines[manager.kind]} {unit}" if manager.kind in engines else None
    if not unit.endswith(".service"):
        return None
    scope = {
        "user": f"--user --machine={shlex.quote(manager.name)}@ ",
        "machine": f"--machine={shlex.quote(manager.name)} ",
    }
    return f"systemctl {scope.get(manager.kind, '')}restart {shlex.quote(unit)}"


def processes_named(processes: Iterable[Process], more: int) -> Text:
    """Name processes with their PIDs: "python3 orders.py, PIDs 10 and 11, and sleep, PID 12"."""
    pids: dict[str, list[str]] = {}
    for process in processes:
        pids.setdefault(one_line(process.name), []).append(str(process.pid))
    named = [
        Text(
            f"{name}, {'PID' if len(its) == 1 else 'PIDs'} {_listed(its)}",
            f"{name}（PID {'、'.join(its)}）",
        )
        for name, its in pids.items()
    ]
    named += [Text(f"{more} others", f"另外 {more} 个进程")] * bool(more)
    return joined(named, ", and ", "、")


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]
