"""Decodes x86 instructions (SDM 2A, chapter 2) with the tables that were derived from the definitions.

An instruction whose address needs more than base, index and displacement (FS, GS, an address size that is
not native, a segment outside 64-bit mode that is not flat) becomes two records: the first puts the linear
address into cpu.ea.
"""

from guesthouse.bits import i8, i16, i32, select, u8, u16, u32, u64
from guesthouse.system.cpu.x86.forms import (
    BYTES, FIXED, FROM_OPCODE, FROM_REG, FROM_VVVV, LOCKABLE, LOCKING, MOFFS, OFFSET_ONLY, POPS, REGISTERS, RELATIVE,
    STRING, THIS, VVVV, WHERE,
)
from guesthouse.system.cpu.x86.operands import EA, NOTHING, START
from guesthouse.system.cpu.x86.state import BELOW, CS, DS, ES, FS, RBP, RBX, RDI, RSI, RSP, SS, General, Segment
from guesthouse.system.cpu.x86.tables import ADDRESS, IS_REGISTER, LONG_MODE, PREFIX, REG, RM, SIZE, VECTOR
from guesthouse.typed import Table, function, load, static

LONGEST = 15
UNDEFINED, TOO_LONG, BEYOND, STEPS = 0, 1, 2, 3  # handlers that every x86 guest begins with, see instructions.py
BASES = General.offset("segments") + BELOW  # of segment n: this + n * Segment.size

NO_SEGMENT = 7
OPERAND_SIZE, ADDRESS_SIZE, LOCK, REPNE, REP, REX, OPCODE = range(8, 15)


def prefix_class(byte: int) -> int:
    """What a byte is before the opcode: a segment's number, one of the names above, or OPCODE."""
    segments = {0x26: ES, 0x2E: CS, 0x36: SS, 0x3E: DS, 0x64: FS, 0x65: FS + 1}
    others = {0x66: OPERAND_SIZE, 0x67: ADDRESS_SIZE, 0xF0: LOCK, 0xF2: REPNE, 0xF3: REP}
    return (segments | others).get(byte, REX if byte >> 4 == 4 else OPCODE)


PREFIX_CLASS = Table(u8, [prefix_class(b) for b in range(256)])

# 16-bit addressing, SDM 2A, table 2-1: base and index register for each rm.
BASE_16 = Table(u16, [8 * n for n in (RBX, RBX, RBP, RBP)] + [NOTHING, NOTHING, 8 * RBP, 8 * RBX])
INDEX_16 = Table(u16, [8 * n for n in (RSI, RDI, RSI, RDI, RSI, RDI)] + [NOTHING, NOTHING])


def byte_at(code, n):
    """Byte n of the instruction; past the fifteenth, which is too long anyway, some byte that can be read."""
    return load(u8, code + select(n < LONGEST, n, u64(LONGEST)))


@function
def signed_at(code: u64, n: u64, size: u64) -> u64:
    """`size` bytes at byte n, sign-extended; 0 if they lie beyond the longest instruction."""
    if n + size > LONGEST or size == 0:
        return u64(0)
    if size == 1:
        return u64(load(i8, code + n))
    if size == 2:
        return u64(load(i16, code + n))
    if size == 4:
        return u64(load(i32, code + n))
    return load(u64, code + n)


def prefixes(code, long):
    """Legacy and REX prefixes: (how many bytes, REX, segment, LOCK?, 66?, 67?, F2 or F3 as index in
    PREFIXES or 0).

    A REX that does not stand right before the opcode means nothing; ES to DS mean nothing in 64-bit mode
    (2.1.1).
    """
    n, rex, segment, lock, size, address, rep = u64(0), u8(0), u8(NO_SEGMENT), u8(0), u8(0), u8(0), u64(0)
    byte = byte_at(code, n)
    what = PREFIX_CLASS[byte]
    while what != OPCODE and (long or what != REX) and n < LONGEST:
        rex = select(what == REX, byte, u8(0))
        if what < NO_SEGMENT:
            if what >= FS or not long:
                segment = what
        elif what == OPERAND_SIZE:
            size = u8(1)
        elif what == ADDRESS_SIZE:
            address = u8(1)
        elif what == LOCK:
            lock = u8(1)
        elif what == REP:
            rep = u64(2)
        elif what == REPNE:
            rep = u64(3)
        n = n + 1
        byte = byte_at(code, n)
        what = PREFIX_CLASS[byte]
    return n, rex, segment, lock, size, address, rep


