"""What bytes pass through: serial, parallel and debug ports, the finisher, fw_cfg; keyboard and mouse."""

from __future__ import annotations

from guesthouse.bits import u64
from guesthouse.system.chips.apm_ports import ApmPorts
from guesthouse.system.chips.debug_console import DebugConsole
from guesthouse.system.chips.debug_exit import DebugExit
from guesthouse.system.chips.fw_cfg import FwCfg
from guesthouse.system.chips.i8042 import I8042, Port92
from guesthouse.system.chips.parallel import Parallel
from guesthouse.system.chips.ps2_keyboard import KEYS, Ps2Keyboard
from guesthouse.system.chips.ps2_mouse import Ps2Mouse
from guesthouse.system.chips.sifive_test import SifiveTest
from guesthouse.system.chips.uart import Uart
from guesthouse.system.chips.uart_sending import KEPT, REFUSED, Sending
from tests.chips.virtio_driver import Refused
from tests.fuzz.chips.subject import Subject, door, must, traffic


class Uarts(Subject):
    COVERS = (Uart, Sending)
    WIDTHS = (1, 1, 1, 2)
    AFTER_RESET = {
        ("", 1, 1): 0,
        ("", 2, 1): 1,
        ("", 3, 1): 0,
        ("", 4, 1): 0,
        ("", 5, 1): 0x60,
        ("", 6, 1): 0xB0,
    }
    WRITABLE = {("", 3, 1): (0xFF, 0), ("", 4, 1): (0x1F, 0), ("", 7, 1): (0xFF, 0)}
    LIMIT = 128

    def build(self):
        return Uart(self.line(), lambda data: self.told.extend(data))

    def open(self):
        """As processors do it: what they may do themselves, at once."""
        chip = self.chip

        def read(offset, size):
            value = int(chip.sending.read(u64(offset), u64(size)))
            return chip.read(offset, size) if value == REFUSED else value

        def write(offset, size, value):
            if int(chip.sending.write(u64(offset), u64(size), u64(value))) == REFUSED:
                chip.write(offset, size, value)

        return {"": door(chip)._replace(read=read, write=write)}

    def check(self):
        must(self.chip.sending.count <= KEPT, "it keeps", self.chip.sending.count)

    def poke(self):
        data = self.rng.randbytes(self.rng.randrange(40))
        taken = self.chip.receive(data)
        must(0 <= taken <= min(16, len(data)), "took", taken)
        if self.rng.random() < 0.1:
            self.chip.receive_break()

    def quiet(self):
        """No interrupts, no loop, the divisor closed, empty FIFOs that are on."""
        for at, value in ((3, 3), (4, 0), (1, 0), (2, 0), (2, 7)):
            self.write(at, value)
        for at in (5, 6, 2, 0):
            self.read(at)
        self.told.clear()

    @traffic
    def sends(self):
        self.quiet()
        data = self.rng.randbytes(self.rng.randrange(1, 60))
        for byte in data:
            must(self.read(5) & 0x60 == 0x60, "it does not take bytes")
            self.write(0, byte)
        self.read(5), self.read(5)
        must(bytes(self.told) == data, "it sent", bytes(self.told), "of", data)

    @traffic
    def receives(self):
        self.quiet()
        trigger = self.rng.randrange(4)
        self.write(2, 1 | trigger << 6)
        self.write(1, self.rng.choice((0, 1)))
        data = self.rng.randbytes(self.rng.randrange(1, 30))
        must(self.chip.receive(data) == min(16, len(data)), "the FIFO has 16 bytes")
        data = data[:16]
        enabled = self.read(1) & 1
        must(self.lines[0].high == bool(enabled), "the receive interrupt")
        reason = 0x04 if len(data) >= (1, 4, 8, 14)[trigger] else 0x0C
        must(self.read(2) == 0xC0 | (reason if enabled else 1), "IIR")
        for n, byte in enumerate(data):
            must(self.read(5) & 1 and self.read(0) == byte, "byte", n)
        must(not self.read(5) & 1 and not self.lines[0].high, "the FIFO is empty")

    @traffic
    def loops_back(self):
        self.quiet()
        self.write(4, 0x10)
        data = self.rng.randbytes(self.rng.randrange(1, 20))
        for byte in data:
            self.write(0, byte)
        status = self.read(5)
        must(bool(status & 2) == (len(data) > 16), "overrun after", len(data))
        must(not self.told and self.chip.receive(b"x") == 0, "a loop is closed")
        must(bytes(self.read(0) for _ in data[:16]) == data[:16], "what came back")

    @traffic
    def modem_lines(self):
        self.quiet()
        self.write(4, 0x10)
        self.read(6)
        value = self.rng.randrange(16)
        self.write(1, 8)
        self.write(4, 0x10 | value)
        looped = (value & 2) << 3 | (value & 1) << 5 | (value & 4) << 4 | (value & 8) << 4
        deltas = looped >> 4 & 0b1011
        must(self.lines[0].high == bool(deltas), "the modem's interrupt")
        must(self.read(6) == looped | deltas, "MSR")
        must(self.read(6) == looped and not self.lines[0].high, "the deltas are not gone")

    @traffic
    def divides(self):
        self.quiet()
        low, high = self.rng.randrange(256), self.rng.randrange(256)
        self.write(3, 0x83)
        self.write(0, low)
        self.write(1, high)
        must((self.read(0), self.read(1)) == (low, high), "the divisor")
        self.write(3, 3)
        must(self.read(1) == 0, "IER behind the divisor")

    @traffic
    def empties(self):
        """THRE interrupts when it is enabled and after each byte; reading IIR ends it."""
        self.quiet()
        self.write(1, 2)
        must(self.lines[0].high and self.read(2) & 0x0F == 2, "enabled while empty")
        must(not self.lines[0].high and self.read(2) & 0x0F == 1, "IIR was read")
        self.write(0, 65)
        must(self.lines[0].high, "a byte has left")
        self.chip.receive_break()
        self.write(1, 6)
        must(
            self.read(2) & 0x0F == 6 and self.read(5) & 0x10 and self.read(2) & 0x0F == 2,
            "line status goes first",
        )


