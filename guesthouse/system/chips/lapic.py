"""The local APIC with its two faces, xAPIC's memory page and x2APIC's MSRs, and the bus between the APICs.

After Intel's SDM volume 3, chapter 11 (APIC). Not modelled: relocation of the page, thermal, performance
and CMCI sources (their LVT entries hold what is written), focus processors, EOI-broadcast suppression.
Where one message may go to any of several processors, it goes to the first of lowest priority.
"""

from __future__ import annotations

from typing import Callable, Protocol

from guesthouse.clock import SECOND, Clock
from guesthouse.system.chips.kit import Chip, Field, Line, Stateful, WideCell, on_read, on_write
from guesthouse.system.chips.lapic_service import Service

FIXED, LOWEST, SMI, NMI, INIT, STARTUP, EXTINT = 0, 1, 2, 4, 5, 6, 7  # delivery modes
ENABLED, X2APIC, BOOTSTRAP = 1 << 11, 1 << 10, 1 << 8  # IA32_APIC_BASE
BASE_MSR, DEADLINE_MSR, X2APIC_MSRS = 0x1B, 0x6E0, range(0x800, 0x900)
MASKED, LVT_LEVEL = 1 << 16, 1 << 15
SOFTWARE_ENABLED = 1 << 8  # SVR
SEND_ILLEGAL, RECEIVE_ILLEGAL, ILLEGAL_REGISTER = 1 << 5, 1 << 6, 1 << 7  # ESR
VERSION = 0x0005_0014  # six LVT entries

# Registers by their offset / 16, which is also their MSR - 800h.
ID, VER, TPR, APR, PPR, EOI, RRD, LDR, DFR, SVR = 0x02, 0x03, 0x08, 0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x0F
ISR, TMR, IRR, ESR, ICR, ICR_HIGH = 0x10, 0x18, 0x20, 0x28, 0x30, 0x31
LVT, INITIAL, CURRENT, DIVIDE, SELF_IPI = 0x32, 0x38, 0x39, 0x3E, 0x3F
TIMER, THERMAL, PERFORMANCE, LINT0, LINT1, ERROR = range(6)
LVT_WRITABLE = (0x7_00FF, 0x1_07FF, 0x1_07FF, 0x1_A7FF, 0x1_A7FF, 0x1_00FF)
PLAIN = {TPR: "task_priority", LDR: "logical_destination", DFR: "destination_format", SVR: "spurious",
         ESR: "error_status", ICR: "icr", ICR_HIGH: "icr_high", DIVIDE: "divide"}
READABLE = {ID, VER, TPR, APR, PPR, RRD, LDR, DFR, SVR, ESR, ICR, ICR_HIGH, INITIAL, CURRENT, DIVIDE,
            *range(ISR, IRR + 8), *range(LVT, LVT + 6)}
ONLY_XAPIC = {APR, RRD, DFR, ICR_HIGH}
X2APIC_WRITABLE = {TPR, EOI, SVR, ESR, ICR, INITIAL, DIVIDE, SELF_IPI, *range(LVT, LVT + 6)}


class EndsInterrupts(Protocol):
    def end_of_interrupt(self, vector: int) -> None: ...


class ApicBus:
    """Carries messages between the APICs; each is known by what it answers to."""

    def __init__(self) -> None:
        self.locals: list[LocalApic] = []
        self.io: list[EndsInterrupts] = []

    def join(self, apic: LocalApic) -> None:
        if apic not in self.locals:
            self.locals.append(apic)

    def join_io(self, apic: EndsInterrupts) -> None:
        """An I/O APIC: told when a processor is done with a level."""
        self.io.append(apic)

    def deliver(self, vector: int, mode: int, destination: int, logical: bool, level: bool) -> None:
        targets = [a for a in self.locals if a.answers_to(destination, logical)]
        if mode == LOWEST and len(targets) > 1:
            able = [a for a in targets if a.spurious & SOFTWARE_ENABLED] or targets
            targets = [min(able, key=lambda a: a.processor_priority())]
        for apic in targets:
            apic.receive(vector, mode, level)

    def message(self, address: int, data: int) -> None:
        """A message-signalled interrupt (SDM 3, 11.11)."""
        self.deliver(data & 0xFF, data >> 8 & 7, address >> 12 & 0xFF, bool(address & 4), bool(data & 0x8000))

    def end_of_interrupt(self, vector: int) -> None:
        for apic in self.io:
            apic.end_of_interrupt(vector)


