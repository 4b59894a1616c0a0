"""Members of structures are found in BTF; bytes that are no BTF, or lie, end in BtfError."""

import struct
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockmon.kernel.errors import KernelError
from sockmon.kernel.events.btf import BtfError, Member, members
from sockmon.kernel.events.loader import read_members

_HEADER = struct.Struct("=HBBIIIII")
_INT, _PTR, _STRUCT, _UNION, _FORWARD, _TYPEDEF = 1, 2, 4, 5, 7, 8


class Forge:
    """Makes BTF, type by type; types are numbered from 1."""

    def __init__(self) -> None:
        self.types: list[bytes] = []
        self.strings = b"\0"

    def name(self, text: str) -> int:
        found = self.strings.find(b"\0%s\0" % text.encode())
        if not text or found >= 0:
            return found + 1 if text else 0
        self.strings += text.encode() + b"\0"
        return len(self.strings) - len(text) - 1

    def add(self, kind: int, name: str, size: int, rest: bytes = b"", count: int = 0) -> int:
        info = kind << 24 | count
        self.types.append(struct.pack("=III", self.name(name), info, size) + rest)
        return len(self.types)

    def structure(
        self, name: str, *its: tuple[str, int, int], kind: int = _STRUCT, bits: bool = False
    ) -> int:
        """its: name, type and offset in bits of each member."""
        rest = b"".join(struct.pack("=III", self.name(n), t, offset) for n, t, offset in its)
        return self.add(kind, name, 64, rest, len(its) | bits << 31)

    def bytes(self) -> bytes:
        types = b"".join(self.types)
        header = (0xEB9F, 1, 0, _HEADER.size, 0, len(types), len(types), len(self.strings))
        return _HEADER.pack(*header) + types + self.strings


def small() -> bytes:
    forge = Forge()
    number = forge.add(_INT, "int", 4, struct.pack("=I", 32))
    short = forge.add(_TYPEDEF, "u16", forge.add(_INT, "short", 2, struct.pack("=I", 16)))
    pointer = forge.add(_PTR, "", number)
    forge.add(_FORWARD, "sock", 0)  # a declaration
    inner = forge.structure("", ("dport", short, 0), ("num", short, 16))
    union = forge.structure("", ("pair", number, 0), ("", inner, 0), kind=_UNION)
    common = forge.structure("sock_common", ("addr", pointer, 0), ("", union, 96))
    forge.structure("sock", ("common", common, 0), ("err", number, 320))
    forge.structure("flags", ("bit", number, 1 << 24 | 3), ("word", number, 32), bits=True)
    return forge.bytes()


SMALL = small()
WANTED = {"sock_common": ["addr", "num", "dport"], "sock": ["common", "err"], "flags": ["word"]}
FOUND = {
    ("sock_common", "addr"): Member(0, 8),
    ("sock_common", "num"): Member(14, 2),
    ("sock_common", "dport"): Member(12, 2),
    ("sock", "common"): Member(0, 0),
    ("sock", "err"): Member(40, 4),
    ("flags", "word"): Member(4, 4),
}


def test_members_are_found_inside_anonymous_structures_and_behind_typedefs() -> None:
    assert members(SMALL, WANTED) == FOUND


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"socket": ["x"]}, "there is no struct socket"),
        ({"sock": ["missing"]}, "struct sock has no member missing"),
        ({"flags": ["bit"]}, "struct flags: bit is a bit field"),
    ],
)
def test_what_is_missing_is_named(wanted: dict[str, list[str]], says: str) -> None:
    with pytest.raises(BtfError, match=says):
        members(SMALL, wanted)


@given(st.integers(0, len(SMALL) - 1))
def test_cut_anywhere_it_is_refused(length: int) -> None:
    with pytest.raises(BtfError):
        members(SMALL[:length], WANTED)


@given(st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), max_size=6))
def test_bytes_that_lie_give_members_or_an_error(changes: list[tuple[int, int]]) -> None:
    data = bytearray(SMALL)
    for at, value in changes:
        data[at] = value
    try:
        found = members(bytes(data), WANTED)
    except BtfError:
        return
    assert found.keys() == FOUND.keys()
    assert all(0 <= member.offset < 1 << 15 for member in found.values())


def test_a_structure_inside_itself_ends() -> None:
    forge = Forge()
    forge.structure("loop", ("", 1, 0))
    with pytest.raises(BtfError, match="nested too deeply"):
        members(forge.bytes(), {"loop": ["x"]})


def test_structures_that_contain_each_other_twice_cost_no_more() -> None:
    """Each holds the next twice: unfolded, a million members."""
    forge = Forge()
    for number, following in pairwise(range(1, 16)):
        forge.structure(f"s{number}", ("", following, 0), ("", following, 8))
    forge.structure("s15", ("", 1, 0))
    with pytest.raises(BtfError):
        members(forge.bytes(), {"s1": ["x"]})


def test_a_file_that_is_missing_or_no_btf_is_named(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match=r"vmlinux.*ENOENT.*CONFIG_DEBUG_INFO_BTF"):
        read_members(tmp_path / "vmlinux")
    (tmp_path / "vmlinux").write_bytes(b"x" * 100)
    with pytest.raises(KernelError, match=r"not BTF .*CONFIG_DEBUG_INFO_BTF"):
        read_members(tmp_path / "vmlinux")
