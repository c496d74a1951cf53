"""The local APIC: priorities beside sets of requests, its timer beside the clock, messages, both faces."""

from __future__ import annotations

from guesthouse.system.chips.lapic import ApicBus, LocalApic
from tests.fuzz.chips.subject import Subject, direct, door, must, traffic


class LapicModel:
    """What is requested and what is in service, as sets; the rest of the APIC is checked by its traffic."""

    def __init__(self) -> None:
        self.requests: set[int] = set()
        self.serving: set[int] = set()
        self.task = 0

    def priority(self):
        service = max(self.serving, default=0)
        return self.task if self.task >> 4 >= service >> 4 else service & 0xF0

    def pending(self):
        best = max(self.requests, default=-1)
        return best if best >> 4 > self.priority() >> 4 else None


class Lapic(Subject):
    COVERS = (LocalApic,)
    KEPT = frozenset({"lints"})
    AFTER_RESET = {
        ("", at, 4): value
        for at, value in (
            (0x30, 0x50014),
            (0x80, 0),
            (0xA0, 0),
            (0xD0, 0),
            (0xE0, 0xFFFF_FFFF),
            (0xF0, 0xFF),
            (0x280, 0),
            (0x300, 0),
            (0x310, 0),
            *((0x320 + 16 * n, 0x10000) for n in range(6)),
            (0x380, 0),
            (0x390, 0),
            (0x3E0, 0),
            *((row + 16 * n, 0) for row in (0x100, 0x180, 0x200) for n in range(8)),
        )
    }
    WIDTHS = (4, 4, 4, 8, 1)

    def build(self):
        self.bus = ApicBus()
        self.bus.join_io(self)
        tell = self.tell
        return LocalApic(
            0,
            self.clock,
            self.bus,
            self.line(),
            tsc=lambda: 2 * self.clock.now(),
            tsc_hz=2_000_000_000,
            external=lambda: 8,
            nmi=lambda: tell("nmi"),
            init=lambda: tell("init"),
            startup=lambda vector: tell("startup", vector),
            smi=lambda: tell("smi"),
        )

    def open(self):
        return {"": direct(door(self.chip), (self.chip.typed.read, self.chip.typed.write))}

    def end_of_interrupt(self, vector):
        self.tell("eoi", vector)

    def adopt(self, other):
        self.chip.lints = list(other.chip.lints)

    def poke(self):
        rng, chip = self.rng, self.chip
        how = rng.randrange(5)
        if how == 0:
            chip.set_lint(rng.randrange(2), rng.random() < 0.5)
        elif how == 1:
            vector = chip.acknowledge()
            must(0 <= vector <= 0xFF, vector)
            self.seen.append(vector)
        elif how == 2:
            index = rng.choice((0x1B, 0x6E0, 0x800 + rng.randrange(0x100)))
            value = chip.read_msr(index)
            must(value is None or 0 <= value < 1 << 64, hex(index), value)
            self.seen += [value, chip.write_msr(index, self.value(8))]
        elif how == 3:
            self.bus.deliver(
                rng.randrange(256),
                rng.choice((0, 0, 0, 1, 2, 4, 5, 6, 7)),
                rng.choice((0, 1, 0xFF)),
                rng.random() < 0.3,
                rng.random() < 0.5,
            )
        else:
            self.bus.message(0xFEE0_0000 | rng.randrange(1 << 20), rng.getrandbits(16))

    def fresh(self):
        """Enabled, empty, in xAPIC mode with nothing masked by priority."""
        base = 0xFEE0_0900
        self.chip.write_msr(0x1B, base & ~0x800)
        self.chip.write_msr(0x1B, base)
        self.write(0xF0, 0x1FF, 4)
        for lint in (0, 1):
            self.chip.set_lint(lint, False)
        self.chip.external_message = False

    @traffic
    def interrupts_by_priority(self):
        """Requests come, are taken and ended in the order of their classes (SDM 3, 11.8)."""
        rng, model = self.rng, LapicModel()
        self.fresh()
        levels, vectors = {}, [rng.randrange(16, 256) for _ in range(6)]
        for _ in range(rng.randrange(5, 30)):
            what = rng.randrange(5)
            if what < 2:
                vector = rng.choice(vectors)
                levels[vector] = rng.random() < 0.3
                self.bus.deliver(vector, rng.randrange(2), rng.choice((0, 0xFF)), False, levels[vector])
                model.requests.add(vector)
            elif what == 2:
                model.task = rng.choice((0, 0, 0x20, 0x35, 0x80, 0xF0))
                self.write(0x80, model.task, 4)
            elif what == 3 and self.chip.has_interrupt():
                vector = model.pending()
                must(self.chip.acknowledge() == vector, "not the best vector", vector)
                model.requests.discard(vector)
                model.serving.add(vector)
            else:
                self.told.clear()
                ended = max(model.serving, default=None)
                model.serving.discard(ended)
                self.write(0xB0, 0, 4)
                must(
                    self.told == ([("eoi", ended)] if levels.get(ended) and ended is not None else []),
                    self.told,
                )
            self._agrees(model)

    def _agrees(self, model):
        must(self.lines[0].high == (model.pending() is not None), "the line")
        must(self.read(0xA0, 4) == model.priority(), "PPR")
        for row, kept in ((0x100, model.serving), (0x200, model.requests)):
            word = self.rng.randrange(8)
            found = self.read(row + 16 * word, 4)
            must(found == sum(1 << v % 32 for v in kept if v // 32 == word), hex(row), word, hex(found))

    @traffic
    def timer_counts(self):
        """11.5.4: one-shot, periodic, and by the TSC; one tick is the divisor in nanoseconds here."""
        rng = self.rng
        self.fresh()
        mode, code = rng.randrange(3), rng.randrange(8)
        divisor = (2, 4, 8, 16, 32, 64, 128, 1)[code]
        self.write(0x3E0, code & 3 | code << 1 & 8, 4)
        self.write(0x320, 0x40 | mode << 17, 4)
        count, start = rng.randrange(2, 5000), self.clock.now()
        if mode == 2:
            must(self.chip.write_msr(0x6E0, 2 * (start + count)), "the deadline's register")
            must(self.chip.read_msr(0x6E0) == 2 * (start + count), "the deadline")
            divisor = 1
        else:
            self.write(0x380, count, 4)
        passed = rng.randrange(1, 2 * count) * divisor
        self.pass_time(passed)
        ticks = passed // divisor
        left = {0: max(0, count - ticks), 1: count - ticks % count, 2: 0}[mode]
        must(self.read(0x390, 4) == left, "the current count, mode", mode)
        must(bool(self.read(0x220, 4) & 1) == (ticks >= count), "the timer's request")
        must(self.clock.next_deadline() is None if mode != 1 and ticks >= count else True, "it goes on")
        self.write(0x380, 0, 4)

    @traffic
    def tables_keep_their_bits(self):
        self.fresh()
        n, value = self.rng.randrange(6), self.value(4)
        kept = (0x700FF, 0x107FF, 0x107FF, 0x1A7FF, 0x1A7FF, 0x100FF)[n] | (0x10000 if n == 0 else 0)
        self.write(0x320 + 16 * n, value, 4)
        must(self.read(0x320 + 16 * n, 4) == value & kept, "LVT", n)
        for at, mask, fixed in ((0xD0, 0xFF00_0000, 0), (0xE0, 0xF000_0000, 0x0FFF_FFFF), (0x80, 0xFF, 0)):
            self.write(at, value, 4)
            must(self.read(at, 4) == value & mask | fixed, hex(at))
        self.write(0xF0, value & ~0x100, 4)
        must(all(self.read(0x320 + 16 * m, 4) & 0x10000 for m in range(6)), "switched off, an entry is open")

    @traffic
    def sends(self):
        """To itself, by number and by shorthand; what is illegal is an error."""
        rng = self.rng
        self.fresh()
        vector, shorthand = rng.randrange(256), rng.choice((0, 1, 2, 3))
        target = rng.choice((0, 0xFF, 1))
        self.write(0x310, target << 24, 4)
        self.write(0x300, vector | shorthand << 18, 4)
        mine = shorthand in (1, 2) or shorthand == 0 and target in (0, 0xFF)
        arrived = self.read(0x200 + vector // 32 * 16, 4) >> vector % 32 & 1
        must(arrived == (mine and vector >= 16), "IPI", vector, shorthand, target)
        self.write(0x280, 0, 4)
        must(self.read(0x280, 4) & 0x20 == (0x20 if vector < 16 else 0), "the error of an illegal vector")

    @traffic
    def changes_face(self):
        for value in (0xFEE0_0D00, 0xFEE0_0900, 0xFEE0_0100, 0xFEE0_0900, self.value(8)):
            self.seen.append(self.chip.write_msr(0x1B, value))
            self.read(self.rng.choice((0x20, 0x30, 0xD0)), 4)


SUBJECTS = {"lapic": Lapic}
