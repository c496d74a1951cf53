"""INT 09h and 16h: scan codes become characters in the ring buffer (IBM PS/2 and PC BIOS interface technical
reference, interrupts 09h and 16h; US layout, set 1 scan codes as the controller translates them).
"""

from __future__ import annotations

from collections.abc import Callable

from guesthouse.system.firmware.bios import settings as bda
from guesthouse.system.firmware.bios.guest import ZF, Guest

RIGHT_SHIFT, LEFT_SHIFT, CTRL, ALT, SCROLL, NUM, CAPS, INSERT = (1 << n for n in range(8))
LEFT_CTRL, LEFT_ALT, PAUSED = 0x01, 0x02, 0x08  # 418h
E1, E0, RIGHT_CTRL, RIGHT_ALT = 0x01, 0x02, 0x04, 0x08  # 496h
BREAK = 1  # what INT 09h's stub shall call: INT 1Bh, or INT 05h
PRINT = 2
MODIFIERS = {0x2A: LEFT_SHIFT, 0x36: RIGHT_SHIFT, 0x1D: CTRL, 0x38: ALT}
LOCKS = {0x3A: CAPS, 0x45: NUM, 0x46: SCROLL}
PLAIN = dict(zip(range(0x02, 0x0E), "1234567890-=")) | dict(zip(range(0x10, 0x1C), "qwertyuiop[]")) | dict(
    zip(range(0x1E, 0x2A), "asdfghjkl;'`")) | dict(zip(range(0x2B, 0x36), "\\zxcvbnm,./")) | {
    0x01: "\x1b", 0x0E: "\b", 0x0F: "\t", 0x1C: "\r", 0x39: " ", 0x37: "*", 0x4A: "-", 0x4E: "+", 0x56: "\\"}
SHIFTED = dict(zip("1234567890-=[];'`\\,./", '!@#$%^&*()_+{}:"~|<>?'))
PAD = dict(zip(range(0x47, 0x54), "789-456+1230."))
CTRL_OTHERS = {0x03: 0x0300, 0x07: 0x071E, 0x0C: 0x0C1F, 0x0E: 0x0E7F, 0x0F: 0x9400, 0x1C: 0x1C0A, 0x1A: 0x1A1B,
               0x1B: 0x1B1D, 0x2B: 0x2B1C, 0x39: 0x3920, 0x01: 0x011B, 0x4A: 0x8E00, 0x4E: 0x9000, 0x35: 0x9500,
               0x37: 0x9600}
CTRL_PAD = {0x47: 0x77, 0x48: 0x8D, 0x49: 0x84, 0x4B: 0x73, 0x4C: 0x8F, 0x4D: 0x74, 0x4F: 0x75, 0x50: 0x91, 0x51: 0x76,
            0x52: 0x92, 0x53: 0x93}
DELETE, PRINT_KEY, PAUSE_KEY, PAD_5 = 0x53, 0x37, 0x45, 0x4C
WARM = 0x1234
PATIENT = 256  # empty polls in one tick of the clock, after which a program is one that waits
PIC_MASK = 0x21


