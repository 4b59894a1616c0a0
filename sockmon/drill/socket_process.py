"""The process that holds a drill's sockets: python -m sockmon.drill.socket_process NAME COUNT.

It prints one line of JSON when they are made, and keeps them until its standard input ends.
"""

import json
import subprocess
import sys
from collections import Counter

from sockmon.drill.lab.netns import CurrentNetNs
from sockmon.drill.scenarios import SCENARIOS


def main(name: str, count: int) -> int:
    """Make, keep and close them; returns the exit status."""
    scenario = SCENARIOS[name]
    try:
        with scenario.make(CurrentNetNs(), count=count) as held:
            states: Counter[str] = Counter()
            for (_, state), sockets in held.expected.items():
                states[state.label] += sockets
            _say(json.dumps({"port": held.port, "states": states}))
            sys.stdin.buffer.read()
    except subprocess.CalledProcessError as error:
        return _fail(f"{' '.join(error.cmd)}: {error.stderr or error.returncode}")
    except TimeoutError as error:
        return _fail(f"the sockets did not reach their states: {error}")
    except OSError as error:
        return _fail(str(error))
    return 0


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - the process that started it reads it


def _fail(why: str) -> int:
    print(why.strip(), file=sys.stderr)  # noqa: T201 - as above
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
