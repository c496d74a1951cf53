"""A guest of eight instructions of four bytes each, small enough to see the engine through it.

byte 0: operation, byte 1: register a, byte 2: register b, byte 3: signed immediate. Address 2**20 and above faults,
except 2**32 and above, where a device answers. An exception goes to 0x80.
"""

import ctypes
import mmap

from guesthouse.bits import i8, i32, i64, u8, u64
from guesthouse.engine.cpu import FAULT, HALTED, MEMORY_READ, CodePage
from guesthouse.engine.op import BRANCHES, FALLS, LEAVES, Guest, Handler, Instructions, Op, Record
from guesthouse.engine.processor import ANYWHERE, Processor
from guesthouse.engine.soft import SoftVcpu
from guesthouse.typed import Abandon, Array, Pointer, function, load

ADD_IMMEDIATE, ADD, BRANCH_IF, LOAD, STORE, HALT, TIME, TWO_DEVICES = range(8)
RAM = 1 << 20


class ToyRecord(Record):
    a: u8
    b: u8
    immediate: i32


class Toy(Processor):
    start: u64
    x: Array[u64, 256]
    wanted: u64  # an interrupt that poll() delivers
    got: u64

    def poll(self) -> None:
        if self.wanted != 0:
            self.got += 1
            self.wanted = u64(0)
            self.pc = u64(0x80)

    @function
    def walk(self, va: u64, access: u64) -> u64:
        if va >= RAM and va < 1 << 32:
            self.fault, self.fault_address, self.exit = u64(13), va, u64(FAULT)
            raise Abandon
        return va

    def no_code(self, va: u64) -> None:
        self.fault, self.fault_address, self.exit = u64(1), va, u64(FAULT)
        raise Abandon

    @function
    def deliver(self) -> None:
        self.x[31] = self.pc
        self.pc = u64(0x80)

    def home(self, pc: u64) -> u64:
        return u64(ANYWHERE)

    @function
    def decode(self, start: u64, at: u64, code: u64, record: Pointer[ToyRecord]) -> u64:
        r = record[0]
        r.handler = u64(load(u8, code) & 7)
        r.a, r.b = load(u8, code + 1), load(u8, code + 2)
        r.immediate = i32(i8(load(u8, code + 3)))
        r.length = u8(4)
        return u64(1)

    def ask(self, argument: u64) -> None:
        self.wanted = argument


def a(cpu, record):
    return record.a


def b(cpu, record):
    return record.b


def immediate(cpu, record):
    return u64(i64(record.immediate))


def add_immediate(cpu, to, by, n):
    cpu.x[to] = cpu.x[by] + n


def add(cpu, to, by):
    cpu.x[to] = cpu.x[to] + cpu.x[by]


def branch_if(cpu, of, by):
    if cpu.x[of] != 0:
        cpu.pc = cpu.pc + by


def load_(cpu, to, by, n):
    cpu.x[to] = cpu.load(u64, cpu.x[by] + n)


def store(cpu, of, by, n):
    cpu.store(u64, cpu.x[by] + n, cpu.x[of])


def halt(cpu):
    cpu.exit = u64(HALTED)


def time(cpu, to):
    cpu.x[to] = cpu.now()


def two_devices(cpu, to):
    first = cpu.device(u64(MEMORY_READ), u64(0x1000), u64(8), u64(0))
    cpu.x[to] = first + cpu.device(u64(MEMORY_READ), u64(0x2000), u64(8), u64(0))


def handler(body, ends, *binds, counts=False):
    return Handler(body.__name__, Op(body.__name__, body, ends, counts), binds)


INSTRUCTIONS = Instructions((
    handler(add_immediate, FALLS, a, b, immediate), handler(add, FALLS, a, b),
    handler(branch_if, BRANCHES, a, immediate), handler(load_, FALLS, a, b, immediate),
    handler(store, FALLS, a, b, immediate), handler(halt, LEAVES),
    handler(time, FALLS, a, counts=True), handler(two_devices, FALLS, a),
))
TOY = Guest("toy", Toy, ToyRecord, lambda: INSTRUCTIONS, (), "tests.engine.toy:TOY", ("ask", "outdate"))


def code(*instructions):
    """Bytes of instructions given as (operation, a, b, immediate)."""
    return b"".join(bytes([op, x, y, n & 0xFF]) for op, x, y, n in instructions)


class Machine:
    """A processor and its RAM. `program` lies at `at`, where it starts; a halt lies at 0x80."""

    def __init__(self, engine, program, at=0x1000):
        self.vcpu = SoftVcpu(TOY, engine)
        self.ram = mmap.mmap(-1, RAM)
        self.anchor = (ctypes.c_uint8 * RAM).from_buffer(self.ram)
        self.pages = (ctypes.c_uint8 * (CodePage.size * (RAM >> 12)))()
        state = self.state = self.vcpu.state
        where = u64(ctypes.addressof(self.anchor))
        state.ram[0].length, state.ram[0].host, state.ram[0].writable = u64(RAM), where, u64(1)
        state.ram_start, state.ram_pages = where, u64(RAM >> 12)
        state.code = Pointer[CodePage](ctypes.addressof(self.pages))
        self.held = (ctypes.c_uint64 * (RAM >> 12))()
        state.holders = Pointer[u64](ctypes.addressof(self.held))
        self.ram[0x80:0x84] = code((HALT, 0, 0, 0))
        self.ram[at:at + len(program)] = program
        state.pc = u64(at)

    def registers(self):
        return [int(self.state.x[n]) for n in range(33)] + [int(self.state.pc), self.vcpu.count]
