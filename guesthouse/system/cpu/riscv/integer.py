"""RV64I: the base integer instructions (Volume I, chapters 2 and 4).

FENCE is a no-op: a hart here sees and makes memory accesses in program order. FENCE.I too, because the engine
sees every store to decoded code.
"""

from guesthouse.bits import i8, i16, i32, i64, u8, u16, u32, u64
from guesthouse.engine.cpu import HOST_CALL
from guesthouse.engine.op import BRANCHES, LEAVES
from guesthouse.system.cpu.riscv.causes import BREAKPOINT, CALL_FROM_U, SUPERVISOR
from guesthouse.system.cpu.riscv.formats import RA, SP, Imm, Shamt, Target, Upper, X, op


def sext(word):
    """A 32-bit result as the register holds it: sign-extended."""
    return u64(i64(i32(word)))


@op("imm[31:12] rd 0110111", "2.4.1")
def lui(hart, rd: X, imm: Upper):
    hart.x[rd] = imm


@op("imm[31:12] rd 0010111", "2.4.1")
def auipc(hart, rd: X, imm: Target):
    hart.x[rd] = imm


# Jumps and branches: pc is already the next instruction's address. Calls and returns have bodies of their own: the
# engine is told of them, and who returns has as a rule the stack pointer of the one who called.


@op("imm[20|10:1|11|19:12] rd 1101111", "2.5.1", ends=BRANCHES)
def jal(hart, rd: X, imm: Target):
    hart.x[rd] = hart.pc
    hart.note_call(hart.x[SP])
    hart.pc = imm


@op("imm[20|10:1|11|19:12] 00000 1101111", "2.5.1", ends=BRANCHES)
def j(hart, imm: Target):
    hart.pc = imm


@op("imm[11:0] rs1 000 rd 1100111", "2.5.1", ends=BRANCHES, form="rd, imm(rs1)")
def jalr(hart, rd: X, rs1: X, imm: Imm):
    target = hart.x[rs1] + imm & ~u64(1)
    hart.x[rd] = hart.pc
    hart.note_call(hart.x[SP])
    hart.pc = target


@op("imm[11:0] rs1 000 00000 1100111", "2.5.1", ends=BRANCHES, form="imm(rs1)")
def jr(hart, rs1: X, imm: Imm):
    hart.pc = hart.x[rs1] + imm & ~u64(1)


@op("000000000000 00001 000 00000 1100111", "2.5.1", ends=BRANCHES)
def ret(hart):
    hart.note_return(hart.x[SP])
    hart.pc = hart.x[RA] & ~u64(1)


@op("imm[12|10:5] rs2 rs1 000 imm[4:1|11] 1100011", "2.5.2", ends=BRANCHES)
def beq(hart, rs1: X, rs2: X, imm: Target):
    if hart.x[rs1] == hart.x[rs2]:
        hart.pc = imm


@op("imm[12|10:5] rs2 rs1 001 imm[4:1|11] 1100011", "2.5.2", ends=BRANCHES)
def bne(hart, rs1: X, rs2: X, imm: Target):
    if hart.x[rs1] != hart.x[rs2]:
        hart.pc = imm


@op("imm[12|10:5] rs2 rs1 100 imm[4:1|11] 1100011", "2.5.2", ends=BRANCHES)
def blt(hart, rs1: X, rs2: X, imm: Target):
    if i64(hart.x[rs1]) < i64(hart.x[rs2]):
        hart.pc = imm


@op("imm[12|10:5] rs2 rs1 101 imm[4:1|11] 1100011", "2.5.2", ends=BRANCHES)
def bge(hart, rs1: X, rs2: X, imm: Target):
    if i64(hart.x[rs1]) >= i64(hart.x[rs2]):
        hart.pc = imm


@op("imm[12|10:5] rs2 rs1 110 imm[4:1|11] 1100011", "2.5.2", ends=BRANCHES)
def bltu(hart, rs1: X, rs2: X, imm: Target):
    if hart.x[rs1] < hart.x[rs2]:
        hart.pc = imm


@op("imm[12|10:5] rs2 rs1 111 imm[4:1|11] 1100011", "2.5.2", ends=BRANCHES)
def bgeu(hart, rs1: X, rs2: X, imm: Target):
    if hart.x[rs1] >= hart.x[rs2]:
        hart.pc = imm


# Loads and stores.


