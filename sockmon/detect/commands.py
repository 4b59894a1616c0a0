"""The commands that advice gives: where each runs, and whether it changes something."""

import shlex
from collections.abc import Iterable

from sockmon.model.direction import Direction
from sockmon.model.finding import Advice, Command
from sockmon.model.owner import Manager, Owner, Process
from sockmon.model.states import TcpState
from sockmon.text import is_container_id, one_line

_LOOK_AT_NONE = "Find out which process it is: run sockmon doctor as root."


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
    return Advice("List the sockets:", Command(ss(options, *states, filter_=filter_)), "look")


def counters(text: str, *names: str) -> Advice:
    """Advise to read the kernel's TcpExt counters of these names."""
    return Advice(text, Command("nstat -az " + " ".join(f"TcpExt{n}" for n in names)), "look")


def restart(owner: Owner | None) -> Advice:
    """Advise how to restart the holder of the sockets, or else how to find out who it is."""
    if owner is None or not (owner.unit or owner.processes):
        return Advice(_LOOK_AT_NONE, Command("sockmon doctor", "here"), "stop")
    lost = "It loses its other connections too."
    unit, command = owner.unit, None
    elsewhere = [process for process in owner.processes if process.unit != unit]
    if unit is None:
        if len(owner.processes) + owner.more > 1:
            lost = "They lose their other connections too."
        return Advice(f"Restart {_named(owner.processes, owner.more)}. {lost}", None, "stop")
    line = _restarts(unit, owner.manager)
    if line:
        command = Command(line, "here", "changes")
    what = f"container {unit}" if is_container_id(unit) else one_line(owner.name)
    if elsewhere:
        lost = f"End {_named(elsewhere, 0)} too: they hold the same sockets. {lost}"
    return Advice(f"Restart {what}. {lost}", command, "stop")


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


def _named(processes: Iterable[Process], more: int) -> str:
    """Name processes with their PIDs: "python3 orders.py, PIDs 10 and 11, and sleep, PID 12"."""
    pids: dict[str, list[str]] = {}
    for process in processes:
        pids.setdefault(one_line(process.name), []).append(str(process.pid))
    named = [
        f"{name}, {'PID' if len(its) == 1 else 'PIDs'} {_listed(its)}" for name, its in pids.items()
    ]
    named += [f"{more} others"] * bool(more)
    return ", and ".join(named)


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]
