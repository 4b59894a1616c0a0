"""Damages inputs: bytes, words, lengths, numbers in text, stretches; and joins two of them."""

import random
import re
from collections.abc import Sequence

#: Values at which lengths and offsets go wrong.
EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_NUMBERS = (
    b"0", b"-1", b"1", b"65535", b"65536", b"4294967295", b"4294967296", b"18446744073709551616",
    b"1e999", b"NaN", b"Infinity", b"null", b"true", b'"x"', b"[]", b"{}", b"9" * 400,
)  # fmt: skip
_NUMBER = re.compile(rb"[0-9]+")
_LONGEST = 256 * 1024


def damaged(data: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    """Change the input in some places; it may take over a stretch of another one."""
    made = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        _damage(made, others, chance)
    return bytes(made[:_LONGEST])


def _damage(made: bytearray, others: Sequence[bytes], chance: random.Random) -> None:
    if not made:
        made[:] = chance.choice(others)[:_LONGEST] if others else b"\0"
        return
    at = chance.randrange(len(made))
    kind = chance.random()
    if kind < 0.3:
        made[at] = chance.randrange(256)
    elif kind < 0.5:
        order = "little" if chance.random() < 0.5 else "big"
        size = chance.choice((2, 4))
        value = chance.choice(EDGES) % (1 << 8 * size)
        made[at : at + size] = value.to_bytes(size, order)  # type: ignore[arg-type]
    elif kind < 0.7:
        numbers = list(_NUMBER.finditer(bytes(made)))
        if numbers:
            number = chance.choice(numbers)
            made[number.start() : number.end()] = chance.choice(_NUMBERS)
    elif kind < 0.8:
        del made[at : at + chance.randint(1, 40)]
    elif kind < 0.9:
        made[at:at] = made[at : at + chance.randint(1, 40)]
    else:
        other = chance.choice(others) if others else bytes(made)
        begin = chance.randrange(len(other) + 1)
        made[at : at + chance.randint(0, 40)] = other[begin : begin + chance.randint(1, 200)]
