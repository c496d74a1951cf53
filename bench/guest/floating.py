"""Floating point, one number at a time (by SSE2, by the x87, by RISC-V's D) and in vectors. Typed Python.

Results are told as bits. The x87 keeps 80 of them, so that its results are its own; they are the same on every x87.
"""

from __future__ import annotations

from bench.guest.integer import FACTOR, folded, numbers
from guesthouse.typed import Pointer, f32, f64, i16, i32, sqrt, u8, u16, u32, u64

WIDTH, STEPS = 64, 64


def mandelbrot(room: u64, rounds: u32) -> u64:
    """How long points of the plane stay near, WIDTH times WIDTH of them."""
    total = u64(0)
    while rounds != 0:
        row = u32(0)
        while row < WIDTH:
            column = u32(0)
            while column < WIDTH:
                a = f64(column) * f64(3.0 / WIDTH) - 2.25
                b = f64(row) * f64(3.0 / WIDTH) - 1.5
                x, y, n = f64(0.0), f64(0.0), u32(0)
                while n < STEPS and x * x + y * y < 4.0:
                    next_x = x * x - y * y + a
                    y = x * y * 2.0 + b
                    x = next_x
                    n += 1
                total += u64(n)
                column += 1
            row += 1
        rounds -= 1
    return total


BODIES = 5


def pull(at: u64, first: u32, second: u32, step: f64) -> None:
    """Two bodies' attraction; a body is position, velocity and mass, in 7 numbers."""
    p, q = Pointer[f64](at + u64(first) * 56), Pointer[f64](at + u64(second) * 56)
    x, y, z = p[0] - q[0], p[1] - q[1], p[2] - q[2]
    square = x * x + y * y + z * z + 0.01
    strength = step / (square * sqrt(square))
    here, there = p[6] * strength, q[6] * strength
    for n, distance in enumerate((x, y, z)):
        p[3 + n] -= distance * there
        q[3 + n] += distance * here


def bodies(room: u64, rounds: u32) -> u64:
    """The motion of BODIES bodies, in steps of a hundredth."""
    values, n = Pointer[f64](room), u32(0)
    numbers(room + 4096, u32(BODIES * 7), u64(1))
    words = Pointer[u32](room + 4096)
    while n < BODIES * 7:
        values[n] = f64(words[n] & 0xFFFF) * f64(1 / 65536) + 0.1
        n += 1
    while rounds != 0:
        first = u32(0)
        while first < BODIES:
            second = first + 1
            while second < BODIES:
                pull(room, first, second, f64(0.01))
                second += 1
            first += 1
        n = u32(0)
        while n < BODIES:
            body = Pointer[f64](room + u64(n) * 56)
            for axis in range(3):
                body[axis] += body[3 + axis] * 0.01
            n += 1
        rounds -= 1
    return folded(room, u32(BODIES * 14))


ORDER = 48


