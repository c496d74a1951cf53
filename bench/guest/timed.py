"""A program that runs another one and times it: timed NAME OUTPUT PROGRAM ARGUMENT... Typed Python.

The other's standard output goes to the file OUTPUT; the result is its status and the CRC-32 of what it wrote.
"""

from __future__ import annotations

from bench.guest import linux
from bench.guest.integer import REFLECTED
from bench.guest.linux import CHILD, MARK, argument, call, load_word, word_size
from guesthouse.typed import Pointer, load, store, u8, u32, u64

HERE, WRITE, BLOCK = -100, 0o1101, 1 << 16  # AT_FDCWD; O_WRONLY, O_CREAT and O_TRUNC


def program(stack: u64) -> u64:
    scratch = linux.room()
    begin = named(linux.text(scratch, f"{MARK} ".encode()), argument(stack, u64(1)))
    linux.say(scratch, linux.text(begin, b" begins\n"))
    start = linux.nanoseconds(scratch)
    status = child_of(stack, scratch)
    taken = linux.nanoseconds(scratch) - start
    result = u64(status) << 32 | u64(checksum(argument(stack, u64(2)), scratch + 4096))
    at = named(linux.text(scratch, f"{MARK} ".encode()), argument(stack, u64(1)))
    at = linux.hexadecimal(linux.text(at, b" ends "), result)
    at = linux.hexadecimal(linux.text(at, b" "), taken)
    linux.say(scratch, linux.text(at, b"\n"))
    call("exit", 0)
    return result


def child_of(stack: u64, scratch: u64) -> u32:
    """Run the program; how it ended, as wait4(2) says."""
    child = call("clone", CHILD, 0)
    if child == 0:
        call("dup3", call("openat", HERE, argument(stack, u64(2)), WRITE, 0o644), 1, 0)
        words = stack + 4 * word_size()
        call("execve", load_word(words), words, stack + (load_word(stack) + 2) * word_size())
        call("exit", 127)
    call("wait4", child, scratch, 0, 0)
    return load(u32, scratch)


def named(at: u64, name: u64) -> u64:
    """Put a text that ends in zero into memory; where it ends."""
    while load(u8, name) != 0:
        store(u8, at, load(u8, name))
        at += 1
        name += 1
    return at


def checksum(name: u64, room: u64) -> u32:
    """CRC-32 of a file, bit by bit."""
    file, crc, data = call("openat", HERE, name, 0, 0), ~u32(0), Pointer[u8](room)
    size = u32(call("read", file, room, BLOCK))
    while size != 0:
        n = u32(0)
        while n < size:
            crc = crc ^ u32(data[n])
            for _ in range(8):
                crc = crc >> 1 ^ (0 - (crc & 1) & REFLECTED)
            n += 1
        size = u32(call("read", file, room, BLOCK))
    return ~crc
