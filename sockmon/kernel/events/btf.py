"""Where the members of kernel structures are, from BTF. Pure.

Format: https://docs.kernel.org/bpf/btf.html; /sys/kernel/btf/vmlinux exists since Linux 5.4, with
CONFIG_DEBUG_INFO_BTF. Anybody may read it.
"""

import struct
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

_MAGIC = 0xEB9F
_HEADER = struct.Struct("=HBBIIIII")
_TYPE = struct.Struct("=III")  # name, info, size or type
_MEMBER = struct.Struct("=III")  # name, type, offset in bits
_INT, _STRUCT, _UNION, _ENUM = 1, 4, 5, 6
_QUALIFIERS = frozenset({8, 9, 10, 11, 18})  # typedef, volatile, const, restrict, type tag
#: Bytes that follow a type, by kind: once, or for each of its members.
_ONCE = {_INT: 4, 3: 12, 14: 4, 17: 4}
_EACH = {_STRUCT: 12, _UNION: 12, _ENUM: 8, 13: 8, 15: 12, 19: 12}
_KINDS = 19

#: No kernel's is longer: 5 to 8 MB are usual.
LONGEST = 64 << 20
#: How deep anonymous structures are followed, and chains of typedefs.
_DEEPEST = 16
#: No structure that is asked for has more members, those of anonymous ones included.
_MOST_MEMBERS = 4096
#: A member that is farther away belongs to no structure that is asked for here.
_FARTHEST = 1 << 15


class BtfError(ValueError):
    """Bytes that are no BTF, or that lack what is asked for; the text says which."""


@dataclass(frozen=True, slots=True)
class Member:
    """Where a member is in its structure, in bytes. size: 0 if it is neither number nor pointer."""

    offset: int
    size: int


def members(data: bytes, wanted: Mapping[str, Iterable[str]]) -> dict[tuple[str, str], Member]:
    """Return by (structure, member) what is wanted.

    wanted: by structure's name, its members' names. Members of anonymous structures and unions
    belong to the structure around them. Raises BtfError.
    """
    types = _Types(data)
    structures = types.structures(wanted)
    found = {}
    for structure, names in wanted.items():
        if structure not in structures:
            raise BtfError(f"there is no struct {structure}")
        inside = types.unfold(structures[structure])
        for name in names:
            if name not in inside:
                raise BtfError(f"struct {structure} has no member {name}")
            bits, kind = inside[name]
            if bits is None or bits % 8 or bits // 8 >= _FARTHEST:
                raise BtfError(f"struct {structure}: {name} is a bit field, or too far away")
            found[structure, name] = Member(bits // 8, types.size(kind))
    return found


class _Types:
    """The types of a BTF blob; each is checked to lie within it."""

    def __init__(self, data: bytes) -> None:
        if not _HEADER.size <= len(data) <= LONGEST:
            raise BtfError(f"it has {len(data)} bytes")
        magic, version, _, header, types_at, types, strings_at, strings = _HEADER.unpack_from(data)
        if (magic, version) != (_MAGIC, 1):
            raise BtfError("it is not BTF of version 1 and this byte order")
        begin, names = header + types_at, header + strings_at
        if begin + types > len(data) or names + strings > len(data):
            raise BtfError("it is cut off")
        self._data = data
        self._names = data[names : names + strings]
        self._places = [0, *self._walk(begin, begin + types)]

    def _walk(self, at: int, end: int) -> Iterator[int]:
        """Yield where each type is; BTF numbers them from 1."""
        data = self._data
        while at + _TYPE.size <= end:
            yield at
            info = int.from_bytes(data[at + 4 : at + 8], sys.byteorder)
            kind = info >> 24 & 31
            if not 0 < kind <= _KINDS:
                raise BtfError(f"a type of kind {kind} is not known")
            at += _TYPE.size + _ONCE.get(kind, 0) + _EACH.get(kind, 0) * (info & 0xFFFF)
        if at != end:
            raise BtfError("its last type is cut off")

    def structures(self, names: Iterable[str]) -> dict[str, int]:
        """Return where the structures with these names are; a declaration is not enough."""
        offsets = {}
        for name in names:
            at = self._names.find(b"\0%s\0" % name.encode())
            if at >= 0:
                offsets[at + 1] = name
        found: dict[str, int] = {}
        for at in self._places[1:]:
            name, info, _ = _TYPE.unpack_from(self._data, at)
            if name in offsets and info >> 24 & 31 == _STRUCT and info & 0xFFFF:
                found.setdefault(offsets[name], at)
        return found

    def unfold(self, at: int) -> dict[str, tuple[int | None, int]]:
        """Return by name each member's offset in bits, None for a bit field, and its type."""
        return dict(islice(self._unfold(at, 0, 0), _MOST_MEMBERS))

    def _unfold(
        self, at: int, base: int, depth: int
    ) -> Iterator[tuple[str, tuple[int | None, int]]]:
        if depth > _DEEPEST:
            raise BtfError("its structures are nested too deeply")
        _, info, _ = _TYPE.unpack_from(self._data, at)
        if info >> 24 & 31 not in (_STRUCT, _UNION):
            raise BtfError("an anonymous member is no structure")
        has_bit_fields = info >> 31
        for number in range(info & 0xFFFF):
            name, kind, offset = _MEMBER.unpack_from(self._data, at + _TYPE.size + 12 * number)
            bits = base + (offset & 0xFFFFFF if has_bit_fields else offset)
            if name:
                in_bits = has_bit_fields and offset >> 24
                yield self._name(name), (None if in_bits else bits, kind)
            else:
                yield from self._unfold(self._place(kind), bits, depth + 1)

    def size(self, kind: int) -> int:
        """Return a number's or pointer's bytes, 0 for any other type."""
        for _ in range(_DEEPEST):
            _, info, size = _TYPE.unpack_from(self._data, self._place(kind))
            match info >> 24 & 31:
                case 1 | 6:  # an integer, an enumeration
                    return int(size)
                case 2:  # a pointer
                    return 8
                case qualifier if qualifier in _QUALIFIERS:
                    kind = size
                case _:
                    return 0
        raise BtfError("its types refer to each other in a circle")

    def _place(self, kind: int) -> int:
        if not 0 < kind < len(self._places):
            raise BtfError(f"there is no type {kind}")
        return self._places[kind]

    def _name(self, at: int) -> str:
        end = self._names.find(b"\0", at)
        if end < 0:
            raise BtfError("a name is cut off")
        return self._names[at:end].decode(errors="replace")