class Printers(Subject):
    COVERS = (Parallel,)
    AFTER_RESET = {("", 0, 1): 0, ("", 2, 1): 0xCC}
    WRITABLE = {("", 0, 1): (0xFF, 0), ("", 2, 1): (0x3F, 0xC0)}
    LIMIT = 16

    def build(self):
        line = self.line()
        line.on_change = lambda high: self.told.append(("line", high))
        return Parallel(line, lambda data: self.told.append(data))

    @traffic
    def prints(self):
        byte, enable = self.rng.randrange(256), self.rng.choice((0, 0x10))
        self.write(0, byte)
        self.write(2, 0x0C)
        self.told.clear()
        self.write(2, 0x0D | enable)
        must(not self.told, "printed before the strobe's end")
        self.write(2, 0x0C | enable)
        must(self.told == [bytes((byte,))] + [("line", True)] * bool(enable), self.told)


class DebugConsoles(Subject):
    COVERS = (DebugConsole,)
    WIDTHS = (1, 2)
    AFTER_RESET = {("", 0, 1): 0xE9}
    LIMIT = 16

    def build(self):
        return DebugConsole(lambda data: self.told.append(data))

    @traffic
    def prints(self):
        self.told.clear()
        byte = self.rng.randrange(256)
        self.write(0, byte)
        must(self.told == [bytes((byte,))], self.told)


class DebugExits(Subject):
    COVERS = (DebugExit,)
    AFTER_RESET = {("", 0, 1): 0}
    LIMIT = 16

    def build(self):
        return DebugExit(lambda code: self.tell("exit", code))

    @traffic
    def ends(self):
        self.told.clear()
        value = self.value(4)
        self.write(0, value, 4)
        must(self.told == [("exit", (2 * value + 1) & 0xFF)], self.told)


class Finishers(Subject):
    COVERS = (SifiveTest,)
    AFTER_RESET = {("", 0, 4): 0}
    LIMIT = 16

    def build(self):
        return SifiveTest(lambda verdict, code: self.tell(verdict, code))

    @traffic
    def ends(self):
        self.told.clear()
        word, code = self.rng.choice((0x3333, 0x5555, 0x7777, 0x1234)), self.rng.randrange(1 << 16)
        self.write(0, code << 16 | word, 4)
        verdict = {0x3333: "fail", 0x5555: "pass", 0x7777: "reset"}.get(word)
        must(self.told == [(verdict, code)] * (verdict is not None), self.told)


