"""The host's own floating-point unit as an oracle: executes one x86-64 instruction on a given FXSAVE image.

The instruction may use xmm0 to xmm7, the x87 stack, [rsi] (64 bytes of memory), rax and rcx. Only for x86-64
hosts, and only with exceptions masked: a signal would end the test run.
"""

import ctypes
import mmap
import platform
import struct
from dataclasses import dataclass, field

AVAILABLE = platform.machine() in ("x86_64", "AMD64")

# push rbx; mov rbx, rdx; fxsave [rbx]; fxrstor [rdi]; mov rax, [rsi+64]; mov rcx, [rsi+72]; push [rsi+80]; popfq
BEFORE = bytes.fromhex("53 4889D3 0FAE03 0FAE0F 488B4640 488B4E48 FF7650 9D")
# fxsave64 [rdi]; mov [rsi+64], rax; mov [rsi+72], rcx; pushfq; pop [rsi+80]; fxrstor [rbx]; pop rbx; ret
AFTER = bytes.fromhex("480FAE07 48894640 48894E48 9C 8F4650 0FAE0B 5B C3")


@dataclass
class Image:
    """What an instruction finds and leaves. x87 registers in stack order, as 80-bit patterns; tags as FXSAVE
    has them.
    """

    xmm: list[int] = field(default_factory=lambda: [0] * 8)
    mxcsr: int = 0x1F80
    st: list[int] = field(default_factory=lambda: [0] * 8)
    fcw: int = 0x37F
    fsw: int = 0
    tags: int = 0
    memory: bytes = bytes(64)
    rax: int = 0
    rcx: int = 0
    flags: int = 0

    def to_bytes(self) -> bytes:
        head = struct.pack("<HHBxHQQII", self.fcw, self.fsw, self.tags, 0, 0, 0, self.mxcsr, 0)
        stack = b"".join(r.to_bytes(16, "little") for r in self.st)
        return (head + stack + b"".join(x.to_bytes(16, "little") for x in self.xmm)).ljust(512, b"\0")


class HostCpu:
    """Executes instructions. The room for code is used round and round."""

    def __init__(self) -> None:
        self.room = mmap.mmap(-1, 1 << 16, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        self.base = ctypes.addressof(ctypes.c_char.from_buffer(self.room))
        self.used = 0
        self.known: dict[bytes, ctypes._CFuncPtr] = {}
        self.data = (ctypes.c_uint8 * 2048)()
        self.at = -(-ctypes.addressof(self.data) // 64) * 64

    def function(self, code: bytes) -> "ctypes._CFuncPtr":
        if code not in self.known:
            body = BEFORE + code + AFTER
            if self.used + len(body) > len(self.room):
                self.used = 0
                self.known.clear()
            self.room[self.used : self.used + len(body)] = body
            kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
            self.known[code] = kind(self.base + self.used)
            self.used += -(-len(body) // 16) * 16
        return self.known[code]

    def run(self, code: bytes, image: Image) -> Image:
        """The image after the instruction."""
        ctypes.memmove(self.at, image.to_bytes(), 512)
        rest = image.memory.ljust(64, b"\0") + struct.pack(
            "<QQQ", image.rax, image.rcx, image.flags & 0x8D5 | 0x202
        )
        ctypes.memmove(self.at + 512, rest, len(rest))
        self.function(code)(self.at, self.at + 512, self.at + 1024)
        after = ctypes.string_at(self.at, 512)
        memory = ctypes.string_at(self.at + 512, 64 + 24)
        fcw, fsw, tags = struct.unpack_from("<HHB", after)
        rax, rcx, flags = struct.unpack_from("<QQQ", memory, 64)
        return Image(
            xmm=[int.from_bytes(after[160 + 16 * n : 176 + 16 * n], "little") for n in range(8)],
            mxcsr=struct.unpack_from("<I", after, 24)[0],
            st=[int.from_bytes(after[32 + 16 * n : 42 + 16 * n], "little") for n in range(8)],
            fcw=fcw,
            fsw=fsw,
            tags=tags,
            memory=memory[:64],
            rax=rax,
            rcx=rcx,
            flags=flags & 0x8D5,
        )
