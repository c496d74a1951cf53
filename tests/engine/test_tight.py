"""Stencils with operands of 8 bits: what is taken out of LLVM's assembly, what stays, and where the holes are."""

import pytest

from guesthouse.engine.tight import NUMBERS, filled, shortened, tight
from guesthouse.typed.elf import R_8, R_32S, Function, functions
from guesthouse.typed.machine import assemble_text

FRAME = "\t.globl\t{0}\n\t.type\t{0},@function\n{0}:\n{1}.Lfunc_end0:\n\t.size\t{0}, .Lfunc_end0-{0}\n"
FETCH, LOAD = "\tmovabsq\t$hole.imm, %rdx", "\tmovq\t24(%rcx), %rcx"


@pytest.mark.parametrize("lines, wanted", [
    ([FETCH, "\taddq\t%rdx, %rcx"], ["\taddq\t$hole.imm, %rcx"]),
    ([FETCH, "\tsete\t-80(%rdi)", "\tmovl\t%edx, (%rcx)"], ["\tsete\t-80(%rdi)", "\tmovl\t$hole.cut.imm, (%rcx)"]),
    (["\tmovl\t%eax, %edx", FETCH, "\tcmpb\t%dl, %al"], ["\tmovl\t%eax, %edx", "\tcmpb\t$hole.cut.imm, %al"])])
def test_what_is_fetched_for_one_instruction_stands_in_it(lines: list[str], wanted: list[str]) -> None:
    assert shortened(lines) == wanted


@pytest.mark.parametrize("lines", [
    [FETCH, "\taddq\t%rdx, %rcx", "\taddq\t%rdx, %rax"], [FETCH, "\taddq\t%rdx, %rdx"],
    [FETCH, "\timulq\t%rcx", "\tmovq\t%rdx, %rcx"], [FETCH, "\tlahf", "\taddq\t%rdx, %rcx"],
    [FETCH, "\tmovq\t%rdx, %xmm0"], [FETCH, "\tleaq\t(%rdx,%rax), %rcx"],
    [".LBB0_1:", FETCH, "\taddq\t%rdx, %rcx", "\tjb\t.LBB0_1"], [FETCH, "\tjb\taside@PLT", "\taddq\t%rdx, %rcx"]])
def test_what_is_used_otherwise_is_fetched(lines: list[str]) -> None:
    assert shortened(lines) == [line.replace("movabsq", "movq") for line in lines]


def test_an_entry_is_loaded_from_at_once_if_its_address_is_for_nothing_else() -> None:
    computed = "\taddq\t%rdx, %rcx"
    assert shortened([computed, "\tmovl\t%eax, %edx", LOAD]) == ["\tmovq\t24(%rcx,%rdx), %rcx", "\tmovl\t%eax, %edx"]
    for lines in ([computed, "\tmovq\t%rcx, %rax", LOAD], [computed, "\tjb\taside@PLT", LOAD],
                  [computed, "\tmovq\t24(%rcx), %rax", "\tmovq\t%rcx, %rsi"],
                  [computed, "\tmovl\t%eax, %esi", "\tmovq\t24(%rcx), %rsi"]):
        assert shortened(lines) == lines


FLAGS = ["\tsete\t-80(%rdi)", "\tlahf", "\tseto\t%al", "\tandl\t$37889, %eax", "\tmovw\t%ax, -88(%rdi)"]
SUM = ["\tleaq\t(%rax,%rcx), %rdx", "\tmovq\t%rdx, hole.r0-64(%rdi)", "\taddq\t%rax, %rcx"]
DIFFERENCE = ["\tmovl\t%eax, %edx", "\tsubl\t%ecx, %edx", "\tmovq\t%rdx, hole.r0-64(%rdi)", "\tcmpl\t%ecx, %eax"]


@pytest.mark.parametrize("lines, wanted", [
    (SUM, ["\taddq\t%rax, %rcx", "\tmovq\t%rcx, hole.r0-64(%rdi)"]),
    (["\tleal\t-1(%rcx), %eax", "\tmovl\t%eax, (%rsi)", "\taddl\t$-1, %ecx"],
     ["\taddl\t$-1, %ecx", "\tmovl\t%ecx, (%rsi)"]),
    (DIFFERENCE, ["\tsubl\t%ecx, %eax", "\tmovq\t%rax, hole.r0-64(%rdi)"])])
