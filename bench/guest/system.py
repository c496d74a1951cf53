"""Memory, and what Linux does for programs: calls, switches between processes, new ones, faults, new code."""

from __future__ import annotations

from bench.guest import linux
from bench.guest.integer import FACTOR, folded, numbers
from bench.guest.linux import CHILD, call, move_bytes, new_code, store_word, word_size
from guesthouse.typed import Pointer, invoke, load, store, u8, u32, u64

SIZE, OTHER = 1 << 20, 0x13_5000  # bytes; where the second piece begins: not a power of two away


def copy(room: u64, rounds: u32) -> u64:
    """SIZE bytes to another place, eight at a time."""
    numbers(room, u32(SIZE // 4), u64(1))
    source, to = Pointer[u64](room), Pointer[u64](room + OTHER)
    while rounds != 0:
        n = u32(0)
        while n < SIZE // 8:
            to[n] = source[n] + 1
            n += 1
        rounds -= 1
    return folded(room + OTHER, u32(SIZE // 4))


def movs(room: u64, rounds: u32) -> u64:
    """The same by the processor's instruction for it."""
    numbers(room, u32(SIZE // 4), u64(1))
    while rounds != 0:
        move_bytes(room + OTHER, room, SIZE)
        store(u32, room + u64(rounds & 0xFFFF), rounds)
        rounds -= 1
    return folded(room + OTHER, u32(SIZE // 4))


def chase(room: u64, rounds: u32) -> u64:
    """1,024 steps along a ring of pointers, in no order, through SIZE bytes."""
    ring, n, seed = Pointer[u32](room), u32(0), u64(1)
    while n < SIZE // 4:
        ring[n] = n
        n += 1
    while n > 1:  # Sattolo's: one ring through all
        n -= 1
        seed = seed * FACTOR + 1
        other = u32((seed >> 32) * u64(n) >> 32)
        kept = ring[n]
        ring[n] = ring[other]
        ring[other] = kept
    at = u32(0)
    while rounds != 0:
        n = u32(1024)
        while n != 0:
            at = ring[at]
            n -= 1
        rounds -= 1
    return u64(at)


def calls(room: u64, rounds: u32) -> u64:
    """The shortest system call."""
    same, first = u64(0), call("getpid")
    while rounds != 0:
        same += u64(call("getpid") == first)
        rounds -= 1
    return same


def switches(room: u64, rounds: u32) -> u64:
    """A byte to another process and back, through two pipes."""
    call("pipe2", room, 0)
    call("pipe2", room + 8, 0)
    to, other, back, mine = (u64(load(u32, room + at)) for at in (4, 0, 8, 12))
    sum, child = u64(0), call("clone", CHILD, 0)
    if child == 0:
        while rounds != 0:
            call("read", other, room + 64, 1)
            store(u8, room + 64, load(u8, room + 64) + 1)
            call("write", mine, room + 64, 1)
            rounds -= 1
        call("exit", 0)
    while rounds != 0:
        store(u8, room + 64, u8(rounds))
        call("write", to, room + 64, 1)
        call("read", back, room + 64, 1)
        sum += u64(load(u8, room + 64))
        rounds -= 1
    call("wait4", child, 0, 0, 0)
    return sum


def forks(room: u64, rounds: u32) -> u64:
    """A child that writes into its memory and ends."""
    ended = u64(0)
    while rounds != 0:
        store(u32, room + 128, u32(1))
        child = call("clone", CHILD, 0)
        if child == 0:
            store(u32, room + 128, u32(2))
            call("exit", 3)
        call("wait4", child, room, 0, 0)
        ended += u64(load(u32, room) * load(u32, room + 128))
        rounds -= 1
    return ended


def execs(room: u64, rounds: u32) -> u64:
    """A child that becomes this program again, which ends at once for its second argument."""
    linux.text(room, b"/proc/self/exe\0")
    ended = u64(0)
    for n in range(3):
        store_word(room + 64 + n * word_size(), room)
    while rounds != 0:
        child = call("clone", CHILD, 0)
        if child == 0:
            call("execve", room, room + 64, room + 256)
            call("exit", 1)
        call("wait4", child, room + 512, 0, 0)
        ended += u64(load(u32, room + 512) + 1)
        rounds -= 1
    return ended


PAGES, READ_WRITE, WITH_EXECUTE, PRIVATE = 256, 3, 7, 0x22  # PROT_ and MAP_ of mmap(2)


def faults(room: u64, rounds: u32) -> u64:
    """New memory of PAGES pages, each touched, and given back."""
    total = u64(0)
    while rounds != 0:
        at = call("mmap", 0, PAGES << 12, READ_WRITE, PRIVATE, 0, 0)
        n = u64(0)
        while n < PAGES:
            store(u32, at + (n << 12), u32(n) + 1)
            total += u64(load(u32, at + (n << 12)))
            n += 1
        call("munmap", at, PAGES << 12)
        rounds -= 1
    return total


# A function that returns a number from 0 to 2047: mov eax, n; xor edx, edx; ret. addi a0, zero, n; ret.
X86_CODE, RISCV_CODE = b"\xb8\0\0\0\0\x31\xd2\xc3", (0x0000_0513, 0x0000_8067)


def code(room: u64, rounds: u32) -> u64:
    """A function that is written anew before each fourth call."""
    at, total = call("mmap", 0, 4096, WITH_EXECUTE, PRIVATE, 0, 0), u64(0)
    while rounds != 0:
        if is_riscv():
            store(u32, at, (rounds & 2047) << 20 | RISCV_CODE[0])
            store(u32, at + 4, u32(RISCV_CODE[1]))
        else:
            linux.text(at, X86_CODE)
            store(u32, at + 1, rounds & 2047)
        new_code()
        for _ in range(4):
            total += invoke(at, u64(0), u64(0))
        rounds -= 1
    return total


def is_riscv() -> bool:
    """Known while compiling."""
    raise NotImplementedError("compiled only (build.py)")


BLOCK = 1 << 16


def sequential(room: u64, rounds: u32) -> u64:
    """Standard input, BLOCK bytes at a time."""
    total = u64(0)
    while rounds != 0:
        call("read", 0, room, BLOCK)
        total = total * FACTOR + load(u64, room) + load(u64, room + BLOCK - 8)
        rounds -= 1
    return total


def scattered(room: u64, rounds: u32) -> u64:
    """4 KiB of standard input, which has DISK_MIB, here and there."""
    total, seed = u64(0), u64(1)
    while rounds != 0:
        seed = seed * FACTOR + 1442695
        call("pread64", 0, room, 4096, (seed >> 40 & (DISK_MIB << 8) - 1) << 12)
        total = total * FACTOR + load(u64, room)
        rounds -= 1
    return total


def written(room: u64, rounds: u32) -> u64:
    """Standard input is a disk: BLOCK bytes at a time to it, and then to its medium."""
    total = u64(0)
    while rounds != 0:
        store(u64, room, u64(rounds))
        total = total + call("write", 0, room, BLOCK)
        rounds -= 1
    return total + call("fsync", 0)


DISK_MIB = 64
