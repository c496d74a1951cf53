"""Runs single x86 instructions on this very processor: the oracle that is not ours.

A child process maps code, data and a state block at fixed low addresses, loads all registers, jumps to the
instruction and catches the signal that ends it: the code page is full of INT3. The signal handler, seven
instructions written out as bytes here, notes what happened and goes on at the stub that saves all registers.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import struct
import subprocess
import sys
from dataclasses import dataclass

CODE, DATA, BLOCK = 0x10_0000, 0x20_0000, 0x30_0000
START = CODE + 0x800  # where the instruction stands
DATA_SIZE = 0x2000
WINDOW, WINDOW_SIZE = (
    DATA + 0xF80,
    256,
)  # the bytes that a case sets and that are compared; they span two pages

# The block: registers in, flags in, FXSAVE image in; the same out; then what the handler notes, and the
# host's own things.
GPR_IN, FLAGS_IN, FX_IN = BLOCK, BLOCK + 0x80, BLOCK + 0x200
GPR_OUT, FLAGS_OUT, FX_OUT = BLOCK + 0x400, BLOCK + 0x480, BLOCK + 0x600
SIGNAL, RIP, TRAP, ERROR = BLOCK + 0x490, BLOCK + 0x498, BLOCK + 0x4A0, BLOCK + 0x4A8
HOST_RSP, FAR, FX_HOST, STACK_TOP = BLOCK + 0x800, BLOCK + 0x810, BLOCK + 0xA00, BLOCK + 0x3000
ENTER, LEAVE, CATCH, BLOCK_SIZE = BLOCK + 0x3000, BLOCK + 0x3400, BLOCK + 0x3800, 0x4000
ALTERNATE_STACK = 1 << 16

LONGEST = 256  # bytes of code in one case
CASE = struct.Struct("<HH12x256sQ16Q512s256s")  # bits, length, code, flags, registers, FXSAVE image, window
ANSWER = struct.Struct("<qQQQ16Q512s256s")  # trap, error, rip, flags, registers, FXSAVE image, window


def supported() -> str:
    """Why the host cannot be the oracle; empty if it can."""
    if platform.machine() not in ("x86_64", "AMD64") or not sys.platform.startswith("linux"):
        return "the oracle is the host's own processor: this needs an x86-64 Linux host"
    return ""


@dataclass
class Situation:
    """Registers, flags, floating-point state and memory before or after an instruction."""

    registers: list[int]
    flags: int
    window: bytes
    fx: bytes = bytes(24) + b"\x80\x1f" + bytes(486)
    rip: int = START
    trap: int = -1  # the exception's vector, or -1
    error: int = 0


def absolute(opcode: str, reg: int, address: int) -> bytes:
    """An instruction with a register (or opcode digit) and a memory operand at a 32-bit absolute address."""
    rex, body = (bytes([0x48 | (reg >> 3) << 2]), bytes.fromhex(opcode))
    return rex + body + bytes([(reg & 7) << 3 | 4, 0x25]) + address.to_bytes(4, "little")


def enter_stub() -> bytes:
    """Called as a C function: saves what C wants back, loads everything, jumps to the instruction, far if
    32-bit."""
    text = (
        bytes.fromhex("53 55 41 54 41 55 41 56 41 57")
        + absolute("89", 4, HOST_RSP)
        + absolute("0F AE", 0, FX_HOST)
    )
    text += bytes.fromhex("B8 2B 00 00 00 8E D8 8E C0") + absolute("0F AE", 1, FX_IN)
    text += (
        bytes.fromhex("48 C7 C4") + STACK_TOP.to_bytes(4, "little") + absolute("FF", 6, FLAGS_IN) + b"\x9d"
    )
    for n in (*range(4), *range(5, 16), 4):
        text += absolute("8B", n, GPR_IN + 8 * n)
    return text + absolute("FF", 5, FAR)[1:]


def leave_stub() -> bytes:
    """Saves everything and returns to C."""
    text = absolute("89", 4, GPR_OUT + 32) + bytes.fromhex("48 C7 C4") + STACK_TOP.to_bytes(4, "little")
    text += b"\x9c" + absolute("8F", 0, FLAGS_OUT) + bytes.fromhex("6A 02 9D")  # no AC, no DF: C wants them so
    for n in (*range(4), *range(5, 16)):
        text += absolute("89", n, GPR_OUT + 8 * n)
    text += absolute("0F AE", 0, FX_OUT) + absolute("0F AE", 1, FX_HOST) + absolute("8B", 4, HOST_RSP)
    return text + bytes.fromhex("41 5F 41 5E 41 5D 41 5C 5D 5B C3")


def catch_stub() -> bytes:
    """The signal handler: rdi is the signal, rdx the ucontext, whose general registers begin at byte 40."""
    rip, code_segment, error, trap = (40 + 8 * n for n in (16, 18, 19, 20))
    text = absolute("89", 7, SIGNAL)
    for offset, to in ((rip, RIP), (trap, TRAP), (error, ERROR)):
        text += bytes.fromhex("48 8B 82") + offset.to_bytes(4, "little") + absolute("89", 0, to)
    text += bytes.fromhex("48 C7 82") + rip.to_bytes(4, "little") + LEAVE.to_bytes(4, "little")
    return text + bytes.fromhex("66 C7 82") + code_segment.to_bytes(4, "little") + b"\x33\x00\xc3"


class Inside:
    """The child's side."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
        anonymous_fixed = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x100000  # MAP_FIXED_NOREPLACE
        for address, size, rights in ((CODE, 0x1000, 7), (DATA, DATA_SIZE, 3), (BLOCK, BLOCK_SIZE, 7)):
            if libc.mmap(address, size, rights, anonymous_fixed, -1, 0) != address:
                raise OSError(ctypes.get_errno(), f"no room at {address:#x}")
        for address, text in ((ENTER, enter_stub()), (LEAVE, leave_stub()), (CATCH, catch_stub())):
            ctypes.memmove(address, text, len(text))
        self.catch_signals(libc)
        self.enter = ctypes.CFUNCTYPE(None)(ENTER)

    def catch_signals(self, libc: ctypes.CDLL) -> None:
        self.stack = ctypes.create_string_buffer(ALTERNATE_STACK)
        libc.sigaltstack(struct.pack("<QiiQ", ctypes.addressof(self.stack), 0, 0, ALTERNATE_STACK), None)
        action = struct.pack("<Q128si4xQ", CATCH, bytes(128), 0x0800_0004, 0)  # SA_ONSTACK | SA_SIGINFO
        for signal in (4, 5, 7, 8, 11):  # ILL, TRAP, BUS, FPE, SEGV
            libc.sigaction(signal, action, None)

    def run(self, case: bytes) -> bytes:
        bits, length, code, flags, *registers, fx, window = CASE.unpack(case)
        ctypes.memset(CODE, 0xCC, 0x1000)
        ctypes.memset(DATA, 0, DATA_SIZE)
        ctypes.memmove(START, code, length)
        ctypes.memmove(WINDOW, window, WINDOW_SIZE)
        ctypes.memmove(GPR_IN, struct.pack("<17Q", *registers, flags), 17 * 8)
        ctypes.memmove(FX_IN, fx, 512)
        ctypes.memmove(FAR, struct.pack("<IH", START, 0x33 if bits == 64 else 0x23), 6)
        self.enter()
        at = ctypes.string_at
        _, rip, trap, error = struct.unpack("<4Q", at(SIGNAL, 32))
        *out, flags = struct.unpack("<17Q", at(GPR_OUT, 17 * 8))
        if trap == 3 and rip - 1 != START:
            rip -= 1
        finished = rip != START
        trap, error = (-1, 0) if finished else (trap, error)
        return ANSWER.pack(trap, error, rip, flags, *out, at(FX_OUT, 512), at(WINDOW, WINDOW_SIZE))


class Host:
    """The parent's side: `run` sends cases to the child, which is started again if one kills it."""

    name = "host"

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        self.child = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def close(self) -> None:
        self.child.kill()
        self.child.wait()

    def run(self, code: bytes, before: Situation, bits: int = 64) -> Situation:
        assert self.child.stdin and self.child.stdout
        self.child.stdin.write(
            CASE.pack(bits, len(code), code, before.flags, *before.registers, before.fx, before.window)
        )
        self.child.stdin.flush()
        answer = self.child.stdout.read(ANSWER.size)
        if len(answer) != ANSWER.size:
            self.close()
            self.start()
            raise RuntimeError(f"{code.hex(' ')} killed the oracle")
        trap, error, rip, flags, *registers, fx, window = ANSWER.unpack(answer)
        return Situation(registers, flags, window, fx, rip, trap, error)


if __name__ == "__main__":
    inside = Inside()
    while len(case := sys.stdin.buffer.read(CASE.size)) == CASE.size:
        sys.stdout.buffer.write(inside.run(case))
        sys.stdout.buffer.flush()
