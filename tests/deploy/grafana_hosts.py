"""The hosts whose dashboards are asked: one with every trouble and with containers, one torn."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sockmon.kernel.procfs import FILES
from tests.lab import NetNs, experiments, states
from tests.lab.experiments import PortExhaustion

LEAKED = 12
LEAKED_IN_BLUE = 10


@contextmanager
def troubles(netns: NetNs) -> Iterator[PortExhaustion]:
    """All at once, in one namespace; using up its ports is left to the body."""
    with ExitStack() as stack:
        stack.enter_context(experiments.process_killed(netns, count=LEAKED))
        stack.enter_context(states.time_wait(netns, count=5))
        stack.enter_context(states.last_ack(netns, count=3))
        stack.enter_context(experiments.full_queue(netns))
        yield stack.enter_context(experiments.port_exhaustion(netns, ports=60))


@contextmanager
def growing(experiment: PortExhaustion) -> Iterator[None]:
    """Connect again and again: only a use that grows has a forecast. The last ports stay free."""
    done = threading.Event()

    def grow() -> None:
        for _ in range(experiment.ports - 5):
            experiment.connect(experiment.listeners[0])
            if done.wait(0.5):
                return

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def containers() -> Iterator[Mapping[str, NetNs]]:
    """Three namespaces by the names they will have: one leaks, the others are well."""
    with ExitStack() as stack:
        made = {name: stack.enter_context(NetNs()) for name in ("blue", "green", "grey")}
        stack.enter_context(experiments.unclosed(made["blue"], count=LEAKED_IN_BLUE))
        stack.enter_context(states.established(made["green"], count=3))
        stack.enter_context(states.listen(made["grey"]))
        yield made


def seeing(
    netns: NetNs, directory: Path, named: Mapping[str, NetNs] | None = None, **settings: str
) -> tuple[str, ...]:
    """How to start a daemon that reads these net.ipv4 settings, and the namespace's own others.

    named: the namespaces that it finds under /run/netns; of the machine's processes it sees none.
    """
    directory.mkdir()
    for name in FILES:
        file = Path("/proc", name)
        if file.match("sys/net/ipv4/*") and netns.call(file.exists):
            (directory / file.name).write_bytes(netns.call(file.read_bytes))
    for name, value in settings.items():
        (directory / name).write_text(value)
    run = ["mount -t tmpfs none /run", "mkdir /run/netns"]
    for name, its in (named or {}).items():
        run += [f"touch /run/netns/{name}", f"mount --bind {its.path} /run/netns/{name}"]
    run += ["mount -t proc proc /proc", f"mount --bind {directory} /proc/sys/net/ipv4"]
    sandbox = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
    return (*sandbox, "sh", "-c", " && ".join([*run, 'exec "$@"']), "sh")
