"""Stencils whose operands are told by 8 bits, where they are as small as that: LLVM's assembler makes them.

The time that copies take goes with their size: a program of much code waits for it to come from the host's memory. LLVM
gives 32 bits, and 64 for some, to whatever it does not know. So its assembly is taken (AT&T syntax), and a number put
where a hole of 8 bits is to be, so that the assembler chooses the short form and sees to the jumps. Two numbers, one
after the other, tell where it has put them: where the two outcomes differ.

Two kinds of each stencil: with registers told by 8 bits (`.tight`), and with all that can be (`.tightest`). In both an
operand that LLVM fetches into a register to use it once stands in the instruction that uses it, the address of an
entry of the address cache is computed by the instruction that loads from it, a sum is not made once more for its flags,
and an address's masks are those that are in registers anyway (threaded.py).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from guesthouse.engine import threaded
from guesthouse.engine.cpu import TlbEntry
from guesthouse.errors import HouseBug
from guesthouse.typed.elf import R_8, Function, Relocation, functions
from guesthouse.typed.machine import assemble_text

# What stands in for holes. AVX-512 scales displacements of 8 bits, so that odd ones take 32: one of these is negative,
# and more than a byte differs there.
NUMBERS = 0x11, -0x23
FUNCTION = re.compile(r"^\t\.globl\t(\S+)\n.*?^\1:\n(.*?)^\.Lfunc_end", re.MULTILINE | re.DOTALL)
LOCAL, LABEL = re.compile(r"\.L\w+"), re.compile(r"^(\.L\w+):", re.MULTILINE)
HOLE = r"(hole\.[\w.]+)([+-]\d+)?"
BASED = re.compile(rf"{HOLE}\((%\w+)(,%\w+(?:,\d)?)?\)")
SHORT = re.compile(rf"\t(?:add|or|adc|sbb|and|sub|xor|cmp)[bwlq]\t\${HOLE}, ")
ADDEND = TlbEntry.offset("addend")
FETCHED, SUM = (re.compile(line) for line in (
    r"\tmovq\t\$(hole\.\w+(?:[+-]\d+)?), %(\w+)$", r"\taddq\t(\S*\(%rdi\)), %(\w+)$"))
CARRIED = re.compile(r"\tmovabsq\t\$(hole\.\w+(?:[+-]\d+)?), %(\w+)$")
USES = re.compile(r"\t(add|or|adc|sbb|and|sub|xor|cmp|test|mov)([blq])\t%(\w+), (.*)$")
ENTRY, LOAD = re.compile(r"\taddq\t%(\w+), %(\w+)$"), re.compile(rf"\tmovq\t{ADDEND}\(%(\w+)\), %(\w+)$")
ADDED_TWICE = re.compile(r"\tlea([ql])\t(\S+), %(\w+)\n\tmov([ql])\t%(\w+), (.*)\n"
                         r"\tadd\1\t(\S+), %(\w+)$", re.MULTILINE)
SUBTRACTED_TWICE = re.compile(r"\tmov([ql])\t%(\w+), %(\w+)\n\tsub\1\t(\S+), %\3\n\tmov([ql])\t%(\w+), (.*)\n"
                              r"\tcmp\1\t\4, %\2$", re.MULTILINE)
# What touches no register that it does not name, and goes on with the next line.
PLAIN = re.compile(r"\t(?:mov|add|sub|and|or|xor|cmp|test|lea|sh[lr]|sar|set|inc|dec|neg|not|bt|popcnt|bzhi|v)\w*\t")
# Constants that stencils find in registers, as long as they leave these alone.
MASKS = dict(zip(threaded.MASKS, ("r14", "r15"), strict=True))
PINNED = re.compile(rf"\tand([lq])\t\$({'|'.join(MASKS)}), (%\w+)$")
STATE, COUNT = "%rdi", "$hole.count."  # of instructions: it always has 8 bits
TIGHT, TIGHTEST = "tight", "tightest"
KIND = re.compile(rf"\.({TIGHT}|{TIGHTEST})$")
STILL = re.compile(r"\t(?:(?:mov|set)\w*\t|jmp\tnext\b)")  # changes no flags
LEGACY = {f"r{n}": [f"r{n}", f"r{n}d", f"r{n}w", f"r{n}b"] for n in range(8, 16)} | {
    f"r{x}x": [f"r{x}x", f"e{x}x", f"{x}x", f"{x}l", f"{x}h"] for x in "abcd"} | {
    f"r{x}": [f"r{x}", f"e{x}", x, f"{x}l"] for x in ("si", "di", "bp")}
WHOLE = {name: whole for whole, names in LEGACY.items() for name in names}
NAMES = re.compile(r"%(\w+)")


@dataclass
class Edited:
    """A function's assembly with marks (\\0) where numbers go, and the holes that these are."""

    name: str
    text: str
    holes: list[tuple[str, int]]


