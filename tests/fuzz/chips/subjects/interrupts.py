"""Interrupt controllers: the 8259 pair, the I/O APIC, the PLIC, each beside a model of its priorities."""

from __future__ import annotations

from guesthouse.system.chips.coprocessor_error import CoprocessorError
from guesthouse.system.chips.i8259 import PicPair
from guesthouse.system.chips.ioapic import IoApic
from guesthouse.system.chips.plic import Plic
from tests.fuzz.chips.subject import Subject, door, must, traffic


class PicModel:
    """One 8259A: sets of inputs, and the inputs in the order of their priority."""

    def __init__(self) -> None:
        self.high: set[int] = set()
        self.elcr: set[int] = set()
        self.base, self.irq = 0, False
        self.start(False)
        self.word = 0

    def start(self, level: bool) -> None:
        self.level = level
        self.requests = {n for n in self.high if self.is_level(n)}
        self.serving: set[int] = set()
        self.masked: set[int] = set()
        self.order = list(range(8))
        self.word, self.auto, self.rotates, self.nested = 2, False, False, False
        self.special = self.shows_service = self.polled = False

    def is_level(self, n: int) -> bool:
        return self.level or n in self.elcr

    def wire(self, n: int, high: bool) -> None:
        if high and (n not in self.high or self.is_level(n)):
            self.requests.add(n)
        if not high:
            self.requests.discard(n)
        (self.high.add if high else self.high.discard)(n)

    def best(self, cascade: int | None) -> int | None:
        for n in self.order:
            holds = n in self.serving and not (self.special and n in self.masked)
            if holds and not (self.nested and n == cascade):
                return None
            if n in self.requests and n not in self.masked:
                return n
        return None

    def take(self, cascade: int | None) -> int:
        n = self.best(cascade)
        if n is None:
            return 7
        if not self.auto:
            self.serving.add(n)
        elif self.rotates:
            self.lowest(n)
        if not self.is_level(n):
            self.requests.discard(n)
        return n

    def lowest(self, n: int) -> None:
        at = self.order.index(n) + 1
        self.order = self.order[at:] + self.order[:at]

    def end(self, command: int, n: int) -> None:
        if command in (1, 5):  # of the highest in service
            found = [m for m in self.order if m in self.serving and not (self.special and m in self.masked)]
            if found:
                self.serving.discard(found[0])
                if command == 5:
                    self.lowest(found[0])
        elif command in (3, 7):
            self.serving.discard(n)
            if command == 7:
                self.lowest(n)
        elif command == 6:
            self.lowest(n)
        elif command in (0, 4):
            self.rotates = command == 4


def bits(inputs: set[int]) -> int:
    return sum(1 << n for n in inputs)


class PicPairModel:
    def __init__(self) -> None:
        self.pics = {"master": PicModel(), "slave": PicModel()}

    def best(self, of: str) -> int | None:
        return self.pics[of].best(2 if of == "master" else None)

    def settle(self) -> None:
        slave = self.best("slave") is not None
        if slave != (2 in self.pics["master"].high):
            self.pics["master"].wire(2, slave)

    def lines(self) -> list[bool]:
        return [self.best("master") is not None]

    def set_input(self, n: int, high: bool) -> None:
        if n != 2:
            self.pics["master" if n < 8 else "slave"].wire(n & 7, high)
            self.settle()

    def take(self, of: str) -> int:
        """The slave's output falls with its acknowledge, so its next request is an edge for the master."""
        n = self.pics[of].take(2 if of == "master" else None)
        if of == "slave":
            self.pics["master"].wire(2, False)
        self.settle()
        return n

    def acknowledge(self) -> int:
        n = self.take("master")
        return self.pics["slave"].base | self.take("slave") if n == 2 else self.pics["master"].base | n

    def read(self, of: str, offset: int, size: int) -> int | None:
        if of == "elcr" or size > 1:
            return None
        pic = self.pics[of]
        if pic.polled:
            pic.polled = False
            return 0x80 | self.take(of) if self.best(of) is not None else 0
        if offset:
            return bits(pic.masked)
        return bits(pic.serving if pic.shows_service else pic.requests)

    def write(self, of: str, offset: int, size: int, value: int) -> None:
        if of == "elcr":
            self._elcr(offset, value)
        elif offset:
            self._data(self.pics[of], value)
        else:
            self._command(self.pics[of], value)
        self.settle()

    def _elcr(self, offset: int, value: int) -> None:
        pic = self.pics["slave" if offset else "master"]
        chosen = {n for n in range(8) if value >> n & 1} - ({0, 5} if offset else {0, 1, 2})
        if chosen != pic.elcr:
            pic.elcr = chosen
            pic.requests |= pic.high & chosen

    @staticmethod
    def _data(pic: PicModel, value: int) -> None:
        if pic.word == 0:
            pic.masked = {n for n in range(8) if value >> n & 1}
        elif pic.word == 2:
            pic.base = value & 0xF8
            pic.word = 3 if not pic.single else 4 if pic.fourth else 0
        elif pic.word == 3:
            pic.word = 4 if pic.fourth else 0
        else:
            pic.auto, pic.nested, pic.word = bool(value & 2), bool(value & 0x10), 0

    @staticmethod
    def _command(pic: PicModel, value: int) -> None:
        if value & 0x10:
            pic.start(bool(value & 8))
            pic.single, pic.fourth = bool(value & 2), bool(value & 1)
        elif value & 8:
            if value & 0x40:
                pic.special = bool(value & 0x20)
            if value & 4:
                pic.polled = True
            elif value & 2:
                pic.shows_service = bool(value & 1)
        else:
            pic.end(value >> 5, value & 7)