class FwCfgs(Subject):
    COVERS = (FwCfg,)
    WIDTHS = (1, 2, 4, 4)
    AFTER_RESET = {("", 4, 4): 0x554D4551, ("", 8, 4): 0x47464320}
    LIMIT = 64
    ITEMS = {0x10: b"item", 0x21: bytes(range(256)) * 9}

    def build(self):
        made = FwCfg(self.memory, refused=Refused)
        made.add(0x10, self.ITEMS[0x10])
        for name, data in (("etc/first", b"1"), ("etc/table", self.ITEMS[0x21])):
            made.add_file(name, data)
        return made

    def ask(self, control, length, address, at=0x100):
        self.memory.write(
            at, control.to_bytes(4, "big") + length.to_bytes(4, "big") + address.to_bytes(8, "big")
        )
        self.write(4, 0, 4)
        self.write(8, int.from_bytes(at.to_bytes(4, "big"), "little"), 4)
        return int.from_bytes(self.memory.read(at, 4), "big")

    @traffic
    def reads_by_port(self):
        key, data = self.rng.choice(list(self.ITEMS.items()))
        self.write(0, key, 2)
        count = self.rng.randrange(len(data) + 5)
        found = bytes(self.read(1) for _ in range(count))
        must(found == (data + bytes(9))[:count], "item", key)

    @traffic
    def reads_by_dma(self):
        """What is behind an item is zeros, and nothing else is written."""
        rng = self.rng
        key, data = rng.choice(list(self.ITEMS.items()))
        skip, length = rng.randrange(len(data) + 9), rng.randrange(3000)
        self.memory.bytes[0x1000:0x3000] = b"\xEE" * 0x2000
        must(self.ask(key << 16 | 0x08 | 0x04, skip, 0) == 0, "select and skip")
        must(self.ask(0x02, length, 0x1100) == 0, "read")
        expected = data[skip:skip + length].ljust(length, b"\0")
        must(
            self.memory.read(0x1000, 0x1100 + length) == b"\xee" * 0x100 + expected + b"\xee" * 0x1000,
            "DMA of",
            key,
        )

    @traffic
    def asks_nonsense(self):
        rng = self.rng
        control = rng.choice((0, 2, 4, 8, 10, 12, 16, 18)) | rng.choice(
            (0, 0x21 << 16, rng.getrandbits(16) << 16)
        )
        length, address = rng.choice((0, 1, 16, 0x10000, 1 << 31)), rng.choice((0, 0x2000, 0xFFFF, 1 << 40))
        answer = self.ask(control, length, address)
        must(
            address + 16 > 0xFFFF or control & 2 and address < 0x110 or answer in (0, 1), "the answer", answer
        )
        if control & 0x12 == 0x10:
            must(answer == 1, "a write is taken")
        self.write(8, self.value(4), 4)

    @traffic
    def lists_files(self):
        self.write(0, 0x19, 2)
        raw = bytes(self.read(1) for _ in range(4 + 2 * 64))
        must(raw[:4] == b"\0\0\0\2", "the count")
        for n, (name, data) in enumerate((("etc/first", b"1"), ("etc/table", self.ITEMS[0x21]))):
            row = raw[4 + 64 * n:68 + 64 * n]
            must(row[8:].rstrip(b"\0") == name.encode() and row[:4] == len(data).to_bytes(4, "big"), row)


