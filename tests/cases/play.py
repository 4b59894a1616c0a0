"""Make one situation and hold it: `python -m tests.cases.play NAME CGROUP`, in a world of its own.

It prints READY when the situation stands.
"""

import signal
import sys
from pathlib import Path

from tests import cgroups
from tests.cases.stage import Stage
from tests.cases.stories import CASES


def main() -> None:
    name, cgroup = sys.argv[1:]
    stage = Stage(Path(cgroup))
    cgroups.put(0, stage.place(None))
    try:
        CASES[name].situation(stage)
    except BaseException:
        print(stage.logs(), file=sys.stderr)
        raise
    print("READY", flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