def opcode_at(code, n):
    """The map and opcode without VEX, and where what follows begins."""
    opcode, map_ = byte_at(code, n), u64(0)
    n = n + 1
    if opcode == 0x0F:
        opcode, map_ = byte_at(code, n), u64(1)
        n = n + 1
        if opcode == 0x38 or opcode == 0x3A:
            map_ = select(opcode == 0x38, u64(2), u64(3))
            opcode = byte_at(code, n)
            n = n + 1
    return opcode, map_, n


def vex_at(code, n, long):
    """A VEX prefix (2.3.5) and its opcode: (opcode, map, R X B W as in REX, pp, L, vvvv, where the rest
    begins)."""
    two = byte_at(code, n) == 0xC5
    first = byte_at(code, n + 1)
    last = select(two, first, byte_at(code, n + 2))
    n = n + select(two, u64(2), u64(3))
    rxb = select(two, ~first >> 5 & 4, ~first >> 5)
    rex = select(long, rxb | select(two, u8(0), last >> 4 & 8), u8(0))
    map_ = select(two, u64(1), u64(first & 31))
    map_ = select(map_ - 1 < 3, map_ + 3, u64(7))
    pp = u64(last & 3)  # an index in PREFIXES
    vvvv = u64(~last >> 3 & 15)
    return byte_at(code, n), map_, rex, pp, u64(last >> 2 & 1), vvvv, n + 1


def address_16(record, code, n, modrm):
    """16-bit addressing forms, SDM 2A, table 2-1. Returns where the rest begins."""
    rm, mod = modrm & 7, modrm >> 6
    record.base, record.index = BASE_16[rm], INDEX_16[rm]
    record.segment = select((rm == 2) | (rm == 3) | ((rm == 6) & (mod != 0)), u8(SS), u8(DS))
    size = u64(mod)
    if rm == 6 and mod == 0:
        record.base = u16(NOTHING)
        size = u64(2)
    record.disp = signed_at(code, n, size)
    return n + size


def address_wide(record, code, n, modrm, rex):
    """32 and 64-bit addressing forms, SDM 2A, tables 2-2 and 2-3. Returns where the rest begins."""
    rm, mod = modrm & 7, modrm >> 6
    base, size = u16(rm | (rex & 1) << 3) << 3, select(mod == 2, u64(4), u64(mod))
    if rm == 4:
        sib = byte_at(code, n)
        n = n + 1
        base = u16(sib & 7 | (rex & 1) << 3) << 3
        index = u16(sib >> 3 & 7 | (rex & 2) << 2) << 3
        if index != 8 * RSP:
            record.index, record.scale = index, sib >> 6
        if sib & 7 == 5 and mod == 0:
            base, size = u16(NOTHING), u64(4)
    elif rm == 5 and mod == 0:
        base, size = u16(NOTHING), u64(4)
    record.base, record.disp = base, signed_at(code, n, size)
    record.segment = select((base == 8 * RSP) | (base == 8 * RBP), u8(SS), u8(DS))
    return n + size