class Pics(Subject):
    COVERS = (PicPair,)
    WIDTHS = (1,)
    KEPT = frozenset({"master.vector_base", "slave.vector_base"})
    AFTER_RESET = {("elcr", 0, 1): 0, ("elcr", 1, 1): 0}
    WRITABLE = {("elcr", 0, 1): (0xF8, 0), ("elcr", 1, 1): (0xDE, 0)}

    def build(self):
        self.inputs = [False] * 16
        self.model = PicPairModel()
        return PicPair(self.line())

    def open(self):
        return {
            "master": door(self.chip.master),
            "slave": door(self.chip.slave),
            "elcr": door(self.chip.elcr),
        }

    def adopt(self, other):
        for n, high in enumerate(other.inputs):
            self.wire(n, high)

    def wire(self, n, high):
        self.inputs[n] = high
        self.chip.set_input(n, high)
        if self.model is not None:
            self.model.set_input(n, high)

    def poke(self):
        for _ in range(self.rng.randrange(1, 5)):
            self.wire(self.rng.randrange(16), self.rng.random() < 0.5)
            self.operations += 1

    @traffic
    def begins(self):
        """As a BIOS does it, often with the modes that few use."""
        rng = self.rng
        for of, base, wiring in (("master", 8, 4), ("slave", 0x70, 2)):
            first = 0x11 | (0x08 if rng.random() < 0.2 else 0) | (0x02 if rng.random() < 0.1 else 0)
            last = 1 | rng.choice((0, 0, 0x02, 0x10))
            words = (base, wiring, last) if not first & 2 else (base, last)
            self.write(0, first, of=of)
            for word in (*words, rng.choice((0, 0, rng.randrange(256)))):
                self.write(1, word, of=of)

    @traffic
    def takes_interrupts(self):
        for _ in range(self.rng.randrange(1, 6)):
            self.poke()
            expected = None if self.model is None else self.model.acknowledge()
            vector = self.chip.acknowledge()
            must(expected in (None, vector), "vector", vector, "not", expected)
            self.seen.append(vector)
            for of in ("slave", "master"):
                if self.rng.random() < 0.8:
                    self.write(
                        0, self.rng.choice((0x20, 0x20, 0xA0, 0x60 | vector & 7, 0xE0 | vector & 7)), of=of
                    )

    @traffic
    def looks(self):
        for of in ("master", "slave"):
            for word in (0x0A, 0x0B, self.rng.choice((0x0C, 0x68, 0x48, 0x08))):
                self.write(0, word, of=of)
                self.read(0, of=of)
            self.read(1, of=of)


