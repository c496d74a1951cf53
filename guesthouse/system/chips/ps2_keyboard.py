"""A PS/2 keyboard of 104 keys, after the IBM PS/2 technical reference, "Keyboards (101- and 102-key)".

Keys are named, or given by their scan set 1 make codes (E0h as a high byte); the keyboard speaks set 2, or
set 1 if asked. Not modelled: scan set 3, typematic repetition.
"""

from __future__ import annotations

from typing import Callable

from guesthouse.system.chips.kit import Field, Stateful

ACK, RESEND, PASSED, ECHO = 0xFA, 0xFE, 0xAA, 0xEE
BUFFER = 256  # bytes of key codes that wait for the guest; what does not fit is not taken
PAUSE, PRINT = 0xE11D, 0xE037
ROWS = ((0x01, "esc 1 2 3 4 5 6 7 8 9 0 - = backspace tab q w e r t y u i o p [ ] enter ctrl a s d f g h j k l"
         " ; ' ` shift \\ z x c v b n m , . / right_shift kp_* alt space caps_lock"
         " f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 num_lock scroll_lock"
         " kp_7 kp_8 kp_9 kp_- kp_4 kp_5 kp_6 kp_+ kp_1 kp_2 kp_3 kp_0 kp_. sysrq"),
        (0x56, "< f11 f12"))
EXTENDED = {"kp_enter": 0x1C, "right_ctrl": 0x1D, "kp_/": 0x35, "right_alt": 0x38, "home": 0x47, "up": 0x48,
            "page_up": 0x49, "left": 0x4B, "right": 0x4D, "end": 0x4F, "down": 0x50, "page_down": 0x51,
            "insert": 0x52, "delete": 0x53, "super": 0x5B, "right_super": 0x5C, "menu": 0x5D, "print": 0x37}
KEYS = {name: first + i for first, names in ROWS for i, name in enumerate(names.split())}
KEYS |= {name: 0xE000 | code for name, code in EXTENDED.items()} | {"pause": PAUSE}
SET2 = bytes.fromhex(  # of each set 1 code below 60h
    "00 76 16 1e 26 25 2e 36 3d 3e 46 45 4e 55 66 0d 15 1d 24 2d 2c 35 3c 43 44 4d 54 5b 5a 14 1c 1b"
    "23 2b 34 33 3b 42 4b 4c 52 0e 12 5d 1a 22 21 2a 32 31 3a 41 49 4a 59 7c 11 29 58 05 06 04 0c 03"
    "0b 83 0a 01 09 77 7e 6c 75 7d 7b 6b 73 74 79 69 72 7a 70 71 84 00 61 78 07 00 00 1f 27 2f 00 00")


class Ps2Keyboard(Stateful):
    replies = Field(b"")
    codes = Field(b"")
    scanning = Field(True)
    scan_set = Field(2)
    leds = Field()
    rate = Field(0x2B)
    argument_of = Field()
    last = Field(PASSED)

    def __init__(self) -> None:
        super().__init__()
        self.on_data: Callable[[], object] = lambda: None

    # the host's side

    def press(self, key: str | int) -> bool:
        """A key goes down; False: the guest does not listen, or has not read what waits."""
        code = KEYS[key] if isinstance(key, str) else key
        if code == PAUSE:  # this key has no break code: it sends one by itself
            return self._put(bytes.fromhex("e11d45e19dc5" if self.scan_set == 1 else "e11477e1f014f077"))
        return self._put(self._code(0xE02A, False) * (code == PRINT) + self._code(code, False))

    def release(self, key: str | int) -> bool:
        code = KEYS[key] if isinstance(key, str) else key
        if code == PAUSE:
            return True
        return self._put(self._code(code, True) + self._code(0xE02A, True) * (code == PRINT))

    def _code(self, code: int, broken: bool) -> bytes:
        prefix, make = b"\xE0" if code >> 8 == 0xE0 else b"", code & 0x7F
        if self.scan_set == 1:
            return prefix + bytes((make | 0x80 * broken,))
        known = SET2[make] if make < len(SET2) else 0
        return prefix + b"\xF0" * broken + bytes((known,)) if known else b""

    def _put(self, codes: bytes) -> bool:
        if not self.scanning or len(self.codes) + len(codes) > BUFFER:
            return False
        self.codes += codes
        self.on_data()
        return True

    # the controller's side

    def pending(self) -> bool:
        return bool(self.replies or self.codes)

    def take(self) -> int:
        """The next byte on the wire; answers go before keys."""
        if self.replies:
            self.last, self.replies = self.replies[0], self.replies[1:]
        elif self.codes:
            self.last, self.codes = self.codes[0], self.codes[1:]
        return int(self.last)

    def send(self, byte: int) -> None:
        """A command, or the argument of the one before; a new command ends the answers to the old."""
        command, self.argument_of = self.argument_of, 0
        if command and byte < 0x80:
            self.replies = bytes((ACK,))
            self._argument(command, byte)
        else:
            self.replies = self._command(byte)

    def _command(self, byte: int) -> bytes:
        if byte in (0xED, 0xF0, 0xF3, 0xFB, 0xFC, 0xFD):
            self.argument_of = byte
            return bytes((ACK,))
        if byte in (0xF5, 0xF6, 0xFF):
            self.clear()
            self.scanning = byte != 0xF5
            return bytes((ACK, PASSED)) if byte == 0xFF else bytes((ACK,))
        if byte == 0xF4:
            self.scanning, self.codes = True, b""
            return bytes((ACK,))
        if byte == 0xFE:
            return bytes((self.last,))
        return {0xEE: b"\xEE", 0xF2: b"\xFA\xAB\x83"}.get(byte, bytes((ACK if 0xF7 <= byte <= 0xFA else RESEND,)))

    def _argument(self, command: int, byte: int) -> None:
        if command == 0xED:
            self.leds = byte & 7
        elif command == 0xF3:
            self.rate = byte
        elif command == 0xF0 and byte == 0:
            self.replies += bytes((self.scan_set,))
        elif command == 0xF0 and byte in (1, 2):
            self.scan_set, self.codes = byte, b""
        elif command == 0xF0:
            self.replies = bytes((RESEND,))