def tight(assembly: str) -> list[Function]:
    """The tight kinds of all functions in a module's assembly, as if the assembler had relocations for 8 bits."""
    made: list[Edited] = []
    for name, body in FUNCTION.findall(assembly):
        if not set(LOCAL.findall(body)) <= set(LABEL.findall(body)):
            continue  # it needs data of its own
        lines = shortened(plain(body))
        kinds = [edited(f"{name}.{kind}", lines, kind) for kind in (TIGHT, TIGHTEST)]
        made += kinds if len(kinds[0].holes) < len(kinds[1].holes) else kinds[:1]
    first, second = ({f.name: f for f in assembled(made, number)} for number in NUMBERS)
    found = (filled(first[it.name], second[it.name], it.holes) for it in made)
    return [function for function in found if function]


def still(assembly: str) -> set[str]:
    """The functions that end with the host's flags as LAHF has told them. So do their tight kinds."""
    found = set()
    for name, body in FUNCTION.findall(assembly):
        before, told, after = body.rpartition("\tlahf\n")
        if told and "next" not in before and not LABEL.search(body) and all(map(STILL.match, plain(after))):
            found.add(name)
    return found


def plain(body: str) -> list[str]:
    """The lines of a function without comments."""
    return [line for line in body.splitlines() if line.strip() and not line.startswith("\t#")]


def shortened(lines: list[str]) -> list[str]:
    """Without the instructions that only carry what others can have as it is, or make again what there is."""
    lines = once(lines)
    for n, line in enumerate(lines):
        if carried := CARRIED.match(line):
            carry(lines, n, *carried.groups())
    lines = [line for line in lines if line]
    if not any(registers(line) & set(MASKS.values()) for line in lines):
        lines = [PINNED.sub(lambda of: f"\tand{of[1]}\t%{sized(MASKS[of[2]], of[1])}, {of[3]}", line) for line in lines]
    for n, line in enumerate(lines):
        if (fetched := FETCHED.match(line)) and (sum_ := SUM.match(lines[n + 1])) and fetched[2] == sum_[2]:
            lines[n:n + 2] = f"\tmovq\t{sum_[1]}, %{sum_[2]}", f"\taddq\t${fetched[1]}, %{sum_[2]}"
        elif entry := ENTRY.match(line):
            load_at_once(lines, n, *entry.groups())
    return once([line for line in lines if line])


def once(lines: list[str]) -> list[str]:
    text = "\n".join(lines)
    if not LABEL.search(text):  # nothing comes back from behind
        text = SUBTRACTED_TWICE.sub(subtracted_once, ADDED_TWICE.sub(added_once, text))
    return text.splitlines()


def added_once(found: re.Match[str]) -> str:
    """Where a sum is made without flags, stored, and made again for its flags: store the second."""
    size, terms, sum_, stored, what, place, term, to = found.groups()
    if term.startswith("%"):
        right = terms in (f"(%{WHOLE[term[1:]]},%{WHOLE[to]})", f"(%{WHOLE[to]},%{WHOLE[term[1:]]})")
    else:
        right = terms == f"{term.removeprefix('$')}(%{WHOLE[to]})"
    if not right or WHOLE[what] != WHOLE[sum_] or needed(found, place, {sum_}, to):
        return found[0]
    return f"\tadd{size}\t{term}, %{to}\n\tmov{stored}\t%{sized(to, stored)}, {place}"


def subtracted_once(found: re.Match[str]) -> str:
    """The same for a difference, and the comparison that follows."""
    size, of, difference, term, stored, what, place = found.groups()
    mixed = WHOLE[what] != WHOLE[difference] or WHOLE[difference] in registers(term)
    if mixed or needed(found, place, {difference, of}, of):
        return found[0]
    return f"\tsub{size}\t{term}, %{of}\n\tmov{stored}\t%{sized(of, stored)}, {place}"