class IoApicModel:
    """The redirection table and what of it is outstanding; what is told is compared by `Ioapic.write`."""

    def __init__(self) -> None:
        self.select, self.identity = 0, 0
        self.entries = [{"low": 0x10000, "high": 0, "remote": False} for _ in range(24)]
        self.inputs = [False] * 24
        self.told = []

    def lines(self):
        return None

    def tell(self, n):
        low, high = self.entries[n]["low"], self.entries[n]["high"]
        self.told.append((low & 0xFF, low >> 8 & 7, high >> 24, bool(low & 0x800), bool(low & 0x8000)))

    def level(self, n):
        entry = self.entries[n]
        if self.inputs[n] and entry["low"] & 0x18000 == 0x8000 and not entry["remote"]:
            entry["remote"] = entry["low"] >> 8 & 7 in (0, 1)
            self.tell(n)

    def set_input(self, n, high):
        rises, self.inputs[n] = high and not self.inputs[n], high
        if self.entries[n]["low"] & 0x8000:
            self.level(n)
        elif rises and not self.entries[n]["low"] & 0x10000:
            self.tell(n)

    def end(self, vector):
        for n, entry in enumerate(self.entries):
            if entry["remote"] and entry["low"] & 0xFF == vector:
                entry["remote"] = False
                self.level(n)

    def read(self, of, offset, size):
        if (offset, size) == (0, 4):
            return self.select
        if (offset, size) != (0x10, 4):
            return None
        n = self.select - 0x10
        if 0 <= n < 48:
            entry = self.entries[n // 2]
            return entry["high"] if n & 1 else entry["low"] | entry["remote"] << 14
        return {0: self.identity, 1: 0x170020, 2: self.identity}.get(self.select, 0)

    def write(self, of, offset, size, value):
        if offset == 0 and size in (1, 4):
            self.select = value & 0xFF
        elif (offset, size) == (0x40, 4):
            self.end(value & 0xFF)
        elif (offset, size) == (0x10, 4):
            n = self.select - 0x10
            if self.select == 0:
                self.identity = value & 0x0F00_0000
            if 0 <= n < 48:
                entry = self.entries[n // 2]
                if n & 1:
                    entry["high"] = value & 0xFF00_0000
                else:
                    entry["low"] = value & 0x1AFFF
                entry["remote"] = entry["remote"] and bool(entry["low"] & 0x8000)
                if entry["low"] & 0x8000:
                    self.level(n // 2)


class Ioapic(Subject):
    COVERS = (IoApic,)
    KEPT = frozenset({"levels"})
    AFTER_RESET = {("", 0, 4): 0, ("", 0x10, 4): 0}
    WIDTHS = (4,)

    def build(self):
        self.model = IoApicModel()
        return IoApic(lambda *message: self.tell(message))

    def adopt(self, other):
        self.chip.levels = other.chip.levels

    def compare(self):
        super().compare()
        if self.model is not None:
            must(self.told == self.model.told, "messages", self.told, "not", self.model.told)
            self.model.told.clear()
        self.seen += self.told
        self.told.clear()

    def poke(self):
        n, high = self.rng.randrange(24), self.rng.random() < 0.5
        self.chip.set_input(n, high)
        if self.model is not None:
            self.model.set_input(n, high)

    @traffic
    def redirects(self):
        """Entries as kernels write them; then the inputs move and the interrupts are ended."""
        rng = self.rng
        n, vector = rng.randrange(24), rng.choice((0x20, 0x31, 0x31, 0xEF))
        low = vector | rng.choice((0, 0x8000, 0x8000, 0x8100, 0x8800, 0xA000, 0x10000, 0x700, 0x400))
        for register, value in ((0x11 + 2 * n, rng.getrandbits(32)), (0x10 + 2 * n, low)):
            self.write(0, register, 4)
            self.write(0x10, value, 4)
            self.read(0x10, 4)
        for high in (True, False, True):
            self.chip.set_input(n, high)
            if self.model is not None:
                self.model.set_input(n, high)
            self.compare()
        self.read(0x10, 4)
        self.chip.end_of_interrupt(vector)
        if self.model is not None:
            self.model.end(vector)
        self.compare()
        self.read(0x10, 4)

    @traffic
    def reads_all(self):
        n = self.rng.randrange(0x50)
        self.write(0, n, 4)
        self.read(0x10, 4)


class PlicModel:
    SOURCES = 40

    def __init__(self) -> None:
        self.priority = dict.fromkeys(range(1, 41), 0)
        self.high, self.pending, self.claimed = set(), set(), set()
        self.enabled, self.threshold = [set(), set()], [0, 0]

    def set_input(self, n, high):
        if not 1 <= n <= 40:
            return
        (self.high.add if high else self.high.discard)(n)
        if high and n not in self.claimed:
            self.pending.add(n)

    def best(self, context):
        wanted = [
            n for n in self.pending & self.enabled[context] if self.priority[n] > self.threshold[context]
        ]
        return min(wanted, key=lambda n: (-self.priority[n], n), default=0)

    def lines(self):
        return [self.best(0) > 0, self.best(1) > 0]

    def read(self, of, offset, size):
        if size != 4 or offset & 3:
            return None
        if offset < 0x1000:
            return self.priority.get(offset // 4, 0)
        if offset < 0x2000:
            return (
                bits({n % 32 for n in self.pending if n // 32 == (offset - 0x1000) // 4})
                if offset < 0x1080
                else None
            )
        if offset < 0x200000:
            context, word = divmod(offset - 0x2000, 0x80)
            return bits({n % 32 for n in self.enabled[context] if n // 32 == word // 4}) if context < 2 else 0
        context, at = divmod(offset - 0x200000, 0x1000)
        if context > 1 or at > 4:
            return 0
        return self._claim(context) if at else self.threshold[context]

    def _claim(self, context):
        n = self.best(context)
        self.pending.discard(n)
        if n:
            self.claimed.add(n)
        return n

    def write(self, of, offset, size, value):
        if size != 4 or offset & 3:
            return
        if offset < 0x1000:
            if offset // 4 in self.priority:
                self.priority[offset // 4] = value & 7
        elif 0x2000 <= offset < 0x200000:
            context, word = divmod(offset - 0x2000, 0x80)
            if context < 2:
                here = {n for n in range(1, 41) if n // 32 == word // 4}
                self.enabled[context] = self.enabled[context] - here | {
                    n for n in here if value >> n % 32 & 1
                }
        elif offset >= 0x200000:
            context, at = divmod(offset - 0x200000, 0x1000)
            if context < 2 and at == 0:
                self.threshold[context] = value & 7
            elif context < 2 and at == 4 and value in self.enabled[context]:
                self.claimed.discard(value)
                self.pending |= {value} & self.high


class Plics(Subject):
    COVERS = (Plic,)
    WIDTHS = (4, 4, 4, 1, 8)
    KEPT = frozenset({"levels"})
    AFTER_RESET = {("", at, 4): 0 for at in (4, 0x1000, 0x2000, 0x2080, 0x200000, 0x201000, 0x200004)}

    def build(self):
        self.model = PlicModel()
        return Plic([self.line(), self.line()], sources=40)

    def adopt(self, other):
        pass

    def wire(self, n, high):
        self.chip.set_input(n, high)
        if self.model is not None:
            self.model.set_input(n, high)

    def poke(self):
        self.wire(self.rng.randrange(44), self.rng.random() < 0.5)

    @traffic
    def serves(self):
        rng = self.rng
        n, context = rng.randrange(44), rng.randrange(2)
        self.write(4 * n, rng.randrange(10), 4)
        self.write(0x2000 + 0x80 * context + n // 32 * 4, rng.choice((1 << n % 32, 0xFFFF_FFFF)), 4)
        self.write(0x200000 + 0x1000 * context, rng.choice((0, 0, 3, 9)), 4)
        self.wire(n, True)
        self.compare()
        claimed = self.read(0x200004 + 0x1000 * context, 4)
        self.read(0x1000 + n // 32 * 4, 4)
        self.wire(n, rng.random() < 0.5)
        self.write(0x200004 + 0x1000 * context, rng.choice((claimed, claimed, n, rng.getrandbits(32))), 4)
        self.read(0x1000 + n // 32 * 4, 4)


class CoprocessorErrors(Subject):
    COVERS = (CoprocessorError,)
    WIDTHS = (1,)

    def build(self):
        self.ignored = 0
        return CoprocessorError(self.line(), self.ignore)

    def ignore(self):
        self.ignored += 1

    @traffic
    def errs(self):
        before = self.ignored
        self.chip.error()
        must(self.lines[0].high and self.ignored == before, "an error is not told")
        self.write(1, self.value(1))
        must(self.lines[0].high, "the wrong port clears it")
        self.write(0, self.value(1))
        must(not self.lines[0].high and self.ignored == before + 1, "it is not cleared")


SUBJECTS = {"coprocessor_error": CoprocessorErrors, "i8259": Pics, "ioapic": Ioapic, "plic": Plics}
