"""What programs in the guest need of Linux, in typed Python: system calls, the clock, words for the console.

After the kernel's system call tables (arch/x86/entry/syscalls/, include/uapi/asm-generic/unistd.h), syscall(2) for
the registers and time(7). There is no C library: pointers and `long` are words, whose size is the target's.
"""

from __future__ import annotations

from typing import Any

from guesthouse.typed import Pointer, store, u8, u32, u64

MARK = "bench"
ROOM = 16 << 20  # bytes that a program has for its data, at room()
MONOTONIC, SECOND = 1, 1_000_000_000
CHILD = 17  # SIGCHLD: the parent is told when it ends
CONSOLE = 2  # standard error: what a program writes to its output is its own matter


def call(name: str, *arguments: Any) -> u64:
    """A system call by its name; the result is a word, widened with its sign."""
    raise NotImplementedError("compiled only (build.py)")


def room() -> u64:
    """Where the program's data lies: ROOM bytes, all zero at first."""
    raise NotImplementedError("compiled only (build.py)")


def load_word(address: u64) -> u64:
    raise NotImplementedError("compiled only (build.py)")


def store_word(address: u64, value: u64) -> None:
    raise NotImplementedError("compiled only (build.py)")


def word_size() -> int:
    """In bytes; known while compiling."""
    raise NotImplementedError("compiled only (build.py)")


def move_bytes(to: u64, source: u64, count: u64) -> u64:
    """The processor's own instruction for that: x86's REP MOVSB."""
    raise NotImplementedError("compiled only (build.py)")


def new_code() -> u64:
    """What the processor must be told after code was written: RISC-V's FENCE.I."""
    raise NotImplementedError("compiled only (build.py)")


def nanoseconds(scratch: u64) -> u64:
    """The monotonic clock."""
    call("clock_gettime", MONOTONIC, scratch)
    return load_word(scratch) * SECOND + load_word(scratch + word_size())


def text(at: u64, words: bytes) -> u64:
    """Put words, known while compiling, into memory; where they end."""
    for character in words:
        store(u8, at, u8(character))
        at += 1
    return at


def hexadecimal(at: u64, number: u64) -> u64:
    left = u32(16)
    while left != 0:
        left -= 1
        digit = u8(number >> 60)
        store(u8, at, digit + 48 if digit < 10 else digit + 87)
        number = number << 4
        at += 1
    return at


def argument(stack: u64, index: u64) -> u64:
    """Where an argument of the program is, or 0: behind their number on the first stack, as words."""
    return load_word(stack + (index + 1) * word_size())


def number(at: u64) -> u64:
    """A decimal number in memory."""
    digits, value = Pointer[u8](at), u64(0)
    index = u32(0)
    while digits[index] != 0:
        value = value * 10 + u64(digits[index] - 48)
        index += 1
    return value


def say(scratch: u64, end: u64) -> None:
    call("write", CONSOLE, scratch, end - scratch)