@op("imm[11:0] rs1 000 rd 0000011", "2.6", name="lb", form="rd, imm(rs1)", kind=i8)
@op("imm[11:0] rs1 001 rd 0000011", "2.6", name="lh", form="rd, imm(rs1)", kind=i16)
@op("imm[11:0] rs1 010 rd 0000011", "2.6", name="lw", form="rd, imm(rs1)", kind=i32)
@op("imm[11:0] rs1 011 rd 0000011", "4.3", name="ld", form="rd, imm(rs1)", kind=u64)
@op("imm[11:0] rs1 100 rd 0000011", "2.6", name="lbu", form="rd, imm(rs1)", kind=u8)
@op("imm[11:0] rs1 101 rd 0000011", "2.6", name="lhu", form="rd, imm(rs1)", kind=u16)
@op("imm[11:0] rs1 110 rd 0000011", "4.3", name="lwu", form="rd, imm(rs1)", kind=u32)
def load(hart, rd: X, rs1: X, imm: Imm, kind):
    """The type says how far the value's sign goes."""
    value = hart.load(kind, hart.x[rs1] + imm)
    hart.x[rd] = u64(i64(value)) if kind.signed else u64(value)


@op("imm[11:5] rs2 rs1 000 imm[4:0] 0100011", "2.6", name="sb", form="rs2, imm(rs1)", kind=u8)
@op("imm[11:5] rs2 rs1 001 imm[4:0] 0100011", "2.6", name="sh", form="rs2, imm(rs1)", kind=u16)
@op("imm[11:5] rs2 rs1 010 imm[4:0] 0100011", "2.6", name="sw", form="rs2, imm(rs1)", kind=u32)
@op("imm[11:5] rs2 rs1 011 imm[4:0] 0100011", "4.3", name="sd", form="rs2, imm(rs1)", kind=u64)
def store(hart, rs1: X, rs2: X, imm: Imm, kind):
    hart.store(kind, hart.x[rs1] + imm, kind(hart.x[rs2]))


# Register and immediate.


@op("imm[11:0] rs1 000 rd 0010011", "2.4.1")
def addi(hart, rd: X, rs1: X, imm: Imm):
    hart.x[rd] = hart.x[rs1] + imm


@op("imm[11:0] rs1 010 rd 0010011", "2.4.1")
def slti(hart, rd: X, rs1: X, imm: Imm):
    hart.x[rd] = u64(i64(hart.x[rs1]) < i64(imm))


@op("imm[11:0] rs1 011 rd 0010011", "2.4.1")
def sltiu(hart, rd: X, rs1: X, imm: Imm):
    hart.x[rd] = u64(hart.x[rs1] < imm)


@op("imm[11:0] rs1 100 rd 0010011", "2.4.1")
def xori(hart, rd: X, rs1: X, imm: Imm):
    hart.x[rd] = hart.x[rs1] ^ imm


@op("imm[11:0] rs1 110 rd 0010011", "2.4.1")
def ori(hart, rd: X, rs1: X, imm: Imm):
    hart.x[rd] = hart.x[rs1] | imm


@op("imm[11:0] rs1 111 rd 0010011", "2.4.1")
def andi(hart, rd: X, rs1: X, imm: Imm):
    hart.x[rd] = hart.x[rs1] & imm


@op("000000 shamt[5:0] rs1 001 rd 0010011", "4.2.1")
def slli(hart, rd: X, rs1: X, shamt: Shamt):
    hart.x[rd] = hart.x[rs1] << (shamt & 63)


@op("000000 shamt[5:0] rs1 101 rd 0010011", "4.2.1")
def srli(hart, rd: X, rs1: X, shamt: Shamt):
    hart.x[rd] = hart.x[rs1] >> (shamt & 63)


@op("010000 shamt[5:0] rs1 101 rd 0010011", "4.2.1")
def srai(hart, rd: X, rs1: X, shamt: Shamt):
    hart.x[rd] = u64(i64(hart.x[rs1]) >> i64(shamt & 63))


@op("imm[11:0] rs1 000 rd 0011011", "4.2.1")
def addiw(hart, rd: X, rs1: X, imm: Imm):
    hart.x[rd] = sext(hart.x[rs1] + imm)


@op("0000000 shamt[4:0] rs1 001 rd 0011011", "4.2.1")
def slliw(hart, rd: X, rs1: X, shamt: Shamt):
    hart.x[rd] = sext(hart.x[rs1] << (shamt & 31))


@op("0000000 shamt[4:0] rs1 101 rd 0011011", "4.2.1")
def srliw(hart, rd: X, rs1: X, shamt: Shamt):
    hart.x[rd] = sext(u32(hart.x[rs1]) >> u32(shamt & 31))


@op("0100000 shamt[4:0] rs1 101 rd 0011011", "4.2.1")
def sraiw(hart, rd: X, rs1: X, shamt: Shamt):
    hart.x[rd] = sext(i32(hart.x[rs1]) >> i32(shamt & 31))


