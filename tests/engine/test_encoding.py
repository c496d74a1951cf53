"""Encodings as manuals print them, and what is derived from them."""

import random

import pytest

from guesthouse.bits import u8, u64
from guesthouse.engine.decoding import decoder
from guesthouse.engine.encoding import Format, Kind, instructions_in, parse
from guesthouse.engine.op import Record
from guesthouse.errors import DefinitionError
from guesthouse.typed import Pointer


class Small(Record):
    rd: u8
    rs: u8
    imm: u64


R = Kind("r", u8, prime=8, targets=("rd",), dustbin=99, show=lambda n: f"r{n}")
Imm = Kind("imm", u64, signed=True, place="imm")
Target = Kind("target", u64, signed=True, relative=True, place="imm")

op = Format(16, {"rd": 3, "rs": 3})


@op("000 imm[5:0] rs rd 0", "1.1")
def plus(cpu, rd: R, rs: R, imm: Imm):
    pass


@op("001 imm[8:1|10:9] 00 0", "1.2")
def jump(cpu, imm: Target):
    pass


@op("010 00000 rs rd 00", "1.3", name="first", turn=False)
@op("010 00001 rs rd 00", "1.3", name="second", turn=True)
def two(cpu, rd: R, rs: R, turn):
    pass


ALIASES = (
    op.short("load", "011 uimm[5:0] rs rd 0", "1.4", plus, form="rd, imm(rs)", imm="uimm"),
    op.short("up", "100 000000 rd!=0 000 0", "1.5", plus, rs="rd", imm=1),
)
SET = instructions_in([__import__("sys").modules[__name__]])
HANDLERS = [None, *dict.fromkeys(i.handler for i in SET)]
DECODER = decoder(SET, Small, HANDLERS.index, undefined=0, shortest=2)


def named(name):
    return next(i for i in SET if i.name == name)


def decoded(word, pc=0x1000):
    record = Small.new()
    number = DECODER.find(u64(word))
    DECODER.write(number, u64(word), u64(pc), record.address)
    return record


def test_the_pieces_of_a_field_are_put_together():
    pattern = parse("imm[12|10:5] rs imm[4:1|11] 0000000", 22, {"rs": 3})
    for value in (0, 2, 0x1554, 0x0AAA, 0x1FFE):
        assert pattern.extract("imm", pattern.insert("imm", value)) == value


@pytest.mark.parametrize("text", ["000 rd", "0000 rs rd 0000000", "00 rd rs imm[99:80]"])
def test_an_encoding_that_is_not_as_wide_as_its_format_is_refused(text):
    with pytest.raises(DefinitionError, match="bits"):
        parse(text, 16, {"rd": 3, "rs": 3})


def test_a_name_without_a_width_is_refused():
    with pytest.raises(DefinitionError, match="how many bits has 'rx'"):
        parse("000 rx 0000000000", 16, {"rd": 3})


def test_an_operand_that_no_bits_say_is_refused():
    with pytest.raises(DefinitionError, match="no bits of .* say rs"):
        @op("000 imm[9:0] rd", "")
        def wrong(cpu, rd: R, rs: R):
            pass


def test_a_parameter_that_is_no_operand_is_refused():
    with pytest.raises(DefinitionError, match="neither an operand nor given"):
        @op("000 imm[9:0] rd", "")
        def wrong(cpu, rd: R, what):
            pass


def test_two_encodings_for_one_word_are_refused():
    @op("000 imm[6:0] 0 11 rd", "")
    def other(cpu, rd: R, imm: Imm):
        pass

    with pytest.raises(DefinitionError, match="other .* and plus .* can be the same word"):
        decoder((plus["plus"], other["other"]), Small, lambda handler: 1, undefined=0, shortest=2)


def test_immediates_are_signed_unless_their_name_says_otherwise():
    assert decoded(named("plus").encode(imm=0x3F, rs=1, rd=2)).imm == (1 << 64) - 1
    assert decoded(named("load").encode(uimm=0x3F, rs=1, rd=2)).imm == 0x3F


def test_relative_operands_become_addresses():
    assert decoded(named("jump").encode(imm=-2)).imm == 0xFFE
    assert decoded(named("jump").encode(imm=0x3FE)).imm == 0x13FE


def test_only_a_target_register_goes_to_the_dustbin():
    record = decoded(named("plus").encode(imm=1, rs=0, rd=0))
    assert (record.rd, record.rs) == (99, 0)


def test_an_alias_is_the_handler_of_what_it_means():
    record = decoded(named("up").encode(rd=5))
    assert record.handler == HANDLERS.index(named("plus").handler)
    assert (record.rd, record.rs, record.imm) == (5, 5, 1)


def test_a_field_that_must_not_be_zero_is_none():
    assert DECODER.find(u64(named("up").encode(rd=0))) == 0


def test_stacked_encodings_share_a_body_and_differ_in_what_is_given():
    first, second = named("first"), named("second")
    assert first.handler.op.run is second.handler.op.run
    assert [h.binds[-1](None, None) for h in (first.handler, second.handler)] == [False, True]


def test_the_tree_agrees_with_a_search_of_all_patterns():
    rng = random.Random(1)
    for _ in range(3000):
        word = rng.getrandbits(16)
        fitting = [n for n, i in enumerate(SET, 1) if i.pattern.fits(word)]
        assert int(DECODER.find(u64(word))) == (fitting[0] if fitting else 0)


def test_disassembly_follows_the_form():
    assert DECODER.disassemble(named("load").encode(uimm=8, rs=1, rd=2)) == "load r2, 8(r1)"
    assert DECODER.disassemble(named("plus").encode(imm=-4, rs=1, rd=2)) == "plus r2, r1, -4"
    assert DECODER.disassemble(named("jump").encode(imm=-2), 0x1000) == "jump 0xffe"
    assert DECODER.disassemble(0xFFFF) is None


def test_a_record_is_written_through_a_pointer_too():
    record = Small.new()
    pointer = Pointer[Small](record.address)
    DECODER.write(DECODER.find(u64(0)), u64(0), u64(0), pointer.address)
    assert pointer[0].length == 2
