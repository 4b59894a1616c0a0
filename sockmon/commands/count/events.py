"""`sockmon count --events TIME`: how connections open, fail and close."""

import argparse
import math
import sys
import time
from typing import IO, TYPE_CHECKING, Any

from sockmon.commands.command import SUCCESS, OpenSource, UserError, writing
from sockmon.durations import format_duration, parse_duration
from sockmon.model.names import OTHER

if TYPE_CHECKING:
    from sockmon.model.connection_events import Histogram, PortEvents
    from sockmon.poll.count_events import CountedEvents

_LONGEST_SECONDS = 86_400.0
_HEADER = (
    *("NETNS", "DIRECTION", "PORT", "OPENED", "FAILED", "CLOSED HERE", "THERE", "BOTH"),
    *("ABORTED HERE", "THERE", "TIMEOUT", "FIN TO CLOSE P50", "P99"),
)
_TEXT_COLUMNS = 3
Row = tuple[str, ...]


def parse(text: str) -> float:
    """Return the seconds of --events; raises UserError."""
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise UserError(f"--events: {text!r}: {error}") from None
    if not 0 < seconds <= _LONGEST_SECONDS:
        raise UserError(f"--events: {text!r}: expected up to 24h")
    return seconds


def run(arguments: argparse.Namespace, open_source: OpenSource, *, everywhere: bool) -> int:
    """Count and print."""
    from sockmon.kernel.errors import KernelError  # noqa: PLC0415 - each command loads its own
    from sockmon.poll.count_events import count_events  # noqa: PLC0415 - as above

    seconds = parse(arguments.events)
    source = open_source(lambda: False)
    try:
        counted = count_events(source, seconds, everywhere=everywhere)
    except KernelError as error:
        raise UserError(f"--events: {error}; sudo sockmon count --events TIME") from error
    finally:
        source.close()
    with writing():
        _write(counted, arguments.form, arguments.top, sys.stdout)
    for hint in counted.hints:
        print(f"sockmon: {hint}", file=sys.stderr)
    return SUCCESS


def _write(counted: "CountedEvents", form: str, top: int | None, out: IO[str]) -> None:
    groups = sorted(
        ((netns, its) for netns, ports in counted.by_namespace.items() for its in ports),
        key=lambda group: -_connections(group[1]),
    )
    shown = groups[:top]
    if form == "json":
        _write_json(counted, shown, len(groups) - len(shown), out)
        return
    rows = [_row(netns, its) for netns, its in shown]
    if form == "csv":
        import csv  # noqa: PLC0415 - loaded by those who want it

        writer = csv.writer(out, lineterminator="\n")
        writer.writerows([[name.lower() for name in _HEADER], *rows])
    elif form == "plain":
        out.writelines(" ".join("_".join(cell.split()) for cell in row) + "\n" for row in rows)
    else:
        _write_table(rows, len(groups) - len(shown), counted.seconds, out)


def _write_table(rows: list[Row], left_out: int, seconds: float, out: IO[str]) -> None:
    lines = [_HEADER, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [
            cell.ljust(width) if at < _TEXT_COLUMNS else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        out.write("  ".join(cells).rstrip() + "\n")
    more = f", {left_out} more ports" if left_out else ""
    out.write(f"in {format_duration(round(seconds, 1))}{more}\n")


def _write_json(
    counted: "CountedEvents", groups: list[tuple[str, "PortEvents"]], left_out: int, out: IO[str]
) -> None:
    import json  # noqa: PLC0415 - loaded by those who want it

    answer: dict[str, Any] = {
        "taken_at": time.time(),
        "seconds": counted.seconds,
        "groups": [_json_group(netns, its) for netns, its in groups],
    }
    if left_out:
        answer["left_out"] = left_out
    if counted.hints:
        answer["hints"] = list(counted.hints)
    json.dump(answer, out, indent=2)
    out.write("\n")


def _json_group(netns: str, its: "PortEvents") -> dict[str, Any]:
    counts, waited = its.counts, its.counts.histogram("close_wait")
    return {
        "netns": netns,
        "direction": its.direction,
        "port": its.port,
        "opened": counts.opened,
        "failed": {reason: number for reason, number in counts.failed.items() if number},
        "closed": dict(counts.closed),
        "aborted": dict(counts.aborted),
        "close_wait_count": waited.count,
        "close_wait_seconds": waited.seconds,
    }


def _connections(its: "PortEvents") -> int:
    counts = its.counts
    ended = sum(counts.closed.values()) + sum(counts.aborted.values())
    return max(counts.opened + sum(counts.failed.values()), ended)


def _row(netns: str, its: "PortEvents") -> Row:
    counts, waited = its.counts, its.counts.histogram("close_wait")
    failed = [f"{number} {reason}" for reason, number in counts.failed.items() if number]
    return (
        netns,
        its.direction,
        OTHER if its.port is None else str(its.port),
        str(counts.opened),
        ", ".join(failed).replace("_", " ") or "0",
        *map(str, counts.closed.values()),
        *map(str, counts.aborted.values()),
        *(_bound(waited, share) for share in (0.5, 0.99)),
    )


def _bound(its: "Histogram", share: float) -> str:
    """Say below which bound this share is."""
    if not its.count:
        return "-"
    bound = its.quantile_bound(share)
    return "> 5m" if math.isinf(bound) else f"<= {format_duration(bound)}"