# Register and register.


@op("0000000 rs2 rs1 000 rd 0110011", "2.4.2")
def add(hart, rd: X, rs1: X, rs2: X):
    hart.x[rd] = hart.x[rs1] + hart.x[rs2]


@op("0100000 rs2 rs1 000 rd 0110011", "2.4.2")
def sub(hart, rd: X, rs1: X, rs2: X):
    hart.x[rd] = hart.x[rs1] - hart.x[rs2]


@op("0000000 rs2 rs1 001 rd 0110011", "2.4.2")
def sll(hart, rd: X, rs1: X, rs2: X):
    hart.x[rd] = hart.x[rs1] << (hart.x[rs2] & 63)


@op("0000000 rs2 rs1 010 rd 0110011", "2.4.2")
def slt(hart, rd: X, rs1: X, rs2: X):
    hart.x[rd] = u64(i64(hart.x[rs1]) < i64(hart.x[rs2]))


@op("0000000 rs2 rs1 011 rd 0110011", "2.4.2")
def sltu(hart, rd: X, rs1: X, rs2: X):
    hart.x[rd] = u64(hart.x[rs1] < hart.x[rs2])


@op("0000000 rs2 rs1 100 rd 0110011", "2.4.2")
def xor(hart, rd: X, rs1: X, rs2: X):
    hart.x[rd] = hart.x[rs1] ^ hart.x[rs2]


@op("0000000 rs2 rs1 101 rd 0110011", "2.4.2")
def srl(hart, rd: X, rs1: X, rs2: X):
    hart.x[rd] = hart.x[rs1] >> (hart.x[rs2] & 63)


@op("0100000 rs2 rs1 101 rd 0110011", "2.4.2")
def sra(hart, rd: X, rs1: X, rs2: X):
    hart.x[rd] = u64(i64(hart.x[rs1]) >> i64(hart.x[rs2] & 63))


@op("0000000 rs2 rs1 110 rd 0110011", "2.4.2")
def or_(hart, rd: X, rs1: X, rs2: X):
    hart.x[rd] = hart.x[rs1] | hart.x[rs2]


@op("0000000 rs2 rs1 111 rd 0110011", "2.4.2")
def and_(hart, rd: X, rs1: X, rs2: X):
    hart.x[rd] = hart.x[rs1] & hart.x[rs2]


@op("0000000 rs2 rs1 000 rd 0111011", "4.2.2")
def addw(hart, rd: X, rs1: X, rs2: X):
    hart.x[rd] = sext(hart.x[rs1] + hart.x[rs2])


@op("0100000 rs2 rs1 000 rd 0111011", "4.2.2")
def subw(hart, rd: X, rs1: X, rs2: X):
    hart.x[rd] = sext(hart.x[rs1] - hart.x[rs2])


@op("0000000 rs2 rs1 001 rd 0111011", "4.2.2")
def sllw(hart, rd: X, rs1: X, rs2: X):
    hart.x[rd] = sext(hart.x[rs1] << (hart.x[rs2] & 31))


@op("0000000 rs2 rs1 101 rd 0111011", "4.2.2")
def srlw(hart, rd: X, rs1: X, rs2: X):
    hart.x[rd] = sext(u32(hart.x[rs1]) >> u32(hart.x[rs2] & 31))


@op("0100000 rs2 rs1 101 rd 0111011", "4.2.2")
def sraw(hart, rd: X, rs1: X, rs2: X):
    hart.x[rd] = sext(i32(hart.x[rs1]) >> i32(hart.x[rs2] & 31))


# Order, environment.


@op("fm[3:0] pred[3:0] succ[3:0] rs1 000 rd 0001111", "2.7", form="")
def fence(hart):
    """PAUSE (Zihintpause) is one of its hints."""


@op("imm[11:0] rs1 001 rd 0001111", "6", name="fence.i", ends=LEAVES)
def fence_i(hart):
    """The engine has already seen the stores."""


@op("000000000000 00000 000 00000 1110011", "2.8", ends=LEAVES)
def ecall(hart):
    """A call to the next higher mode; to the board, where it is the SBI firmware."""
    if hart.mode == SUPERVISOR and hart.sbi != 0:
        hart.exit = u64(HOST_CALL)
    else:
        hart.raise_fault(hart.mode + CALL_FROM_U, u64(0))


@op("000000000001 00000 000 00000 1110011", "2.8")
def ebreak(hart):
    """deliver() puts the address of this instruction into xtval."""
    hart.raise_fault(BREAKPOINT, u64(0))
