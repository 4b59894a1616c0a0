"""The widgets over any sighting, at any size, without a terminal: nothing breaks or is markup."""

import asyncio
import html
import re
import time
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from textual import events
from textual.pilot import Pilot
from textual.widgets import DataTable

from sockmon.client.parse import read
from sockmon.client.snapshot import Row, Snapshot
from sockmon.language import LANGUAGES, Language, columns
from sockmon.model.moment import Moment
from sockmon.top.app import Top, made
from sockmon.top.grouping import grouped
from sockmon.top.keys import KEYS
from sockmon.top.scene import By, Grouped, Sighting
from sockmon.top.terminal import Terminal
from tests.unit.top import making
from tests.unit.top.making import NOW

ABLE = Terminal(moves=True, colours=True, unicode=True)
LEAK = making.namespace(findings=[making.finding(port=443)])
KEYBOARD = (
    *sorted({name for key in KEYS for name in key.names.split(",")}),
    *("slash", "enter", "up", "down", "pagedown", "end", "tab", "plus", "minus", "x", "y", "0"),
)
#: A text in textual's picture of its screen.
_TEXT = re.compile(r'<text[^>]* x="([\d.]+)" y="([\d.]+)"[^>]* clip-path[^>]*>(.*?)</text>')
_CELL_WIDTH = 12.2
_CHARACTERS = {"slash": "/", "question_mark": "?", "space": " ", "plus": "+", "minus": "-"}


class Still:
    """A source of which each look brings the same."""

    where = "db-7"

    def __init__(self, document: making.Json) -> None:
        self._document = document

    def look(self, by: By) -> Sighting:
        snapshot = read(self._document, Moment(time.monotonic(), NOW.wall))
        return Sighting(snapshot, grouped(snapshot, by) or _peers(by, snapshot))

    def every(self, seconds: float) -> None:
        pass

    def stop(self) -> None:
        pass

    def close(self) -> None:
        pass


def _peers(by: By, _: Snapshot) -> Grouped:
    return Grouped(by, (by.upper(),), (Row(("[red]x[/red]",), making.counted({"listen": 3})),))


class Screen:
    """What is on the screen of a view that runs without a terminal."""

    def __init__(self, app: Top, pilot: Pilot[int]) -> None:
        self.app, self.pilot = app, pilot

    def press(self, *keys: str) -> None:
        for key in keys:
            character = _CHARACTERS.get(key, key)
            self.app.post_message(events.Key(key, character if len(character) == 1 else None))

    @property
    def lines(self) -> list[str]:
        rows: dict[float, str] = {}
        for x, y, text in _TEXT.findall(self.app.export_screenshot()):
            row = rows.get(float(y), "")
            row += " " * (round(float(x) / _CELL_WIDTH) - columns(row))
            rows[float(y)] = row + html.unescape(text).replace("\xa0", " ")
        return [rows[y] for y in sorted(rows)]

    async def shows(self, *texts: str) -> list[str]:
        """Wait until all these texts are on it."""
        for _ in range(400):
            lines = self.lines
            if all(text in "\n".join(lines) for text in texts):
                return lines
            await asyncio.sleep(0.02)
        raise AssertionError(f"{texts} are not in {self.lines}")


def watch(
    document: making.Json,
    see: Callable[[Screen], Awaitable[None]],
    size: tuple[int, int] = (80, 24),
    terminal: Terminal = ABLE,
    language: Language = "en",
) -> None:
    """Run the view over one sighting."""

    async def run() -> None:
        app = made(Still(document), 3600.0, terminal, language)
        async with app.run_test(size=size) as pilot:
            await see(Screen(app, pilot))

    asyncio.run(run())


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    making.documents(),
    st.lists(st.sampled_from(KEYBOARD), max_size=10),
    st.tuples(st.integers(1, 200), st.integers(1, 60)),
    st.sampled_from([ABLE, Terminal(moves=True, colours=True, unicode=False)]),
    st.sampled_from(LANGUAGES),
)
def test_whatever_is_seen_and_pressed_at_any_size_is_shown(
    document: making.Json,
    pressed: list[str],
    size: tuple[int, int],
    terminal: Terminal,
    language: Language,
) -> None:
    async def see(screen: Screen) -> None:
        screen.press(*pressed)
        await screen.pilot.pause()
        assert screen.app.is_running
        for line in screen.lines:
            assert terminal.unicode or line.isascii()
            assert line.isprintable()

    watch(document, see, size, terminal, language)