def needed(found: re.Match[str], place: str, gone: set[str], changed: str) -> bool:
    """Whether what follows reads one of the registers that are gone, or the place is told by the changed one."""
    before, _, after = found.string[found.end():].partition("\tlahf\n")  # which, with SETO AL, makes RAX anew
    later = registers(before) | registers(after) - {"rax"}
    return bool(later & {WHOLE[name] for name in gone}) or WHOLE[changed] in registers(place)


def sized(register: str, size: str) -> str:
    """The name of a register with 64 (q) or 32 bits (l)."""
    return LEGACY[WHOLE[register]]["ql".index(size)]


def carry(lines: list[str], n: int, hole: str, register: str) -> None:
    """Line n fetches a hole: put it into the only line that uses it, or give it the 32 bits that it has at most."""
    lines[n] = f"\tmovq\t${hole}, %{register}"
    if any(line.endswith(":") for line in lines[:n]):
        return  # something may come back to there
    users = [k for k in range(n + 1, len(lines)) if register in registers(lines[k])]
    use = USES.match(lines[users[0]]) if len(users) == 1 and all(map(PLAIN.match, lines[n:users[0]])) else None
    if use and WHOLE[use[3]] == register and not registers(use[4]) & {register, "xmm"}:
        cut = hole if use[2] == "q" else hole.replace("hole.", "hole.cut.")
        lines[n], lines[users[0]] = "", f"\t{use[1]}{use[2]}\t${cut}, {use[4]}"


def load_at_once(lines: list[str], n: int, index: str, base: str) -> None:
    """Line n computes where an entry of the address cache is: load from there at once, if that is all it is for."""
    users = [k for k in range(n + 1, len(lines)) if base in registers(lines[k])]
    load = LOAD.match(lines[users[0]]) if users else None
    if load and load[1] == base and (len(users) == 1 or load[2] == base):
        between = lines[n + 1:users[0]]
        if all(PLAIN.match(line) and load[2] not in registers(line) for line in between):
            lines[n], lines[users[0]] = f"\tmovq\t{ADDEND}(%{base},%{index}), %{load[2]}", ""


def registers(line: str) -> set[str]:
    """The registers that a line names, whole; those of vectors have one name."""
    return {"xmm" if "mm" in name else WHOLE.get(name, name) for name in NAMES.findall(line)}


def edited(name: str, lines: list[str], kind: str) -> Edited:
    """A function with marks for the holes of 8 bits: those of registers, or all that can be."""
    holes: list[tuple[str, int]] = []

    def mark(found: re.Match[str], keep: str) -> str:
        holes.append((found[1].replace(".cut.", "."), int(found[2] or 0)))
        return keep

    made = []
    for line in lines:
        if based := BASED.search(line):
            if -128 <= int(based[2] or 0) < 128 and (based[3] == STATE or kind == TIGHTEST):
                line = BASED.sub(lambda found: mark(found, f"\0({found[3]}{found[4] or ''})"), line)
        elif (short := SHORT.match(line)) and (kind == TIGHTEST or "b\t$" in line or COUNT in line):
            line = line.replace(f"${short[1]}{short[2] or ''}", mark(short, "$\0"))
        made.append(LOCAL.sub(lambda found: f"{found[0]}.{name}", line))
    return Edited(name, "\n".join([f"\t.globl\t{name}\n\t.type\t{name},@function\n{name}:", *made,
                                   f".Lend.{name}:\n\t.size\t{name}, .Lend.{name}-{name}\n"]), holes)


def assembled(made: list[Edited], number: int) -> Iterator[Function]:
    """All functions, with a number where the marks are."""
    text = "\t.text\n" + "".join(it.text for it in made)
    yield from functions(assemble_text(text.replace("\0", str(number))))


def filled(one: Function, other: Function, holes: list[tuple[str, int]]) -> Function | None:
    """A function with relocations for its holes of 8 bits, which are where the two differ; None if they differ in more,
    for then an instruction has no operand of 8 bits."""
    places = [at for at, (a, b) in enumerate(zip(one.code, other.code, strict=True)) if a != b]
    if len(places) > len(holes):
        return None
    if len(places) != len(holes) or any((one.code[at], other.code[at] - 256) != NUMBERS for at in places):
        raise HouseBug(f"the assembler has put the operands of {one.name} elsewhere")
    mine = tuple(Relocation(at, R_8, symbol, addend) for at, (symbol, addend) in zip(places, holes, strict=True))
    return Function(one.name, one.code, tuple(sorted(one.relocations + mine, key=lambda r: r.at)))
