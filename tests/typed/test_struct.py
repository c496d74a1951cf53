"""Where the fields of a struct lie that begins before its address, and of one that lies within another's field."""

import ctypes

import pytest

from guesthouse.bits import u8, u32, u64
from guesthouse.errors import DefinitionError
from guesthouse.typed import Array, Struct


class Base(Struct, lowest=-16):
    first: u64
    room: Array[u64, 2]
    last: u64


class Inner(Base, within="room"):
    small: u8
    large: u64


class Outer(Inner):
    more: u32


def test_fields_go_on_from_the_lowest_offset() -> None:
    assert [Base.offset(name) for name in ("first", "room", "last")] == [-16, -8, 8] and Base.size == 32
    assert [Outer.offset(name) for name in ("small", "large", "more")] == [-8, 0, 16] and Outer.size == 40
    assert Outer.beyond(Base) == {"small": (-8, 1), "large": (0, 8), "more": (16, 4)}


def test_a_new_one_has_all_its_bytes() -> None:
    made = Outer.new()
    made.first, made.small, made.large, made.last, made.more = u64(1), u8(2), u64(3), u64(4), u32(5)
    octets = ctypes.string_at(made.where - 16, Outer.size)
    assert octets == b"".join(n.to_bytes(8, "little") for n in (1, 2, 3, 4, 5)) and (made.where - 16) % 64 == 0
    assert made.peek(u64, u64(0) - 16) == 1 and int(made.room[1]) == 3


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(DefinitionError, match="do not fit into 'room'"):
        class TooLarge(Base, within="room"):
            three: Array[u64, 3]
