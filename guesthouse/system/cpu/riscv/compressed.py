"""The C extension (Volume I, chapter 26): other encodings of instructions that are defined elsewhere.

A reserved encoding is none of these, and so illegal; hints do what their expansion does, into the dustbin.
"""

from guesthouse.system.cpu.riscv.formats import SP, short as c
from guesthouse.system.cpu.riscv.floating import load_float, store_float
from guesthouse.system.cpu.riscv.integer import (
    add, addi, addiw, addw, and_, andi, beq, bne, ebreak, j, jalr, jr, load, lui, or_, ret, slli, srai, srli,
    store, sub, subw, xor,
)

lw, ld, sw, sd = load["lw"], load["ld"], store["sw"], store["sd"]
fld, fsd = load_float["fld"], store_float["fsd"]

LOADS_AND_STORES = (
    c("c.lwsp", "010 uimm[5] rd!=0 uimm[4:2|7:6] 10", "26.3.1", lw, form="rd, imm(rs1)", imm="uimm", rs1=SP),
    c("c.ldsp", "011 uimm[5] rd!=0 uimm[4:3|8:6] 10", "26.3.1", ld, form="rd, imm(rs1)", imm="uimm", rs1=SP),
    c("c.fldsp", "001 uimm[5] rd uimm[4:3|8:6] 10", "26.3.1", fld, form="rd, imm(rs1)", imm="uimm", rs1=SP),
    c("c.swsp", "110 uimm[5:2|7:6] rs2 10", "26.3.1", sw, form="rs2, imm(rs1)", imm="uimm", rs1=SP),
    c("c.sdsp", "111 uimm[5:3|8:6] rs2 10", "26.3.1", sd, form="rs2, imm(rs1)", imm="uimm", rs1=SP),
    c("c.fsdsp", "101 uimm[5:3|8:6] rs2 10", "26.3.1", fsd, form="rs2, imm(rs1)", imm="uimm", rs1=SP),
    c("c.lw", "010 uimm[5:3] rs1' uimm[2|6] rd' 00", "26.3.2", lw, form="rd, imm(rs1)", imm="uimm"),
    c("c.ld", "011 uimm[5:3] rs1' uimm[7:6] rd' 00", "26.3.2", ld, form="rd, imm(rs1)", imm="uimm"),
    c("c.fld", "001 uimm[5:3] rs1' uimm[7:6] rd' 00", "26.3.2", fld, form="rd, imm(rs1)", imm="uimm"),
    c("c.sw", "110 uimm[5:3] rs1' uimm[2|6] rs2' 00", "26.3.2", sw, form="rs2, imm(rs1)", imm="uimm"),
    c("c.sd", "111 uimm[5:3] rs1' uimm[7:6] rs2' 00", "26.3.2", sd, form="rs2, imm(rs1)", imm="uimm"),
    c("c.fsd", "101 uimm[5:3] rs1' uimm[7:6] rs2' 00", "26.3.2", fsd, form="rs2, imm(rs1)", imm="uimm"),
)

CONTROL = (
    c("c.j", "101 imm[11|4|9:8|10|6|7|3:1|5] 01", "26.4", j),
    c("c.jr", "1000 rs1!=0 00000 10", "26.4", jr, imm=0),
    c("c.jr", "1000 00001 00000 10", "26.4", ret, form="ra"),
    c("c.jalr", "1001 rs1!=0 00000 10", "26.4", jalr, rd=1, imm=0),
    c("c.beqz", "110 imm[8|4:3] rs1' imm[7:6|2:1|5] 01", "26.4", beq, rs2=0),
    c("c.bnez", "111 imm[8|4:3] rs1' imm[7:6|2:1|5] 01", "26.4", bne, rs2=0),
    c("c.ebreak", "1001 00000 00000 10", "26.5.5", ebreak),
)

COMPUTATION = (
    c("c.li", "010 imm[5] rd imm[4:0] 01", "26.5.1", addi, rs1=0),
    c("c.lui", "011 imm[17]!=0 rd imm[16:12] 01", "26.5.1", lui),
    c("c.addi", "000 imm[5] rd imm[4:0] 01", "26.5.2", addi, rs1="rd"),
    c("c.addiw", "001 imm[5] rd!=0 imm[4:0] 01", "26.5.2", addiw, rs1="rd"),
    c("c.addi16sp", "011 imm[9]!=0 00010 imm[4|6|8:7|5] 01", "26.5.2", addi, rd=SP, rs1=SP),
    c("c.addi4spn", "000 nzuimm[5:4|9:6|2|3]!=0 rd' 00", "26.5.2", addi, imm="nzuimm", rs1=SP),
    c("c.slli", "000 shamt[5] rd shamt[4:0] 10", "26.5.2", slli, rs1="rd"),
    c("c.srli", "100 shamt[5] 00 rd' shamt[4:0] 01", "26.5.2", srli, rs1="rd"),
    c("c.srai", "100 shamt[5] 01 rd' shamt[4:0] 01", "26.5.2", srai, rs1="rd"),
    c("c.andi", "100 imm[5] 10 rd' imm[4:0] 01", "26.5.2", andi, rs1="rd"),
    c("c.mv", "1000 rd rs2!=0 10", "26.5.3", add, rs1=0),
    c("c.add", "1001 rd rs2!=0 10", "26.5.3", add, rs1="rd"),
    c("c.and", "100011 rd' 11 rs2' 01", "26.5.3", and_, rs1="rd"),
    c("c.or", "100011 rd' 10 rs2' 01", "26.5.3", or_, rs1="rd"),
    c("c.xor", "100011 rd' 01 rs2' 01", "26.5.3", xor, rs1="rd"),
    c("c.sub", "100011 rd' 00 rs2' 01", "26.5.3", sub, rs1="rd"),
    c("c.addw", "100111 rd' 01 rs2' 01", "26.5.3", addw, rs1="rd"),
    c("c.subw", "100111 rd' 00 rs2' 01", "26.5.3", subw, rs1="rd"),
)
