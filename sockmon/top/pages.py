"""What covers the overview when asked for: one finding whole, one row, and the help."""

import shlex
from collections.abc import Iterator, Sequence
from textwrap import wrap

from sockmon.alert.labels import alert_name, runbook_url
from sockmon.detect.finding_text import advice_lines, sentences
from sockmon.model.finding import Finding
from sockmon.model.names import HOST
from sockmon.text import one_line
from sockmon.top.choice import RowKey
from sockmon.top.keys import SORT_KEYS
from sockmon.top.lines import Line, TextStyle
from sockmon.top.overview import Overview
from sockmon.top.scene import shortly
from sockmon.top.table import SHOWN_STATES, ZERO, findings_by_row, number

#: The keys by what they do.
HELP = (
    ("1-9", "show a finding whole: what to do, and its evidence"),
    ("tab", "move between the findings and the table"),
    ("up down", "move the cursor (also page up, page down, home, end)"),
    ("enter", "open what the cursor is on: a finding, a row; a namespace: its ports"),
    ("esc", "back; over the table: drop the filter, then the choice of a namespace"),
    ("g", "group by port, by network namespace, by owner, by peer"),
    ("n p", "the next network namespace only, the previous one; in a finding: the next finding"),
    ("b", "connections between polls: opened, failed, closed by port, where a daemon counts them"),
    ("/", "filter: rows that contain every word; enter keeps it, esc does not"),
    (" ".join(SORT_KEYS), f"sort by {', '.join(SORT_KEYS.values())}"),
    ("s S", "sort by the next column, the previous one"),
    ("r", "reverse the order"),
    ("left right", "scroll to the columns that do not fit"),
    ("+ -", "look less often, more often"),
    ("y", "copy the first command of what is open, or of the row (OSC 52)"),
    ("space", "freeze what is shown; again: go on"),
    ("q", "quit (also ctrl+c)"),
)
_NOTES = (
    (
        "A port is the listener's for connections that came in (direction inbound), the remote one "
        "for those this host made (direction outbound). Every socket is counted once."
    ),
    "Rows with ! or !! are what a finding of severity warning or critical is about.",
    "Other network namespaces than the host's own take poll.namespaces: all, or --namespaces all.",
    (
        "Rows with ? are of a namespace seen from outside: counted, not diagnosed. AGE: how long "
        "before the last poll a namespace was read, when not in that poll."
    ),
    (
        "Only states in which there are sockets have a column. A sparkline runs from the least "
        "to the most that a state had in the time shown; it is blank where nothing is known."
    ),
    "for 2m+: the finding is older than this view.",
    (
        "OLDEST and OWNER are those of a row's findings, on terminals of 100 columns and more. "
        "From 120 columns on, the row that the cursor is on is shown beside the table."
    ),
    "owner -: only the kernel holds it (TIME_WAIT), or the process is hidden from this user.",
)
_MOST_RATES = 100
_STYLES: dict[str, TextStyle] = {
    "summary": "bold",
    "purpose": "bold",
    "advice": "plain",
    "command": "key",
    "fact": "plain",
}


def page(shown: Overview, width: int) -> tuple[str, Iterator[Line]]:
    """Return the title and the lines of what is open, if anything is."""
    what = shown.state.page
    if what is None:
        return "", iter(())
    if what == "help":
        return "HELP", _help(width)
    if what == "events":
        return "BETWEEN POLLS, A SECOND", _events(shown)
    if isinstance(what, RowKey):
        return "DETAILS", _row(shown, what, width)
    for number_, finding in enumerate(shown.findings, start=1):
        if finding.key == what:
            title = f"FINDING {number_} of {len(shown.findings)}"
            return title, _finding(shown, finding, width)
    return "FINDING", iter([Line("This finding has gone.", "bold")])


def _events(shown: Overview) -> Iterator[Line]:
    """What opened and ended between the last two looks, the busiest first."""
    if shown.rates is None:
        yield Line("waiting for the next poll", "bold")
        return
    if not shown.rates:
        yield Line("nothing opened, failed or closed", "bold")
        return
    heads = "".join(f"{head:>10}" for head in ("OPENED", "FAILED", "CLOSED", "ABORTED"))
    yield Line(f"{'PORT':<8}{'DIRECTION':<10}{heads}", "bold")
    for rate in shown.rates[:_MOST_RATES]:
        ended = rate.opened, rate.failed, rate.closed, rate.aborted
        cells = "".join(f"{_a_second(its):>10}" for its in ended)
        where = "" if rate.netns == HOST else f"  {rate.netns}"
        line = f"{rate.port:<8}{rate.direction:<10}{cells}{where}"
        yield Line(one_line(line), "warning" if rate.failed else "plain")
    if len(shown.rates) > _MOST_RATES:
        yield Line(f"{len(shown.rates) - _MOST_RATES} more", "faint")


