"""The PC speaker: port 61h's data bit and timer channel 2 as samples of sound; after the IBM PC/AT technical reference,
"System Timers" and "Speaker".

Samples are made when something changes, of the time that has passed: unsigned bytes, one channel. Silence of more than
PAUSE is told as PAUSE. Not modelled: the speaker's own resonance; tones above half the sample rate are silence.
"""

from __future__ import annotations

from typing import Callable

from guesthouse.clock import SECOND, Clock

HZ = 1_193_182  # what the timer counts
GATE, DATA = 0x01, 0x02  # port 61h
RATE, PAUSE = 22_050, 2  # samples a second; seconds
SILENT, LOW, HIGH = 128, 64, 192


class Speaker:
    """`control` reads port 61h's latch, `divisor` what timer channel 2 divides by (0: it makes no waves); `output`
    takes the samples."""

    def __init__(self, clock: Clock, control: Callable[[], int], divisor: Callable[[], int],
                 output: Callable[[bytes], object]) -> None:
        self.clock, self.control, self.divisor, self.output = clock, control, divisor, output
        self._now = self._state()
        self._done = 0  # samples of time that have been told
        self._phase = 0  # ticks of the timer since a tone began, times RATE

    @property
    def sounding(self) -> bool:
        return self.control() & (GATE | DATA) == GATE | DATA

    @property
    def frequency(self) -> float:
        """In Hz; 0: silent."""
        return HZ / self.divisor() if self.sounding and self.divisor() else 0.0

    def changed(self) -> None:
        """Port 61h or the timer may have changed: tell what was to be heard until now."""
        state = self._state()
        if state != self._now:
            self.flush()
            self._now, self._phase = state, 0

    def flush(self) -> None:
        """Tell all until now."""
        until = self.clock.now() * RATE // SECOND
        left, self._done = until - self._done, until
        if self._now == (False, 0):
            left = min(left, PAUSE * RATE)
        while left > 0:
            count = min(left, RATE)  # a second at a time, however long it was
            self.output(self._samples(count))
            left -= count

    def _state(self) -> tuple[bool, int]:
        """Whether the cone is driven, and the divisor of the tone; 0: the data bit alone moves it."""
        control = self.control()
        return bool(control & DATA), (self.divisor() or 1) if control & (GATE | DATA) == GATE | DATA else 0

    def _samples(self, count: int) -> bytes:
        driven, divisor = self._now
        if not driven or 0 < divisor < 2 * HZ // RATE:
            return bytes((SILENT,)) * count
        if not divisor:
            return bytes((HIGH,)) * count
        period, first = divisor * RATE, self._phase
        self._phase = (first + count * HZ) % period
        return bytes(HIGH if at % period * 2 < period else LOW for at in range(first, first + count * HZ, HZ))