class Keyboards(Subject):
    """The 8042 with a keyboard and a mouse."""

    COVERS = (I8042, Ps2Keyboard, Ps2Mouse)
    WIDTHS = (1, 1, 1, 2, 4)
    KEPT = frozenset()
    AFTER_RESET = {("", 4, 1): 0x14}
    LIMIT = 900

    def build(self):
        return I8042(lambda: self.tell("reset"), lambda high: self.tell("a20", high), keyboard=Ps2Keyboard(),
                     mouse=Ps2Mouse(), irq1=self.line(), irq12=self.line(), clock=self.clock)

    def check(self):
        chip = self.chip
        must(len(chip.answers) <= 16 and len(chip.keyboard.codes) <= 256 and len(chip.keyboard.replies) <= 4)
        must(
            max(abs(chip.mouse.x), abs(chip.mouse.y), abs(chip.mouse.wheel)) <= 1 << 15,
            "movement without bound",
        )
        must(len(chip.mouse.replies) <= 5 and len(chip.mouse.packet) <= 4 and len(chip.mouse.rates) <= 3)

    def poke(self):
        rng, chip = self.rng, self.chip
        chip.keyboard.press(rng.choice(list(KEYS)))
        chip.keyboard.release(rng.randrange(0x10000))
        chip.mouse.move(
            rng.randrange(-999, 999), rng.randrange(-999, 999), rng.randrange(8), rng.randrange(-9, 9)
        )

    def bytes_here(self, most=400):
        """All that comes, with whether it is the mouse's; the interrupt is there when the byte is."""
        found = []
        for _ in range(most):
            status = self.read(4)
            if not status & 1:
                self.pass_time(250_000)
                status = self.read(4)
                if not status & 1:
                    return found
            own = bool(self.chip.answers)  # the controller's own follow at once
            aux, byte = bool(status & 0x20), self.read(0)
            must(own or self.read(0) == byte, "read twice, it is another")
            found.append((byte, aux))
        return found

    def quiet(self, command_byte=0x47):
        """Both ports open, the command byte as given, nothing waits."""
        for command in (0xAE, 0xA8):
            self.write(4, command)
        self.bytes_here()
        self.command(0x60, command_byte & ~0x30)
        self.keyboard(0xF6)
        self.mouse(0xFF)
        self.bytes_here()

    def command(self, *words):
        self.write(4, words[0])
        for word in words[1:]:
            self.write(0, word)

    def keyboard(self, *words):
        for word in words:
            self.write(0, word)

    def mouse(self, *words):
        for word in words:
            self.command(0xD4, word)

    @traffic
    def answers(self):
        byte = 0x44 | self.rng.randrange(4)
        self.quiet(byte)
        index, value = self.rng.randrange(1, 32), self.value(1)
        self.command(0x60 + index, value)
        for command, answer in ((0xAA, 0x55), (0xA9, 0), (0xAB, 0), (0x20, byte), (0x20 + index, value)):
            self.command(command)
            must(self.bytes_here() == [(answer, False)], hex(command))
        self.command(0xD2, value)
        must(self.levels() == [bool(byte & 1), False] and self.bytes_here() == [(value, False)], "D2")
        self.command(0xD3, value)
        must(self.levels() == [False, bool(byte & 2)] and self.bytes_here() == [(value, True)], "D3")
        must(self.levels() == [False, False], "bytes that were read interrupt")

    @traffic
    def closes(self):
        """A port that is closed keeps its bytes; its interrupt follows the command byte."""
        self.quiet(self.rng.choice((0x40, 0x41, 0x42, 0x43)))
        enabled = self.chip.command_byte & 3
        self.command(0xAD)
        self.chip.keyboard.press("a")
        must(self.bytes_here() == [] and not self.lines[0].high, "closed")
        self.command(0xAE)
        self.pass_time(300_000)
        must(self.lines[0].high == bool(enabled & 1), "IRQ 1")
        must(self.bytes_here() == [(0x1E, False)], "A")

    @traffic
    def keys(self):
        """Each key goes down and up, translated to set 1."""
        self.quiet()
        keys = self.rng.sample([name for name in KEYS if name not in ("pause", "print", "sysrq")], 5)
        for name in keys:
            must(self.chip.keyboard.press(name) and self.chip.keyboard.release(name), "not taken")
        expected = []
        for name in keys:
            prefix = [(0xE0, False)] * (KEYS[name] > 0xFF)
            expected += [*prefix, (KEYS[name] & 0x7F, False), *prefix, (KEYS[name] & 0x7F | 0x80, False)]
        must(self.bytes_here() == expected, keys)

    @traffic
    def keyboard_commands(self):
        self.quiet()
        for words, answer in (
            ((0xED, self.rng.randrange(8)), [0xFA] * 2),
            ((0xEE,), [0xEE]),
            ((0xF3, 0x20), [0xFA] * 2),
            ((0xF5,), [0xFA]),
            ((0xF4,), [0xFA]),
            ((0xFF,), [0xFA, 0xAA]),
            ((0xE1,), [0xFE]),
        ):
            got = []
            for word in words:
                self.keyboard(word)
                got += [byte for byte, _ in self.bytes_here()]
            must(got == answer, hex(words[0]), got)
        self.command(0x60, 0x03)
        self.keyboard(0xF2)
        must(self.bytes_here() == [(0xFA, False), (0xAB, False), (0x83, False)], "the identity")
        self.keyboard(0xF0, self.rng.choice((1, 2)))
        self.bytes_here()
        self.keyboard(0xF0)
        self.bytes_here()
        self.keyboard(0)
        must(self.bytes_here() == [(0xFA, False), (self.chip.keyboard.scan_set, False)], "the scan set")

    @traffic
    def mouse_moves(self):
        """Movements add up and arrive in packets that fit signed bytes."""
        rng = self.rng
        self.quiet()
        wheel = rng.random() < 0.5
        self.mouse(*((0xF3, 200, 0xF3, 100, 0xF3, 80) if wheel else ()), 0xF2)
        answer = self.bytes_here()
        must(answer[-1] == (3 if wheel else 0, True), "the identity", answer)
        self.mouse(0xF4)
        must(self.bytes_here() == [(0xFA, True)], "enable")
        dx, dy, dz, buttons = (
            rng.randrange(-600, 600),
            rng.randrange(-600, 600),
            rng.randrange(-7, 8),
            rng.randrange(8),
        )
        self.chip.mouse.move(dx, dy, buttons, dz)
        raw = [byte for byte, aux in self.bytes_here() if aux]
        size = 4 if wheel else 3
        must(len(raw) % size == 0, "packets", raw)
        sums = [0, 0, 0]
        for packet in (raw[n:n + size] for n in range(0, len(raw), size)):
            must(packet[0] & 8 and packet[0] & 7 == buttons, "a packet's first byte")
            must((packet[1] ^ packet[0] << 3) & 0x80 == 0 == (packet[2] ^ packet[0] << 2) & 0x80, "a sign", packet)
            sums[0] += packet[1] - (packet[0] << 4 & 0x100)
            sums[1] += packet[2] - (packet[0] << 3 & 0x100)
            sums[2] += (packet[3] ^ 0x80) - 0x80 if wheel else 0
        must(sums == [dx, -dy, dz if wheel else 0] , "moved", sums, "of", dx, dy, dz)

    @traffic
    def mouse_commands(self):
        self.quiet()
        resolution, rate = self.rng.randrange(4), self.rng.choice((10, 40, 60, 100))
        for word in (0xE8, resolution, 0xF3, rate, 0xE7):
            self.mouse(word)
            must(self.bytes_here() == [(0xFA, True)], hex(word))
        self.mouse(0xE9)
        must([b for b, _ in self.bytes_here()] == [0xFA, 0x10, resolution, rate], "the status")
        self.mouse(0xEE)
        self.bytes_here()
        self.mouse(rate)
        must(self.bytes_here() == [(rate, True)], "wrap")
        self.mouse(0xEC)
        self.mouse(0xF6)
        must([b for b, _ in self.bytes_here()][-1:] == [0xFA], "defaults")
        self.mouse(0xE9)
        must([b for b, _ in self.bytes_here()] == [0xFA, 0, 2, 100], "the status after F6")

    @traffic
    def floods(self):
        """Nobody reads: what does not fit is not taken."""
        for _ in range(self.rng.randrange(400)):
            self.chip.keyboard.press("pause")
            self.chip.mouse.move(1000, 1000, 1)
        for _ in range(40):
            self.write(4, self.rng.choice((0x20, 0xC0, 0xD0)))
        self.check()

    @traffic
    def pulses(self):
        self.told.clear()
        value = self.rng.choice((0xFE, 0xF0, 0xFF, 0xFD))
        self.write(4, value)
        must(self.told == ["reset"] * (not value & 1), hex(value), self.told)
        self.told.clear()
        value = self.rng.randrange(4)
        self.command(0xD1, value)
        must(
            self.told == ([("a20", bool(value & 2))] if value & 1 else ["reset"]),
            "the output port",
            self.told,
        )