class ApicTimer(Stateful):
    """The timer of one local APIC: one-shot, periodic or at a TSC value."""

    initial = Field()
    start = Field(None)  # when the count began to run; None: it stands at 0
    divisor = Field(2)
    deadline = Field(0)

    def __init__(self, clock: Clock, hz: int, tsc: Callable[[], int], tsc_hz: int) -> None:
        super().__init__()
        self.clock, self.hz, self.tsc, self.tsc_hz = clock, hz, tsc, tsc_hz

    def ticks(self) -> int:
        return (self.clock.now() - int(self.start)) * self.hz // (SECOND * int(self.divisor))

    def time_of(self, ticks: int) -> int:
        return int(self.start) - (-ticks * SECOND * int(self.divisor) // self.hz)

    def current(self, periodic: bool) -> int:
        if self.start is None or self.initial == 0:
            return 0
        ticks = self.ticks()
        return int(self.initial - ticks % self.initial) if periodic else max(0, int(self.initial) - ticks)

    def load(self, count: int) -> None:
        self.initial, self.start = count, self.clock.now() if count else None

    def divide(self, register: int) -> None:
        """Changes the rate from here on; the count goes on where it is."""
        if self.start is not None:
            done = min(self.ticks(), int(self.initial))
            self.divisor = 1 << ((register & 3 | register >> 1 & 4) + 1 & 7)
            self.start = self.clock.now() - done * SECOND * self.divisor // self.hz
        self.divisor = 1 << ((register & 3 | register >> 1 & 4) + 1 & 7)

    def stop(self) -> None:
        self.start, self.deadline = None, 0

    def next(self, mode: int) -> int | None:
        """When it goes off next; a time that has come is due now."""
        if mode == 2:
            left = self.deadline - self.tsc()
            return self.clock.now() + max(0, -(-left * SECOND // self.tsc_hz)) if self.deadline else None
        return None if self.start is None else self.time_of(self.initial)

    def expire(self, mode: int) -> bool:
        """Whether it has gone off now; if so it runs on or stands, as the mode says."""
        at = self.next(mode)
        if at is None or self.clock.now() < at:
            return False
        if mode == 2:
            self.deadline = 0
        elif mode == 1:
            # Periods that nobody saw are one interrupt, and none is lost of the phase.
            self.start = self.time_of(self.ticks() // self.initial * self.initial)
        else:
            self.start = None
        return True


def _nothing(*_: object) -> None:
    """A pin that leads nowhere."""


class LocalApic(Chip):
    SIZE, TYPED = 0x1000, Service
    apic_base = Field()
    task_priority = Field()
    logical_destination = Field()
    destination_format = Field(0xFFFF_FFFF)
    spurious = Field(0xFF)
    in_service = WideCell()  # 256 bits each
    trigger_mode = WideCell()
    requests = Field()
    errors = Field()  # gathered since the last write to ESR
    error_status = Field()
    icr = Field()
    icr_high = Field()
    lvt = Field([MASKED] * 6)
    divide = Field()
    lints = Field([False, False])
    external_message = Field(False)  # ExtINT that came over the bus

    def __init__(self, apic_id: int, clock: Clock, bus: ApicBus, output: Line, *, tsc: Callable[[], int],
                 tsc_hz: int, timer_hz: int = SECOND, bootstrap: bool = True,
                 external: Callable[[], int] | None = None, nmi: Callable[[], object] | None = None,
                 init: Callable[[], object] | None = None, startup: Callable[[int], object] | None = None,
                 smi: Callable[[], object] | None = None) -> None:
        self.apic_id, self.bus, self.output, self.bootstrap = apic_id, bus, output, bootstrap
        self.timer = ApicTimer(clock, timer_hz, tsc, tsc_hz)
        self.alarm = clock.timer(self.settle)
        super().__init__()
        self.external, self.nmi, self.init = external, nmi or _nothing, init or _nothing
        self.startup, self.smi = startup or _nothing, smi or _nothing
        bus.join(self)

    def parts(self) -> dict[str, Stateful]:
        return {"timer": self.timer}

    def clear(self) -> None:
        lints = self.__dict__.get("lints", [False, False])  # belong to those who drive the pins
        super().clear()
        self.lints = lints
        self.apic_base = 0xFEE0_0000 | ENABLED | (BOOTSTRAP if self.bootstrap else 0)

    # what the processor core asks

    @property
    def base(self) -> int:
        return int(self.apic_base) & 0xF_FFFF_FFFF_F000

    @property
    def tpr(self) -> int:
        return int(self.task_priority)

    @tpr.setter
    def tpr(self, value: int) -> None:
        self.task_priority = value & 0xFF
        self._ask()

    def processor_priority(self) -> int:
        """PPR (11.8.3.1): the task's priority, or the class of what is in service."""
        service = max(0, self.in_service.bit_length() - 1)
        task = int(self.task_priority)
        return task if task >> 4 >= service >> 4 else service & 0xF0

    def pending(self) -> int | None:
        """The vector that this APIC itself would deliver now."""
        if not self.requests or not self.apic_base & ENABLED:
            return None
        vector = int(self.requests.bit_length()) - 1
        return vector if vector >> 4 > self.processor_priority() >> 4 else None

    def external_pending(self) -> bool:
        """An 8259 asks, and may: through LINT0 as ExtINT, or past an APIC that is switched off."""
        if not self.lints[0]:
            return bool(self.external_message)
        entry = self.lvt[LINT0]
        wired = entry >> 8 & 7 == EXTINT and not entry & MASKED
        return bool(self.external_message or wired or not self.apic_base & ENABLED)

    def has_interrupt(self) -> bool:
        return self.pending() is not None or self.external_pending()

    def acknowledge(self) -> int:
        """Hand out the vector of the interrupt that the processor takes now; the spurious one if it has gone."""
        if self.external is not None and self.external_pending():
            self.external_message = False
            vector = self.external()
            self._ask()
            return vector
        found = self.pending()
        if found is None:
            return int(self.spurious & 0xFF)
        self.requests &= ~(1 << found)
        self.in_service |= 1 << found
        self._ask()
        return found

    def eoi(self) -> None:
        """As Service.write has it, and whatever comes of it."""
        served = self.in_service
        if not served:
            return
        vector = served.bit_length() - 1
        self.in_service = served & ~(1 << vector)
        if self.trigger_mode >> vector & 1:
            self.bus.end_of_interrupt(vector)
        self._ask()

    # what comes over wires

    def set_lint(self, n: int, high: bool) -> None:
        rises = high and not self.lints[n]
        self.lints[n] = bool(high)
        entry = self.lvt[LINT0 + n]
        mode = entry >> 8 & 7
        if rises and not entry & MASKED and mode != EXTINT:
            self.receive(entry & 0xFF, mode, mode == FIXED and bool(entry & LVT_LEVEL))
        self._ask()

    def answers_to(self, destination: int, logical: bool) -> bool:
        if not self.apic_base & ENABLED:
            return False
        if self.apic_base & X2APIC:
            if not logical:
                return destination in (self.apic_id, 0xFF, 0xFFFF_FFFF)  # messages of 8 bits say "all" so
            mine = self._logical_x2apic()
            same_cluster = mine >> 16 == destination >> 16
            return destination == 0xFFFF_FFFF or same_cluster and mine & destination & 0xFFFF > 0
        destination &= 0xFF
        if not logical:
            return destination in (self.apic_id, 0xFF)
        mine = self.logical_destination >> 24
        if self.destination_format >> 28 == 0xF:  # the flat model
            return bool(mine & destination)
        cluster = destination >> 4
        return cluster in (mine >> 4, 0xF) and bool(mine & destination & 0xF)

    def receive(self, vector: int, mode: int, level: bool) -> None:
        """A message for this processor."""
        if mode in (FIXED, LOWEST):
            self._accept(vector, level)
        elif mode == EXTINT:
            self.external_message = True
        elif mode == NMI:
            self.nmi()
        elif mode == SMI:
            self.smi()
        elif mode == INIT:
            base = self.apic_base
            self.clear()  # keeps its mode and address (11.4.7.3)
            self.timer.clear()
            self.apic_base = base
            self.settle()
            self.init()
        elif mode == STARTUP:
            self.startup(vector)
        self._ask()

    def _accept(self, vector: int, level: bool) -> None:
        if self.event is not None:
            self.event("request", vector=vector, level=level)
        if vector < 16:
            self._error(RECEIVE_ILLEGAL)
        elif self.spurious & SOFTWARE_ENABLED:
            bit = 1 << vector
            self.requests |= bit
            if bool(self.trigger_mode & bit) != level:
                self.trigger_mode ^= bit

    def _error(self, bit: int) -> None:
        self.errors |= bit
        entry = self.lvt[ERROR]
        if not entry & MASKED and entry & 0xFF >= 16:
            self._accept(entry & 0xFF, False)

    # the registers, by number

    def _get(self, register: int) -> int:
        name = PLAIN.get(register)
        if name is not None:
            return int(self.__dict__[name])
        if register == CURRENT:
            return self.timer.current(self._timer_mode() == 1) if self._timer_mode() < 2 else 0
        if LVT <= register < LVT + 6:
            return int(self.lvt[register - LVT])
        if ISR <= register < IRR + 8:
            row = (self.in_service, self.trigger_mode, self.requests)[register - ISR >> 3]
            return int(row >> 32 * (register & 7)) & 0xFFFF_FFFF
        if register == ID:
            return self.apic_id if self.apic_base & X2APIC else self.apic_id << 24 & 0xFF00_0000
        if register in (PPR, APR):
            return self.processor_priority()
        return int({VER: VERSION, INITIAL: self.timer.initial}.get(register, 0))

    def _put(self, register: int, value: int) -> None:
        if register == EOI:
            self.eoi()
        elif register == TPR:
            self.task_priority = value & 0xFF
        elif register == ICR:
            self.icr = value & 0xC_CFFF
            self._send(self.icr, self.icr_high >> 24)
        elif register == ICR_HIGH:
            self.icr_high = value & 0xFF00_0000
        elif LVT <= register < LVT + 6:
            self._put_lvt(register - LVT, value)
        elif register == INITIAL:
            if self._timer_mode() < 2:
                self.timer.load(value)
        elif register == DIVIDE:
            self.divide = value & 0xB
            self.timer.divide(self.divide)
        else:
            self._put_setup(register, value)

    def _put_setup(self, register: int, value: int) -> None:
        if register == LDR:
            self.logical_destination = value & 0xFF00_0000
        elif register == DFR:
            self.destination_format = value | 0x0FFF_FFFF
        elif register == SVR:
            self.spurious = value & 0x3FF
            if not value & SOFTWARE_ENABLED:
                self.lvt = [entry | MASKED for entry in self.lvt]  # 11.4.7.2
        elif register == ESR:
            self.error_status, self.errors = self.errors, 0
        elif register not in READABLE:
            self._error(ILLEGAL_REGISTER)

    def _put_lvt(self, n: int, value: int) -> None:
        if n == TIMER and (value ^ self.lvt[TIMER]) >> 18 & 1:
            self.timer.stop()  # changing to or from TSC-deadline mode disarms (11.5.4.1)
        self.lvt[n] = value & LVT_WRITABLE[n]
        if not self.spurious & SOFTWARE_ENABLED:
            self.lvt[n] |= MASKED

    def _timer_mode(self) -> int:
        """0 one-shot, 1 periodic, 2 TSC deadline (3 is reserved and counts as that)."""
        return min(int(self.lvt[TIMER]) >> 17 & 3, 2)

    def _send(self, icr: int, destination: int) -> None:
        vector, mode, shorthand = icr & 0xFF, icr >> 8 & 7, icr >> 18 & 3
        if mode == INIT and not icr & 1 << 14:
            return  # INIT level de-assert is of the Pentium's time
        if mode in (FIXED, LOWEST) and vector < 16:
            self._error(SEND_ILLEGAL)
        elif shorthand == 0:
            self.bus.deliver(vector, mode, destination, bool(icr >> 11 & 1), False)
        else:
            for apic in list(self.bus.locals):
                if (apic is self) if shorthand == 1 else (shorthand == 2 or apic is not self):
                    apic.receive(vector, mode, False)

    # the two faces

    @on_read(0, width=32, count=0x40, stride=0x10, pure=True)
    def read_page(self, register: int) -> int:
        return self._get(register) if self.apic_base & (ENABLED | X2APIC) == ENABLED else 0xFFFF_FFFF

    @on_write(0, width=32, count=0x40, stride=0x10)
    def write_page(self, register: int, value: int) -> None:
        if self.apic_base & (ENABLED | X2APIC) == ENABLED and register != SELF_IPI:
            self._put(register, value)

    def read_msr(self, index: int) -> int | None:
        """The value; None means a general-protection exception."""
        if index == BASE_MSR:
            return int(self.apic_base)
        if index == DEADLINE_MSR:
            return int(self.timer.deadline)
        register = index - X2APIC_MSRS.start
        if not self.apic_base & X2APIC or register not in READABLE - ONLY_XAPIC:
            return None
        if register == ICR:
            return int(self.icr | self.icr_high << 32)
        return self._logical_x2apic() if register == LDR else self._get(register)

    def write_msr(self, index: int, value: int) -> bool:
        """False means a general-protection exception."""
        done = self._write_msr(index, value)
        self.settle()
        return done

    def _write_msr(self, index: int, value: int) -> bool:
        if index == BASE_MSR:
            return self._switch(value)
        if index == DEADLINE_MSR:
            if self._timer_mode() == 2:
                self.timer.deadline = value
            return True
        register = index - X2APIC_MSRS.start
        if not self.apic_base & X2APIC or register not in X2APIC_WRITABLE:
            return False
        if register == ICR:
            self.icr, self.icr_high = value & 0xC_CFFF, value >> 32
            self._send(self.icr, self.icr_high)
        elif value >> 32 or register in (EOI, ESR) and value or register == SELF_IPI and value > 0xFF:
            return False
        elif register == SELF_IPI:
            self._send(value | 1 << 18, 0)
        else:
            self._put(register, value)
        return True

    def _switch(self, value: int) -> bool:
        """IA32_APIC_BASE: off, xAPIC or x2APIC, along the arrows of figure 11-27."""
        old, new = self.apic_base & (ENABLED | X2APIC), value & (ENABLED | X2APIC)
        forbidden = {(ENABLED | X2APIC, ENABLED), (0, ENABLED | X2APIC)}
        if new == X2APIC or (old, new) in forbidden:
            return False
        if value & ~(0xF_FFFF_FFFF_F000 | ENABLED | X2APIC | BOOTSTRAP):
            return False
        if new == 0 and old:
            self.clear()
            self.timer.clear()
        self.apic_base = value
        return True

    def _logical_x2apic(self) -> int:
        return self.apic_id >> 4 << 16 | 1 << (self.apic_id & 0xF)

    def settle(self) -> None:
        mode, entry = self._timer_mode(), self.lvt[TIMER]
        at = self.timer.next(mode)
        if at is not None and self.timer.expire(mode):
            at = self.timer.next(mode)
            if not entry & MASKED:
                self._accept(entry & 0xFF, False)
        self.alarm.set(at)
        self._ask()

    def _ask(self) -> None:
        self.output.set(self.has_interrupt())
        self.raw.quiet = not self.requests and self.apic_base & (ENABLED | X2APIC) == ENABLED
