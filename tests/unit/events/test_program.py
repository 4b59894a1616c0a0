"""The counting program is made for any kernel that has the members, and says what it does."""

import struct

import pytest

from sockmon.kernel.events.assembler import R1, R2, Assembler, AssemblerError
from sockmon.kernel.events.btf import BtfError, Member
from sockmon.kernel.events.program import MEMBERS, Maps, counting_program

PLACES = {
    (structure, name): Member(8 * number, 2)
    for number, (structure, name) in enumerate(
        (structure, name) for structure, names in MEMBERS.items() for name in names
    )
}
MAPS = Maps(3, 4, 5, 6, 7)


def test_every_instruction_has_eight_bytes_and_a_text() -> None:
    program = counting_program(PLACES, MAPS)
    assert len(program.code) == 8 * len(program.listing)
    wide = [text.endswith(" ll") or " = map " in text for text in program.listing]
    for is_second, text in zip([False, *wide], program.listing, strict=False):
        assert bool(text) is not is_second


def test_a_protocol_that_is_a_bit_field_is_refused() -> None:
    with pytest.raises(BtfError, match="sk_protocol"):
        counting_program({**PLACES, ("sock", "sk_protocol"): Member(4, 4)}, MAPS)


def test_a_jump_leads_to_its_label() -> None:
    a = Assembler()
    a.jump_if(R1, "==", 6, "there")
    a.alu(R2, "=", -1)
    a.label("there")
    a.exit()
    program = a.program()
    opcodes = struct.unpack("=BBhIBBhIBBhI", program.code)
    assert opcodes == (0x15, 1, 1, 6, 0xB7, 2, 0, 0xFFFFFFFF, 0x95, 0, 0, 0)
    assert program.listing == ("if r1 == 6 goto there", "r2 = -1", "exit")


def test_labels_that_are_missing_double_or_behind_are_mistakes() -> None:
    a = Assembler()
    a.jump("nowhere")
    with pytest.raises(AssemblerError, match="no label nowhere"):
        a.program()
    a.label("twice")
    with pytest.raises(AssemblerError, match="two labels twice"):
        a.label("twice")
    a.jump("twice")
    a.label("nowhere")
    with pytest.raises(AssemblerError, match="short one ahead"):
        a.program()