class Port92s(Subject):
    COVERS = (Port92,)
    WIDTHS = (1,)
    AFTER_RESET = {("", 0, 1): 2}
    WRITABLE = {("", 0, 1): (3, 0)}
    LIMIT = 8

    def build(self):
        return Port92(lambda: self.tell("reset"), lambda high: self.tell("a20", high))

    @traffic
    def gates(self):
        self.write(0, 0)
        self.told.clear()
        value = self.rng.randrange(256)
        self.write(0, value)
        must(self.told == [("a20", bool(value & 2))] + ["reset"] * (value & 1), self.told)


class ApmPortPairs(Subject):
    COVERS = (ApmPorts,)
    WIDTHS = (1, 2)
    AFTER_RESET = {("", 0, 1): 0, ("", 1, 1): 0}
    WRITABLE = {("", 0, 1): (0xFF, 0), ("", 1, 1): (0xFF, 0)}
    LIMIT = 8

    def build(self):
        return ApmPorts(lambda: self.tell("smi"), lambda: True)

    @traffic
    def asks(self):
        self.told.clear()
        value = self.rng.randrange(256)
        self.write(0, value)
        must(self.told == ["smi"], self.told)
        must(self.read(0) == value, "the handler finds what was asked")


SUBJECTS = {"uart": Uarts, "parallel": Printers, "debug_console": DebugConsoles, "debug_exit": DebugExits,
            "apm_ports": ApmPortPairs, "sifive_test": Finishers, "fw_cfg": FwCfgs, "i8042": Keyboards,
            "port92": Port92s}
