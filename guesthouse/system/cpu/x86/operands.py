"""What an instruction's operands can be: the kinds of SDM 2D, appendix A.2, and the places that bodies see.

A kind (`Eb`, `Gv`, `Iz`...) says where the operand is encoded and how wide it is. Once the operand size is
settled, and whether ModRM names a register or memory, it becomes a bind: a typed function of (cpu, record)
that gives the body a place with get() and put(), or a plain u64 for addresses, branch targets and register
numbers.
"""

from dataclasses import dataclass
from typing import Any

from guesthouse.bits import likely, u8, u16, u32, u64, u128
from guesthouse.engine.op import Record
from guesthouse.system.cpu.x86.float_state import FloatState
from guesthouse.system.cpu.x86.state import BELOW, CS, VECTOR_GP, General
from guesthouse.typed import Value


VECTORS = FloatState.offset("fpr")
NOTHING, EA, START = (General.offset(name) + BELOW for name in ("nothing", "ea", "start"))  # no register, and others


class Decoded(Record):
    """A decoded x86 instruction. Registers are byte offsets from the first of the general ones, or from VECTORS; slot n
    belongs to the n-th operand."""

    r0: u16
    r1: u16
    r2: u16
    base: u16
    index: u16
    scale: u8
    segment: u8  # the segment of a memory operand; only steps of their own and string instructions look at it
    disp: u64
    imm: u64


# Places: what bodies read and write.


@dataclass(frozen=True)
class Register(Value):
    """A general register, or part of one. Writing 32 bits clears the upper half (SDM 1, 3.4.1.1)."""

    cpu: Any
    type: Any
    offset: Any

    def get(self):
        return self.cpu.peek(self.type, self.offset)

    def get_to_change(self):
        return self.cpu.peek(self.type, self.offset)

    def put(self, value) -> None:
        if self.type.size == 4:
            self.cpu.poke(u64, self.offset, u64(value))
        else:
            self.cpu.poke(self.type, self.offset, value)


@dataclass(frozen=True)
class Cell(Value):
    """The low part of a vector register; writing leaves the rest alone. `offset` for what wants another
    part."""

    cpu: Any
    type: Any
    offset: Any

    def get(self):
        return self.cpu.peek(self.type, self.offset)

    def get_to_change(self):
        return self.cpu.peek(self.type, self.offset)

    def put(self, value) -> None:
        self.cpu.poke(self.type, self.offset, value)


@dataclass(frozen=True)
class Memory(Value):
    """A place in memory. get_to_change: as get, but a fault is that of a write, for what put() will
    follow."""

    cpu: Any
    type: Any
    address: Any

    def get(self):
        return self.cpu.load(self.type, self.address)

    def get_to_change(self):
        return self.cpu.load_to_change(self.type, self.address)

    def put(self, value) -> None:
        self.cpu.store(self.type, self.address, value)

    def at(self, address):
        """The same kind of place elsewhere."""
        return Memory(self.cpu, self.type, address)


@dataclass(frozen=True)
class Locked(Memory):
    """A place in memory that is read and written at once, as all processors see it (SDM 3A, 10.1.2). `aligned`:
    #GP(0) unless it is."""

    aligned: bool = False

    def get_to_change(self):
        if self.aligned and self.address & (self.type.size - 1) != 0:
            self.cpu.raise_fault(VECTOR_GP, 0)
        return self.cpu.load_to_lock(self.type, self.address)

    def put(self, value) -> None:
        self.cpu.store_locked(self.type, self.address, value)

    def at(self, address):
        return Locked(self.cpu, self.type, address)


@dataclass(frozen=True)
class AlignedMemory(Value):
    """Sixteen bytes that must be aligned, else #GP(0) (SDM 2, 2.4, exceptions type 1, 2 and 4)."""

    cpu: Any
    type: Any
    address: Any

    def checked(self):
        if self.address & 15 != 0:
            self.cpu.raise_fault(VECTOR_GP, 0)
        return self.address

    def get(self):
        return self.cpu.load(self.type, self.checked())

    def get_to_change(self):
        return self.cpu.load_to_change(self.type, self.checked())

    def put(self, value) -> None:
        self.cpu.store(self.type, self.checked(), value)


@dataclass(frozen=True)
class Immediate(Value):
    """A constant in the instruction, sign-extended to its type."""

    type: Any
    value: Any

    def get(self):
        return self.value


# Binds: from a decoded record to what the body gets.


def effective_address(cpu, record):
    base = cpu.peek(u64, u64(record.base) - BELOW)
    index = cpu.peek(u64, u64(record.index) - BELOW) << u64(record.scale & 3)
    return base + index + record.disp & cpu.reach


@dataclass(frozen=True)
class BindRegister:
    type: Any
    slot: str

    def __call__(self, cpu, record):
        return Register(cpu, self.type, u64(getattr(record, self.slot)) - BELOW)


@dataclass(frozen=True)
class BindCell:
    type: Any
    slot: str

    def __call__(self, cpu, record):
        return Cell(cpu, self.type, u64(getattr(record, self.slot)) + VECTORS)