class Keyboard:
    def __init__(self, guest: Guest, reset: Callable[[], object]) -> None:
        self.guest, self.reset = guest, reset
        self._tick = self._polls = 0

    # INT 09h

    def interrupt(self) -> None:
        """A scan code in AL; AL becomes what else the stub shall call."""
        guest = self.guest
        code, guest.al = guest.al, 0
        flags = guest.byte(bda.KEY_FLAGS)
        if code in (0xE0, 0xE1):
            guest.set_byte(bda.KEY_FLAGS, flags | (E0 if code == 0xE0 else E1))
            return
        after_e1 = flags & E1
        if not after_e1 or code == 0xC5:  # Pause sends E1 1D 45 E1 9D C5
            guest.set_byte(bda.KEY_FLAGS, flags & ~(E0 | E1))
        if after_e1:
            if code & 0x7F != 0x1D:
                guest.set_byte(bda.KEY_FLAGS, flags & ~(E0 | E1))
            return
        if code >= 0xFA or code & 0x7F == 0:
            return  # acknowledgements and errors of the keyboard
        if code & 0x80:
            self._released(code & 0x7F, bool(flags & E0))
        else:
            guest.al = self._pressed(code, bool(flags & E0))

    def _set(self, at: int, mask: int, on: bool) -> None:
        value = self.guest.byte(at)
        self.guest.set_byte(at, value | mask if on else value & ~mask)

    def _modifier(self, code: int, extended: bool, down: bool) -> bool:
        """Shift, Ctrl, Alt: the state of either, and of each."""
        mask = MODIFIERS.get(code)
        if mask is None or extended and code in (0x2A, 0x36):
            return mask is not None  # the shifts that extended keys are wrapped in
        if code in (0x1D, 0x38):
            side, which = (bda.KEY_FLAGS, RIGHT_CTRL if code == 0x1D else RIGHT_ALT) if extended else (
                bda.SHIFT_2, LEFT_CTRL if code == 0x1D else LEFT_ALT)
            self._set(side, which, down)
            left, right = self.guest.byte(bda.SHIFT_2), self.guest.byte(bda.KEY_FLAGS)
            down = bool(left & LEFT_CTRL or right & RIGHT_CTRL) if code == 0x1D else bool(
                left & LEFT_ALT or right & RIGHT_ALT)
        self._set(bda.SHIFT, mask, down)
        return True

    def _released(self, code: int, extended: bool) -> None:
        guest = self.guest
        self._modifier(code, extended, False)
        if code == 0x38 and not guest.byte(bda.SHIFT) & ALT and guest.byte(bda.ALT_NUMBER):
            self.store(guest.byte(bda.ALT_NUMBER))
            guest.set_byte(bda.ALT_NUMBER, 0)
        elif code in LOCKS:
            self._set(bda.SHIFT_2, LOCKS[code], False)
        elif code == 0x52:
            self._set(bda.SHIFT_2, INSERT, False)

    def _pressed(self, code: int, extended: bool) -> int:
        guest = self.guest
        if self._modifier(code, extended, True):
            return 0
        shift = guest.byte(bda.SHIFT)
        if shift & CTRL and shift & ALT and code == DELETE:
            guest.set_word(bda.RESET_FLAG, WARM)
            self.reset()
            return 0
        if code == 0x46 and shift & CTRL:
            return self._break()
        if extended and code == PRINT_KEY or code == 0x54:
            return PRINT if not shift & (CTRL | ALT) else 0
        if code in LOCKS and not extended:
            if not guest.byte(bda.SHIFT_2) & LOCKS[code]:
                self._set(bda.SHIFT_2, LOCKS[code], True)
                guest.set_byte(bda.SHIFT, shift ^ LOCKS[code])
                guest.set_byte(bda.KEY_LEDS, guest.byte(bda.KEY_LEDS) & ~7 | (shift ^ LOCKS[code]) >> 4 & 7)
            return 0
        if code == 0x52 and not shift & (CTRL | ALT) and not guest.byte(bda.SHIFT_2) & INSERT and (
                extended or bool(shift & NUM) == bool(shift & (LEFT_SHIFT | RIGHT_SHIFT))):
            self._set(bda.SHIFT_2, INSERT, True)
            guest.set_byte(bda.SHIFT, shift ^ INSERT)
        key = self.translate(code, extended, shift)
        if key is not None:
            self.store(key)
        return 0

    def _break(self) -> int:
        """Ctrl-Break empties the buffer, leaves a zero in it and calls INT 1Bh."""
        guest = self.guest
        guest.set_byte(bda.BREAK, 0x80)
        guest.set_word(bda.KEY_HEAD, guest.word(bda.KEY_START))
        guest.set_word(bda.KEY_TAIL, guest.word(bda.KEY_START))
        self.store(0)
        return BREAK

    def translate(self, code: int, extended: bool, shift: int) -> int | None:
        """The word for the buffer: scan code and character; None: the key has none."""
        if code in PAD and code not in (0x4A, 0x4E):
            return self._pad(code, extended, shift)
        if 0x3B <= code <= 0x44 or code in (0x57, 0x58):
            return self._function(code, shift)
        if extended and code == 0x1C:
            return 0xA600 if shift & ALT else 0xE00A if shift & CTRL else 0xE00D
        if extended and code == 0x35:
            return 0xA400 if shift & ALT else 0x9500 if shift & CTRL else 0xE02F
        character = PLAIN.get(code)
        if character is None or extended:
            return None
        if shift & ALT:
            return self._alt(code, character)
        if shift & CTRL:
            return code << 8 | ord(character) & 0x1F if character.isalpha() else CTRL_OTHERS.get(code)
        shifted = bool(shift & (LEFT_SHIFT | RIGHT_SHIFT))
        if character.isalpha():
            return code << 8 | ord(character.upper() if shifted != bool(shift & CAPS) else character)
        if code == 0x0F and shifted:
            return 0x0F00
        if shifted and code not in (0x37, 0x4A, 0x4E):
            character = SHIFTED.get(character, character)
        return code << 8 | ord(character)

    def _alt(self, code: int, character: str) -> int | None:
        if 0x02 <= code <= 0x0D:
            return code + 0x76 << 8  # Alt-1 to Alt-=
        return 0x3920 if code == 0x39 else code << 8

    def _function(self, code: int, shift: int) -> int:
        if code >= 0x57:
            step = 6 if shift & ALT else 4 if shift & CTRL else 2 if shift & (LEFT_SHIFT | RIGHT_SHIFT) else 0
            return code - 0x57 + 0x85 + step << 8
        step = 0x2D if shift & ALT else 0x23 if shift & CTRL else 0x19 if shift & (LEFT_SHIFT | RIGHT_SHIFT) else 0
        return code + step << 8

    def _pad(self, code: int, extended: bool, shift: int) -> int | None:
        """Cursor keys and the number pad, on which Alt builds a character by its number."""
        digit = PAD[code]
        if shift & ALT:
            if extended:
                return code + 0x50 << 8
            if digit.isdigit():
                self.guest.set_byte(bda.ALT_NUMBER, self.guest.byte(bda.ALT_NUMBER) * 10 + int(digit) & 0xFF)
            return None
        if shift & CTRL:
            return CTRL_PAD[code] << 8 | (0xE0 if extended else 0)
        if extended:
            return code << 8 | 0xE0
        if bool(shift & NUM) != bool(shift & (LEFT_SHIFT | RIGHT_SHIFT)):
            return code << 8 | ord(digit)
        return code << 8

    # the ring buffer

    def store(self, key: int) -> bool:
        """False: the buffer is full."""
        guest = self.guest
        tail = guest.word(bda.KEY_TAIL)
        after = self._after(tail)
        if after == guest.word(bda.KEY_HEAD):
            return False
        guest.set_word(0x400 + tail, key)
        guest.set_word(bda.KEY_TAIL, after)
        return True

    def _after(self, at: int) -> int:
        start, end = self.guest.word(bda.KEY_START) or 0x1E, self.guest.word(bda.KEY_END) or 0x3E
        return start if at + 2 >= end else at + 2

    def peek(self) -> int | None:
        head = self.guest.word(bda.KEY_HEAD)
        return None if head == self.guest.word(bda.KEY_TAIL) else self.guest.word(0x400 + head)

    def take(self) -> None:
        self.guest.set_word(bda.KEY_HEAD, self._after(self.guest.word(bda.KEY_HEAD)))

    # INT 16h

    def call(self) -> bool:
        guest, function = self.guest, self.guest.ah
        if function in (0x00, 0x10):
            return self._wait(function == 0x10)
        if function in (0x01, 0x11):
            key = self._next(function == 0x11)
            guest.set_flag(ZF, key is None)
            if key is None:
                return self._only_waits()
            guest.ax = key
        elif function == 0x02:
            guest.al = guest.byte(bda.SHIFT)
        elif function == 0x12:
            left, right = guest.byte(bda.SHIFT_2), guest.byte(bda.KEY_FLAGS)
            guest.al = guest.byte(bda.SHIFT)
            guest.ah = left & 0x73 | right & (RIGHT_CTRL | RIGHT_ALT) | (left & 4) << 5
        elif function == 0x05:
            guest.al = 0 if self.store(guest.cx) else 1
        elif function == 0x09:
            guest.al = 0x30  # 10h to 12h are there
        elif function == 0x0A:
            guest.bx = 0x41AB
        return False

    def _wait(self, enhanced: bool) -> bool:
        key = self._next(enhanced)
        if key is None:
            return True
        self.take()
        self.guest.ax = key
        return False

    def _only_waits(self) -> bool:
        """Whether who looks for a key again and again shall sleep until the next interrupt: a tick comes soon."""
        tick = self.guest.word(bda.TICKS)
        self._tick, self._polls = tick, self._polls + 1 if tick == self._tick else 0
        if self._polls < PATIENT or self.guest.port_in(PIC_MASK) & 1:
            return False
        self._polls = 0
        return True

    def _next(self, enhanced: bool) -> int | None:
        """The next key; the old functions do not see keys that only an enhanced keyboard has."""
        while (key := self.peek()) is not None and not enhanced:
            scan, character = key >> 8, key & 0xFF
            if scan == 0xE0:
                return (0x35 if character == 0x2F else 0x1C) << 8 | character
            if character == 0xE0 and scan:
                return scan << 8
            if scan <= 0x84:
                return key
            self.take()
        return key
