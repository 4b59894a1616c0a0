"""The commands that advice gives: where each runs, and whether it changes something."""

import shlex

from sockmon.model.direction import Direction
from sockmon.model.finding import Advice, Command
from sockmon.model.owner import Owner
from sockmon.model.states import TcpState
from sockmon.text import is_container_id, one_line

_LOOK_AT_NONE = "Find out which process it is: run sockmon doctor as root."


def only(direction: Direction, port: int) -> str:
    """Return the ss filter for the sockets of a (direction, port), quoted for a shell."""
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
    if owner.unit is not None and owner.unit.endswith(".service"):
        return Advice(
            f"Restart {owner.label}. {lost}",
            Command(f"systemctl restart {shlex.quote(owner.unit)}", "here", "changes"),
            "stop",
        )
    if owner.unit is not None and is_container_id(owner.unit):
        return Advice(f"Restart container {owner.unit}. {lost}", None, "stop")
    if not owner.processes:
        return Advice(f"Restart {owner.label}. {lost}", None, "stop")
    pids = ", ".join(str(process.pid) for process in owner.processes)
    noun = "PID" if len(owner.processes) == 1 else "PIDs"
    name = one_line(owner.processes[0].name)
    return Advice(f"Restart {name}, {noun} {pids}. {lost}", None, "stop")