@dataclass(frozen=True)
class BindNumber:
    slot: str
    names: str = ""  # what the numbers count, for the disassembler: Sw, Cr, Dr, STi

    def __call__(self, cpu, record):
        return u64(getattr(record, self.slot))


@dataclass(frozen=True)
class BindMemory:
    type: Any
    aligned: bool = False

    def __call__(self, cpu, record):
        if self.aligned:
            return AlignedMemory(cpu, self.type, effective_address(cpu, record))
        return Memory(cpu, self.type, effective_address(cpu, record))


@dataclass(frozen=True)
class BindLocked:
    type: Any
    aligned: bool = False

    def __call__(self, cpu, record):
        return Locked(cpu, self.type, effective_address(cpu, record), self.aligned)


@dataclass(frozen=True)
class BindAddress:
    def __call__(self, cpu, record):
        return effective_address(cpu, record)


@dataclass(frozen=True)
class Parts(Value):
    """A memory operand of several values, each at an offset of its own: 16-bit addresses wrap between them, so that
    the selector of a far pointer at FFFEh lies at 0. The first has been checked with the address, with wider addresses
    all of them have been."""

    cpu: Any
    address: Any
    segment: Any
    wraps: bool

    def at(self, n, size):
        """Where the `size` bytes that begin with byte n of the operand lie, a linear address."""
        if self.wraps:
            return self.cpu.wrapped(self.address, u64(self.segment), u64(n), u64(size - 1))
        return self.address + n

    def probe(self, size, writes) -> None:
        """Fault now if any of the operand's `size` bytes would (`writes`: if it were written)."""
        if self.wraps:
            self.cpu.probe_wrapped(self.address, u64(self.segment), u64(size), u64(writes))
        else:
            self.cpu.probe(self.address, u64(size), u64(writes))


@dataclass(frozen=True)
class BindParts:
    wraps: bool

    def __call__(self, cpu, record):
        return Parts(cpu, effective_address(cpu, record), record.segment, self.wraps)


@dataclass(frozen=True)
class BindImmediate:
    type: Any
    field: str

    def __call__(self, cpu, record):
        return Immediate(self.type, self.type(getattr(record, self.field)))


@dataclass(frozen=True)
class Target(Value):
    """Where a relative branch leads. `address`: not yet cut to the size of the instruction pointer."""

    cpu: Any
    type: Any
    address: Any

    def checked(self):
        """The linear address; #GP(0) beyond the limit of the code segment. A branch asks before it changes anything."""
        if self.type.size == 8:
            return self.address
        if likely(self.cpu.bounds == 0):
            return self.address & (1 << self.type.bits) - 1
        return self.cpu.target(self.type, self.type(self.address - self.cpu.segments[CS].base))


@dataclass(frozen=True)
class BindTarget:
    field: str
    type: Any

    def __call__(self, cpu, record):
        return Target(cpu, self.type, cpu.start + getattr(record, self.field))


@dataclass(frozen=True)
class Far(Value):
    """A far pointer in the instruction: offset and selector, both u64."""

    offset: Any
    selector: Any


@dataclass(frozen=True)
class BindFar:
    mask: int

    def __call__(self, cpu, record):
        return Far(record.imm & self.mask, record.disp)


@dataclass(frozen=True)
class BindThis:
    """The address of the instruction."""

    def __call__(self, cpu, record):
        return cpu.start + record.imm


@dataclass(frozen=True)
class BindConstant:
    """Something known when the handler is compiled: a condition's number, a type."""

    value: Any

    def __call__(self, cpu, record):
        return self.value


@dataclass(frozen=True)
class String(Value):
    """DS:rSI (or its override) or ES:rDI, for string instructions. `place` is where the segment's base lies
    in the state, `index` the register's number, `size` the type of the address."""

    cpu: Any
    type: Any
    size: Any
    place: Any
    index: Any

    def base(self):
        return self.cpu.peek(u64, self.place)

    def segment(self):
        """The segment's number, outside 64-bit mode."""
        return self.place - General.offset("segments") >> 4


@dataclass(frozen=True)
class BindString:
    type: Any
    size: Any
    base: str
    index: int

    def __call__(self, cpu, record):
        return String(cpu, self.type, self.size, u64(getattr(record, self.base)) - BELOW, self.index)


# Kinds: what definitions name.

WIDTHS = {"b": u8, "w": u16, "d": u32, "q": u64, "x": u128}
BY_BITS = {16: u16, 32: u32, 64: u64}


