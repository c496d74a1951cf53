"""The floating-point part of an x86 processor's state: x87 with the MMX registers in it, and SSE (SDM 1,
chapters 8 to 10).

Also here: whether these instructions may run at all, and how exceptions that are not masked are raised. FERR# is
asserted by the next instruction that waits, never by the one that caused it.
"""

from guesthouse.bits import select, u16, u64, u128, unlikely
from guesthouse.engine.cpu import HALTED, WRITE
from guesthouse.system.cpu.softfloat import SSE, X87, Environment
from guesthouse.system.cpu.x86.state import VECTOR_MF, VECTOR_NM, VECTOR_UD, VECTOR_XM
from guesthouse.system.cpu.x86.system_state import (
    CR0_EM,
    CR0_MP,
    CR0_NE,
    CR0_TS,
    CR4_OSFXSR,
    CR4_OSXMMEXCPT,
    SystemState,
)
from guesthouse.typed import Abandon, Array, function

INITIAL_MXCSR, MXCSR_MASK, INITIAL_FCW = 0x1F80, 0xFFFF, 0x37F

# x87 status word, SDM 1, 8.1.3. C1 is X87's `up`.
STACK_FAULT, SUMMARY, C0, C1, C2, C3, BUSY = 0x40, 0x80, 0x100, 0x200, 0x400, 0x4000, 0x8000
PRECOMPUTED = SSE.invalid | SSE.denormal | SSE.by_zero  # found before anything is computed
CODES = C0 | C2 | C3


