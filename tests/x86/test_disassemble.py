"""What the disassembler says, and that the list of definitions is whole."""

import pytest

from guesthouse.system.cpu.x86.disassemble import Disassembler, disassemble, listing
from tests.x86.test_integer import MODULES

TEXTS = {
    "48 01 d8": "add rax, rbx",
    "90": "nop",
    "f3 90": "pause",
    "f0 48 0f b1 0d 10 00 00 00": "lock cmpxchg qword ptr [0x1019], rcx",
    "65 48 8b 04 25 28 00 00 00": "mov rax, qword ptr gs:[0x28]",
    "48 98": "cdqe",
    "f3 48 ab": "rep stosq",
    "0f 84 10 00 00 00": "je 0x1016",
    "88 e0": "mov al, ah",
    "40 88 e0": "mov al, spl",
    "8b 44 8b f0": "mov eax, dword ptr [rbx+rcx*4-0x10]",
    "0f 20 c0": "mov rax, cr0",
    "66 0f ef c1": "pxor xmm0, xmm1",
    "c4 e2 e8 f2 c1": "andn rax, rdx, rcx",
    "e3 05": "jrcxz 0x1007",
    "06": "(bad)",
}


@pytest.mark.parametrize(("code", "text"), TEXTS.items())
def test_it_reads_as_intel_writes_it(code: str, text: str) -> None:
    assert disassemble(bytes.fromhex(code), 0x1000) == text


def test_32_bit_code_has_other_instructions() -> None:
    assert Disassembler(32).instruction(b"\x40").text == "inc eax"


def test_lines_follow_each_other() -> None:
    found = list(Disassembler().lines(bytes.fromhex("55 48 89 e5 c3"), 0x1000))
    assert [(at, text) for at, _, text in found] == [(0x1000, "push rbp"), (0x1001, "mov rbp, rsp"), (0x1004, "ret")]


def test_every_definition_has_an_encoding_and_the_general_ones_name_their_page() -> None:
    general = {module.__name__ for module in MODULES}
    lines = list(listing())
    assert [line.name for line in lines if not line.encodings] == []
    assert [line.name for line in lines if line.module in general and not line.reference] == []
