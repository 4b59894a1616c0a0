"""What a command does not use it does not load: that is most of its time, and of an idle daemon's
memory."""

import subprocess
import sys

from tests.recorded import QUIET

COUNTING = """
from pathlib import Path
from sockmon.commands import cli
from sockmon.kernel.netlink.replay import replay
assert cli.main(["count"], lambda _: replay(Path(sys.argv[1]))) == 0
"""

POLLING = """
from pathlib import Path
import sockmon.daemon.daemon
from sockmon.alert.manager import AlertManager
from sockmon.clock import now
from sockmon.kernel.netlink.replay import replay
from sockmon.poll.poller import Poller
from sockmon.settings import Config
from sockmon.state.store import StateStore
poller = Poller(replay(Path(sys.argv[1])), Config())
for _ in range(5):
    poller.poll(now)
AlertManager(Config().alerting, {}, StateStore(None, 0.0)).close()
"""


def loaded(script: str) -> set[str]:
    """The modules that are loaded when the script has run."""
    lines = f"import sys{script}print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", lines, str(QUIET)], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


def test_count_loads_nothing_of_what_other_commands_need() -> None:
    needless = {"asyncio", "concurrent", "csv", "json", "logging", "numpy.ma", "psutil", "pydantic"}
    needless |= {"shutil", "ssl", "subprocess", "threading", "yaml", "sockmon.kernel.netns"}
    assert not needless & (loaded(COUNTING) - loaded("\nimport numpy\n"))


def test_a_daemon_with_defaults_loads_no_parser_no_receiver_and_no_other_namespaces() -> None:
    needless = {"bcrypt", "numpy.ma", "pydantic", "textual", "yaml", "sockmon.kernel.netns"}
    needless |= {"sockmon.alert.notify.webhook", "sockmon.http", "sockmon.rules", "sockmon.top"}
    assert not needless & loaded(POLLING)
