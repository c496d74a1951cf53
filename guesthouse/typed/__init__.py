"""Typed Python: functions that mean the same under CPython and as machine code made by LLVM (docs/typed.md).

This module is the face that authors of typed code import; the compiler behind it is loaded only when code is compiled.
"""

from guesthouse.bits import (
    byteswap, clz, ctz, f32, f64, i8, i16, i32, i64, i128, lanes, likely, packed, popcount, quotient, remainder,
    rotl, rotr, select, signed, sqrt, u8, u16, u32, u64, u128, unlikely, unsigned,
)
from guesthouse.typed.function import function, static
from guesthouse.typed.struct import (
    Abandon, Array, OutOfRange, Pointer, Struct, Table, Value, compare_exchange, copy, exchange, fetch_add, fill,
    invoke, load, store,
)

__all__ = [
    "Abandon", "Array", "OutOfRange", "Pointer", "Struct", "Table", "Value", "byteswap", "clz", "compare_exchange",
    "copy", "ctz", "exchange", "f32", "f64", "fetch_add", "fill", "function", "i8", "i16", "i32", "i64", "i128",
    "invoke", "lanes", "likely", "load", "packed", "popcount", "quotient", "remainder", "rotl", "rotr", "select",
    "signed", "sqrt", "static", "store", "u8", "u16", "u32", "u64", "u128", "unlikely", "unsigned",
]
