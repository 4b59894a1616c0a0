"""People who look: what their open pages cost a daemon, and how soon they see something."""

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser

from bench import contenders
from bench.load import load
from bench.measure import Sample, cpu_of, in_process, interleaved
from bench.polling import Poll
from bench.report import Row, Section, percent
from sockmon.drill.lab.netns import CurrentNetNs
from sockmon.history.store import History
from tests.page.browser import ORIGIN, chromium
from tests.page.streams import listening

CONNECTIONS = 50
PAGES = 50
POLLS = 8  # with these pages open; half as many before, and after
POLL_SECONDS = 5.0  # the daemon's default
REMEMBERED_POLLS = 200
OPENINGS = 7  # each by a browser that has nothing yet
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
#: When the headline came into the document, as the page itself knows it.
NOTES_VERDICT = """new MutationObserver((_, observer) => {
  if (!document.querySelector('h1')) return
  window.verdictAt = performance.now()
  observer.disconnect()
}).observe(document, { childList: true, subtree: true })"""


def section(_: int) -> Section:
    """Measure a quiet host whose page is open fifty times."""
    with load(CONNECTIONS):
        rows = history_rows()
        with contenders.daemon() as daemon:
            daemon.await_count(3)
            rows += listener_rows(daemon.pid)
            if shutil.which("chromium"):
                rows += paint_rows()
    return Section(f"{2 * CONNECTIONS} established sockets, and {PAGES} open pages", rows)


def left_out() -> list[str]:
    """Name what is not installed."""
    return [] if shutil.which("chromium") else ["the page's first paint (no chromium in PATH)"]


class Remembering:
    """History of what the poll before it has seen."""

    name = "sockmon: history of that poll"

    def __init__(self, poll: Poll) -> None:
        self._poll = poll
        self._history = History()

    def run(self) -> Sample:
        return in_process(self._observe)

    def _observe(self) -> None:
        assert self._poll.seen is not None
        self._history.observe(self._poll.seen, self._poll.now)


def history_rows() -> list[Row]:
    with closing(Poll()) as poll:
        remembering = Remembering(poll)
        samples = interleaved([poll, remembering], REMEMBERED_POLLS, nullcontext)
    poll_cpu, its_history = ([one.cpu for one in of_one] for of_one in samples.values())
    reference = statistics.median(poll_cpu)
    return [
        Row(poll.name, "CPU", poll_cpu, reference=reference),
        Row(remembering.name, "CPU", its_history, reference=reference, most_ratio=0.1),
    ]


@dataclass(frozen=True, slots=True)
class Beat:
    """CPU seconds from one poll to the next: of the thread that serves, and of all others."""

    serving: float
    polling: float


def beats(pid: int, polls: int, pass_one: Callable[[], None]) -> list[Beat]:
    """Measure a daemon over so many polls; `pass_one` returns when one more has passed."""
    measured = []
    serving, whole = serving_cpu(pid), cpu_of(pid)
    for _ in range(polls):
        pass_one()
        serving_now, whole_now = serving_cpu(pid), cpu_of(pid)
        measured.append(Beat(serving_now - serving, whole_now - whole - (serving_now - serving)))
        serving, whole = serving_now, whole_now
    return measured


def serving_cpu(pid: int) -> float:
    """CPU seconds of a daemon's main thread, in which all is served (sched-stats.rst)."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e9


@contextmanager
def open_pages() -> Iterator[Callable[[], None]]:
    """Listen as so many pages do; what it gives returns when all have been told of a poll."""
    with ExitStack() as stack:
        streams = [stack.enter_context(listening(CurrentNetNs())) for _ in range(PAGES)]

        def told() -> None:
            for stream in streams:
                stream.next("observation")

        told()  # at once: what there is when a page is opened
        yield told


def listener_rows(pid: int) -> list[Row]:
    def pause() -> None:
        time.sleep(POLL_SECONDS)

    quiet = beats(pid, POLLS // 2, pause)
    with open_pages() as told:
        told()
        watched = beats(pid, POLLS, told)
    pause()
    quiet += beats(pid, POLLS // 2, pause)
    alone, beside = polling(quiet), polling(watched)
    reference = statistics.median(alone)
    shares = [(beat.serving + beat.polling) / POLL_SECONDS for beat in watched]
    return [
        Row("sockmon run: its poll, nobody looks", "CPU", alone, reference=reference),
        Row(
            f"sockmon run: its poll, {PAGES} pages open",
            "CPU",
            beside,
            reference=reference,
            most_ratio=1.25,
        ),
        Row(f"sockmon run: telling {PAGES} pages", "CPU", [beat.serving for beat in watched]),
        Row(f"sockmon run: all of it, {PAGES} pages open", "of a core", shares, percent, most=0.01),
    ]


def polling(measured: Sequence[Beat]) -> list[float]:
    return [beat.polling for beat in measured]


def paint_rows() -> list[Row]:
    with (
        tempfile.TemporaryDirectory() as directory,
        chromium(CurrentNetNs(), Path(directory)) as browser,
    ):
        openings = [opening(browser) for _ in range(OPENINGS)]
    painted, verdicts = zip(*openings, strict=True)
    return [
        Row("the page in Chromium: first paint", "wall", painted, most=0.1),
        Row("the page in Chromium: its verdict is there", "wall", verdicts, most=0.3),
    ]


def opening(browser: Browser) -> tuple[float, float]:
    """Open the page; seconds until its first paint, and until the verdict is read."""
    page = browser.new_context().new_page()
    page.add_init_script(NOTES_VERDICT)
    page.goto(ORIGIN)
    page.wait_for_selector("h1")
    verdict = float(page.evaluate("window.verdictAt")) / 1000
    page.wait_for_function(PAINTED)
    painted = float(page.evaluate(PAINTED)) / 1000
    page.context.close()
    return painted, verdict