def multiplied(to: u64, source: u64, turned: u32) -> None:
    """A vector by the matrix with 1 / ((i + j)(i + j + 1) / 2 + i + 1) in row i and column j, or by its transpose."""
    out, given, row = Pointer[f64](to), Pointer[f64](source), u32(0)
    while row < ORDER:
        column, total = u32(0), f64(0.0)
        while column < ORDER:
            i = column if turned != 0 else row
            total += given[column] / f64((row + column) * (row + column + 1) // 2 + i + 1)
            column += 1
        out[row] = total
        row += 1


def spectral(room: u64, rounds: u32) -> u64:
    """The largest singular value of that matrix, by powers."""
    a, b, c = room, room + ORDER * 8, room + ORDER * 16
    start, n = Pointer[f64](a), u32(0)
    while n < ORDER:
        start[n] = f64(1.0)
        n += 1
    while rounds != 0:
        multiplied(b, a, u32(0))
        multiplied(c, b, u32(1))
        multiplied(b, c, u32(0))
        multiplied(a, b, u32(1))
        largest, n = start[0], u32(0)
        while n < ORDER:
            start[n] = start[n] / largest
            n += 1
        rounds -= 1
    return folded(room, u32(ORDER * 6))


TAPS, SAMPLES = 16, 1 << 11


def single(at: u64, count: u32) -> None:
    """Words in memory become numbers from 0 to 1."""
    words, values, n = Pointer[u32](at), Pointer[f32](at), u32(0)
    while n < count:
        values[n] = f32(i32(words[n] >> 8)) * f32(2.0 ** -23)
        n += 1


def filtered(room: u64, rounds: u32) -> u64:
    """A filter of TAPS taps over samples of 32 bits, whose output is its next input."""
    numbers(room, u32(TAPS + SAMPLES * 2), u64(1))
    single(room, u32(TAPS + SAMPLES * 2))
    taps, source, to = Pointer[f32](room), room + TAPS * 4, room + TAPS * 4 + SAMPLES * 4
    while rounds != 0:
        given, out, n = Pointer[f32](source), Pointer[f32](to), u32(0)
        while n < SAMPLES - TAPS:
            total = f32(0.0)
            for tap in range(TAPS):
                total += given[n + tap] * taps[tap]
            out[n] = total * f32(1 / TAPS) + f32(0.25)
            n += 1
        source, to = to, source
        rounds -= 1
    return folded(room, u32(TAPS + SAMPLES * 2))


# From here on, loops that LLVM makes vectors of.

LENGTH = 1 << 12


def saxpy(room: u64, rounds: u32) -> u64:
    """y = a x + y / 2, four numbers of 32 bits at once."""
    numbers(room, u32(LENGTH * 2), u64(1))
    single(room, u32(LENGTH * 2))
    x, y = Pointer[f32](room), Pointer[f32](room + LENGTH * 4)
    while rounds != 0:
        factor, n = f32(i32(rounds & 15)) * f32(0.0625), u32(0)
        while n < LENGTH:
            y[n] = x[n] * factor + y[n] * f32(0.5)
            n += 1
        rounds -= 1
    return folded(room, u32(LENGTH * 2))


def product(room: u64, rounds: u32) -> u64:
    """Matrices of 64-bit numbers, row by row, two at once."""
    side = 32
    a, b, c = Pointer[f64](room), Pointer[f64](room + side * side * 8), Pointer[f64](room + side * side * 16)
    words, n = Pointer[u32](room + (1 << 16)), u32(0)
    numbers(room + (1 << 16), u32(side * side * 2), u64(1))
    while n < side * side * 2:
        a[n] = f64(i32(words[n] & 0xFFFF)) * f64(1 / 65536)
        n += 1
    while rounds != 0:
        row = u32(0)
        while row < side:
            n = u32(0)
            while n < side:
                c[row * side + n] = c[row * side + n] * 0.5
                n += 1
            k = u32(0)
            while k < side:
                factor, n = a[row * side + k], u32(0)
                while n < side:
                    c[row * side + n] += factor * b[k * side + n]
                    n += 1
                k += 1
            row += 1
        rounds -= 1
    return folded(room + side * side * 16, u32(side * side * 2))


def blend(room: u64, rounds: u32) -> u64:
    """Two pictures of bytes into one, 16 bytes at once."""
    numbers(room, u32(LENGTH // 2), u64(1))
    a, b, out = Pointer[u8](room), Pointer[u8](room + LENGTH), Pointer[u8](room + LENGTH * 2)
    while rounds != 0:
        share, n = u16(rounds & 255), u32(0)
        while n < LENGTH:
            out[n] = u8(u16(a[n]) * share + u16(b[n]) * (256 - share) + u16(out[n]) >> 8)
            n += 1
        rounds -= 1
    return folded(room, u32(LENGTH * 3 // 4))


def correlation(room: u64, rounds: u32) -> u64:
    """Sums of products of 16-bit samples, eight at once."""
    numbers(room, u32(LENGTH), u64(1))
    samples, total = Pointer[i16](room), u64(0)
    while rounds != 0:
        shift, n, found = rounds & 1023, u32(0), i32(0)
        while n < LENGTH:
            found += i32(samples[n]) * i32(samples[n + shift])
            n += 1
        total = total * FACTOR + u64(u32(found))
        rounds -= 1
    return total
