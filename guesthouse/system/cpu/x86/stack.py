"""The stack (SDM 1, chapter 6): PUSH, POP, all registers at once, flags, procedure frames.

RSP moves last: an access that faults must leave it alone.
"""

from guesthouse.bits import select, u64
from guesthouse.engine.op import LEAVES
from guesthouse.system.cpu.x86.definitions import LEGACY, op
from guesthouse.system.cpu.x86.flags import AC, DF, ID, IF, IOPL, NT, RF, STATUS, TF, VM
from guesthouse.system.cpu.x86.operands import Epop, Ev, Ib, Iw, Iz, Memory, Size, Zv, sIb
from guesthouse.system.cpu.x86.state import RBP, RSP


@op("50+r", Zv, default64=True)
@op("FF /6", Ev, default64=True)
@op("68 iz", Iz, default64=True)
@op("6A ib", sIb, default64=True)
def push(cpu, source) -> None:
    """SDM 2B, PUSH. PUSH RSP pushes what RSP was."""
    cpu.push(source.type, source.get())


@op("58+r", Zv, default64=True)
@op("8F /0", Epop, default64=True)
def pop(cpu, to) -> None:
    """SDM 2B, POP. POP RSP: the popped value wins."""
    T = to.type
    value = cpu.load(T, cpu.at_stack(u64(0), u64(T.size)))
    if isinstance(to, Memory):
        to.put(value)
        cpu.set_rsp(cpu.r[RSP] + T.size)
    else:
        cpu.set_rsp(cpu.r[RSP] + T.size)
        to.put(value)


@op("60", Size, modes=LEGACY)
def pusha(cpu, kind) -> None:
    """SDM 2B, PUSHA/PUSHAD. Each push wraps by itself at the end of a stack of 64 KiB."""
    for n in range(8):
        cpu.probe(cpu.at_stack(u64(0) - (n + 1) * kind.size, u64(kind.size)), u64(kind.size), u64(1))
    for n in range(8):
        cpu.store(kind, cpu.at_stack(u64(0) - (n + 1) * kind.size, u64(kind.size)), cpu.get(kind, n))
    cpu.set_rsp(cpu.r[RSP] - 8 * kind.size)


@op("61", Size, modes=LEGACY)
def popa(cpu, kind) -> None:
    """SDM 2B, POPA/POPAD. The stored RSP is skipped."""
    values = [cpu.load(kind, cpu.at_stack(u64(n * kind.size), u64(kind.size))) for n in range(8)]
    cpu.set_rsp(cpu.r[RSP] + 8 * kind.size)
    for n, value in enumerate(values):
        if n != 7 - RSP:
            cpu.put(kind, 7 - n, value)


@op("9C", Size, default64=True)
def pushf(cpu, kind) -> None:
    """SDM 2B, PUSHF/PUSHFD/PUSHFQ."""
    virtual = cpu.flags_are_virtual(u64(kind.size))
    cpu.push(kind, kind(select(virtual, cpu.virtual_image(), cpu.rflags() & ~u64(VM | RF))))


@op("9D", Size, default64=True, ends=LEAVES)
def popf(cpu, kind) -> None:
    """SDM 2B, POPF/POPFD/POPFQ. What may not be changed is left alone, silently."""
    virtual = cpu.flags_are_virtual(u64(kind.size))
    image = u64(cpu.load(kind, cpu.at_stack(u64(0), u64(kind.size))))
    if virtual:
        cpu.take_virtual_image(image)
    else:
        take_image(cpu, kind, image)
    cpu.set_rsp(cpu.r[RSP] + kind.size)
    cpu.settle_privilege()  # AC and TF are part of it


def take_image(cpu, kind, image) -> None:
    """What POPF may change at this privilege level."""
    mask = u64(STATUS | TF | DF | NT)
    if kind.size > 2:
        mask = mask | (AC | ID)
    if cpu.cpl == 0:
        mask = mask | IOPL
    if u64(cpu.cpl) <= (cpu.flags & IOPL) >> 12:
        mask = mask | IF
    cpu.set_rflags(cpu.rflags() & ~mask & ~u64(RF) | image & mask)


@op("C8 iw ib", Iw, Ib, Size, default64=True)
def enter(cpu, size, level, kind) -> None:
    """SDM 2A, ENTER."""
    depth = u64(level.get() & 31)
    cpu.store(kind, cpu.at_stack(u64(0) - kind.size, u64(kind.size)), cpu.get(kind, RBP))
    if depth == 0:
        entered(cpu, kind, u64(0), size.get())
    else:
        nested(cpu, kind, depth)
        entered(cpu, kind, depth, size.get())


def entered(cpu, kind, depth, size) -> None:
    """Make the frame, rBP being pushed already, and touch its end as processors do."""
    frame = cpu.lowered(u64(kind.size))
    end = frame - depth * kind.size - u64(size)
    cpu.probe(cpu.at_stack(end - cpu.r[RSP], u64(kind.size)), u64(kind.size), u64(1))
    cpu.set_rsp(end)
    cpu.put(kind, RBP, kind(frame))


def nested(cpu, kind, depth) -> None:
    """Copy the display of depth - 1 frame pointers, and add the new one."""
    n = u64(1)
    while n < depth:
        outer = cpu.load(kind, cpu.stack_linear(cpu.r[RBP] - n * kind.size, u64(kind.size)))
        cpu.store(kind, cpu.at_stack(u64(0) - (n + 1) * kind.size, u64(kind.size)), outer)
        n = n + 1
    cpu.store(kind, cpu.at_stack(u64(0) - (n + 1) * kind.size, u64(kind.size)),
              kind(cpu.lowered(u64(kind.size))))


@op("C9", Size, default64=True)
def leave(cpu, kind) -> None:
    """SDM 2A, LEAVE."""
    value = cpu.load(kind, cpu.stack_linear(cpu.r[RBP], u64(kind.size)))
    cpu.set_rsp(cpu.r[RBP] + kind.size)
    cpu.put(kind, RBP, value)
