"""python -m tests.standing.kills TIMES: kill -9 the daemon, with a real Alertmanager behind it.

Each time a leak begins or ends, the daemon is killed at some moment around it and started again. At
the end the receivers of both kinds, Alertmanager and webhook, must have been told of each beginning
and each end: none lost, and Alertmanager's none twice.
"""

import random
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.lab import NetNs, eventually
from tests.running import RunningDaemon, running_daemon
from tests.servers import Alertmanager, hook_in
from tests.unit.alert.hooks import Hook

_PORT = 2000
#: Is there from the beginning to the end.
_LASTING = 1999
_LEAKED = 3
_DAEMON = """
state_dir: {state}
poll: {{interval: 200ms}}
detect:
  close_wait_leak: {{stale_after: 500ms, warning_sockets: 2, for: 0s, keep_firing_for: 0s}}
alerting:
  alertmanager: {{urls: ["{alertmanager}"], resend_delay: 5s}}
  webhook: {{urls: ["{webhook}"]}}
"""
_ALERTMANAGER = """
route:
  {{receiver: hook, group_by: [port], group_wait: 50ms, group_interval: 100ms, repeat_interval: 9h}}
receivers: [{{name: hook, webhook_configs: [{{url: "{url}", send_resolved: true}}]}}]
"""


@contextmanager
def leak(netns: NetNs, port: int) -> Iterator[None]:
    """Connections to this port that their clients have closed, and the server has not."""

    def make() -> list[socket.socket]:
        listener = socket.create_server(("127.0.0.1", port))
        held = [listener]
        for _ in range(_LEAKED):
            with socket.create_connection(("127.0.0.1", port)):
                held.append(listener.accept()[0])
        return held

    with ExitStack() as stack:
        for each in netns.call(make):
            stack.enter_context(each)
        yield


class Loop:
    """The daemon, and what its receivers were told."""

    def __init__(self, netns: NetNs, config: Path, through: Hook, direct: Hook) -> None:
        self._netns, self._config = netns, config
        self._through, self._direct = through, direct
        self._running = ExitStack()
        self.daemon: RunningDaemon

    def start(self) -> None:
        """Start the daemon."""
        self.daemon = self._running.enter_context(
            running_daemon(self._netns, f"--config={self._config}")
        )

    def kill(self) -> None:
        """End it without a word, and start it again."""
        self.daemon.process.kill()
        self.daemon.process.wait()
        self._running.close()
        self.start()

    def stop(self) -> None:
        """End it in good order."""
        self._running.close()

    def told(self, what: str, port: int) -> None:
        """Wait until both receivers were told."""
        for hook in (self._through, self._direct):
            eventually(lambda h=hook: (what, str(port)) in h.told())  # type: ignore[misc]

    def counts(self) -> tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]]:
        """How often each was told, through Alertmanager and directly."""
        return Counter(self._through.told()), Counter(self._direct.told())


def play(loop: Loop, netns: NetNs, times: int, chance: random.Random) -> None:
    """Kill it so often, half of the times around a beginning and half around an end."""
    for number in range(times // 2):
        port = _PORT + number
        with leak(netns, port):
            time.sleep(chance.uniform(0.0, 1.5))
            loop.kill()
            loop.told("firing", port)
        time.sleep(chance.uniform(0.0, 0.7))
        loop.kill()
        loop.told("resolved", port)
        print(f"{2 * (number + 1)} kills", flush=True)


def main(times: int) -> int:
    seed = time.time_ns()
    print(f"seed {seed}")
    with ExitStack() as stack:
        netns = stack.enter_context(NetNs())
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (directory / "state").mkdir()
        through = stack.enter_context(hook_in(netns))
        direct = stack.enter_context(hook_in(netns))
        alertmanager = Alertmanager(netns, directory, _ALERTMANAGER.format(url=through.url))
        stack.callback(alertmanager.kill)
        alertmanager.run()
        config = directory / "sockmon.yaml"
        config.write_text(
            _DAEMON.format(
                state=directory / "state", alertmanager=alertmanager.url, webhook=direct.url
            )
        )
        loop = Loop(netns, config, through, direct)
        stack.callback(loop.stop)
        with leak(netns, _LASTING):
            loop.start()
            loop.told("firing", _LASTING)
            play(loop, netns, times, random.Random(seed))
        loop.told("resolved", _LASTING)
        by_alertmanager, by_webhook = loop.counts()
    twice = {told: n for told, n in by_alertmanager.items() if n > 1}
    again = sum(n - 1 for n in by_webhook.values())
    print(f"{times} kills, {len(by_alertmanager)} messages, none lost; twice: {twice or 'none'}")
    # Sent just before a kill, and not yet noted as sent: only a receiver can tell that it has it.
    print(f"webhook: {again} of {by_webhook.total()} messages twice")
    return 1 if twice else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