def test_what_is_stored_has_the_flags_too(lines: list[str], wanted: list[str]) -> None:
    assert shortened(lines + FLAGS) == wanted + FLAGS


@pytest.mark.parametrize("lines", [
    [*SUM, "\tmovq\t%rdx, %rsi"], [".LBB0_1:", *SUM], [SUM[0], "\tmovq\t%rdx, (%rcx)", SUM[2]],
    [SUM[0], SUM[1], "\taddq\t%rsi, %rcx"], [SUM[0], SUM[1], "\taddl\t%eax, %ecx"], [*DIFFERENCE, "\tmovl\t%eax, %esi"],
    [DIFFERENCE[0], "\tsubl\t(%rdx), %edx", DIFFERENCE[2], "\tcmpl\t(%rdx), %eax"],
    [*DIFFERENCE[:3], "\tcmpl\t%esi, %eax"], [*DIFFERENCE[:2], "\tmovq\t%rdx, (%rax)", DIFFERENCE[3]]])
def test_a_result_that_is_needed_otherwise_is_made_twice(lines: list[str]) -> None:
    assert shortened(lines + FLAGS) == lines + FLAGS


def test_masks_are_those_in_registers_unless_these_are_used() -> None:
    lines = ["\tandq\t$-4096, %rdx", "\tandl\t$524256, %ecx", "\tandl\t$524256, (%rdx)", "\tandq\t$-4095, %rcx"]
    assert shortened(lines) == ["\tandq\t%r14, %rdx", "\tandl\t%r15d, %ecx", *lines[2:]]
    assert shortened([*lines, "\tmovl\t%eax, %r14d"])[:4] == lines


def test_holes_are_where_the_assembler_puts_what_they_stand_for() -> None:
    body = ("\tmovq\thole.r0-64(%rdi), %rax\n\tje\t.LBB0_1\n\taddq\t$hole.imm, %rax\n\tleaq\thole.disp+7(%rsi), %rcx\n"
            "\tsubq\t$hole.count.imm@ABS8, %r13\n.LBB0_1:\n\tmovq\t%rax, hole.r1-64(%rdi)\n\tjmp\tnext@PLT\n")
    told = {"hole.r0": 24, "hole.r1": 120, "hole.imm": -3, "hole.disp": 100, "hole.count.imm": 9}
    near, all_of = tight(FRAME.format("h1", body))
    assert (near.name, all_of.name) == ("h1.tight", "h1.tightest") and len(all_of.code) < len(near.code)
    assert [r.symbol for r in near.relocations if r.kind == R_32S] == ["hole.imm", "hole.disp"]
    code = bytearray(all_of.code)
    for hole in all_of.relocations:
        if hole.kind == R_8:
            code[hole.at] = told[hole.symbol] + hole.addend & 0xFF
    numbered = body.replace("@ABS8", "").replace("hole.r0-64", "-40").replace("hole.r1-64", "56")
    numbered = numbered.replace("hole.imm", "-3").replace("hole.disp+7", "107").replace("hole.count.imm", "9")
    made, = functions(assemble_text(FRAME.format("h1", numbered)))
    assert bytes(code) == made.code


def test_a_function_that_needs_data_of_its_own_is_left_out() -> None:
    assert tight(FRAME.format("h1", "\tvmovaps\t.LCPI0_0(%rip), %xmm0\n\tjmp\tnext@PLT\n")) == []


@pytest.mark.parametrize("size", [1, 4])
def test_an_instruction_that_has_no_operand_of_eight_bits_has_none_filled_in(size: int) -> None:
    """What AVX-512 does to a displacement that is no multiple of what it loads."""
    one, other = (Function("h1", b"\x90" + number.to_bytes(size, "little", signed=True), ()) for number in NUMBERS)
    found = filled(one, other, [("hole.r0", -64)])
    assert found is None if size > 1 else found and [(r.at, r.kind) for r in found.relocations] == [(1, R_8)]
