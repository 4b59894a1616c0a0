"""A recorded kernel stands in for the real one, and says so when it cannot."""

from pathlib import Path

import pytest

from sockmon.kernel.errors import DumpError
from sockmon.kernel.family import Family
from sockmon.kernel.netlink.replay import datagrams, record, replay
from sockmon.kernel.netlink.sockdiag import SockDiag
from sockmon.kernel.netlink.source import KernelSource
from sockmon.kernel.netlink.uapi import Protocol
from sockmon.kernel.netlink.wire import DumpRequest
from tests import forge
from tests.lab import NetNs, states
from tests.recorded import MIXED, QUIET


def test_a_recording_can_be_played_again_and_again() -> None:
    source = replay(MIXED)
    first = source.tcp(source.families()).cookie.tolist()
    assert len(first) > 1000
    assert source.tcp(source.families()).cookie.tolist() == first
    assert replay(MIXED).tcp(source.families()).cookie.tolist() == first


def test_a_recording_answers_to_any_sequence_number() -> None:
    diag = replay(MIXED).diag
    listeners = DumpRequest(Protocol.TCP, Family.IPV4, 1 << 10, 1 << 6)
    lengths = {len(diag.dump(listeners)) for _ in range(3)}
    assert len(lengths) == 1


def test_a_directory_without_a_recording_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no recording there"):
        replay(tmp_path)


def test_a_recording_cut_short_is_an_incomplete_dump(tmp_path: Path) -> None:
    whole = (MIXED / "dumps" / "tcp-ipv4-400-40").read_bytes()
    (tmp_path / "dumps").mkdir()
    (tmp_path / "dumps" / "tcp-ipv4-400-40").write_bytes(whole[: 4 + 3772])
    diag: SockDiag = replay(tmp_path).diag
    with pytest.raises(DumpError) as caught:
        diag.dump(DumpRequest(Protocol.TCP, Family.IPV4, 1 << 10, 1 << 6))
    assert caught.value.reason == "incomplete"


@pytest.mark.parametrize("recording", [MIXED, QUIET], ids=lambda path: path.name)
def test_every_recorded_dump_ends(recording: Path) -> None:
    for file in (recording / "dumps").iterdir():
        *_, last = datagrams(file.read_bytes())
        assert forge.split(last)[-1].kind == forge.DONE


@pytest.mark.root
def test_what_is_recorded_is_what_the_kernel_answers(tmp_path: Path) -> None:
    with NetNs() as netns, states.listen(netns, count=3), states.close_wait(netns, count=2):
        netns.call(record, tmp_path)
        live = netns.call(KernelSource.live)
        table = netns.call(live.tcp, live.families())
        live.diag.close()
    recorded = replay(tmp_path)
    again = recorded.tcp(recorded.families())
    assert sorted(again.cookie.tolist()) == sorted(table.cookie.tolist())
    assert sorted(again.state.tolist()) == [5, 5, 8, 8, 10, 10, 10, 10]
    assert len(recorded.udp(recorded.families())) == 0
    limits, errors = recorded.limits()
    assert errors == []
    assert limits.port_range is not None
