"""SSE instructions, and AES, SHA and PCLMULQDQ, in hot code, each by the same instruction of the host (engine/host.py).

Not here: what the host may do otherwise than our model (RCPPS and its kin, DPPS), and moves, for which LLVM's own
instructions do. The MMX forms are lowered from their bodies.
"""

from collections.abc import Callable, Iterable
from typing import Any

from guesthouse.bits import f32, f64, select, u64, u128
from guesthouse.engine.host import HostUnit, arithmetic, instruction, needed, ordering
from guesthouse.system.cpu.x86 import (
    aes, pclmul, sha, sse_convert, sse_float, sse_integer, sse_moves, sse_shuffle,
)
from guesthouse.system.cpu.x86.definitions import Definition
from guesthouse.system.cpu.x86.flags import order_told
from guesthouse.system.cpu.x86.float_state import FloatState
from guesthouse.system.cpu.x86.operands import Cell
from guesthouse.system.cpu.x86.system_state import CR0_EM, CR0_TS, CR4_OSFXSR

MODULES = tuple(module.__name__ for module in (
    aes, pclmul, sha, sse_convert, sse_float, sse_integer, sse_moves, sse_shuffle))

# What works on whole registers and knows neither modes nor exceptions. The destination is the first operand,
CHANGES = """
    paddb paddw paddd paddq psubb psubw psubd psubq paddsb paddsw paddusb paddusw psubsb psubsw psubusb psubusw
    pcmpeqb pcmpeqw pcmpeqd pcmpeqq pcmpgtb pcmpgtw pcmpgtd pcmpgtq pmaxub pmaxsw pminub pminsw pminsb pminsd pminuw
    pminud pmaxsb pmaxsd pmaxuw pmaxud pavgb pavgw pmullw pmulhw pmulhuw pmuludq pmuldq pmulld pmulhrsw psignb psignw
    psignd pand pandn por pxor andps andpd andnps andnpd orps orpd xorps xorpd psllw pslld psllq psrlq psrlw psrld psraw
    psrad pslldq psrldq punpckhbw punpckhwd punpckhdq punpckhqdq punpcklbw punpcklwd punpckldq punpcklqdq unpcklps
    unpckhps unpcklpd unpckhpd packsswb packuswb packssdw packusdw pmaddwd pmaddubsw psadbw phaddw phaddd phsubw phsubd
    phaddsw phsubsw palignr shufps shufpd pshufb blendps blendpd pblendw mpsadbw
    aesenc aesenclast aesdec aesdeclast pclmulqdq sha1nexte sha1msg1 sha1msg2 sha1rnds4 sha256msg1 sha256msg2
""".split()
# or it is only written,
MAKES = """
    pabsb pabsw pabsd pshufd pshuflw pshufhw movddup movsldup movshdup phminposuw pmovsxbw pmovsxbd pmovsxbq pmovsxwd
    pmovsxwq pmovsxdq pmovzxbw pmovzxbd pmovzxbq pmovzxwd pmovzxwq pmovzxdq cvtdq2pd aesimc aeskeygenassist
""".split()
# or it is a general register.
CHOOSE = "pblendvb blendvps blendvpd sha256rnds2".split()  # the first kind, and XMM0 is an operand
TELLS = "movmskps movmskpd pmovmskb".split()
# Arithmetic, alike.
COMPUTES = """
    addps addpd addss addsd subps subpd subss subsd mulps mulpd mulss mulsd divps divpd divss divsd
    minps minpd minss minsd maxps maxpd maxss maxsd cmpps cmppd cmpss cmpsd sqrtss sqrtsd roundss roundsd
    haddps haddpd hsubps hsubpd addsubps addsubpd cvtss2sd cvtsd2ss cvtsi2ss cvtsi2sd
""".split()
CONVERTS = """
    sqrtps sqrtpd cvtdq2ps cvtps2dq cvttps2dq cvtpd2dq cvttpd2dq cvtps2pd cvtpd2ps roundps roundpd
""".split()
COUNTS = "cvtss2si cvttss2si cvtsd2si cvttsd2si".split()
ORDERS = "ucomiss ucomisd comiss comisd".split()
PREDICATES = ("cmpps", "cmppd", "cmpss", "cmpsd")  # the VEX forms know more of them


def source(by):
    """What the host's instruction gets for an operand: a vector register whole, anything else as wide as it is."""
    if isinstance(by, Cell):
        return by.cpu.peek(u128, by.offset)
    if by.type.bits == 64:
        return f64.from_bits(by.get())
    if by.type.bits == 32:
        return f32.from_bits(by.get())
    return by.get() if by.type.bits == 128 else u128(by.get())


