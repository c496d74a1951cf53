"""Whole numbers: sieve, checksum, sort, matrices, hash, compression, an interpreter's loop. Typed Python."""

from __future__ import annotations

from guesthouse.typed import Pointer, Table, function, load, rotl, rotr, store, u8, u32, u64

FACTOR, STEP = 6364136223846793005, 1442695040888963407  # Knuth's generator, MMIX


def numbers(at: u64, count: u32, seed: u64) -> u64:
    """Fill memory with pseudo-random words; the generator's state."""
    words, n = Pointer[u32](at), u32(0)
    while n < count:
        seed = seed * FACTOR + STEP
        words[n] = u32(seed >> 33)
        n += 1
    return seed


def folded(at: u64, count: u32) -> u64:
    """All words of some memory in one number."""
    words, n, total = Pointer[u32](at), u32(0), u64(0)
    while n < count:
        total = total * FACTOR + u64(words[n])
        n += 1
    return total


PRIMES_BELOW = 1 << 18


def sieve(room: u64, rounds: u32) -> u64:
    """How many primes are below PRIMES_BELOW; Eratosthenes, one byte for each number."""
    struck, found = Pointer[u8](room), u64(0)
    while rounds != 0:
        n, found = u32(0), u64(0)
        while n < PRIMES_BELOW:
            struck[n] = u8(0)
            n += 1
        n = u32(2)
        while n < PRIMES_BELOW:
            if struck[n] == 0:
                found += 1
                multiple = n + n
                while multiple < PRIMES_BELOW:
                    struck[multiple] = u8(1)
                    multiple += n
            n += 1
        rounds -= 1
    return found


CHECKED, REFLECTED = 1 << 16, 0xEDB8_8320


