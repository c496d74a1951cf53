"""The loops that run inside the guest: assembly text, packed as static ELF programs into a cpio archive.

Each writes a line when it begins and a line with its result when it ends; whoever reads the console takes the
time. The result must be the same wherever it runs.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.assembler import assemble

ORIGIN, ROOM, OTHER, END = 0x40_0000, 0x50_0000, 0x60_0000, 0x70_0000  # the program; memory for its data
CALLS_OF_LINUX = {"read": 0, "write": 1, "mmap": 9, "munmap": 11, "pread": 17, "getpid": 39, "exit": 60}
HEADERS, TEXTS = 64 + 56, 128  # bytes: of the ELF and program header; of the lines that are written
MARK = "bench"
FOLDER = "bench"  # in the guest's root

FRAME = """
    mov edi, 1; mov rsi, begins; mov edx, begins_size; mov eax, write; syscall
    call loop
    mov rdi, result; mov ecx, 16
  digit: rol rax, 4; mov rdx, rax; and edx, 15; movzx edx, byte [rdx+digits]; mov byte [rdi], dl
    inc rdi; dec ecx; jnz digit
    mov edi, 1; mov rsi, ends; mov edx, ends_size; mov eax, write; syscall
    mov edi, 0; mov eax, exit; syscall
  loop:
"""

FILL = """
    mov rax, 1; mov ebx, 0; mov r8, 6364136223846793005     # a linear congruential generator
  fill: imul rax, r8; add rax, 1442695; mov rdx, rax; shr rdx, 33; mov [rbx*4+room], edx
    inc ebx; cmp ebx, size; jb fill
"""

ALU = """
    mov rcx, rounds; mov rax, 1; mov rbx, 0x9e3779b97f4a7c15
  next: add rax, rbx; xor rbx, rax; rol rax, 7; lea rdx, [rax+rbx*2+5]; sub rbx, rdx; shr rdx, 3
    and edx, 0xffff; xor rax, rdx; mov rsi, rax; or rsi, 1; imul rsi, rbx; sub rbx, rsi; dec rcx; jnz next
    ret
"""

SIEVE = """
    mov rbp, rounds
  again: mov rdi, room; mov ecx, size; mov eax, 0; rep_stosb
    mov esi, 2
  outer: cmp byte [rsi+room], 0; jne composite
    mov rdi, rsi; imul rdi, rsi
  strike: mov byte [rdi+room], 1; add rdi, rsi; cmp rdi, size; jb strike
  composite: inc rsi; cmp rsi, root; jb outer
    dec rbp; jnz again
    mov esi, 2; mov eax, 0                                  # how many primes
  count: movzx edx, byte [rsi+room]; inc rax; sub rax, rdx; inc rsi; cmp rsi, size; jb count
    ret
"""

CRC = FILL + """
    mov r9, 0xedb88320; mov ebx, 0                          # the table of CRC-32, reflected
  table: mov eax, ebx; mov ecx, 8
  bit: mov edx, eax; and edx, 1; shr eax, 1; test edx, edx; jz even
    xor eax, r9d
  even: dec ecx; jnz bit
    mov [rbx*4+other], eax; inc ebx; cmp ebx, 256; jb table
    mov rbp, rounds; mov rax, 0xffffffff
  again: mov ebx, 0
  byte: movzx edx, byte [rbx+room]; xor edx, eax; and edx, 255; shr eax, 8; xor eax, [rdx*4+other]
    inc ebx; cmp ebx, bytes; jb byte
    dec rbp; jnz again
    xor eax, -1; ret
"""

SORT = """
    mov rbp, rounds
  again:
""" + FILL + """
    mov r9d, size                                           # Shell's sort, gaps halved
  gap: shr r9d, 1; jz sorted
    mov esi, r9d
  insert: mov eax, [rsi*4+room]; mov edi, esi
  shift: mov r10d, edi; sub r10d, r9d; jb place
    mov edx, [r10*4+room]; cmp edx, eax; jbe place
    mov [rdi*4+room], edx; mov edi, r10d; jmp shift
  place: mov [rdi*4+room], eax; inc esi; cmp esi, size; jb insert
    jmp gap
  sorted: dec rbp; jnz again
    mov eax, 0; mov ebx, 0
  sum: imul rax, r8; mov edx, [rbx*4+room]; add rax, rdx; inc ebx; cmp ebx, size; jb sum
    ret
