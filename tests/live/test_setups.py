"""Set-ups in which something is hidden or missing: the rest is told, and what lacks is said."""

import json
import socket
import sys
from dataclasses import replace

import pytest

from sockmon.clock import now
from sockmon.kernel.interfaces import Transport
from sockmon.kernel.netlink.sockdiag import NetlinkTransport, SockDiag
from sockmon.kernel.netlink.source import KernelSource
from sockmon.kernel.netlink.uapi import Protocol
from sockmon.poll.poller import Poller
from sockmon.settings import Config
from tests import cgroups
from tests.lab import AddressKind, NetNs, TcpState, eventually, states
from tests.world import World

pytestmark = pytest.mark.root

SOCKMON = f"{sys.executable} -m sockmon"
#: What hides something from a command, by how a shell does it in mounts of its own.
HIDING = {
    "ProcSubset=pid": "mount -t proc -o subset=pid proc /proc",
    "no /proc/sys": "mount -t tmpfs none /proc/sys",
    "read-only /proc/sys": "mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys",
    "no /sys": "umount -l /sys",
}
WITHOUT_SETTINGS = {"ProcSubset=pid", "no /proc/sys"}


def in_mounts(netns: NetNs, hiding: str, *commands: str) -> str:
    """What commands print where something is hidden; each must succeed."""
    script = " && ".join((hiding, *commands))
    done = netns.run(["unshare", "--mount", "sh", "-c", script], check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("hiding", list(HIDING))
def test_what_is_hidden_costs_nothing_else(netns: NetNs, hiding: str) -> None:
    with (
        states.established(netns, AddressKind.IPV4, count=3),
        states.listen(netns, AddressKind.IPV6, count=2),
    ):
        counting = f"{SOCKMON} count --by port,state,family --format csv"
        whole = netns.run(["sh", "-c", counting]).stdout
        shown = in_mounts(netns, HIDING[hiding], f"{SOCKMON} doctor", counting)
    assert shown.startswith("OK: ")
    assert shown.endswith(whole)
    hidden = hiding in WITHOUT_SETTINGS
    assert ("settings are hidden, so limits" in shown.splitlines()[0]) is hidden
    assert ("this /proc shows no settings" in shown) is hidden
    assert ("ephemeral ports towards the busiest" in shown) is not hidden


def test_without_proc_there_is_a_verdict_too(netns: NetNs) -> None:
    shown = in_mounts(netns, "mount -t tmpfs none /proc", f"{SOCKMON} doctor")
    assert shown.startswith("OK: no finding, but this kernel's settings are hidden")


def test_without_proc_both_families_are_counted(netns: NetNs) -> None:
    with (
        states.established(netns, AddressKind.IPV4, count=3),
        states.established(netns, AddressKind.IPV6, count=2),
    ):
        counting = f"{SOCKMON} count --by state,family --format csv"
        whole = netns.run(["sh", "-c", counting]).stdout
        assert in_mounts(netns, "mount -t tmpfs none /proc", counting) == whole


def test_a_user_namespace_gets_a_verdict(netns: NetNs) -> None:
    """As of a rootless container: before Linux 6.3 it has no net.core.somaxconn."""
    inside = ["unshare", "--user", "--map-root-user", "--net", "sh", "-c"]
    done = netns.run([*inside, f"ip link set lo up && {SOCKMON} doctor --format json"])
    answer = json.loads(done.stdout)
    assert answer["status"] == "ok"
    assert "failures" not in answer


def test_ip_netns_exec_leaves_units_their_names(netns: NetNs, world: World) -> None:
    """It mounts another /sys, without cgroups (iproute2, lib/namespace.c)."""
    with (
        cgroups.tree() as top,
        cgroups.living_in(cgroups.make(top / "system.slice" / "shop.service")),
        states.established(netns, count=2),
    ):
        script = (
            "mount --make-rslave / && umount -l /sys && mount -t sysfs sysfs /sys && "
            f"{SOCKMON} count --by unit,state --format csv"
        )
        done = netns.run([*world.within(netns), "unshare", "--mount", "sh", "-c", script])
    assert "shop.service,established,4" in done.stdout


def test_where_no_unit_is_known_the_note_says_so(netns: NetNs) -> None:
    """Without privilege and without cgroups, nobody can be named."""
    quick = "detect: {close_wait_leak: {stale_after: 1s, for: 1s}}"
    nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups"
    script = (
        f"umount -l /sys && mount -t tmpfs none /mnt && echo '{quick}' >/mnt/sockmon.yaml && "
        f"{nobody} {SOCKMON} doctor --config /mnt/sockmon.yaml"
    )
    asking = ["unshare", "--mount", "sh", "-c", script]
    with states.close_wait(netns, count=12):
        said = eventually(
            lambda: netns.run(asking, check=False).stdout, until=lambda text: "[warning]" in text
        )
    assert "processes are hidden, so owners are not known" in said


class WithoutUdp:
    """A kernel without the module udp_diag."""

    def __init__(self) -> None:
        self._transport: Transport = NetlinkTransport()

    def send(self, request: bytes) -> None:
        if request[17] == Protocol.UDP:
            raise FileNotFoundError(2, "no module")
        self._transport.send(request)

    def receive_into(self, buffer: memoryview) -> tuple[int, bool]:
        return self._transport.receive_into(buffer)

    def close(self) -> None:
        self._transport.close()


def _bound_udp() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    return made


@pytest.fixture
def without_udp() -> KernelSource:
    return replace(KernelSource.live(), diag=SockDiag(WithoutUdp))


def test_without_udp_diag_tcp_lacks_nothing(netns: NetNs, without_udp: KernelSource) -> None:
    with states.close_wait(netns, count=2), netns.call(_bound_udp):
        poller = Poller(without_udp, Config())
        observation = netns.call(poller.poll, now)
        poller.close()
    (host,) = observation.namespaces
    assert [failure.is_optional for failure in observation.failures] == [True]
    assert "dropped datagrams are not known" in observation.failures[0].message
    assert not host.degraded
    assert host.diagnosis is not None
    assert host.tcp is not None
    assert host.tcp.value[4][TcpState.CLOSE_WAIT] == 2
    assert host.udp is not None
    assert sum(host.udp.value[4]) == 1
