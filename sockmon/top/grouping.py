"""Rows as every poll has them, by port and by namespace; and those of one namespace only."""

from dataclasses import replace

from sockmon.client.snapshot import Row, Snapshot
from sockmon.language import Text
from sockmon.model.names import HOST
from sockmon.top.scene import By, Grouped

NETNS = "NETNS"


def grouped(snapshot: Snapshot, by: By) -> Grouped | None:
    """Group by what the poll itself tells; None if another must be asked for that."""
    if by == "port":
        return _by_port(snapshot)
    return _by_netns(snapshot) if by == "netns" else None


def several(snapshot: Snapshot) -> bool:
    """Whether rows must name their namespace."""
    return snapshot.netns > 1


def only(rows: Grouped, netns: str) -> Grouped:
    """Return the rows of one namespace."""
    if NETNS in rows.columns:
        at = rows.columns.index(NETNS)
        kept = [row for row in rows.rows if row.cells[at] == netns]
        return _without(replace(rows, rows=tuple(kept)), at)
    if netns == HOST:
        return rows
    command = f"sockmon count --netns {netns} --by {rows.by},state"
    note = Text(
        f"{rows.by.capitalize()}s of the host's own namespace only are known here. Of this one: "
        f"{command}",
        f"这里只知道主机自身命名空间的数据。查看此命名空间：{command}",
    )
    return replace(rows, rows=(), note=note)


def with_needed_columns(rows: Grouped, snapshot: Snapshot) -> Grouped:
    """Leave out the namespaces' names where there is but one."""
    return rows if several(snapshot) else _without(rows, rows.columns.index(NETNS))


def _without(rows: Grouped, at: int) -> Grouped:
    def cut(cells: tuple[str, ...]) -> tuple[str, ...]:
        return (*cells[:at], *cells[at + 1 :])

    kept = tuple(replace(row, cells=cut(row.cells)) for row in rows.rows)
    return replace(rows, columns=cut(rows.columns), rows=kept)


def _by_port(snapshot: Snapshot) -> Grouped:
    n = snapshot.folded
    note = Text(f"{n} smaller groups are in other", f"其余 {n} 组合计为“其他”") if n else None
    rows = snapshot.ports.value if snapshot.ports else ()
    return with_needed_columns(Grouped("port", ("PORT", "DIRECTION", NETNS), rows, note), snapshot)


def _by_netns(snapshot: Snapshot) -> Grouped:
    rows = [
        Row((part.netns,), part.states.value, part.degraded, snapshot.age(part.states))
        for part in snapshot.parts
        if part.states is not None
    ]
    unread = snapshot.netns - len(rows)
    note = Text(f"not looked at yet: {unread} more", f"还有 {unread} 个没有查看")
    return Grouped("netns", (NETNS,), tuple(rows), note if unread else None)
