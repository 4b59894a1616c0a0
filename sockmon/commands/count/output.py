"""Prints what `sockmon count` has counted, for people or for programs."""

from typing import IO, Literal, get_args

from sockmon.commands.colour import Paint, plain
from sockmon.model.states import Spelling, TcpState
from sockmon.poll.count import Counted

Format = Literal["table", "json", "csv", "plain"]


#: The one state that only an application on this host can end; many in others may be normal.
_CLOSE_WAIT = frozenset(TcpState.CLOSE_WAIT.spelled(tool) for tool in get_args(Spelling))


def write(
    counted: Counted, form: Format, taken_at: float, out: IO[str], paint: Paint = plain
) -> None:
    """Print in one of the formats; `taken_at` in Unix seconds. Only the table has colours."""
    if form == "json":
        import json  # noqa: PLC0415 - loaded by those who want it

        groups = [
            {**dict(zip(counted.keys, values, strict=True)), "count": n}
            for values, n in counted.groups
        ]
        answer: dict[str, object] = {"taken_at": taken_at, "total": counted.total, "groups": groups}
        if counted.hints:
            answer["hints"] = list(counted.hints)
        json.dump(answer, out, indent=2)
        out.write("\n")
    elif form == "csv":
        import csv  # noqa: PLC0415 - as above

        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([*counted.keys, "count"])
        writer.writerows([*values, n] for values, n in counted.groups)
    elif form == "plain":
        for values, n in counted.groups:
            words = ("_".join(str(value).split()) for value in values)  # one column each, for awk
            out.write(" ".join([*words, str(n)]) + "\n")
    else:
        _write_table(counted, out, paint)


def _write_table(counted: Counted, out: IO[str], paint: Paint) -> None:
    lines = [tuple(key.upper() for key in counted.keys)]
    lines += [tuple(map(str, values)) for values, _ in counted.groups]
    lines.append(("total", *[""] * (len(counted.keys) - 1)))
    numbers = ["SOCKETS", *(str(n) for _, n in counted.groups), str(counted.total)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    width = max(map(len, numbers))
    for at, (line, number) in enumerate(zip(lines, numbers, strict=True)):
        cells = [cell.ljust(size) for cell, size in zip(line, widths, strict=True)]
        text = "  ".join([*cells, number.rjust(width)])
        if at in {0, len(lines) - 1}:
            text = paint(text, "bold")
        elif dict(zip(counted.keys, line, strict=True)).get("state") in _CLOSE_WAIT:
            text = paint(text, "warning")
        out.write(text + "\n")
