"""The kernel's counters of /proc/net/snmp: what was done, exactly."""

import socket
import struct
from collections import Counter

import pytest

from sockmon.clock import now
from sockmon.kernel.netlink.source import KernelSource
from sockmon.poll.poller import Poller
from sockmon.settings import Config
from tests.lab import AddressKind, NetNs
from tests.lab.sockets import connections
from tests.live.test_series import series
from tests.polling import polling
from tests.resident import name_of, resident, seeing_pids

pytestmark = pytest.mark.root

RESET = struct.pack("ii", 1, 0)  # SO_LINGER


def counted(netns: NetNs) -> Counter[str]:
    poller = Poller(KernelSource.live(), Config())
    try:
        observation = netns.call(poller.poll, now)
    finally:
        poller.close()
    (own,) = observation.namespaces
    assert own.limits is not None
    return Counter(own.limits.value.traffic)


def test_opens_failures_and_resets_are_counted(netns: NetNs) -> None:
    before = counted(netns)
    for _ in range(3):
        refused = netns.socket()
        with refused, pytest.raises(ConnectionRefusedError):
            refused.connect(("127.0.0.1", 1))
    with connections(netns, netns, AddressKind.IPV4, 5) as made:
        for client in made.clients[:2]:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            client.close()
        after = counted(netns)
    after.subtract(before)
    assert (after["ActiveOpens"], after["PassiveOpens"]) == (8, 5)
    assert after["AttemptFails"] == 3
    assert after["EstabResets"] == 4, "at either end"
    assert after["OutRsts"] == 2 + 3


def test_a_pod_shows_those_that_are_not_zero() -> None:
    with NetNs() as pod, resident(pod) as pid, polling(seeing_pids(pid)) as poller:
        with connections(pod, pod, AddressKind.IPV4, 5):
            observation = poller.poll(now)
        found = series(observation, observation.at.monotonic)
        netns = "netns", name_of(pod)
    shown = {
        (name, dict(labels).get("direction"))
        for name, labels in found
        if name.startswith("sockmon_tcp_") and netns in labels
    }
    assert shown - {("sockmon_tcp_events_total", None)} == {
        ("sockmon_tcp_opens_total", "inbound"),
        ("sockmon_tcp_opens_total", "outbound"),
        ("sockmon_tcp_segments_sent_total", None),
    }
