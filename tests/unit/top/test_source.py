"""A recorded kernel, seen as the daemon sees it, and socket by socket."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sockmon.kernel.netlink.replay import replay
from sockmon.kernel.netlink.source import KernelSource
from sockmon.settings import Config
from sockmon.top.kernel_source import Kernel
from sockmon.top.scene import By, Scene, verdict
from tests.recorded import MIXED, QUIET


def kernel(recording: Path) -> Kernel:
    def open_source(_: Callable[[], bool]) -> KernelSource:
        return replay(recording)

    return Kernel(open_source, Config(), "db-7")


@pytest.mark.parametrize("by", ["port", "peer"])
def test_every_socket_is_in_one_row(by: By) -> None:
    source = kernel(MIXED)
    seen = source.look(by)
    assert seen.snapshot.states is not None
    assert sum(row.total for row in seen.grouped.rows) == sum(seen.snapshot.states.value) > 0
    by_state = tuple(map(sum, zip(*(row.states for row in seen.grouped.rows), strict=True)))
    assert by_state == seen.snapshot.states.value
    source.close()


def test_two_looks_at_a_quiet_host_make_it_healthy() -> None:
    source = kernel(QUIET)
    scene = Scene(source.where)
    words = []
    for _ in range(2):
        scene = scene.saw(source.look("port"))
        assert scene.sighting is not None
        words.append(verdict(scene, scene.sighting.snapshot.at.monotonic).word)
    assert words == ["LOOKING", "OK"]
    source.close()


@pytest.mark.parametrize("by", ["port", "peer", "owner"])
def test_what_the_kernel_refuses_is_told_and_nothing_is_called_well(tmp_path: Path, by: By) -> None:
    refusing = tmp_path / "refusing"
    done_with_enoent = bytes.fromhex("14000000030002000000000000000000feffffff")
    for path in (MIXED / "dumps").iterdir():
        copy = refusing / "dumps" / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(len(done_with_enoent).to_bytes(4, "little") + done_with_enoent)
    source = kernel(refusing)
    seen = source.look(by)
    assert any("ENOENT" in failure for failure in seen.snapshot.failures)
    assert seen.grouped.rows == ()
    if by != "port":
        assert "ENOENT" in (seen.grouped.note or "")
    scene = Scene(source.where).saw(seen)
    assert verdict(scene, seen.snapshot.at.monotonic).word == "UNKNOWN"
    source.close()
