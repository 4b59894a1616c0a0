"""Made the recordings in `cases/`, and makes them anew: `python -m tests.recorded.make_cases`.

Needs root. Each condition is made in a namespace of its own, lasts longer than what its detector
waits for, and is recorded for a few seconds, as `sockmon record` does it.
"""

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack

from sockmon.commands.cli import main as sockmon
from sockmon.drill.lab.conditions import fin_wait2, ports_exhausted
from tests.lab import NetNs, experiments
from tests.recorded import CASES

_LONGER_THAN_A_MINUTE = 66.0

CONDITIONS: Mapping[str, Callable[[NetNs], AbstractContextManager[object]]] = {
    "leak": lambda netns: experiments.unclosed(netns, count=12),
    "full-queue": experiments.full_queue,
    "half-close": lambda netns: experiments.half_close(netns, count=12),
    "fin-wait2": lambda netns: fin_wait2(netns, count=12),
    "no-port-left": lambda netns: ports_exhausted(netns, count=20),
}


def main() -> None:
    """Make all of them."""
    CASES.mkdir(exist_ok=True)
    with ExitStack() as stack:
        made = {}
        for name, condition in CONDITIONS.items():
            made[name] = netns = stack.enter_context(NetNs())
            stack.enter_context(condition(netns))
        time.sleep(_LONGER_THAN_A_MINUTE)
        for name, netns in made.items():
            path = CASES / f"{name}.rec"
            path.unlink(missing_ok=True)
            status = netns.call(sockmon, ["record", str(path), "--for", "3s"])
            if status:
                sys.exit(status)


if __name__ == "__main__":
    main()
