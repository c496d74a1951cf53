"""Input and output (SDM 1, chapter 19): IN, OUT, INS, OUTS. A port is asked for only when nothing else can
fault."""

from guesthouse.bits import u16, u64
from guesthouse.engine.cpu import PORT_READ, PORT_WRITE, WRITE
from guesthouse.engine.op import BRANCHES
from guesthouse.system.cpu.x86.accesses import WRITES
from guesthouse.system.cpu.x86.definitions import op
from guesthouse.system.cpu.x86.operands import AL, DX, AddressSize, Ib, This, Xb, Xz, Yb, Yz, eAX
from guesthouse.system.cpu.x86.state import RCX, RDX
from guesthouse.system.cpu.x86.strings import address_of, advance, again, room_to_write


@op("E4 ib", AL, Ib)
@op("E5 ib", eAX, Ib)
@op("EC", AL, DX)
@op("ED", eAX, DX)
def in_(cpu, to, port) -> None:
    """SDM 2A, IN."""
    T, number = to.type, u64(port.get())
    cpu.check_io(number, u64(T.size))
    to.put(T(cpu.outside(u64(PORT_READ), number, u64(T.size), u64(0))))


@op("E6 ib", Ib, AL)
@op("E7 ib", Ib, eAX)
@op("EE", DX, AL)
@op("EF", DX, eAX)
def out(cpu, port, source) -> None:
    """SDM 2B, OUT."""
    T, number = source.type, u64(port.get())
    cpu.check_io(number, u64(T.size))
    cpu.outside(u64(PORT_WRITE), number, u64(T.size), u64(source.get()))


def checked_port(cpu, kind: type):
    """The port in DX, if it may be used: asked even by a repetition of no times."""
    number = u64(cpu.get(u16, RDX))
    cpu.check_io(number, u64(kind.size))
    return number


def transfer_in(cpu, to, number) -> None:
    """One element of INS. Where it does not go to RAM another device is asked after the port, and the port twice."""
    T, address = to.type, address_of(cpu, to, WRITES)
    cpu.probe(address, u64(T.size), u64(WRITE))
    room, _ = room_to_write(cpu, address, T.size)
    if room != 0:
        value = cpu.outside(u64(PORT_READ), number, u64(T.size), u64(0))
    else:
        value = cpu.device(u64(PORT_READ), number, u64(T.size), u64(0))
    cpu.store(T, address, T(value))
    advance(cpu, to, u64(1))


def transfer_out(cpu, source, number) -> None:
    """One element of OUTS."""
    T = source.type
    value = cpu.load(T, address_of(cpu, source))
    cpu.outside(u64(PORT_WRITE), number, u64(T.size), u64(value))
    advance(cpu, source, u64(1))


@op("6C", Yb)
@op("6D", Yz)
def ins(cpu, to) -> None:
    """SDM 2A, INS/INSB/INSW/INSD."""
    transfer_in(cpu, to, checked_port(cpu, to.type))


@op("6E", Xb)
@op("6F", Xz)
def outs(cpu, source) -> None:
    """SDM 2B, OUTS/OUTSB/OUTSW/OUTSD."""
    transfer_out(cpu, source, checked_port(cpu, source.type))


@op("F3 6C", Yb, AddressSize, This, ends=BRANCHES)
@op("F2 6C", Yb, AddressSize, This, ends=BRANCHES)
@op("F3 6D", Yz, AddressSize, This, ends=BRANCHES)
@op("F2 6D", Yz, AddressSize, This, ends=BRANCHES)
def rep_ins(cpu, to, size, here) -> None:
    """SDM 2A, INS and REP."""
    number = checked_port(cpu, to.type)
    if cpu.get(size, RCX) != 0:
        transfer_in(cpu, to, number)
        again(cpu, size, here, u64(1))


@op("F3 6E", Xb, AddressSize, This, ends=BRANCHES)
@op("F2 6E", Xb, AddressSize, This, ends=BRANCHES)
@op("F3 6F", Xz, AddressSize, This, ends=BRANCHES)
@op("F2 6F", Xz, AddressSize, This, ends=BRANCHES)
def rep_outs(cpu, source, size, here) -> None:
    """SDM 2B, OUTS and REP."""
    number = checked_port(cpu, source.type)
    if cpu.get(size, RCX) != 0:
        transfer_out(cpu, source, number)
        again(cpu, size, here, u64(1))
