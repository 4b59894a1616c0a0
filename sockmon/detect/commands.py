"""The commands that advice gives: where each runs, and whether it changes something."""

import shlex
from collections.abc import Iterable

from sockmon.detect.evidence import who
from sockmon.language import Text, joined
from sockmon.model.direction import Direction
from sockmon.model.finding import Advice, Command
from sockmon.model.owner import Manager, Owner, Process
from sockmon.model.states import TcpState
from sockmon.text import is_container_id, one_line

_LIST = Text("List the sockets:", "列出这些 socket：")
WHICH_WAY = Text("Which way do packets to the peer go?", "发往对端的包走哪条路由？")
LOOK_AT_PEER = Text("Look at a peer:", "到一个对端上查看：")
_LOOK_AT_NONE = Text(
    "Find out which process it is: run sockmon doctor as root.",
    "先查出是哪个进程：以 root 运行 sockmon doctor。",
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


def counters(text: Text, *names: str) -> Advice:
    """Advise to read the kernel's TcpExt counters of these names."""
    return Advice(text, Command("nstat -az " + " ".join(f"TcpExt{n}" for n in names)), "look")


def restart(owner: Owner | None) -> Advice:
    """Advise how to restart the holder of the sockets, or else how to find out who it is."""
    if owner is None or not (owner.unit or owner.processes):
        return Advice(_LOOK_AT_NONE, Command("sockmon doctor", "here"), "stop")
    lost = Text("It loses its other connections too.", "它的其他连接也会断开。")
    unit, command = owner.unit, None
    elsewhere = [process for process in owner.processes if process.unit != unit]
    if unit is None:
        if len(owner.processes) + owner.more > 1:
            lost = Text("They lose their other connections too.", "它们的其他连接也会断开。")
        named = _named(owner.processes, owner.more)
        return Advice(Text(f"Restart {named}. {lost}", f"重启 {named.zh}。{lost.zh}"), None, "stop")
    line = _restarts(unit, owner.manager)
    if line:
        command = Command(line, "here", "changes")
    what = who(owner)
    if elsewhere:
        others = _named(elsewhere, 0)
        lost = Text(
            f"End {others} too: they hold the same sockets. {lost}",
            f"同时结束 {others.zh}：它们持有同一批 socket。{lost.zh}",
        )
    return Advice(Text(f"Restart {what}. {lost}", f"重启 {what.zh}。{lost.zh}"), command, "stop")


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


def _named(processes: Iterable[Process], more: int) -> Text:
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