def test_in_chinese_keys_titles_and_columns_are_chinese() -> None:
    async def see(screen: Screen) -> None:
        lines = await screen.shows(
            "端口 2", "问题 1", "状态，最近", "合计▼", "帮助", "排序", "退出"
        )
        assert not re.search("PORTS|FINDINGS|STATES|TOTAL|help|quit", "\n".join(lines))
        (row,) = (line for line in lines if "443" in line and "入站" in line and "警告" not in line)
        (head,) = (line for line in lines if "合计▼" in line)
        at = columns(head[: head.index("合计▼") + 3])
        assert columns(row[: row.index("7") + 1]) == at, "numbers end where their heading ends"
        screen.press("h")
        await screen.shows("按下一列、上一列排序")
        screen.press("escape", "slash")
        await screen.shows("保留", "放弃")

    watch(making.document(LEAK), see, (80, 24), language="zh")


def test_where_only_ascii_is_shown_it_is_english() -> None:
    async def see(screen: Screen) -> None:
        await screen.shows("PORTS 2", "quit")

    watch(making.document(LEAK), see, terminal=Terminal(True, True, False), language="zh")  # noqa: FBT003


def test_the_cursor_opens_a_row_and_comes_back_to_it() -> None:
    async def see(screen: Screen) -> None:
        await screen.shows("PORTS 2", "443")
        screen.press("down", "enter")
        await screen.shows("DETAILS", "other")
        screen.press("escape")
        await screen.shows("PORTS 2")
        assert screen.app.query_one(DataTable).cursor_row == 1
        screen.press("r")
        await screen.shows("TOTAL▲")
        assert screen.app.query_one(DataTable).cursor_row == 1, "what was folded is always last"

    watch(making.document(LEAK), see)


def test_the_cursor_opens_a_finding() -> None:
    async def see(screen: Screen) -> None:
        await screen.shows("FINDINGS 1")
        screen.press("tab", "down", "enter")
        await screen.shows("FINDING 1 of 1", "- shop must close these sockets.")
        screen.press("question_mark")
        await screen.shows("HELP")
        screen.press("escape")
        await screen.shows("FINDINGS 1")

    watch(making.document(LEAK), see)


def test_a_filter_is_typed_kept_undone_and_dropped() -> None:
    async def see(screen: Screen) -> None:
        await screen.shows("PORTS 2")
        screen.press("slash", *"44q")
        await screen.shows("PORTS 0 of 2, filter '44q'", "keep")
        screen.press("backspace")
        await screen.shows("PORTS 1 of 2, filter '44'")
        screen.press("enter")
        await screen.shows("q quit")
        screen.press("slash", "x")
        await screen.shows("filter '44x'")
        screen.press("escape")
        await screen.shows("PORTS 1 of 2, filter '44'")
        screen.press("escape")
        await screen.shows("PORTS 2 ")

    watch(making.document(LEAK), see)


