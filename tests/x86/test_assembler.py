"""The tests' small assembler: encodings as the manual prints them."""

from __future__ import annotations

import pytest

from tests.x86.assembler import assemble


def test_an_instruction_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="hlt"):
        assemble("hlt", {})
    with pytest.raises(ValueError, match="mov"):
        assemble("mov eax, xmm0", {})


@pytest.mark.parametrize(("text", "code"), [
    ("mov rax, rbx", "48 89 d8"), ("mov r8d, [r13]", "45 8b 85 00 00 00 00"),
    ("mov [rsp], rcx", "48 89 0c 24"),
    ("lea rdx, [rax+rbx*2+5]", "48 8d 94 58 05 00 00 00"), ("mov byte [rdi], dl", "88 17"),
    ("mov r9, 0xedb88320", "49 b9 20 83 b8 ed 00 00 00 00"), ("push r12", "41 54"),
    ("mov rdi, [rax*8+0x500000]", "48 8b 3c c5 00 00 50 00"), ("sqrtsd xmm9, xmm1", "f2 44 0f 51 c9"),
    ("movq rax, xmm0", "66 48 0f 7e c0"),
    ("x: jmp x", "e9 fb ff ff ff"), ("cmp byte [rsi+16], 0", "80 be 10 00 00 00 00"),
])
def test_encodings_are_those_of_the_manual(text: str, code: str) -> None:
    assert assemble(text, {}) == bytes.fromhex(code)
