"""The machines that programs are compiled for: LLVM's names, Linux's call numbers, and the few bytes of machine code
that no compiler writes: the entry, the system call, and what an instruction set has beyond the language.

The bytes follow the calling conventions of the System V supplements (x86-64 3.2, i386 2.2, RISC-V 2.1).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bench.guest.elf import Stub
from guesthouse.bits import i32, i64, u32, u64


@dataclass(frozen=True)
class Target:
    """One instruction set with its Linux. `word`: the type of a pointer; `signed`: the same with a sign."""

    name: str
    triple: str
    features: str
    word: Any
    signed: Any
    calls: dict[str, int] = field(hash=False)
    stubs: tuple[Stub, ...]
    x87: str = ""  # features that leave floating point to the x87
    simd: bool = True


def _code(text: str) -> bytes:
    return bytes.fromhex(text)


def _words(*words: int) -> bytes:
    return b"".join(word.to_bytes(4, "little") for word in words)


AMD64 = Target(
    "amd64", "x86_64-unknown-linux-gnu", "+sse2", u64, i64,
    {"read": 0, "write": 1, "mmap": 9, "munmap": 11, "pread64": 17, "fsync": 74, "getpid": 39, "clone": 56,
     "execve": 59, "exit": 231, "wait4": 61, "clock_gettime": 228, "pipe2": 293, "dup3": 292, "openat": 257},
    (Stub("_start", _code("31ed 4889e7 4883e4f0 e800000000"), ((10, 2, "main", -4),)),
     # mov rax, rdi and so on: each argument one place down; the seventh is on the stack
     Stub("system_call", _code("4889f8 4889f7 4889d6 4889ca 4d89c2 4d89c8 4c8b4c2408 0f05 c3")),
     Stub("move_bytes", _code("4889d1 f3a4 c3")), Stub("new_code", _code("c3"))),
    x87="-sse,-sse2,-mmx,+x87")

I386 = Target(
    "i386", "i686-unknown-linux-gnu", "+sse2", u32, i32,
    {"read": 3, "write": 4, "mmap": 192, "munmap": 91, "pread64": 180, "fsync": 118, "getpid": 20, "clone": 120,
     "execve": 11, "exit": 252, "wait4": 114, "clock_gettime": 265, "pipe2": 331, "dup3": 330, "openat": 295},
    (Stub("_start", _code("31ed 89e0 83e4f0 83ec08 6a00 50 e800000000"), ((14, 2, "main", -4),)),
     # ebp, edi, esi and ebx are the caller's; the arguments lie from [esp+20] on
     Stub("system_call", _code("55 57 56 53 8b442414 8b5c2418 8b4c241c 8b542420 8b742424 8b7c2428 8b6c242c cd80"
                               "5b 5e 5f 5d c3")),
     Stub("move_bytes", _code("57 56 8b7c240c 8b742410 8b4c2414 f3a4 5e 5f c3")), Stub("new_code", _code("c3"))),
    x87="-sse,-sse2,-mmx,+x87")

RISCV64 = Target(
    "riscv64", "riscv64-unknown-linux-gnu", "+m,+a,+f,+d,+c", u64, i64,
    {"read": 63, "write": 64, "mmap": 222, "munmap": 215, "pread64": 67, "fsync": 82, "getpid": 172, "clone": 220,
     "execve": 221, "exit": 94, "wait4": 260, "clock_gettime": 113, "pipe2": 59, "dup3": 24, "openat": 56},
    (Stub("_start", _words(0x0001_0513, 0x0000_0097, 0x0000_80E7), ((4, 19, "main", 0),)),  # mv a0, sp; call main
     Stub("system_call", _words(0x0005_0893, 0x0005_8513, 0x0006_0593, 0x0006_8613, 0x0007_0693, 0x0007_8713,
                                0x0008_0793, 0x0000_0073, 0x0000_8067)),  # mv a7, a0; mv a0, a1; ...; ecall; ret
     Stub("new_code", _words(0x0000_100F, 0x0000_8067))),  # fence.i; ret
    simd=False)

TARGETS = {target.name: target for target in (AMD64, I386, RISCV64)}