@function
def operand(tables: static, spec: u32, modrm: u8, opcode: u8, rex: u8, has_rex: u8, vvvv: u64) -> u16:
    """The offset of a register operand; `spec` is a packed slot of forms.Form."""
    source, file = spec & 7, spec >> 4 & 7
    if source == FIXED:
        return u16(spec >> 8)
    number = u64(modrm & 7 | (rex & 1) << 3)
    if source == FROM_REG:
        number = u64(modrm >> 3 & 7 | (rex & 4) << 1)
    elif source == FROM_OPCODE:
        number = u64(opcode & 7 | (rex & 1) << 3)
    elif source == FROM_VVVV:
        number = vvvv
    if file == BYTES and has_rex == 0 and number >= 4:
        return u16(number - 4) * 8 + 1
    number = number & u64(tables.file_mask[file])
    return tables.file_base[file] + u16(number) * tables.file_stride[file]


def segment_base(long, segment):
    """Where the base lies that string instructions add."""
    return select(long & (segment < FS), u16(NOTHING), u16(BASES) + u16(segment) * Segment.size)


def decoded(tables, cpu, start, at, code, record) -> u64:
    """Decode one instruction: the body of X86.decode."""
    long = cpu.code_bits == 64
    n, rex, override, lock, size66, size67, pp = prefixes(code, long)
    first = byte_at(code, n)
    vector, vvvv, has_rex, bad = u64(0), u64(0), u8(rex != 0), u8(0)
    opcode, map_, begin = opcode_at(code, n)
    vex = (first & 0xFE == 0xC4) & (long | (byte_at(code, n + 1) >= 0xC0))
    if vex:
        bad = lock | size66 | has_rex | u8(pp != 0)
        opcode, map_, rex, pp, vector, vvvv, begin = vex_at(code, n, long)
    elif pp == 0:
        pp = u64(size66)
    address = select(long, 2 - u64(size67), u64((cpu.code_bits == 32) != (size67 != 0)))
    size = select(rex & 8 != 0, u64(2), u64((cpu.code_bits != 16) != (size66 != 0)))
    leaf, modrm = found(tables, map_ << 8 | u64(opcode), code, begin, (pp, u64(long), size, address, vector))
    flags = tables.flags[leaf]
    if (lock != 0) & (flags & LOCKABLE == 0) | (bad != 0) | vex & (flags & VVVV == 0) & (vvvv != 0):
        leaf = u16(UNDEFINED)
    clear(record)
    has_modrm = tables.has_modrm[map_ << 8 | u64(opcode)] != 0
    n = begin + u64(has_modrm)
    in_memory = has_modrm & (modrm < 0xC0) & (flags & REGISTERS == 0)
    if in_memory:
        if address == 0:
            n = address_16(record[0], code, n, modrm)
        else:
            n = address_wide(record[0], code, n, modrm, rex)
    n = immediates(tables, leaf, at, code, n, record)
    if in_memory & long & (modrm & 0xC7 == 5):
        record[0].base, record[0].disp = u16(START), record[0].disp + (at + n)
    slots(tables, leaf, record, modrm, opcode, rex, has_rex, vvvv)
    if flags & WHERE != 0:
        record[0].imm, record[0].r2 = at, u16(opcode & 7) << 8 | u16(modrm)
    if cpu.parallel != 0 and (lock != 0 or flags & LOCKING != 0) and tables.locked[leaf] != 0:
        record[0].handler = u64(tables.locked[leaf])
    else:
        record[0].handler = u64(tables.handler[leaf])
    made = finished(tables, leaf, record, n, in_memory, long, address, override, cpu.flat != 0)
    last = (start + at - cpu.segments[CS].base & 0xFFFF_FFFF) + u64(record[0].length) - 1
    if not long and last > u64(cpu.segments[CS].limit):
        record[0].handler, made = u64(BEYOND), u64(1)
    return made


