"""/api/v1/events with real clients: many, slow, and at the end."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from sockmon.web.events import STREAMS
from tests.lab import NetNs, eventually, states
from tests.page.streams import Stream, listening
from tests.running import RunningDaemon, running_daemon

pytestmark = pytest.mark.root


@pytest.fixture
def netns() -> Iterator[NetNs]:
    with NetNs() as made:
        yield made


@pytest.fixture
def daemon(netns: NetNs, tmp_path: Path) -> Iterator[RunningDaemon]:
    config = tmp_path / "config.yaml"
    config.write_text("poll: {interval: 200ms}\n")
    with running_daemon(netns, "--config", str(config)) as running:
        yield running


def newest_of(stream: Stream) -> int:
    polls: int = stream.next("observation")["polls"]
    return polls


@pytest.mark.usefixtures("daemon")
def test_the_last_poll_comes_at_once_and_then_each_new_one(netns: NetNs) -> None:
    with states.close_wait(netns, count=3) as held, listening(netns) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert stream.headers["cache-control"] == "no-store"
        name, first = stream.event()
        assert name == "observation"
        name, beat = stream.event()
        assert name == "beat"
        assert beat["age_seconds"] >= 0
        assert beat["interval_seconds"] == 0.2
        assert stream.next("observation")["polls"] > first["polls"]
        told = eventually(
            lambda: stream.next("observation")["namespace"],
            until=lambda host: sum((host["ages"] or {}).get("close_wait", [])) == 3,
        )
        assert told["netns"] == "host"
        assert any(group["port"] == held.port for group in told["ports"]["groups"])


def test_fifty_pages_are_told_the_same_and_more_than_may_are_turned_away(
    netns: NetNs, daemon: RunningDaemon
) -> None:
    with ExitStack() as stack:
        streams = [stack.enter_context(listening(netns)) for _ in range(STREAMS)]
        newest = newest_of(streams[0])
        for stream in streams:
            eventually(partial(newest_of, stream), until=newest.__le__)
        with listening(netns) as refused:
            assert refused.status == 503
            assert refused.headers["retry-after"] == "30"
        daemon.wait_for_polls(3)

    def status_of_another() -> int:
        with listening(netns) as another:
            return another.status

    # The server notices one after the other that a client has left.
    eventually(status_of_another, until=(200).__eq__)


def test_a_slow_client_is_sent_the_newest_and_nothing_is_kept_for_it(
    netns: NetNs, daemon: RunningDaemon
) -> None:
    for buffer in ("tcp_rmem", "tcp_wmem"):
        netns.set_sysctl(f"net.ipv4.{buffer}", "4096 4096 4096")
    with states.listen(netns, count=60), listening(netns) as slow:
        first = slow.next("observation")["polls"]
        daemon.wait_for_polls(25)
        polls = daemon.value("sockmon_polls_total")
        received: list[int] = []
        while not received or received[-1] < polls:
            received.append(slow.next("observation")["polls"])
        assert len(received) < polls - first, "what came in between was never sent"


def test_a_stop_does_not_wait_for_listeners(netns: NetNs, daemon: RunningDaemon) -> None:
    with ExitStack() as stack:
        streams = [stack.enter_context(listening(netns)) for _ in range(50)]
        assert daemon.stop() == 0, "and they are still connected"
        with pytest.raises((EOFError, ConnectionResetError)):
            streams[0].next("an event that never comes")
    assert "Traceback" not in daemon.log()


@pytest.mark.usefixtures("daemon")
def test_only_the_namespace_that_is_asked_for_is_told_whole(netns: NetNs) -> None:
    with listening(netns, "?netns=host") as stream:
        told = stream.next("observation")
        assert (told["namespace"]["netns"], told["namespaces"][0]["netns"]) == ("host", "host")
    with listening(netns, "?netns=nobody") as stream:
        told = stream.next("observation")
        assert told["namespace"] is None
        assert [line["netns"] for line in told["namespaces"]] == ["host"]
    with listening(netns, "?nsteN=host") as stream:
        assert stream.status == 400