def crc(room: u64, rounds: u32) -> u64:
    """CRC-32 of CHECKED bytes, by a table of 256 words."""
    table, data, n = Pointer[u32](room), Pointer[u8](room + 1024), u32(0)
    numbers(room + 1024, u32(CHECKED // 4), u64(1))
    while n < 256:
        value = n
        for _ in range(8):
            value = value >> 1 ^ (0 - (value & 1) & REFLECTED)
        table[n] = value
        n += 1
    crc = u32(0)
    while rounds != 0:
        crc, n = ~crc, u32(0)
        while n < CHECKED:
            crc = table[(crc ^ u32(data[n])) & 255] ^ crc >> 8
            n += 1
        crc = ~crc
        rounds -= 1
    return u64(crc)


SORTED = 1 << 14


@function
def sift(at: u64, root: u32, count: u32) -> u32:
    """Let the word at the root of a heap sink to its place."""
    heap, depth = Pointer[u32](at), u32(0)
    value = heap[root]
    child = root * 2 + 1
    while child < count:
        if child + 1 < count and heap[child + 1] > heap[child]:
            child += 1
        if heap[child] <= value:
            break
        heap[root] = heap[child]
        root = child
        child = root * 2 + 1
        depth += 1
    heap[root] = value
    return depth


def sort(room: u64, rounds: u32) -> u64:
    """Heap sort, a call for each element."""
    heap, steps, seed = Pointer[u32](room), u64(0), u64(1)
    while rounds != 0:
        seed = numbers(room, u32(SORTED), seed)
        n = u32(SORTED // 2)
        while n != 0:
            n -= 1
            steps += u64(sift(room, n, u32(SORTED)))
        n = u32(SORTED)
        while n > 1:
            n -= 1
            largest = heap[0]
            heap[0] = heap[n]
            heap[n] = largest
            steps += u64(sift(room, u32(0), n))
        rounds -= 1
    return folded(room, u32(SORTED)) + steps


SIDE = 64


def matrix(room: u64, rounds: u32) -> u64:
    """Products of matrices of words, by the school's method."""
    a, b, c = Pointer[u32](room), Pointer[u32](room + SIDE * SIDE * 4), Pointer[u32](room + SIDE * SIDE * 8)
    numbers(room, u32(SIDE * SIDE * 2), u64(1))
    while rounds != 0:
        row = u32(0)
        while row < SIDE:
            column = u32(0)
            while column < SIDE:
                total, n = u32(0), u32(0)
                while n < SIDE:
                    total += a[row * SIDE + n] * b[n * SIDE + column]
                    n += 1
                c[row * SIDE + column] = total
                column += 1
            row += 1
        a[rounds % SIDE] += c[rounds % (SIDE * SIDE)]
        rounds -= 1
    return folded(room, u32(SIDE * SIDE * 3))


def _roots(power: int, count: int) -> list[int]:
    """The first 32 bits of the fractional parts of the roots of the first primes (FIPS 180-4, 4.2.2 and 5.3.3)."""
    primes = [n for n in range(2, 400) if all(n % d for d in range(2, n))][:count]
    found = []
    for prime in primes:
        scaled, root = prime << 32 * power, 0
        for bit in reversed(range(40)):
            if (root | 1 << bit) ** power <= scaled:
                root |= 1 << bit
        found.append(root & 0xFFFF_FFFF)
    return found


CONSTANTS, INITIAL = Table(u32, _roots(3, 64)), _roots(2, 8)
HASHED = 1 << 13


def sha256_block(block: u64, schedule: u64, state: u64) -> None:
    """FIPS 180-4, 6.2.2."""
    source, w, h, n = Pointer[u32](block), Pointer[u32](schedule), Pointer[u32](state), u32(0)
    while n < 16:
        word = source[n]
        w[n] = rotl(word & 0x00FF_00FF, u32(24)) | rotl(word & 0xFF00_FF00, u32(8))
        n += 1
    while n < 64:
        x, y = w[n - 15], w[n - 2]
        small0 = rotr(x, u32(7)) ^ rotr(x, u32(18)) ^ x >> 3
        small1 = rotr(y, u32(17)) ^ rotr(y, u32(19)) ^ y >> 10
        w[n] = w[n - 16] + small0 + w[n - 7] + small1
        n += 1
    a, b, c, d = h[0], h[1], h[2], h[3]
    e, f, g, last = h[4], h[5], h[6], h[7]
    n = u32(0)
    while n < 64:
        big1 = rotr(e, u32(6)) ^ rotr(e, u32(11)) ^ rotr(e, u32(25))
        one = last + big1 + (e & f ^ ~e & g) + CONSTANTS[n & 63] + w[n]
        big0 = rotr(a, u32(2)) ^ rotr(a, u32(13)) ^ rotr(a, u32(22))
        two = big0 + (a & b ^ a & c ^ b & c)
        last, g, f, e = g, f, e, d + one
        d, c, b, a = c, b, a, one + two
        n += 1
    h[0] += a
    h[1] += b
    h[2] += c
    h[3] += d
    h[4] += e
    h[5] += f
    h[6] += g
    h[7] += last


def sha256(room: u64, rounds: u32) -> u64:
    """SHA-256 of HASHED bytes; the first 64 bits of it."""
    schedule, state, data = room, room + 256, room + 512
    h = Pointer[u32](state)
    numbers(data, u32(HASHED // 4), u64(1))
    store(u8, data + HASHED, u8(0x80))
    store(u8, data + HASHED + 62, u8(HASHED * 8 >> 8))
    store(u8, data + HASHED + 61, u8(HASHED * 8 >> 16))
    while rounds != 0:
        for n, word in enumerate(INITIAL):
            h[n] = u32(word)
        at = u64(0)
        while at <= HASHED:
            sha256_block(data + at, schedule, state)
            at += 64
        rounds -= 1
    return u64(h[0]) << 32 | u64(h[1])


PACKED, HASHES = 1 << 15, 1 << 12


def words_of_a_text(at: u64) -> None:
    """PACKED bytes with repetitions in them, as a text has: from 64 words of 2 to 9 letters."""
    seed, n = u64(7), u64(0)
    while n < PACKED:
        seed = seed * FACTOR + STEP
        word, letter = seed >> 58, u64(0)
        while letter < 2 + (word & 7) and n < PACKED:
            store(u8, at + n, u8(97 + (word * 7 + letter * (word + 3)) % 26))
            n += 1
            letter += 1
        if n < PACKED:
            store(u8, at + n, u8(32))
            n += 1


@function
def matched(a: u64, b: u64, end: u64) -> u32:
    """How many bytes at `a` are like those at `b`, before the end."""
    count = u32(0)
    while b < end and load(u8, a) == load(u8, b):
        a += 1
        b += 1
        count += 1
    return count


@function
def packed(data: u64, to: u64, heads: u64) -> u32:
    """Ziv and Lempel's of 1977, three bytes for a match, two for a literal; how long it is."""
    head, out, at = Pointer[u32](heads), to, u64(0)
    n = u32(0)
    while n < HASHES:
        head[n] = u32(0)
        n += 1
    while at < PACKED:
        length, where = u32(0), u32(0)
        if at + 4 < PACKED:
            key = load(u32, data + at) * 0x9E37_79B1 >> 20
            where = head[key]
            head[key] = u32(at)
            if where != 0 and u32(at) - where < 65535:
                length = matched(data + u64(where), data + at, data + PACKED)
        if length < 4:
            store(u8, out, u8(0))
            store(u8, out + 1, load(u8, data + at))
            out += 2
            at += 1
        else:
            if length > 255:
                length = u32(255)
            store(u8, out, u8(length))
            store(u8, out + 1, u8(u32(at) - where))
            store(u8, out + 2, u8(u32(at) - where >> 8))
            out += 3
            at += u64(length)
    return u32(out - to)


@function
def unpacked(data: u64, size: u32, to: u64) -> u32:
    end, out = data + u64(size), to
    while data < end:
        length = u32(load(u8, data))
        if length == 0:
            store(u8, out, load(u8, data + 1))
            out += 1
            data += 2
        else:
            source = out - (u64(load(u8, data + 1)) | u64(load(u8, data + 2)) << 8)
            while length != 0:
                store(u8, out, load(u8, source))
                out += 1
                source += 1
                length -= 1
            data += 3
    return u32(out - to)


def compress(room: u64, rounds: u32) -> u64:
    """Pack and unpack; the sizes, and the bytes that came back."""
    data, heads, small, back = room, room + (1 << 16), room + (2 << 16), room + (4 << 16)
    words_of_a_text(data)
    sizes = u64(0)
    while rounds != 0:
        size = packed(data, small, heads)
        sizes = sizes * 31 + u64(size) * 65536 + u64(unpacked(small, size, back))
        rounds -= 1
    return folded(back, u32(PACKED // 4)) + sizes


# A machine of four registers, as an interpreter has it: operation, register, register or byte.
SET, ADD, SUB, MUL, AND, SHIFT, LESS, JUMP, BRANCH, END = range(10)
PROGRAM = Table(u8, [
    SET, 0, 0,     # 0: r0 = 0, the sum
    SET, 1, 200,   # 3: r1 = 200
    SET, 2, 0,     # 6: r2 = 0
    ADD, 2, 1,     # 9: r2 += r1
    MUL, 2, 2,     # 12: r2 *= r2
    SET, 3, 77,    # 15
    AND, 3, 2,     # 18: r3 &= r2
    ADD, 0, 3,     # 21: r0 += r3
    SHIFT, 2, 3,   # 24: r2 >>= 3
    LESS, 3, 2,    # 27: r3 = r3 < r2
    BRANCH, 3, 36,  # 30: if r3
    ADD, 0, 2,     # 33: r0 += r2
    SET, 3, 1,     # 36
    SUB, 1, 3,     # 39: r1 -= 1
    BRANCH, 1, 9,  # 42: while r1
    END, 0, 0,     # 45
])


def interpreter(room: u64, rounds: u32) -> u64:
    """A loop over byte code, whose registers are in memory."""
    code, r, total, n = Pointer[u8](room), Pointer[u32](room + 64), u64(0), u32(0)
    while n < len(PROGRAM.values):
        code[n] = PROGRAM[n]
        n += 1
    while rounds != 0:
        at = u32(0)
        while True:
            what, a, b = code[at], u32(code[at + 1]), u32(code[at + 2])
            at += 3
            if what == SET:
                r[a] = b
            elif what == ADD:
                r[a] += r[b]
            elif what == SUB:
                r[a] -= r[b]
            elif what == MUL:
                r[a] = r[a] * r[b] + 1
            elif what == AND:
                r[a] &= r[b]
            elif what == SHIFT:
                r[a] = r[a] >> b
            elif what == LESS:
                r[a] = u32(r[a] < r[b])
            elif what == JUMP:
                at = b
            elif what == BRANCH:
                if r[a] != 0:
                    at = b
            else:
                break
        total = total * 31 + u64(r[0])
        rounds -= 1
    return total
