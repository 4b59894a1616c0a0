"""A small assembler of eBPF programs. Pure.

Instructions: https://docs.kernel.org/bpf/standardization/instruction-set.html; helpers:
bpf-helpers(7). Each instruction has a line of text, in the notation of the kernel's verifier.
"""

import struct
import sys
from dataclasses import dataclass

R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, STACK = range(11)

#: Numbers of the kernel's helper functions, linux/bpf.h.
HELPERS = {
    "map_lookup_elem": 1,
    "map_update_elem": 2,
    "map_delete_elem": 3,
    "ktime_get_ns": 5,
    "probe_read_kernel": 113,
}

_SIZES = {1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}
_ALU = {"+=": 0x07, "-=": 0x17, "|=": 0x47, "&=": 0x57, "<<=": 0x67, ">>=": 0x77, "=": 0xB7}
_JUMPS = {"==": 0x15, ">": 0x25, ">=": 0x35, "!=": 0x55, "<=": 0xB5}
_REGISTER = 0x08  # the operand is a register, not a number
_LITTLE = sys.byteorder == "little"
_ATOMIC = 0xDB  # of 8 bytes
_ADD, _FETCH_ADD, _EXCHANGE = 0x00, 0x01, 0xE1
_TO_HOST_16, _LD_IMM64, _MAP, _MAP_VALUE = 0xDC, 0x18, 1, 2


@dataclass(frozen=True, slots=True)
class Program:
    """A program's bytes, and a line of text per instruction."""

    code: bytes
    listing: tuple[str, ...]


class AssemblerError(ValueError):
    """A program that cannot be encoded."""


