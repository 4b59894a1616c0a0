"""The view on a terminal whose cursor cannot be moved: one frame after the other."""

import queue
import sys
import time

from sockmon.client.snapshot import FetchError
from sockmon.top.kernel_source import Source
from sockmon.top.keys import ViewState
from sockmon.top.lines import ASCII, Size, ascii_only, plain_text
from sockmon.top.refresh import Feed, News
from sockmon.top.scene import Scene, Sighting
from sockmon.top.view import frame

_SIZE = Size(79, 24)


def run(source: Source, interval: float | None) -> int:
    """Print a frame after each look until interrupted."""
    heard: queue.SimpleQueue[News] = queue.SimpleQueue()
    scene = Scene(source.where, interval)
    Feed(source, interval, heard.put).start()
    while True:
        news = heard.get()
        if isinstance(news, Sighting):
            scene = scene.saw(news)
        elif isinstance(news, FetchError):
            scene = scene.lost(str(news))
        else:
            raise news
        drawn = frame(scene, ViewState(), _SIZE, time.monotonic(), ASCII)
        lines = [plain_text(ascii_only(line)) for line in drawn.lines[:-1]]
        sys.stdout.write("\n".join([*lines, ""]).rstrip("\n") + "\n\n")
        sys.stdout.flush()
