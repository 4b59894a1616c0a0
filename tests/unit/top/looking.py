"""What is seen after keys: as values, without any terminal."""

from sockmon.client.snapshot import Snapshot
from sockmon.top.choice import ViewState
from sockmon.top.keys import KEYS
from sockmon.top.overview import Overview
from sockmon.top.pages import page
from sockmon.top.scene import Scene
from tests.unit.top import making
from tests.unit.top.making import NOW


def see(
    scene: Scene | Snapshot,
    *keys: str,
    state: ViewState | None = None,
    width: int = 80,
    later: float = 0.0,
) -> Overview:
    """Look after each key, from a state on."""
    known = making.scene(scene) if isinstance(scene, Snapshot) else scene
    chosen = state or ViewState()
    for key in keys:
        chosen = press(chosen, key, Overview(known, chosen, NOW.monotonic + later, width))
    return Overview(known, chosen, NOW.monotonic + later, width)


def press(state: ViewState, name: str, shown: Overview) -> ViewState:
    """Press a key, by textual's name for it."""
    for key in KEYS:
        if name in key.names.split(",") and key.offered(state, shown):
            return key.change(state, shown)
    return state


def texts(shown: Overview) -> list[str]:
    """All that the overview says but the table, line by line."""
    heads = map(shown.head, shown.findings)
    lines = [shown.verdict, shown.where, shown.when, *shown.notes, *shown.table_notes, *heads]
    states = [f"{line.state.name} {line.sockets}" for line in shown.states]
    titles = [shown.findings_title, shown.states_title, shown.table_title]
    return [*(line.text for line in (*lines, *shown.limits)), *states, *titles]


def rows(shown: Overview) -> list[list[str]]:
    """The cells of the table's rows, the mark first."""
    return [list(row.cells) for row in shown.table.rows]


def paged(shown: Overview, width: int = 78) -> list[str]:
    """The title and the lines of the page that is open."""
    title, lines = page(shown, width)
    return [title, *(line.text for line in lines)]