"""

CALLS = """
    mov rdi, rounds
  fibonacci: mov eax, 1; cmp rdi, 2; jb done
    push rdi; sub rdi, 1; call fibonacci
    pop rdi; push rax; sub rdi, 2; call fibonacci
    pop rdx; add rax, rdx
  done: ret
"""

FLOAT = """
    mov rbp, rounds; mov r8d, 0; mov eax, 4; cvtsi2sd xmm7, rax; mov eax, size; cvtsi2sd xmm6, rax
    mov eax, 2; cvtsi2sd xmm9, rax
  again: mov esi, 0                                         # Mandelbrot's set, 64 steps at most
  row: mov edi, 0
  point: cvtsi2sd xmm0, rdi; mulsd xmm0, xmm7; divsd xmm0, xmm6; subsd xmm0, xmm9
    cvtsi2sd xmm1, rsi; mulsd xmm1, xmm7; divsd xmm1, xmm6; subsd xmm1, xmm9
    movapd xmm2, xmm0; movapd xmm3, xmm1; mov ecx, 64
  step: movapd xmm4, xmm2; mulsd xmm4, xmm4; movapd xmm5, xmm3; mulsd xmm5, xmm5
    movapd xmm8, xmm4; addsd xmm8, xmm5; ucomisd xmm8, xmm7; ja outside
    mulsd xmm3, xmm2; addsd xmm3, xmm3; addsd xmm3, xmm1
    movapd xmm2, xmm4; subsd xmm2, xmm5; addsd xmm2, xmm0; dec ecx; jnz step
  outside: add r8, rcx; inc edi; cmp edi, size; jb point
    inc esi; cmp esi, size; jb row
    dec rbp; jnz again
    mov rax, r8; ret
"""

ROOTS = """
    mov rcx, rounds; mov eax, 2; cvtsi2sd xmm0, rax         # x = sqrt(x) + n / x
  next: cvtsi2sd xmm1, rcx; divsd xmm1, xmm0; sqrtsd xmm0, xmm0; addsd xmm0, xmm1
    movsd [room], xmm0; movsd xmm0, [room]; dec rcx; jnz next
    movq rax, xmm0; ret
"""

COPY = FILL + """
    mov rbp, rounds
  again: mov ebx, 0
  next: mov rax, [rbx+room]; mov rcx, [rbx+room+8]; mov rdx, [rbx+room+16]; mov rsi, [rbx+room+24]
    mov [rbx+other], rax; mov [rbx+other+8], rcx; mov [rbx+other+16], rdx; mov [rbx+other+24], rsi
    add rbx, 32; cmp rbx, bytes; jb next
    dec rbp; jnz again
    mov rax, [other+64]; ret
"""

MOVS = FILL + """
    mov rbp, rounds
  again: mov rsi, room; mov rdi, other; mov rcx, bytes; rep_movsb
    dec rbp; jnz again
    mov rax, [other+64]; ret
"""

CHASE = """
    mov ebx, 0                                              # 5 n + 12345 goes through all cells
  link: lea rax, [rbx+rbx*4+12345]; and eax, mask; mov [rbx*8+room], rax; inc ebx; cmp ebx, size; jb link
    mov rcx, rounds; mov eax, 0
  next: mov rax, [rax*8+room]; dec rcx; jnz next
    ret
"""

GETPID = """
    mov rbp, rounds
  next: mov eax, getpid; syscall
    dec rbp; jnz next
    mov rax, 0; ret
"""

FAULTS = """
    mov rbp, rounds
  again: mov edi, 0; mov esi, 0x40000; mov edx, 3; mov r10d, 0x22; mov r8, -1; mov r9d, 0
    mov eax, mmap; syscall
    mov rdi, rax; mov ecx, 64                               # pages: too few for a huge one
  touch: mov [rax], rcx; add rax, 4096; dec ecx; jnz touch
    mov esi, 0x40000; mov eax, munmap; syscall
    dec rbp; jnz again
    ret
"""


SEQUENTIAL = """
    mov rbp, rounds; mov rbx, 0
  next: mov edi, 0; mov rsi, room; mov edx, size; mov eax, read; syscall
    add rbx, [room]; add rbx, rax; dec rbp; jnz next
    mov rax, rbx; ret