def found(tables, slot, code, begin, selectors):
    """The number of the form, and the ModRM byte if there is one (else the byte in its place)."""
    modrm = byte_at(code, begin)
    pp, long, size, address, vector = selectors
    by = tables.strides
    at = tables.base[slot] + u32(by[PREFIX][slot]) * u32(pp) + u32(by[LONG_MODE][slot]) * u32(long)
    at = at + u32(by[SIZE][slot]) * u32(size) + u32(by[ADDRESS][slot]) * u32(address)
    at = at + u32(by[REG][slot]) * u32(modrm >> 3 & 7) + u32(by[IS_REGISTER][slot]) * u32(modrm >= 0xC0)
    at = at + u32(by[RM][slot]) * u32(modrm & 7) + u32(by[VECTOR][slot]) * u32(vector)
    return tables.leaves[at], modrm


def clear(record) -> None:
    """A record with no operands."""
    record[0].base, record[0].index, record[0].scale, record[0].segment = (
        u16(NOTHING),
        u16(NOTHING),
        u8(0),
        u8(DS),
    )
    record[0].disp, record[0].imm = u64(0), u64(0)


def immediates(tables, leaf, at, code, n, record):
    """Read the immediates; a branch target counts from the start of the block. Returns the length."""
    first, second = u64(tables.immediate[leaf]), u64(tables.second[leaf])
    record[0].imm = signed_at(code, n, first)
    if first == 0:
        record[0].imm = u64(tables.constant[leaf])
    n = n + first
    if second != 0:
        record[0].disp = signed_at(code, n, second)
        n = n + second
    flags = tables.flags[leaf]
    if flags & THIS != 0:
        record[0].imm = at
    if (flags & POPS != 0) & (record[0].base == 8 * RSP):
        record[0].disp = record[0].disp + u64(tables.constant[leaf])
    if flags & RELATIVE != 0:
        record[0].imm = record[0].imm + (at + n)
    return n


def slots(tables, leaf, record, modrm, opcode, rex, has_rex, vvvv) -> None:
    """The register operands."""
    record[0].r0 = operand(tables, tables.slots[0][leaf], modrm, opcode, rex, has_rex, vvvv)
    record[0].r1 = operand(tables, tables.slots[1][leaf], modrm, opcode, rex, has_rex, vvvv)
    record[0].r2 = operand(tables, tables.slots[2][leaf], modrm, opcode, rex, has_rex, vvvv)


def finished(tables, leaf, record, n, in_memory, long, address, override, in_flat):
    """Set handler and length; add the step that computes the address if one is needed. Returns how many
    records."""
    flags = tables.flags[leaf]
    record[0].length = u8(n)
    if n > LONGEST:
        record[0].handler, record[0].length = u64(TOO_LONG), u8(LONGEST)
        return u64(1)
    if override != NO_SEGMENT:
        record[0].segment = override
    if flags & STRING != 0:
        record[0].base = segment_base(long, record[0].segment)
        record[0].index = segment_base(long, u8(ES))
    offset_only = flags & OFFSET_ONLY != 0
    flat = in_flat & (address == 1) & ((override == NO_SEGMENT) | (override < FS) & (override != CS))
    plain = select(
        offset_only,
        (address == 2) | ((address == 1) & (not long)),
        long & (address == 2) & (override == NO_SEGMENT) | flat,
    )
    if plain | (leaf == UNDEFINED) | (not (in_memory | (flags & MOFFS != 0))):
        return u64(1)
    split(record, select(offset_only, u64(STEPS), u64(STEPS + 2)) + address)
    record[0].imm = u64(tables.access[leaf])
    return u64(2)


def split(record, step) -> None:
    """Make the record two: `step` is the handler that computes cpu.ea from the address, which the second
    then uses."""
    record[1].handler, record[1].length = record[0].handler, record[0].length
    record[1].r0, record[1].r1, record[1].r2 = record[0].r0, record[0].r1, record[0].r2
    record[1].base, record[1].index, record[1].scale = u16(EA), u16(NOTHING), u8(0)
    record[1].segment, record[1].disp, record[1].imm = record[0].segment, u64(0), record[0].imm
    record[0].handler = step