def _a_second(rate: float) -> str:
    return ZERO if not rate else f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def _finding(shown: Overview, finding: Finding, width: int) -> Iterator[Line]:
    heading, *others = sentences(finding)
    yield Line(f"{heading.text}, {shown.lasting(finding)}", finding.severity)
    for sentence in others:
        if sentence.kind == "command":
            yield Line(sentence.lead + sentence.text, _STYLES[sentence.kind])
        else:
            yield from _wrapped(sentence.text, width, sentence.lead, _STYLES[sentence.kind])
    yield Line("")
    yield Line(runbook_url(alert_name(finding.detector)), "key")


def details(shown: Overview, cells: tuple[str, ...] | None, width: int) -> Iterator[Line]:
    """Return the lines of a row, for beside the table; none if the cursor is on none."""
    rows = shown.rows
    if cells is None or rows is None or all(row.cells != cells for row in rows.rows):
        return iter(())
    return _row(shown, RowKey(cells), width)


def to_copy(shown: Overview, cells: tuple[str, ...] | None) -> str | None:
    """Return the command that y copies: the first of what is open, else of the cursor's row."""
    what = shown.state.page or (cells and RowKey(cells))
    about = [finding for finding in shown.findings if finding.key == what]
    if isinstance(what, RowKey) and shown.rows is not None:
        about = [*findings_by_row(shown.rows, shown.findings).get(what.cells, ())]
    for finding in about:
        commands = (line.text for line in advice_lines(finding) if line.kind == "command")
        if (first := next(commands, None)) is not None:
            return first
    if isinstance(what, RowKey) and shown.rows is not None:
        return _command(shown.rows.columns, what.cells, shown)
    return None


def _row(shown: Overview, key: RowKey, width: int) -> Iterator[Line]:
    """One row whole: its names, its sockets by state, what is wrong with it, where to look on."""
    rows = shown.rows
    row = next((row for row in rows.rows if row.cells == key.cells), None) if rows else None
    if rows is None or row is None:
        yield Line("This row has gone.", "bold")
        return
    for name, cell in zip(rows.columns, row.cells, strict=True):
        yield from _wrapped(cell, width, f"{name.ljust(12)}", "bold")
    yield Line("")
    yield Line(f"{'sockets'.ljust(12)}{number(row.total):>9}")
    for each in SHOWN_STATES:
        if row.states[each]:
            share = f"{row.states[each] / row.total:.0%}"
            yield Line(f"{each.name.ljust(12)}{number(row.states[each]):>9}{share:>6}")
    if row.degraded:
        yield Line("seen from outside: counted, not diagnosed", "unknown")
    if row.age:
        yield Line(f"as it was {shortly(row.age)} ago", "faint")
    for finding in findings_by_row(rows, shown.findings).get(row.cells, ()):
        yield Line("")
        yield from _finding(shown, finding, width)
    yield Line("")
    yield Line("more of it, in a shell on that host:")
    yield Line(f"  {_command(rows.columns, row.cells, shown)}", "key")


def _command(columns: Sequence[str], cells: Sequence[str], shown: Overview) -> str:
    named = dict(zip(columns, cells, strict=True))
    state = shown.state
    netns = named.get("NETNS") or state.netns
    words = ["sockmon", "count"]
    if netns is not None and netns != HOST:
        words += ["--netns", shlex.quote(one_line(netns))]
    if named.get("PORT", "other") != "other":
        words += ["--port", named["PORT"]]
    by = {"port": "direction,owner,peer", "owner": "owner,port", "peer": "peer,port"}
    words += ["--by", f"{by.get(state.by, 'port')},state"]
    return " ".join(words)


def _help(width: int) -> Iterator[Line]:
    for keys, text in HELP:
        yield from _wrapped(text, width, keys.ljust(13), "plain")
    for note in _NOTES:
        yield Line("")
        yield from _wrapped(note, width, "", "plain")


def _wrapped(text: str, width: int, lead: str, style: TextStyle) -> Iterator[Line]:
    rows = wrap(
        one_line(text), max(width, len(lead) + 8), initial_indent=lead,
        subsequent_indent=" " * len(lead), break_on_hyphens=False, break_long_words=False,
    )  # fmt: skip
    return (Line(row, style) for row in rows)
