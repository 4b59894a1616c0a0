"""Webhooks on another host, over a wire that can be cut."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sockmon.alert.lifecycle import FixedWaits
from sockmon.alert.manager import AlertManager
from sockmon.alert.settings import Alerting, WebhookSettings
from sockmon.clock import now
from sockmon.model.finding import Finding
from sockmon.state.file import StateFile, boot_id
from sockmon.state.store import StateStore
from tests.lab import PATIENCE, SERVER, Link, NetNs, eventually
from tests.unit.alert.hooks import Hook, hook
from tests.unit.alert.making import DETECTOR, finding

pytestmark = pytest.mark.root


@contextmanager
def hook_at(netns: NetNs, family: socket.AddressFamily, address: str) -> Iterator[Hook]:
    with netns.socket(family) as listener:
        listener.bind((address, 0))
        listener.listen(64)
        port = listener.getsockname()[1]
        with hook(listener) as made:
            host = f"[{address}]" if family is socket.AF_INET6 else address
            made.url = f"http://{host}:{port}/hook"
            yield made


@contextmanager
def manager_in(
    netns: NetNs, *urls: str, state: Path | None = None, timeout: float = 1.0
) -> Iterator[AlertManager]:
    settings = Alerting(webhook=WebhookSettings(urls=urls, timeout=timeout))
    store = StateStore(StateFile(state, boot_id()) if state else None, now().monotonic)
    waits = {DETECTOR: FixedWaits(0.0, 0.0)}
    # Its threads are born in the namespace, and stay there.
    manager = netns.call(AlertManager, settings, waits, store)
    try:
        yield manager
    finally:
        manager.close()
        store.close(5)


def poll(manager: AlertManager, *findings: Finding) -> None:
    manager.observe(findings, now(), 5.0)


def test_is_told_over_either_protocol(link: Link) -> None:
    with (
        hook_at(link.server, socket.AF_INET, SERVER.ipv4) as four,
        hook_at(link.server, socket.AF_INET6, SERVER.ipv6) as six,
        manager_in(link.client, four.url, six.url) as manager,
    ):
        poll(manager, finding())
        for server in (four, six):
            assert eventually(server.told) == [("firing", "80")]


def test_behind_a_cut_wire_keeps_nobody_waiting(link: Link) -> None:
    link.cut()
    with (
        hook_at(link.server, socket.AF_INET, SERVER.ipv4) as away,
        hook_at(link.client, socket.AF_INET, "127.0.0.1") as here,
        manager_in(link.client, away.url, here.url, timeout=2 * PATIENCE) as manager,
    ):
        poll(manager, finding())
        assert eventually(here.told) == [("firing", "80")]
        assert manager.notifications()["webhook-0"].total == 0, "it still tries the first time"


def test_behind_a_cut_wire_is_told_later(link: Link, caplog: pytest.LogCaptureFixture) -> None:
    with (
        hook_at(link.server, socket.AF_INET, SERVER.ipv4) as away,
        manager_in(link.client, away.url) as manager,
    ):
        link.cut()
        poll(manager, finding())
        eventually(lambda: manager.notifications()["webhook-0"].failed)
        where = f"{SERVER.ipv4}:{urlsplit(away.url).port}"
        told = f"cannot notify webhook-0 ({where}): cannot connect within 1 s; trying again"
        eventually(lambda: told in caplog.messages)
        link.mend()
        assert eventually(away.told) == [("firing", "80")]


def test_whose_answer_is_lost_is_told_again_after_a_restart(link: Link, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with hook_at(link.server, socket.AF_INET, SERVER.ipv4) as server:
        server.delay = 0.2  # seconds, in which the wire is cut
        with manager_in(link.client, server.url, state=state) as manager:
            poll(manager, finding())
            eventually(lambda: server.asked)
            link.cut()
            eventually(lambda: manager.notifications()["webhook-0"].failed)
        link.mend()
        with manager_in(link.client, server.url, state=state) as manager:
            poll(manager, finding())
            told = eventually(server.told, until=lambda told: len(told) > 1)
        assert told == [("firing", "80")] * 2  # at least once; starting at the same time
        assert len({body["alerts"][0]["startsAt"] for body in server.bodies}) == 1
