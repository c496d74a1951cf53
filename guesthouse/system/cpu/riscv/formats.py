"""How RISC-V instructions are written down here: the two widths, and the kinds of operands.

The encodings are those of "The RISC-V Instruction Set Manual, Volume I: Unprivileged Architecture"
(20240411); sections are cited by its numbers, and those of Volume II, Privileged Architecture, with a leading
P.
"""

from guesthouse.bits import u8, u64
from guesthouse.engine.encoding import Format, Kind
from guesthouse.engine.op import Record

RA, SP = 1, 2
DUSTBIN = 32  # the element of x and f arrays that takes what is written to x0

X_NAMES = ("zero ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 "
           "s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6").split()
F_NAMES = ("ft0 ft1 ft2 ft3 ft4 ft5 ft6 ft7 fs0 fs1 fa0 fa1 fa2 fa3 fa4 fa5 fa6 fa7 "
           "fs2 fs3 fs4 fs5 fs6 fs7 fs8 fs9 fs10 fs11 ft8 ft9 ft10 ft11").split()
ROUNDINGS = ("rne", "rtz", "rdn", "rup", "rmm", "?5", "?6", "dyn")


class RiscvRecord(Record):
    """A decoded instruction: 24 bytes."""

    rd: u8
    rs1: u8
    rs2: u8
    rs3: u8
    imm: u64


X = Kind("x", u8, prime=8, targets=("rd",), dustbin=DUSTBIN, show=X_NAMES.__getitem__)
F = Kind("f", u8, prime=8, show=F_NAMES.__getitem__)
Imm = Kind("imm", u64, signed=True, place="imm")
Upper = Kind("upper", u64, signed=True, place="imm", show=lambda value: f"{value >> 12 & 0xFFFFF:#x}")
Target = Kind("target", u64, signed=True, relative=True, place="imm")
Shamt = Kind("shamt", u64, place="imm")
Number = Kind("csr", u64, place="imm", show=lambda value: f"{value:#x}")
Small = Kind("uimm", u8, place="rs1")
Rounding = Kind("rm", u64, place="imm", show=ROUNDINGS.__getitem__)

op = Format(32, {"rd": 5, "rs1": 5, "rs2": 5, "rs3": 5, "rm": 3, "aq": 1, "rl": 1})
short = Format(16, {"rd": 5, "rs1": 5, "rs2": 5, "rd'": 3, "rs1'": 3, "rs2'": 3}).short