def changing(name: str, how: Callable[..., Any]) -> Callable[..., None]:
    mask = 7 if name in PREDICATES else 0xFF

    def run(cpu, to, by, *control):
        assert to.type.size == 16
        cpu.need_sse()
        to.put(how(name, u128, to.get(), source(by), *[n.get() & mask for n in control]))

    return run


def counted(name: str) -> Callable[..., None]:
    """By an immediate, or by the low quadword of a register."""

    def run(cpu, to, by):
        assert to.type.size == 16
        cpu.need_sse()
        to.put(instruction(name, u128, to.get(), by.get()))

    return run


def choosing(name: str) -> Callable[..., None]:
    def run(cpu, to, by):
        cpu.need_sse()
        to.put(instruction(name, u128, to.get(), source(by), cpu.xmm[0]))

    return run


def scalar(name: str) -> Callable[..., None]:
    """The lowest lane: the host's instruction, like the guest's, leaves the others as they are."""
    mask = 7 if name in PREDICATES else 0xFF

    def run(cpu, to, by, *control):
        cpu.need_sse()
        a = cpu.peek(u128, to.offset)
        cpu.poke(u128, to.offset, arithmetic(name, u128, a, source(by), *[n.get() & mask for n in control]))

    return run


def from_general(name: str) -> Callable[..., None]:
    def run(cpu, to, by):
        cpu.need_sse()
        cpu.poke(u128, to.offset, arithmetic(name, u128, cpu.peek(u128, to.offset), by.get()))

    return run


def making(name: str, how: Callable[..., Any]) -> Callable[..., None]:
    def run(cpu, to, by, *control):
        assert to.type.size == 16
        cpu.need_sse()
        to.put(how(name, u128, source(by), *[n.get() for n in control]))

    return run


def telling(name: str, how: Callable[..., Any]) -> Callable[..., None]:
    def run(cpu, to, by):
        cpu.need_sse()
        to.put(how(name, to.type, source(by)))

    return run


def comparing(name: str) -> Callable[..., None]:
    """For its exceptions; what it says is asked for by what comes later."""

    def run(cpu, a, b):
        cpu.need_sse()
        x, y = a.get(), b.get()
        ordering(name, "p", number(x), number(y))
        cpu.numbers_compared(x, y)

    return run


def number(x):
    return f64.from_bits(x) if type(x).bits == 64 else f32.from_bits(x)


CONDITIONS = {2: "b", 3: "ae", 4: "z", 5: "nz", 6: "be", 7: "a", 10: "p", 11: "np", 14: "z", 15: "nz"}


def order_told_by_host(cpu, cc: int, a, b):
    """flags.order_told()."""
    if cc not in CONDITIONS:
        return cc & 1 != 0
    return ordering("ucomisd" if type(a).bits == 64 else "ucomiss", CONDITIONS[cc], number(a), number(b)) != 0


def bodies() -> Iterable[tuple[str, Callable[..., None]]]:
    for name in CHANGES:
        yield name, counted(name) if name[:4] in ("psll", "psrl", "psra") else changing(name, instruction)
    yield from ((name, choosing(name)) for name in CHOOSE)
    for name in COMPUTES:
        if name.startswith("cvtsi"):
            yield name, from_general(name)
        else:
            yield name, scalar(name) if name.endswith(("ss", "sd")) else changing(name, arithmetic)
    for names, how in ((MAKES, instruction), (CONVERTS, arithmetic)):
        yield from ((name, making(name, how)) for name in names)
    for names, how in ((TELLS, instruction), (COUNTS, arithmetic)):
        yield from ((name, telling(name, how)) for name in names)
    yield from ((name, comparing(name)) for name in ORDERS)


def sse_is_on(cpu) -> None:
    """need_sse(), in a region that is entered only if it is."""
    needed()


def control(cpu):
    """Every exception is masked; rounding, FTZ and DAZ are the guest's."""
    sse = cpu.sse
    off = cpu.cr0 & (CR0_EM | CR0_TS) | ~cpu.cr4 & CR4_OSFXSR | sse.unmasked
    return select(off == 0, sse.rounding << 13 | sse.flush << 15 | sse.zeros << 6 | 0x1F80, u64(0))


def raised(cpu, flags) -> None:
    cpu.sse.flags = cpu.sse.flags | flags


def unit(found: Iterable[Definition]) -> HostUnit:
    """The unit, for these definitions."""
    made = dict(bodies())
    instead = {d.run: made[d.name] for d in found if d.run.__module__ in MODULES and d.name in made}
    return HostUnit({FloatState.need_sse: sse_is_on, order_told: order_told_by_host, **instead}, control, raised)
