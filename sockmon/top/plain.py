"""The view on a terminal whose cursor cannot be moved: one frame after the other."""

import queue
import signal
import sys
import time
from collections.abc import Iterator
from itertools import islice
from textwrap import wrap

from sockmon.client.snapshot import FetchError
from sockmon.text import one_line
from sockmon.top.choice import ViewState
from sockmon.top.kernel_source import Source
from sockmon.top.lines import to_ascii
from sockmon.top.overview import Overview
from sockmon.top.refresh import Feed, News
from sockmon.top.scene import Scene
from sockmon.top.table import as_text, number

_WIDTH, _HEIGHT = 79, 23


def run(source: Source, interval: float | None) -> int:
    """Print a frame after each look until interrupted."""
    # Nothing else ends it: also if whoever started it had SIGINT ignored, as `&` does in a script.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    heard: queue.SimpleQueue[News] = queue.SimpleQueue()
    scene = Scene(source.where, interval)
    Feed(source, interval, heard.put).start()
    while True:
        news = heard.get()
        if isinstance(news, FetchError):
            scene = scene.lost(str(news))
        elif isinstance(news, BaseException):
            raise news
        else:
            scene = scene.saw(news)
        shown = Overview(scene, ViewState(), time.monotonic(), _WIDTH)
        sys.stdout.write("\n".join([*frame(shown), "", ""]))
        sys.stdout.flush()


def frame(shown: Overview) -> list[str]:
    """Write the overview in ASCII lines, none longer than the terminal is wide."""
    lines = [line.rstrip() for line in map(to_ascii, _lines(shown))]
    return [line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}~" for line in lines][:_HEIGHT]


def _lines(shown: Overview) -> Iterator[str]:
    yield shown.verdict.text
    yield f"{shown.where.text}  {shown.when.text}"
    yield from (note.text for note in islice(shown.notes, 3))
    for finding in shown.findings[:3]:
        yield from (shown.head(finding).text, f"   {one_line(finding.summary)}")
    if len(shown.findings) > 3:
        yield f"and {len(shown.findings) - 3} more findings"
    yield f"-- {shown.states_title}"
    yield from wrap("  ".join(f"{number(n)} {state.name}" for state, n, _ in shown.states), _WIDTH)
    yield "   ".join(line.text for line in shown.limits)
    yield f"-- {shown.table_title}"
    yield from (note.text for note in shown.table_notes)
    yield from as_text(shown.table, _WIDTH)
