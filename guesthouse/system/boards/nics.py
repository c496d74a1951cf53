"""A PC's network cards: each of a model, with an address, and with whoever is at the other end of its cable.

The other end takes frames by `send`, and calls `receive` with its own, between two slices (in a job posted to the
machine). Without one the link is down.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from guesthouse.errors import UserError
from guesthouse.system.chips.e1000.function import E1000Function
from guesthouse.system.chips.kit import Line
from guesthouse.system.chips.ne2000 import Ne2000
from guesthouse.system.chips.pci.rtl8029 import Rtl8029
from guesthouse.system.memory import OutsideRam

if TYPE_CHECKING:
    from guesthouse.system.boards.pc import PcBoard

MODELS = "e1000", "rtl8029", "ne2000"
SLOTS, ISA_PORTS, ISA_IRQ = range(16, 24), 0x300, 10
FIRST_ADDRESS = bytes.fromhex("525400123456")


def _nobody(frame: bytes) -> bool:
    return False


@dataclass
class Nic:
    """`receive` is the card's own once it is plugged; it says whether the frame was taken."""

    model: str = "e1000"
    send: Callable[[bytes], object] | None = None
    address: bytes = b""
    receive: Callable[[bytes], bool] = field(default=_nobody)


def plug(board: PcBoard, nics: list[Nic]) -> None:
    isa = sum(nic.model == "ne2000" for nic in nics)
    if unknown := [nic.model for nic in nics if nic.model not in MODELS]:
        raise UserError(f"There is no network card {unknown[0]!r}.", f"There are: {', '.join(MODELS)}.")
    if isa > 1 or len(nics) > len(SLOTS):
        raise UserError("There is no place for so many network cards.",
                        f"One ne2000 and {len(SLOTS) - 1} others, at most.")
    for n, (slot, nic) in enumerate(zip(SLOTS, nics, strict=False)):
        address = nic.address or FIRST_ADDRESS[:5] + bytes((FIRST_ADDRESS[5] + n,))
        _plug_one(board, slot, nic, address)


def _plug_one(board: PcBoard, slot: int, nic: Nic, address: bytes) -> None:
    if nic.model == "e1000":
        function = E1000Function(board.memory, board.pci.line(slot), address, nic.send, refused=OutsideRam)
        board.pci.plug(slot, function, name="e1000")
        nic.receive = function.receive
        return
    line = Line() if nic.model == "rtl8029" else board.irq(ISA_IRQ)
    card = Ne2000(line, address, nic.send)
    nic.receive = card.receive
    if nic.model == "ne2000":
        board.plug(board.ports, ISA_PORTS, card, "ne2000")
    else:
        card.trace_to(board.trace, "ne2000")
        board.chips.append(card)
        on_bus = Rtl8029(card, board.pci.line(slot))
        line.on_change = on_bus.set_level
        board.pci.plug(slot, on_bus)
