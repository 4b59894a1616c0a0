"""A connection as a ladder: both ends' states, and the segments between them. Pure."""

from collections.abc import Sequence

from sockmon.durations import precisely
from sockmon.model.segments import end_text
from sockmon.model.states import TcpState
from sockmon.trace.connection import CLIENT, SERVER, Connection, Step

_STATE = 11  # the longest name: ESTABLISHED
_ARROW = 22
_MARGIN = "   "


def ladder(connection: Connection, steps: Sequence[Step] | None = None) -> list[str]:
    """Return the lines. steps: those to show, instead of all."""
    shown = connection.steps if steps is None else steps
    client, server = map(end_text, connection.names)
    left = f"client {client}"
    lines = [f"{_MARGIN}   {left:{_STATE + 2 + _ARROW}}  server {server}"]
    before: Step | None = None
    number = 0
    is_reset = False
    for step in shown:
        is_reset |= step.kind == "RST"
        is_numbered = (step.kind == "FIN" and step.note != "again") or step.note == "acknowledges"
        number += is_numbered
        lines.append(_line(step, before, number if is_numbered and not is_reset else 0))
        before = step
    if connection.omitted and steps is None:
        lines.append(f"{_MARGIN}   {connection.omitted} more steps are not shown")
    return lines


def _line(step: Step, before: Step | None, number: int) -> str:
    states = [
        "" if before is not None and before.states[end] is state else _name(state)
        for end, state in enumerate(step.states)
    ]
    if step.kind == "SYN" and step.states[1 - step.end] is TcpState.CLOSE:
        states[1 - step.end] = ""  # nothing is known of it yet
    mark = f"{number:2}" if number else "  "
    waited = "" if before is None else f"+{precisely(max(0, step.time - before.time))}"
    text = (
        f"{_MARGIN}{mark} {states[CLIENT]:{_STATE}}  {_arrow(step)}  {states[SERVER]:{_STATE}}"
        f"  {waited:>9}{_remark(step)}"
    )
    return text.rstrip()


def _arrow(step: Step) -> str:
    label = f"{step.size:,} byte{'' if step.size == 1 else 's'}" if step.size else step.kind
    if step.size and step.kind != "data":
        label = f"{step.kind}, {label}"
    if step.note == "again":
        label += " (again)"
    if step.end == CLIENT:
        return f"-- {label} ".ljust(_ARROW - 1, "-") + ">"
    return "<" + f" {label} --".rjust(_ARROW - 1, "-")


def _name(state: TcpState) -> str:
    return "CLOSED" if state is TcpState.CLOSE else state.name


def _remark(step: Step) -> str:
    if step.note != "acknowledges" or step.kind == "ACK":
        return ""
    what = "the data acknowledges" if step.kind == "data" else "acknowledges"
    return f"  ({what} the FIN{'' if step.kind == 'data' else ' too'})"