"""

SCATTERED = """
    mov rbp, rounds; mov rbx, 0; mov r12, 1; mov r13, 6364136223846793005
  next: imul r12, r13; add r12, 1442695; mov r10, r12; shr r10, 33; and r10, mask; shl r10, 12
    mov edi, 0; mov rsi, room; mov edx, 4096; mov eax, pread; syscall
    add rbx, [room]; add rbx, rax; dec rbp; jnz next
    mov rax, rbx; ret
"""


@dataclass(frozen=True)
class Loop:
    """One program. `rounds` make about two seconds of it under QEMU; the symbols are the text's."""

    name: str
    kind: str
    text: str
    rounds: int
    symbols: Mapping[str, int]


LOOPS = (
    Loop("alu", "integer", ALU, 300_000_000, {}),
    Loop("sieve", "integer", SIEVE, 160, {"size": 1 << 20, "root": 1 << 10}),
    Loop("crc", "integer", CRC, 3000, {"size": 1 << 14, "bytes": 1 << 16}),
    Loop("sort", "integer", SORT, 20, {"size": 1 << 16}),
    Loop("calls", "integer", CALLS, 38, {}),
    Loop("float", "floating point", FLOAT, 40, {"size": 256}),
    Loop("roots", "floating point", ROOTS, 50_000_000, {}),
    Loop("copy", "memory", COPY, 1000, {"size": 1 << 18, "bytes": 1 << 20}),
    Loop("movs", "memory", MOVS, 40, {"size": 1 << 18, "bytes": 1 << 20}),
    Loop("chase", "memory", CHASE, 50_000_000, {"size": 1 << 17, "mask": (1 << 17) - 1}),
    Loop("getpid", "system call", GETPID, 3_000_000, {}),
    Loop("faults", "page fault", FAULTS, 2_000, {}),
)

DISK_MIB = 64  # read through once, 64 KiB at a time; 4 KiB at a time from 4,000 places
DISKS = tuple(loop for bus in ("ide", "virtio") for loop in (
    Loop(f"{bus}_seq", "64 MiB of a disk", SEQUENTIAL, DISK_MIB << 4, {"size": 1 << 16}),
    Loop(f"{bus}_4k", "4 kB from 4,000 places", SCATTERED, 4000, {"mask": (DISK_MIB << 8) - 1})))


def machine_code(loop: Loop, rounds: int = 0) -> tuple[bytes, bytes]:
    """The lines that the program writes, and its instructions, which follow them."""
    digits = b"0123456789abcdef"
    begins, ends = (f"{MARK} {loop.name} {what}".encode() for what in ("begins\n", "ends "))
    texts = digits + begins + ends + bytes(16) + b"\n"
    at = ORIGIN + HEADERS
    symbols = {"digits": at, "begins": at + 16, "begins_size": len(begins), "ends": at + 16 + len(begins),
               "ends_size": len(ends) + 17, "result": at + 16 + len(begins) + len(ends),
               "room": ROOM, "other": OTHER, "rounds": rounds or loop.rounds,
               **CALLS_OF_LINUX, **loop.symbols}
    return texts.ljust(TEXTS, b"\0"), assemble(FRAME + loop.text, symbols)


def program(loop: Loop, rounds: int = 0) -> bytes:
    """The static executable (System V ABI, ELF-64): one segment, from the headers to the end of its room."""
    texts, code = machine_code(loop, rounds)
    size = HEADERS + len(texts) + len(code)
    ident = b"\x7fELF\2\1\1" + bytes(9)
    entry = ORIGIN + HEADERS + TEXTS
    header = struct.pack("<16sHHIQQQIHHHHHH", ident, 2, 62, 1, entry, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 7, 0, ORIGIN, ORIGIN, size, END - ORIGIN, 4096)
    return header + segment + texts + code


def archive(names: Sequence[str]) -> bytes:
    """The loops and the script that runs them as process 1, a cpio archive to be put behind an initramfs."""
    from guesthouse.images.initramfs import DIRECTORY, FILE, Entry
    from guesthouse.images.initramfs import archive as packed

    chosen = [loop for loop in LOOPS if loop.name in names]
    script = "\n".join(["#!/bin/busybox sh", *(f"/{FOLDER}/{loop.name}" for loop in chosen),
                        f"echo {MARK} all ends 0", "/bin/busybox poweroff -f", ""])
    entries = [Entry(FOLDER, DIRECTORY | 0o755), Entry(f"{FOLDER}/init", FILE | 0o755, script.encode())]
    return packed(entries + [Entry(f"{FOLDER}/{loop.name}", FILE | 0o755, program(loop)) for loop in chosen])