class FloatState(SystemState):
    """`fpr` holds R0 to R7 by their physical numbers, each as an 80-bit pattern; MMX registers are their low
    halves. `tags` has a bit for each of them that is in use, as FXSAVE stores it.
    """

    sse: Environment
    x87: Environment  # flags: FSW bits 0 to 6 (the stack fault included)
    fcw: u64
    codes: u64  # C0, C2 and C3, at their places in the status word
    top: u64
    tags: u64
    fop: u64  # the last x87 instruction: opcode, and where it and its operand were
    fip: u64
    fdp: u64
    fcs: u64
    fds: u64
    ferr: u64  # FERR#: with CR0.NE = 0 an instruction waits for the board to answer an x87 exception (SDM 1, D.2.1)
    ignne: u64  # IGNNE#: the board lets instructions go on while the exception is pending
    before: u64  # the flags before an instruction some of whose exceptions are not masked
    fpr: Array[u128, 8]
    xmm: Array[u128, 16]
    vectors: Array[u128, 2]  # room for one instruction that indexes its vectors

    def reset_float(self) -> None:
        """What RESET# does (SDM 3A, table 10-1). Registers that INIT leaves alone are zero in a new state."""
        self.x87.host, self.sse.host = u64(X87.inexact), u64(SSE.inexact)
        self.initialise_x87()
        self.set_mxcsr(u64(INITIAL_MXCSR))

    # May it run at all? SDM 3A, 2.5 (table 2-2 and CR4.OSFXSR).

    def need_sse(self) -> None:
        """To be called first by an SSE instruction."""
        if unlikely(self.cr0 & (CR0_EM | CR0_TS) | ~self.cr4 & CR4_OSFXSR != 0):
            self.no_sse()

    @function
    def no_sse(self) -> None:
        if self.cr0 & CR0_EM != 0 or self.cr4 & CR4_OSFXSR == 0:
            self.raise_fault(VECTOR_UD)
        self.raise_fault(VECTOR_NM)

    def need_mmx(self) -> None:
        """To be called first by an MMX instruction."""
        if unlikely(self.cr0 & (CR0_EM | CR0_TS) | self.x87.flags & self.x87.unmasked != 0):
            self.no_mmx()

    @function
    def no_mmx(self) -> None:
        if self.cr0 & CR0_EM != 0:
            self.raise_fault(VECTOR_UD)
        if self.cr0 & CR0_TS != 0:
            self.raise_fault(VECTOR_NM)
        self.report_x87()

    def need_x87(self) -> None:
        """To be called first by an x87 instruction, but for those that do not wait for exceptions."""
        if unlikely(self.cr0 & (CR0_EM | CR0_TS) | self.x87.flags & self.x87.unmasked != 0):
            self.no_x87()

    @function
    def no_x87(self) -> None:
        if self.cr0 & (CR0_EM | CR0_TS) != 0:
            self.raise_fault(VECTOR_NM)
        self.report_x87()

    def report_x87(self) -> None:
        """An exception is pending: #MF, or with CR0.NE = 0 the processor stands still until an interrupt comes, for
        which FERR# asks (SDM 3A, 2.5, NE)."""
        if self.cr0 & CR0_NE != 0:
            self.raise_fault(VECTOR_MF)
        if self.ignne == 0:
            self.ferr, self.exit = u64(1), u64(HALTED)
            raise Abandon

    def need_x87_present(self) -> None:
        """To be called first by an x87 instruction that does not wait for exceptions."""
        if unlikely(self.cr0 & (CR0_EM | CR0_TS) != 0):
            self.no_x87()

    def need_wait(self) -> None:
        """To be called first by FWAIT: MP makes TS count."""
        if self.cr0 & (CR0_MP | CR0_TS) == CR0_MP | CR0_TS:
            self.raise_fault(VECTOR_NM)
        if self.x87.flags & self.x87.unmasked != 0:
            self.report_x87()

    # SSE. SDM 1, 10.2.3 and 11.5.

    def mxcsr(self) -> u64:
        sse = self.sse
        masks = ~sse.unmasked & 63
        return sse.flags | sse.zeros << 6 | masks << 7 | sse.rounding << 13 | sse.flush << 15

    def set_mxcsr(self, image: u64) -> None:
        sse = self.sse
        sse.flags, sse.zeros, sse.unmasked = image & 63, image >> 6 & 1, ~image >> 7 & 63
        sse.rounding, sse.flush = image >> 13 & 3, image >> 15 & 1

    def begin_sse(self) -> None:
        """To be called before the arithmetic of an instruction, so that end_sse can tell what it did."""
        if unlikely(self.sse.unmasked != 0):
            self.note_sse()

    @function
    def note_sse(self) -> None:
        self.before = self.sse.flags
        self.sse.flags = u64(0)

    def end_sse(self) -> None:
        """To be called after it and before the result is written: raises what is not masked."""
        if unlikely(self.sse.unmasked != 0):
            self.report_sse()

    @function
    def report_sse(self) -> None:
        found = self.sse.flags
        if found & self.sse.unmasked & PRECOMPUTED != 0:
            found = found & PRECOMPUTED  # nothing was computed: SDM 1, 11.5.3
        self.sse.flags = self.before | found
        if found & self.sse.unmasked != 0:
            self.raise_fault(select(self.cr4 & CR4_OSXMMEXCPT != 0, u64(VECTOR_XM), u64(VECTOR_UD)))

    # MMX. SDM 1, 9.6.2: any MMX instruction makes all registers valid and the top 0.

    def put_mmx(self, offset: u64, value: u64) -> None:
        """Write the MMX register at this offset of the state."""
        self.poke(u64, offset, value)
        self.poke(u16, offset + 8, u16(0xFFFF))
        self.touch_mmx()

    def touch_mmx(self) -> None:
        self.top, self.tags = u64(0), u64(0xFF)

    @function
    def store_masked(self, va: u64, value, mask) -> None:
        """Store the bytes of `value` whose bytes in `mask` have their top bits set (MASKMOVDQU, MASKMOVQ)."""
        kind, n = type(value), u64(0)
        self.need_aligned(va, u64(8))
        while n < kind.size:
            if mask >> kind(n * 8 + 7) & 1 != 0:
                self.probe(va + n, u64(1), u64(WRITE))
            n += 1
        n = u64(0)
        while n < kind.size:
            if mask >> kind(n * 8 + 7) & 1 != 0:
                self.store_bytes(va + n, u64(1), u64(value >> kind(n * 8)) & 0xFF)
            n += 1

    # x87 control and status. SDM 1, 8.1.

    def initialise_x87(self) -> None:
        """FNINIT."""
        self.set_fcw(u64(INITIAL_FCW))
        self.set_fsw(u64(0))
        self.tags = u64(0)
        self.fop, self.fip, self.fdp, self.fcs, self.fds = u64(0), u64(0), u64(0), u64(0), u64(0)

    def set_fcw(self, image: u64) -> None:
        """Load the control word; bit 6 always reads as 1."""
        self.fcw = image & 0x1F7F | 0x40
        self.x87.unmasked = ~image & 63
        self.x87.rounding, self.x87.precision = image >> 10 & 3, image >> 8 & 3

    def fsw(self) -> u64:
        word = self.x87.flags | self.codes | self.x87.up << 9 | self.top << 11
        return select(self.x87.flags & self.x87.unmasked != 0, word | (SUMMARY | BUSY), word)

    def set_fsw(self, image: u64) -> None:
        self.ignne = u64(0)
        self.x87.flags, self.codes, self.x87.up = image & 0x7F, image & CODES, image >> 9 & 1
        self.top = image >> 11 & 7

    @function
    def full_tags(self) -> u64:
        """The tag word as FNSTENV stores it: valid 0, zero 1, special 2, empty 3, two bits for each register.
        """
        word = u64(0)
        for n in range(8):
            word = word | self.tag_of(n) << (2 * n)
        return word

    def tag_of(self, n: int) -> u64:
        if self.tags >> n & 1 == 0:
            return u64(3)
        exponent, significand = u64(self.fpr[n] >> 64) & 0x7FFF, u64(self.fpr[n])
        if exponent == 0 and significand == 0:
            return u64(1)
        return u64(exponent == 0 or exponent == 0x7FFF or significand >> 63 == 0) << 1

    @function
    def set_full_tags(self, word: u64) -> None:
        tags = u64(0)
        for n in range(8):
            tags = tags | u64(word >> (2 * n) & 3 != 3) << n
        self.tags = tags
