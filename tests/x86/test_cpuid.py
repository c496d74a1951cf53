"""CPUID claims what there is: for each feature that brings instructions, one of them is tried."""

import ctypes
from typing import Any

import pytest

from guesthouse.bits import u8, u64
from guesthouse.system.cpu.x86 import cpuid
from guesthouse.system.cpu.x86.decode import UNDEFINED
from guesthouse.system.cpu.x86.guest import X86
from guesthouse.system.cpu.x86.operands import Decoded
from guesthouse.typed import Array, Pointer, Struct

FEATURES = {
    (1, 2): (cpuid.ONE_C, dict(
        sse3="f20f7cc1", pclmulqdq="660f3a44c100", ssse3="660f3800c1", cx16="480fc70f", sse41="660f3810c1",
        sse42="660f3a63c100", movbe="0f38f007", popcnt="f30fb8c1", aes="660f38dcc1", xsave="0fae27", rdrand="0fc7f0")),
    (1, 3): (cpuid.ONE_D, dict(
        fpu="d9e8", tsc="0f31", msr="0f32", cx8="0fc70f", sep="0f34", cmov="0f44c1", clflush="0fae3f", mmx="0ffcc1",
        fxsr="0fae07", sse="0f58c1", sse2="660f58c1")),
    (7, 1): (cpuid.SEVEN_B, dict(
        fsgsbase="f30faec0", bmi1="f30fbcc1", bmi2="c4e2f9f7c1", invpcid="660f388207", rdseed="0fc7f8",
        adx="660f38f6c1", smap="0f01ca", clflushopt="660fae3f", sha="0f38c8c1")),
    (7, 2): (cpuid.SEVEN_C, dict(rdpid="f30fc7f8")),
    (0x8000_0001, 2): (cpuid.EXTENDED_C, dict(lahf="9f", lzcnt="f30fbdc1", prefetchw="0f0d0f")),
    (0x8000_0001, 3): (cpuid.EXTENDED_D, dict(syscall="0f05", rdtscp="0f01f9")),
}
WITHOUT = {"vme", "pcid", "x2apic", "tsc_deadline", "hypervisor", "de", "pse", "pae", "mce", "mca", "apic", "mtrr",
           "pge", "pat", "pse36", "nx", "page1gb", "lm", "tsc_adjust", "smep", "erms", "umip", "osxsave", "htt"}


class Pair(Struct):
    records: Array[Decoded, 2]


def decodes(code: str) -> bool:
    """Whether these bytes are an instruction."""
    cpu: Any = X86.new()
    cpu.code_bits = u8(64)
    pair = Pair.new()
    window = (ctypes.c_uint8 * 32)(*bytes.fromhex(code))
    cpu.decode(u64(0), u64(0), u64(ctypes.addressof(window)), Pointer[Decoded](pair.address))
    return int(pair.records[0].handler) != UNDEFINED


@pytest.mark.parametrize("leaf, register", FEATURES)
def test_a_claimed_feature_has_its_instructions(leaf: int, register: int) -> None:
    names, samples = FEATURES[leaf, register]
    claimed = {name for name, bit in names.items() if cpuid.LEAVES[leaf, 0][register] >> bit & 1}
    assert claimed <= samples.keys() | WITHOUT
    for name in claimed & samples.keys():
        assert decodes(samples[name]), name


def test_what_is_not_there_is_not_claimed() -> None:
    for code in ("0f01c8", "0f01c1", "c5f858c1", "0f01d9"):  # monitor, vmcall, vaddps, vmmcall
        assert not decodes(code)
    assert not cpuid.LEAVES[1, 0][2] & (1 << 3 | 1 << 5 | 1 << 12 | 1 << 28)  # monitor, vmx, fma, avx
