"""What covers the overview when asked for: one finding whole, one row, and the help."""

import shlex
from collections.abc import Iterator, Sequence

from sockmon.alert.labels import alert_name, runbook_url
from sockmon.detect.finding_text import advice_lines, sentences
from sockmon.language import Text, columns, wrapped
from sockmon.model.finding import Finding
from sockmon.model.names import HOST
from sockmon.text import one_line
from sockmon.top.choice import TOTAL, RowKey
from sockmon.top.keys import SORT_KEYS
from sockmon.top.lines import Line, TextStyle
from sockmon.top.overview import Overview
from sockmon.top.scene import shortly
from sockmon.top.table import SHOWN_STATES, ZERO, called, findings_by_row, number

#: The keys by what they do.
HELP = (
    (
        "1-9",
        Text(
            "show a finding whole: what to do, and its evidence",
            "展开一个问题：怎么处理，证据是什么",
        ),
    ),
    ("tab", Text("move between the findings and the table", "在问题列表和表格之间切换")),
    (
        "up down",
        Text(
            "move the cursor (also page up, page down, home, end)",
            "移动光标（还有 page up、page down、home、end）",
        ),
    ),
    (
        "enter",
        Text(
            "open what the cursor is on: a finding, a row; a namespace: its ports",
            "打开光标所在的问题或行；在命名空间上则列出它的端口",
        ),
    ),
    (
        "esc",
        Text(
            "back; over the table: drop the filter, then the choice of a namespace",
            "返回；在表格上依次取消筛选、取消所选命名空间",
        ),
    ),
    (
        "g",
        Text(
            "group by port, by network namespace, by owner, by peer",
            "依次按端口、命名空间、所属进程、对端分组",
        ),
    ),
    (
        "n p",
        Text(
            "the next network namespace only, the previous one; in a finding: the next finding",
            "只看下一个、上一个命名空间；打开问题时：下一个问题",
        ),
    ),
    (
        "b",
        Text(
            "connections between polls: opened, failed, closed by port, where a daemon counts them",
            "两次采样之间的连接：各端口建立、失败、关闭的速率（需要守护进程统计）",
        ),
    ),
    (
        "/",
        Text(
            "filter: rows that contain every word; enter keeps it, esc does not",
            "筛选：包含所有词的行；enter 保留，esc 放弃",
        ),
    ),
    (
        " ".join(SORT_KEYS),
        Text(
            f"sort by {', '.join(SORT_KEYS.values())}",
            f"按 {'、'.join(SORT_KEYS.values())} 排序（{TOTAL} 即合计）",
        ),
    ),
    ("s S", Text("sort by the next column, the previous one", "按下一列、上一列排序")),
    ("r", Text("reverse the order", "倒序")),
    ("left right", Text("scroll to the columns that do not fit", "左右滚动，看放不下的列")),
    ("+ -", Text("look less often, more often", "降低、提高采样频率")),
    (
        "y",
        Text(
            "copy the first command of what is open, or of the row (OSC 52)",
            "复制当前问题或当前行的第一条命令（OSC 52）",
        ),
    ),
    ("space", Text("freeze what is shown; again: go on", "冻结画面；再按一次继续")),
    ("q", Text("quit (also ctrl+c)", "退出（或 ctrl+c）")),
)
_NOTES = (
    Text(
        "A port is the listener's for connections that came in (direction inbound), the remote one "
        "for those this host made (direction outbound). Every socket is counted once.",
        "入站：别人连到本机的连接，按本机监听端口统计；出站：本机发起的连接，按远端端口统计。"
        "每个 socket 只计一次。",
    ),
    Text(
        "Rows with ! or !! are what a finding of severity warning or critical is about.",
        "带 ! 的行对应警告级问题，带 !! 的行对应严重级问题。",
    ),
    Text(
        "Other network namespaces than the host's own take poll.namespaces: all, or "
        "--namespaces all.",
        "要看主机以外的网络命名空间：配置 poll.namespaces: all，或加 --namespaces all。",
    ),
    Text(
        "Rows with ? are of a namespace seen from outside: counted, not diagnosed. AGE: how long "
        "before the last poll a namespace was read, when not in that poll.",
        "带 ? 的行是只能从外部查看的命名空间：有计数，无诊断。数据时间：不是最近一次采样读到的，"
        "是那之前多久读到的。",
    ),
    Text(
        "Only states in which there are sockets have a column. A sparkline runs from the least "
        "to the most that a state had in the time shown; it is blank where nothing is known.",
        "只有出现了 socket 的状态才有一列。小曲线从该时段的最小值画到最大值；没有数据处为空。",
    ),
    Text(
        "for 2m+: the finding is older than this view.",
        "已有 2m+：这个问题在打开本界面之前就存在。",
    ),
    Text(
        "OLDEST and OWNER are those of a row's findings, on terminals of 100 columns and more. "
        "From 120 columns on, the row that the cursor is on is shown whole: beside the table, or "
        "below it from 50 lines on.",
        "终端宽 100 列以上时，最久、所属进程两列来自该行的问题。宽 120 列以上时，光标所在行的详情"
        "显示在表格旁边，高 50 行以上时显示在表格下方。",
    ),
    Text(
        "owner -: only the kernel holds it (TIME_WAIT), or the process is hidden from this user.",
        "所属进程为 -：只有内核持有它（TIME_WAIT），或当前用户无权查看该进程。",
    ),
)
_ENDINGS = (
    Text("OPENED", "建立"),
    Text("FAILED", "失败"),
    Text("CLOSED", "关闭"),
    Text("ABORTED", "异常中断"),
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
        return shown.say(Text("HELP", "帮助")), _help(shown, width)
    if what == "events":
        return shown.say(Text("BETWEEN POLLS, A SECOND", "两次采样之间，每秒")), _events(shown)
    if isinstance(what, RowKey):
        return shown.say(Text("DETAILS", "详情")), _row(shown, what, width)
    for number_, finding in enumerate(shown.findings, start=1):
        if finding.key == what:
            all_ = len(shown.findings)
            title = Text(f"FINDING {number_} of {all_}", f"问题 {number_}/{all_}")
            return shown.say(title), _finding(shown, finding, width)
    gone = Text("This finding has gone.", "这个问题已经消失。")
    return shown.say(Text("FINDING", "问题")), iter([Line(shown.say(gone), "bold")])


def _events(shown: Overview) -> Iterator[Line]:
    """What opened and ended between the last two looks, the busiest first."""
    if shown.rates is None:
        yield Line(shown.say(Text("waiting for the next poll", "等待下一次采样")), "bold")
        return
    if not shown.rates:
        nothing = Text("nothing opened, failed or closed", "没有连接建立、失败或关闭")
        yield Line(shown.say(nothing), "bold")
        return
    language = shown.state.language
    heads = "".join(_right(shown.say(head), 10) for head in _ENDINGS)
    port, direction = called("PORT", language), called("DIRECTION", language)
    yield Line(f"{_left(port, 8)}{_left(direction, 10)}{heads}", "bold")
    for rate in shown.rates[:_MOST_RATES]:
        ended = rate.opened, rate.failed, rate.closed, rate.aborted
        cells = "".join(f"{_a_second(its):>10}" for its in ended)
        where = "" if rate.netns == HOST else f"  {rate.netns}"
        port, direction = called(rate.port, language), called(rate.direction, language)
        line = f"{_left(port, 8)}{_left(direction, 10)}{cells}{where}"
        yield Line(one_line(line), "warning" if rate.failed else "plain")
    if len(shown.rates) > _MOST_RATES:
        n = len(shown.rates) - _MOST_RATES
        yield Line(shown.say(Text(f"{n} more", f"另有 {n} 行")), "faint")


def _a_second(rate: float) -> str:
    return ZERO if not rate else f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def _finding(shown: Overview, finding: Finding, width: int) -> Iterator[Line]:
    heading, *others = sentences(finding, shown.state.language)
    lasting = shown.say(Text(", ", "，") + shown.lasting(finding))
    yield Line(f"{heading.text}{lasting}", finding.severity)
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
        yield Line(shown.say(Text("This row has gone.", "这一行已经消失。")), "bold")
        return
    language = shown.state.language
    for name, cell in zip(rows.columns, row.cells, strict=True):
        lead = _left(called(name, language), 12)
        yield from _wrapped(called(cell, language), width, lead, "bold")
    yield Line("")
    sockets = shown.say(Text("sockets", "socket 数"))
    yield Line(f"{_left(sockets, 12)}{number(row.total):>9}")
    for each in SHOWN_STATES:
        if row.states[each]:
            share = f"{row.states[each] / row.total:.0%}"
            yield Line(f"{each.name.ljust(12)}{number(row.states[each]):>9}{share:>6}")
    if row.degraded:
        outside = Text(
            "seen from outside: counted, not diagnosed", "只能从外部查看：有计数，无诊断"
        )
        yield Line(shown.say(outside), "unknown")
    if row.age:
        age = shortly(row.age)
        yield Line(shown.say(Text(f"as it was {age} ago", f"{age}前的数据")), "faint")
    for finding in findings_by_row(rows, shown.findings).get(row.cells, ()):
        yield Line("")
        yield from _finding(shown, finding, width)
    yield Line("")
    yield Line(
        shown.say(Text("more of it, in a shell on that host:", "更多信息，在那台主机上执行："))
    )
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


def _help(shown: Overview, width: int) -> Iterator[Line]:
    for keys, text in HELP:
        yield from _wrapped(shown.say(text), width, keys.ljust(13), "plain")
    for note in _NOTES:
        yield Line("")
        yield from _wrapped(shown.say(note), width, "", "plain")


def _wrapped(text: str, width: int, lead: str, style: TextStyle) -> Iterator[Line]:
    rows = wrapped(one_line(text), max(width, columns(lead) + 8), lead)
    return (Line(row, style) for row in rows)


def _left(text: str, width: int) -> str:
    return text + " " * (width - columns(text))


def _right(text: str, width: int) -> str:
    return " " * (width - columns(text)) + text
