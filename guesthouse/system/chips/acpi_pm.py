"""ACPI's fixed hardware: PM1a event and control blocks and the power-management timer; and the reset port.

After the ACPI specification 6.5, section 4.8.3, the 82371AB (PIIX4) data sheet, section 7.1, the ICH9 data sheet,
section 13.8.3, and the PIIX3 data sheet, section 2.5 (RC, port CF9h). Always in ACPI mode: the FADT names no SMI
command. Not modelled: sleep states other than soft-off, general-purpose events, SMIs but those of port B2h: their
registers read as 0.
"""

from __future__ import annotations

from typing import Callable

from guesthouse.clock import SECOND, Clock
from guesthouse.system.chips.kit import Chip, Field, Line, Register, on_read, on_write

TIMER_HZ, TIMER_BITS = 3_579_545, 24  # the FADT's TMR_VAL_EXT is clear
TIMER_EVENT, GLOBAL, POWER_BUTTON, SLEEP_BUTTON, RTC = 1 << 0, 1 << 5, 1 << 8, 1 << 9, 1 << 10
EVENTS = GLOBAL | POWER_BUTTON | SLEEP_BUTTON | RTC
SCI_ENABLE, SLEEP_ENABLE = 1 << 0, 1 << 13
GLOBAL_SMI, APM_SMI = 1 << 0, 1 << 5 | 1 << 0  # GBL_SMI_EN; APMC_EN with it
HARD_RESET, RESET_CPU = 0x02, 0x04


class AcpiPm(Chip):
    """The I/O block: +0 PM1_STS, +2 PM1_EN, +4 PM1_CNT, +8 PM_TMR. `s5` are the sleep types that switch off."""

    SIZE = 0x80
    events = Field()
    enable = Register(2, width=16, writable=EVENTS | TIMER_EVENT, sizes=(1, 2))
    control = Field(SCI_ENABLE)
    global_control = Register(0x28, width=32, sizes=(1, 2, 4))  # of the PIIX4
    smi_enable, smi_locked = Field(), Field()  # of the ICH9
    carries = Field()  # how often the timer's top bit had changed when its event was cleared

    def __init__(self, clock: Clock, sci: Line, *, power_off: Callable[[], object],
                 s5: tuple[int, ...] = (0,)) -> None:
        super().__init__()
        self.clock, self.sci, self.power_off, self.s5 = clock, sci, power_off, s5
        self.carry = clock.timer(self.settle)

    def press_power_button(self) -> None:
        self.events |= POWER_BUTTON
        self.settle()

    def odd_read(self, offset: int, size: int) -> int:
        return 0

    @on_read(0x30, width=32, sizes=(1, 2, 4), pure=True)
    def read_smi_enable(self) -> int:
        return int(self.smi_enable)

    @on_write(0x30, width=32, sizes=(1, 2, 4))
    def write_smi_enable(self, value: int) -> None:
        fixed = GLOBAL_SMI if self.smi_locked else 0
        self.smi_enable = value & ~fixed | self.smi_enable & fixed

    def lock_smi(self) -> None:
        """GBL_SMI_EN stays as it is until a reset (ICH9 data sheet, 13.8.1.1, SMI_LOCK)."""
        self.smi_locked = 1

    @property
    def apm_smi(self) -> bool:
        """Whether a write to port B2h makes an SMI, on an ICH9."""
        return bool(self.smi_enable & APM_SMI == APM_SMI)

    def ticks(self) -> int:
        return self.clock.now() * TIMER_HZ // SECOND

    def _carried(self) -> bool:
        """The top bit has changed since (4.8.3.1.1, TMR_STS)."""
        return bool(self.ticks() >> TIMER_BITS - 1 != self.carries)

    @on_read(0, width=16, sizes=(1, 2), pure=True)
    def read_status(self) -> int:
        return int(self.events | (TIMER_EVENT if self._carried() else 0))

    @on_write(0, width=16)
    def clear_status(self, value: int) -> None:
        self.events &= ~value
        if value & TIMER_EVENT:
            self.carries = self.ticks() >> TIMER_BITS - 1

    @on_read(0, width=32, pure=True)
    def read_both(self) -> int:
        return self.read_status() | int(self.enable) << 16

    @on_read(4, width=16, sizes=(1, 2))
    def read_control(self) -> int:
        return int(self.control)

    @on_write(4, width=16, sizes=(1, 2))
    def write_control(self, value: int) -> None:
        self.control = value & 0x1C02 | SCI_ENABLE
        if value & SLEEP_ENABLE and value >> 10 & 7 in self.s5:
            self.power_off()

    @on_read(8, width=32, sizes=(1, 2, 4), pure=True)
    def read_timer(self) -> int:
        return self.ticks() & (1 << TIMER_BITS) - 1

    def settle(self) -> None:
        self.sci.set(self.read_status() & self.enable)
        if self.enable & TIMER_EVENT and not self._carried():
            ticks = self.carries + 1 << TIMER_BITS - 1
            self.carry.set(-(-ticks * SECOND // TIMER_HZ))
        else:
            self.carry.cancel()


class ResetPort(Chip):
    """Port CF9h: a 1 written to RCPU, when it was 0, resets; the FADT names value 6."""

    SIZE = 1
    reset_type = Field()

    def __init__(self, reset: Callable[[], object]) -> None:
        super().__init__()
        self.reset_machine = reset

    @on_read(0)
    def read_control(self) -> int:
        return int(self.reset_type)

    @on_write(0)
    def write_control(self, value: int) -> None:
        rises = value & RESET_CPU & ~self.reset_type
        self.reset_type = value & (HARD_RESET | RESET_CPU)
        if rises:
            self.reset_machine()