@dataclass(frozen=True)
class Kind:
    """One operand kind. `place`: where it is encoded (`definitions.py` knows them); `width`: a key of
    WIDTHS, or v (16, 32, 64 bits), y (32, 64), z (16, 32). `file`: which registers: r general, x XMM, m
    MMX, n a bare number. `forms`: which of register and memory ModRM may name. `memory`: the width in
    memory where it is another."""

    name: str
    place: str
    width: str = ""
    file: str = "r"
    forms: str = "rm"
    memory: str = ""
    aligned: bool = False
    fixed: int = 0
    pops: bool = False  # POP: an address based on RSP is that after the pop
    short: bool = False  # only three bits count: REX means nothing (segments, x87 stack)

    def type(self, bits: int, width: str = "") -> Any:
        """The integer type of this operand under an operand size."""
        width = width or self.width
        if width == "y":
            return u64 if bits == 64 else u32
        if width == "z":
            return u16 if bits == 16 else u32
        return BY_BITS[bits] if width == "v" else WIDTHS[width]


# General registers: ModRM.rm (E; R register only; M memory only), ModRM.reg (G), low bits of the opcode
# (Z), VEX.vvvv (B).
Eb, Ew, Ed, Eq, Ev, Ey = (Kind(f"E{w}", "rm", w) for w in "bwdqvy")
Rb, Rw, Rd, Rq, Rv, Ry = (Kind(f"R{w}", "rm", w, forms="r") for w in "bwdqvy")
Gb, Gw, Gd, Gq, Gv, Gy = (Kind(f"G{w}", "reg", w) for w in "bwdqvy")
Zb, Zw, Zd, Zq, Zv = (Kind(f"Z{w}", "opcode", w) for w in "bwdqv")
By = Kind("By", "vvvv", "y")
Epop = Kind("Ev", "rm", "v", pops=True)
RvMw, RdMb, RdMw = (
    Kind("Rv/Mw", "rm", "v", memory="w"),
    Kind("Rd/Mb", "rm", "d", memory="b"),
    Kind("Rd/Mw", "rm", "d", memory="w"),
)
AL, CL = Kind("AL", "fixed", "b", fixed=0), Kind("CL", "fixed", "b", fixed=1)
AX, DX = Kind("AX", "fixed", "w", fixed=0), Kind("DX", "fixed", "w", fixed=2)
rAX, eAX = Kind("rAX", "fixed", "v", fixed=0), Kind("eAX", "fixed", "z", fixed=0)

# Memory only. M: the linear address, for bodies that read or write more than one value; Mp: the same where each of
# them has an offset of its own; Offset: LEA's, no segment added.
Mb, Mw, Md, Mq, Mv, My, Mz = (Kind(f"M{w}", "rm", w, forms="m") for w in "bwdqvyz")
Mx, Mu = Kind("Mx", "rm", "x", forms="m", aligned=True), Kind("Mu", "rm", "x", forms="m")
M, Mp, Offset = (Kind(n, p, forms="m") for n, p in (("M", "address"), ("Mp", "parts"), ("Offset", "offset")))
Ob, Ov = Kind("Ob", "moffs", "b"), Kind("Ov", "moffs", "v")
Xb, Xw, Xd, Xq, Xv, Xz = (Kind(f"X{w}", "source", w) for w in "bwdqvz")
Yb, Yw, Yd, Yq, Yv, Yz = (Kind(f"Y{w}", "destination", w) for w in "bwdqvz")

# Immediates (sIb: a byte, sign-extended to the operand size), branch targets, a far pointer (offset,
# selector).
Ib, Iw, Id, Iz, Iv = (Kind(f"I{w}", "immediate", w) for w in ("b", "w", "d", "v", "v"))
sIb, One = Kind("Ib", "immediate", "v"), Kind("1", "one", "b")
Jb, Jz, Ap = Kind("Jb", "target"), Kind("Jz", "target"), Kind("Ap", "far")

# Bare numbers: segment, control and debug registers, x87 stack positions.
Sw, Cr, Dr = Kind("Sw", "reg", file="n", short=True), Kind("Cr", "reg", file="n"), Kind("Dr", "reg", file="n")
STi = Kind("STi", "rm", file="n", forms="r", short=True)

# XMM and MMX registers. x: 128 bits, aligned in memory; u: 128 bits, not necessarily aligned.
Vw, Vd, Vq, Vx = (Kind(f"V{w}", "reg", w, file="x") for w in "wdqx")
Ww, Wd, Wq = (Kind(f"W{w}", "rm", w, file="x") for w in "wdq")
Wx, Wu = Kind("Wx", "rm", "x", file="x", aligned=True), Kind("Wu", "rm", "x", file="x")
Ud, Uq, Ux = (Kind(f"U{w}", "rm", w, file="x", forms="r") for w in "dqx")
Pd, Pq = (Kind(f"P{w}", "reg", w, file="m") for w in "dq")
Qd, Qq = (Kind(f"Q{w}", "rm", w, file="m") for w in "dq")
Nq = Kind("Nq", "rm", "q", file="m", forms="r")

# Known when the handler is compiled: a condition's number (from +cc), the operand size and the address
# size as types.
Cc, Size, AddressSize = (
    Kind("cc", "condition"),
    Kind("size", "size", "v"),
    Kind("address size", "address size"),
)
# The number of the segment that the memory operand lies in, outside 64-bit mode.
Through = Kind("segment", "segment")
# The address of the instruction itself, for repeated string instructions, which jump to themselves.
This = Kind("this", "this")