def test_names_that_others_chose_are_no_markup() -> None:
    owner = {"name": "[b]x\x1b", "pid": 1, "unit": None, "fds": None, "fd_limit": None}
    bad = making.finding(
        subject={"direction": "inbound", "port": 443, "path": None, "owner": owner},
        owners=[owner],
        evidence={"[i]y": {"value": "[/i]", "unit": "text"}},
        summary="[bold]leaks[/bold] [@click=app.quit]z[/]",
        advice=[{"purpose": "fix", "text": "[red]stop[/red]", "command": None}],
    )
    one = making.namespace(findings=[bad])
    two = making.namespace(netns="[u]web[/u]")

    async def see(screen: Screen) -> None:
        await screen.shows("[b]x\\x1b[1]", "[bold]leaks[/bold] [@click=app.quit]z[/]", "[u]web[/u]")
        screen.press("1")
        await screen.shows("- [red]stop[/red]", "[i]y: [/i]")
        screen.press("escape", "slash", *"[b]", "enter")
        await screen.shows("filter '[b]'")
        screen.press("escape", "n", "n")
        await screen.shows("[u]web[/u] on db-7")
        screen.press("g", "g", "escape")
        await screen.shows("OWNERS", "[red]x[/red]")

    watch(making.document(one, two), see, (120, 40))


@pytest.mark.parametrize("size", [(40, 10), (40, 12), (80, 24), (120, 40), (200, 60)], ids=str)
def test_every_size_has_the_verdict_the_worst_and_the_table(size: tuple[int, int]) -> None:
    async def see(screen: Screen) -> None:
        lines = await screen.shows("WARNING", "close_wait_leak", "help")
        assert lines[0].startswith(" WARNING  shop has not closed")
        assert any("PORT  DIRECTION" in line for line in lines)
        assert any("!  443   inbound" in line for line in lines)
        assert "help" in lines[-1]
        assert all(len(line) <= size[0] for line in lines)

    watch(making.document(LEAK), see, size)


def test_wide_screens_have_the_states_beside_the_table_and_all_limits() -> None:
    async def see(screen: Screen) -> None:
        lines = await screen.shows("STATES", "PORTS", "time wait buckets 7/16,384")
        assert any("STATES" in line and "PORTS" in line for line in lines)

    watch(making.document(LEAK), see, (120, 40))


def test_the_interval_is_changed_by_keys() -> None:
    async def see(screen: Screen) -> None:
        await screen.shows("every 3600 s")
        screen.press("minus")
        await screen.shows("every 1800 s")
        screen.press("plus", "plus")
        await screen.shows("every 3600 s")

    watch(making.document(LEAK), see)


@pytest.mark.parametrize(
    ("size", "room"), [((80, 24), 0), ((100, 30), 1), ((120, 40), 2), ((200, 60), 2)], ids=str
)
def test_the_room_of_larger_screens_is_used(size: tuple[int, int], room: int) -> None:
    """Owner and age from 100 columns on, the row that the cursor is on from 120 on."""

    async def see(screen: Screen) -> None:
        lines = await screen.shows("PORTS 2", "!  443", *["sockets             7"] * (room > 1))
        assert any(" OLDEST OWNER" in line for line in lines) == (room > 0)
        assert any("1m1s shop[4711]" in line for line in lines) == (room > 0)
        if room > 1:
            assert any("List the sockets:" in line for line in lines)
            screen.press("down")
            lines = await screen.shows("sockets             1")
            assert not any("List the sockets:" in line for line in lines)

    watch(making.document(LEAK), see, size)


@pytest.mark.parametrize("size", [(80, 24), (200, 60)], ids=str)
def test_y_copies_the_command_of_what_is_open(size: tuple[int, int]) -> None:
    async def see(screen: Screen) -> None:
        async def copies(command: str) -> None:
            screen.press("y")
            for _ in range(400):
                if screen.app.clipboard == command:
                    return
                await asyncio.sleep(0.02)
            raise AssertionError(screen.app.clipboard)

        await screen.shows("PORTS 2", "443")
        await copies("ss -tnpo state close-wait")
        screen.press("down")
        await screen.pilot.pause()
        await copies("sockmon count --by direction,owner,peer,state")
        screen.press("1")
        await screen.shows("FINDING 1 of 1")
        await copies("ss -tnpo state close-wait")

    watch(making.document(LEAK), see, size)