class Assembler:
    """Appends instructions; jumps lead forward, to labels."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, int, int, int]] = []  # opcode, target, source, offset, imm
        self._texts: list[str] = []
        self._jumps: dict[int, str] = {}
        self._labels: dict[str, int] = {}

    def label(self, name: str) -> None:
        """Name the next instruction."""
        if name in self._labels:
            raise AssemblerError(f"two labels {name}")
        self._labels[name] = len(self._code)

    def unique(self, name: str) -> str:
        """Return a label's name that no other label has."""
        return f"{name}@{len(self._code)}"

    def alu(self, target: int, operator: str, number: int) -> None:
        """Calculate with a number: target += number, and so on."""
        self._add(_ALU[operator], target, 0, 0, number, f"r{target} {operator} {number}")

    def alu_register(self, target: int, operator: str, source: int) -> None:
        """Calculate with a register: target += source, and so on."""
        text = f"r{target} {operator} r{source}"
        self._add(_ALU[operator] | _REGISTER, target, source, 0, 0, text)

    def load(self, size: int, target: int, base: int, offset: int) -> None:
        """target = memory at base + offset."""
        text = f"r{target} = *(u{size * 8} *)(r{base} {offset:+})"
        self._add(0x61 | _SIZES[size], target, base, offset, 0, text)

    def store(self, size: int, base: int, offset: int, source: int) -> None:
        """Memory at base + offset = source."""
        text = f"*(u{size * 8} *)(r{base} {offset:+}) = r{source}"
        self._add(0x63 | _SIZES[size], base, source, offset, 0, text)

    def store_number(self, size: int, base: int, offset: int, number: int) -> None:
        """Memory at base + offset = number."""
        text = f"*(u{size * 8} *)(r{base} {offset:+}) = {number}"
        self._add(0x62 | _SIZES[size], base, 0, offset, number, text)

    def network_to_host_16(self, target: int) -> None:
        """Turn 16 bits from network byte order into the machine's."""
        self._add(_TO_HOST_16, target, 0, 0, 16, f"r{target} = be16 r{target}")

    def atomic_add(self, base: int, offset: int, source: int) -> None:
        """Add to 8 bytes of memory, as one step."""
        text = f"lock *(u64 *)(r{base} {offset:+}) += r{source}"
        self._add(_ATOMIC, base, source, offset, _ADD, text)

    def atomic_fetch_add(self, base: int, offset: int, source: int) -> None:
        """Add to memory, and set source to what was there before. Since Linux 5.12."""
        text = f"r{source} = atomic64_fetch_add((u64 *)(r{base} {offset:+}), r{source})"
        self._add(_ATOMIC, base, source, offset, _FETCH_ADD, text)

    def atomic_exchange(self, base: int, offset: int, source: int) -> None:
        """Exchange memory and source; all that was stored before is seen before. Since 5.12."""
        text = f"r{source} = atomic64_xchg((u64 *)(r{base} {offset:+}), r{source})"
        self._add(_ATOMIC, base, source, offset, _EXCHANGE, text)

    def number_64(self, target: int, number: int) -> None:
        """target = a number of 64 bits; takes two instructions."""
        self._wide(target, 0, number & 0xFFFFFFFF, number >> 32, f"r{target} = {number} ll")

    def map(self, target: int, descriptor: int) -> None:
        """target = a map."""
        self._wide(target, _MAP, descriptor, 0, f"r{target} = map {descriptor}")

    def map_value(self, target: int, descriptor: int, offset: int) -> None:
        """target = where the first entry of an array is, and an offset in it."""
        text = f"r{target} = map {descriptor}[0] {offset:+}"
        self._wide(target, _MAP_VALUE, descriptor, offset, text)

    def call(self, helper: str) -> None:
        """r0 = helper(r1, ...); r1 to r5 are undefined afterwards."""
        self._add(0x85, 0, 0, 0, HELPERS[helper], f"r0 = {helper}()")

    def jump(self, label: str) -> None:
        """Go to a label."""
        self._jump(0x05, 0, 0, 0, label, "goto")

    def jump_if(self, register: int, condition: str, number: int, label: str) -> None:
        """Go to a label if register == number, and so on; unsigned."""
        text = f"if r{register} {condition} {number} goto"
        self._jump(_JUMPS[condition], register, 0, number, label, text)

    def jump_if_register(self, register: int, condition: str, other: int, label: str) -> None:
        """Go to a label if register == other register, and so on; unsigned."""
        text = f"if r{register} {condition} r{other} goto"
        self._jump(_JUMPS[condition] | _REGISTER, register, other, 0, label, text)

    def exit(self) -> None:
        """Return r0."""
        self._add(0x95, 0, 0, 0, 0, "exit")

    def program(self) -> Program:
        """Return the program; raises AssemblerError."""
        encoded = []
        for at, (opcode, target, source, offset, number) in enumerate(self._code):
            registers = target | source << 4 if _LITTLE else target << 4 | source
            ahead = self._distance(at) if at in self._jumps else offset
            encoded.append(struct.pack("=BBhI", opcode, registers, ahead, number & 0xFFFFFFFF))
        return Program(b"".join(encoded), tuple(self._texts))

    def _distance(self, at: int) -> int:
        """Return how many instructions the jump at this place leaves out."""
        label = self._jumps[at]
        if label not in self._labels:
            raise AssemblerError(f"there is no label {label}")
        distance = self._labels[label] - at - 1
        if not 0 <= distance < 1 << 15:
            raise AssemblerError(f"the jump to {label} is not a short one ahead")
        return distance

    def _wide(self, target: int, kind: int, low: int, high: int, text: str) -> None:
        self._add(_LD_IMM64, target, kind, 0, low, text)
        self._add(0, 0, 0, 0, high, "")

    def _jump(
        self, opcode: int, target: int, source: int, number: int, label: str, text: str
    ) -> None:
        self._jumps[len(self._code)] = label
        self._add(opcode, target, source, 0, number, f"{text} {label}")

    def _add(
        self, opcode: int, target: int, source: int, offset: int, number: int, text: str
    ) -> None:
        self._code.append((opcode, target, source, offset, number))
        self._texts.append(text)
