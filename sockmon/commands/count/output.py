"""Prints what `sockmon count` has counted, for people or for programs."""

from typing import IO, Literal, get_args

from sockmon.commands.colour import Paint, plain
from sockmon.model.states import Spelling, TcpState
from sockmon.poll.count import Counted
from sockmon.poll.count_keys import Value

Format = Literal["table", "json", "csv", "plain"]
_Groups = list[tuple[tuple[Value, ...], int]]


#: The one state that only an application on this host can end; many in others may be normal.
_CLOSE_WAIT = frozenset(TcpState.CLOSE_WAIT.spelled(tool) for tool in get_args(Spelling))


class Output:
    """Prints in one of the formats, once or again and again. Only the table has colours."""

    def __init__(
        self, form: Format, out: IO[str], paint: Paint = plain, top: int | None = None
    ) -> None:
        """top: how many groups to print, the largest; None for all."""
        self._form = form
        self._out = out
        self._paint = paint
        self._top = top
        self._printed = 0

    def write(self, counted: Counted, taken_at: float, *, again: bool = False) -> None:
        """Print what was counted at `taken_at`, in Unix seconds.

        again: it is one of many, so JSON takes one line, and a terminal is cleared before a table.
        """
        groups = counted.groups[: self._top]
        if self._form == "json":
            self._write_json(counted, groups, taken_at, again=again)
        elif self._form == "csv":
            self._write_csv(counted, groups)
        elif self._form == "plain":
            for values, n in groups:
                words = ("_".join(str(value).split()) for value in values)  # one column, for awk
                self._out.write(" ".join([*words, str(n)]) + "\n")
        else:
            if again and self._out.isatty():
                self._out.write("\x1b[H\x1b[2J")
            elif self._printed:
                self._out.write("\n")
            _write_table(counted, groups, self._out, self._paint)
        self._printed += 1
        if again:
            self._out.flush()

    def _write_json(
        self, counted: Counted, groups: _Groups, taken_at: float, *, again: bool
    ) -> None:
        import json  # noqa: PLC0415 - loaded by those who want it

        answer: dict[str, object] = {
            "taken_at": taken_at,
            "total": counted.total,
            "groups": [
                {**dict(zip(counted.keys, values, strict=True)), "count": n} for values, n in groups
            ],
        }
        if len(groups) < len(counted.groups):
            answer["left_out"] = len(counted.groups) - len(groups)
        if counted.hints:
            answer["hints"] = list(counted.hints)
        json.dump(answer, self._out, indent=None if again else 2)
        self._out.write("\n")

    def _write_csv(self, counted: Counted, groups: _Groups) -> None:
        import csv  # noqa: PLC0415 - loaded by those who want it

        writer = csv.writer(self._out, lineterminator="\n")
        if not self._printed:
            writer.writerow([*counted.keys, "count"])
        writer.writerows([*values, n] for values, n in groups)


def _write_table(counted: Counted, groups: _Groups, out: IO[str], paint: Paint) -> None:
    lines = [tuple(key.upper() for key in counted.keys)]
    lines += [tuple(map(str, values)) for values, _ in groups]
    numbers = ["SOCKETS", *(str(n) for _, n in groups)]
    blanks = [""] * (len(counted.keys) - 1)
    left_out = len(counted.groups) - len(groups)
    if left_out:
        lines.append((f"({left_out} more)", *blanks))
        numbers.append(str(counted.total - sum(n for _, n in groups)))
    lines.append(("total", *blanks))
    numbers.append(str(counted.total))
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
