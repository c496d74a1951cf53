"""Floating-point arithmetic, comparison and logic of SSE, SSE2, SSE3 and SSE4.1 (SDM 1, chapters 10 to 12).

RCPPS and RSQRTPS give the exact result rounded to nearest, which is within the bounds that the SDM sets;
hardware gives fewer bits, and which ones differs between processors.
"""

from functools import partial

from guesthouse.bits import f32, lanes, likely, packed, select, sqrt as host_sqrt, u32, u64, u128
from guesthouse.system.cpu.softfloat import (
    EQUAL,
    LESS,
    SSE,
    UNORDERED,
    add,
    compare,
    div,
    mul,
    round_to_integral,
    sqrt,
    sub,
)
from guesthouse.system.cpu.softfloat.rounding import is_nan, taken
from guesthouse.system.cpu.x86.definitions import op
from guesthouse.system.cpu.x86.flags import CF, PF, ZF
from guesthouse.system.cpu.x86.operands import Ib, Vd, Vq, Vx, Wd, Wq, Wx
from guesthouse.system.cpu.x86.sse_lanes import both, either, named, one, other_only, whole
from guesthouse.typed import Table, function

SINGLE, DOUBLE = SSE.single, SSE.double


def lane_type(form):
    """The integer type of one number's pattern."""
    return u32 if form.bits == 32 else u64


# Arithmetic. `each` is (environment, format, mode, a, b) -> pattern.
#
# What the host does alike is done first, for all lanes at once and without a branch: `quick` is (x, y) -> number of the
# host, and a rule for patterns that says where its result is ours, and raises nothing that is not raised already.


def both_normal(form, x, y):
    """No denormals. Only they lie in [0, minimum - 1) after 1 is taken off."""
    T = lane_type(form)
    least, m = T(form.minimum - 1), T(form.magnitude)
    return ((x & m) - T(1) >= least) & ((y & m) - T(1) >= least)


def ordinary(form, r):
    """Normal, finite, and not so small that it could have been rounded up from a denormal."""
    T = lane_type(form)
    return (r & T(form.magnitude)) - T(2 * form.minimum) < T(form.infinity - 2 * form.minimum)


def sum_is_ours(form, x, y, r):
    return both_normal(form, x, y) & (ordinary(form, r) | (r & lane_type(form)(form.magnitude) == 0))


def product_is_ours(form, x, y, r):
    m = lane_type(form)(form.magnitude)
    exact = (r & m == 0) & ((x & m == 0) | (y & m == 0))
    return both_normal(form, x, y) & (ordinary(form, r) | exact)


def quotient_is_ours(form, x, y, r):
    m = lane_type(form)(form.magnitude)
    return both_normal(form, x, y) & (ordinary(form, r) | (r & m == 0) & (x & m == 0))


def root_is_ours(form, x, y, r):
    T = lane_type(form)
    return y - T(form.minimum) < T(form.infinity - form.minimum)


QUICK = {
    add: (lambda x, y: x + y, sum_is_ours),
    sub: (lambda x, y: x - y, sum_is_ours),
    mul: (lambda x, y: x * y, product_is_ours),
    div: (lambda x, y: x / y, quotient_is_ours),
}


def quick_lanes(cpu, form, each, a, b):
    """Whether the host's results for all lanes are ours, and the results."""
    T, env = lane_type(form), cpu.sse
    compute, is_ours = QUICK[each]
    r = packed(type(a), [compute(x, y) for x, y in zip(lanes(form.host, a), lanes(form.host, b))])
    ours = (env.flags & env.host != 0) & (env.rounding == form.rules.nearest) & (env.unmasked == 0)
    for x, y, z in zip(lanes(T, a), lanes(T, b), lanes(T, r)):
        ours = ours & is_ours(form, x, y, z)
    return ours, r


@function
def all_lanes(cpu, form, each, a: u128, b: u128):
    """each() for all lanes; raises what is not masked."""
    T = lane_type(form)
    cpu.begin_sse()
    mode = cpu.sse.rounding
    r = [T(each(cpu.sse, form, mode, u64(x), u64(y))) for x, y in zip(lanes(T, a), lanes(T, b))]
    cpu.end_sse()
    return packed(u128, r)


@function
def one_lane(cpu, form, each, a: u64, b: u64) -> u64:
    """each() for the lowest lanes; raises what is not masked."""
    cpu.begin_sse()
    r = each(cpu.sse, form, cpu.sse.rounding, a, b)
    cpu.end_sse()
    return r


def computed(cpu, form, each, a, b):
    """each() for all lanes of a and b: the host's results where they are ours."""
    if each in QUICK:
        ours, r = quick_lanes(cpu, form, each, a, b)
        if likely(ours):
            return r
    if type(a).bits == 128:
        return all_lanes(cpu, form, each, a, b)
    return type(a)(one_lane(cpu, form, each, u64(a), u64(b)))


def packed_form(name: str, encoding: str, form, each):
    """A definition of a packed operation."""

    def run(cpu, to, by):
        cpu.need_sse()
        to.put(computed(cpu, form, each, to.get(), by.get()))

    return op(f"{encoding} /r", Vx, Wx)(named(run, __name__, name))


def scalar_form(name: str, encoding: str, form, each):
    """A definition of an operation on the lowest lane."""

    def run(cpu, to, by):
        cpu.need_sse()
        to.put(computed(cpu, form, each, to.get(), by.get()))

    register, other = (Vd, Wd) if form.bits == 32 else (Vq, Wq)
    return op(f"{encoding} /r", register, other)(named(run, __name__, name))


def four_forms(name: str, opcode: str, each):
    """PS, PD, SS and SD."""
    return (
        packed_form(f"{name}ps", f"NP 0F {opcode}", SINGLE, each),
        packed_form(f"{name}pd", f"66 0F {opcode}", DOUBLE, each),
        scalar_form(f"{name}ss", f"F3 0F {opcode}", SINGLE, each),
        scalar_form(f"{name}sd", f"F2 0F {opcode}", DOUBLE, each),
    )


def root(env, form, mode, a, b):
    """The square root of the second operand."""
    return sqrt(env, form, mode, b)


QUICK[root] = lambda x, y: host_sqrt(y), root_is_ours


@function
def minimum(env, form, mode, a: u64, b: u64):
    """MINPS's own minimum: the second operand where there is none, or both are zero."""
    x, y = taken(env, form, a), taken(env, form, b)
    if compare(env, form, a, b, False) == LESS:
        return x
    return y


@function
def maximum(env, form, mode, a: u64, b: u64):
    x, y = taken(env, form, a), taken(env, form, b)
    if compare(env, form, b, a, False) == LESS:
        return x
    return y


def ordered_is_ours(form, x, y, r):
    """Neither is a NaN."""
    T = lane_type(form)
    m, most = T(form.magnitude), T(form.infinity)
    return both_normal(form, x, y) & (x & m <= most) & (y & m <= most)


QUICK[minimum] = lambda x, y: select(x < y, x, y), ordered_is_ours
QUICK[maximum] = lambda x, y: select(y < x, x, y), ordered_is_ours

addps, addpd, addss, addsd = four_forms("add", "58", add)
mulps, mulpd, mulss, mulsd = four_forms("mul", "59", mul)
subps, subpd, subss, subsd = four_forms("sub", "5C", sub)
minps, minpd, minss, minsd = four_forms("min", "5D", minimum)
divps, divpd, divss, divsd = four_forms("div", "5E", div)
maxps, maxpd, maxss, maxsd = four_forms("max", "5F", maximum)
sqrtps, sqrtpd, sqrtss, sqrtsd = four_forms("sqrt", "51", root)


# SSE3 and SSE4.1: sums across lanes.


def crossed_form(name: str, encoding: str, form, pairs):
    """A definition of lanewise `each(x, y)` where `pairs(a, b)` says (each, x, y) for each lane of the
    result.
    """
    T = lane_type(form)

    def run(cpu, to, by):
        cpu.need_sse()
        to.put(crossed(cpu, form, T, pairs, to.get(), by.get()))

    return op(f"{encoding} /r", Vx, Wx)(named(run, __name__, name))


@function
def crossed(cpu, form, T, pairs, a: u128, b: u128):
    cpu.begin_sse()
    mode = cpu.sse.rounding
    wanted = pairs(lanes(T, a), lanes(T, b))
    r = [T(each(cpu.sse, form, mode, u64(x), u64(y))) for each, x, y in wanted]
    cpu.end_sse()
    return packed(u128, r)


def neighbours(each, a, b):
    """Neighbours in a, then in b."""
    both_ = (*a, *b)
    return [(each, both_[n], both_[n + 1]) for n in range(0, len(both_), 2)]


def alternating(a, b):
    """Odd lanes are added, even ones subtracted."""
    return [(add if n % 2 else sub, a[n], b[n]) for n in range(len(a))]


haddps = crossed_form("haddps", "F2 0F 7C", SINGLE, partial(neighbours, add))
haddpd = crossed_form("haddpd", "66 0F 7C", DOUBLE, partial(neighbours, add))
hsubps = crossed_form("hsubps", "F2 0F 7D", SINGLE, partial(neighbours, sub))
hsubpd = crossed_form("hsubpd", "66 0F 7D", DOUBLE, partial(neighbours, sub))
addsubps = crossed_form("addsubps", "F2 0F D0", SINGLE, alternating)
addsubpd = crossed_form("addsubpd", "66 0F D0", DOUBLE, alternating)


@function
def dot(cpu, form, a: u128, b: u128, control: u64):
    """The sum of the products that the upper bits of `control` choose, in the lanes that its lower bits
    choose.
    """
    T = lane_type(form)
    cpu.begin_sse()
    env, mode, sums = cpu.sse, cpu.sse.rounding, []
    sums = [
        masked_product(env, form, mode, u64(x), u64(y), control >> (n + 4) & 1 != 0)
        for n, (x, y) in enumerate(zip(lanes(T, a), lanes(T, b)))
    ]
    total = add(env, form, mode, sums[0], sums[1])
    if form.bits == 32:
        total = add(env, form, mode, total, add(env, form, mode, sums[2], sums[3]))
    cpu.end_sse()
    return packed(u128, [select(control >> n & 1 != 0, T(total), T(0)) for n in range(len(sums))])


def masked_product(env, form, mode, a, b, wanted):
    return mul(env, form, mode, a, b) if wanted else u64(0)


@op("66 0F 3A 40 /r ib", Vx, Wx, Ib)
def dpps(cpu, to, by, control):
    """SDM 2A, DPPS."""
    cpu.need_sse()
    to.put(dot(cpu, SINGLE, to.get(), by.get(), u64(control.get())))


@op("66 0F 3A 41 /r ib", Vx, Wx, Ib)
def dppd(cpu, to, by, control):
    """SDM 2A, DPPD."""
    cpu.need_sse()
    to.put(dot(cpu, DOUBLE, to.get(), by.get(), u64(control.get())))


# Approximations.


@function
def reciprocal(a: u32) -> u32:
    """1 / a; denormals count as zero on both sides."""
    if is_nan(SINGLE, a):
        return a | SINGLE.quiet
    if a & SINGLE.magnitude < SINGLE.minimum:
        return a & SINGLE.sign | SINGLE.infinity
    r = (f32(1.0) / f32.from_bits(a)).to_bits()
    return a & SINGLE.sign if r & SINGLE.magnitude < SINGLE.minimum else r


@function
def reciprocal_root(a: u32) -> u32:
    """1 / sqrt(a); denormals count as zero."""
    if is_nan(SINGLE, a):
        return a | SINGLE.quiet
    if a & SINGLE.magnitude < SINGLE.minimum:
        return a & SINGLE.sign | SINGLE.infinity
    if a >= SINGLE.sign:
        return u32(SINGLE.default_nan)
    return (f32(1.0) / host_sqrt(f32.from_bits(a))).to_bits()


def approximation(name: str, encoding: str, each, scalar: bool):
    def run(cpu, to, by):
        cpu.need_sse()
        if scalar:
            to.put(each(by.get()))
        else:
            to.put(packed(u128, [each(x) for x in lanes(u32, by.get())]))

    return op(f"{encoding} /r", Vd if scalar else Vx, Wd if scalar else Wx)(named(run, __name__, name))


rcpps, rcpss = (
    approximation("rcpps", "NP 0F 53", reciprocal, False),
    approximation("rcpss", "F3 0F 53", reciprocal, True),
)
rsqrtps = approximation("rsqrtps", "NP 0F 52", reciprocal_root, False)
rsqrtss = approximation("rsqrtss", "F3 0F 52", reciprocal_root, True)


# Comparison.


@function
def satisfies(env, form, a: u64, b: u64, predicate: u64):
    """All ones if a and b are as the predicate says (SDM 2A, CMPPD, table 3-1), else 0."""
    kind = predicate & 3
    if kind == 0 or kind == 3:
        order = compare(env, form, a, b, True)
    else:
        order = compare(env, form, a, b, False)
    holds = select(
        kind == 3, order == UNORDERED, (order == EQUAL) & (kind != 1) | (order == LESS) & (kind != 0)
    )
    return u64(0) - u64(holds != (predicate & 4 != 0))


def comparing(name: str, encoding: str, form, scalar: bool):
    T = lane_type(form)

    def run(cpu, to, by, predicate):
        cpu.need_sse()
        a, b, how = to.get(), by.get(), u64(predicate.get())
        cpu.begin_sse()
        if scalar:
            r = T(satisfies(cpu.sse, form, u64(a), u64(b), how))
        else:
            r = packed(
                u128,
                [T(satisfies(cpu.sse, form, u64(x), u64(y), how)) for x, y in zip(lanes(T, a), lanes(T, b))],
            )
        cpu.end_sse()
        to.put(r)

    register, other = (Vx, Wx) if not scalar else (Vd, Wd) if form.bits == 32 else (Vq, Wq)
    return op(f"{encoding} /r ib", register, other, Ib)(named(run, __name__, name))


cmpps, cmppd = comparing("cmpps", "NP 0F C2", SINGLE, False), comparing("cmppd", "66 0F C2", DOUBLE, False)
cmpss, cmpsd = comparing("cmpss", "F3 0F C2", SINGLE, True), comparing("cmpsd", "F2 0F C2", DOUBLE, True)

ORDER_FLAGS = Table(u64, [ZF, CF, 0, ZF | PF | CF])  # by EQUAL, LESS, GREATER, UNORDERED


@function
def tell_order(cpu, form, x: u64, y: u64, quiet) -> None:
    cpu.begin_sse()
    order = compare(cpu.sse, form, x, y, quiet)
    cpu.end_sse()
    cpu.set_status(ORDER_FLAGS[order & 3])


def ordering(name: str, encoding: str, form, quiet: bool):
    """A definition that tells in ZF, PF and CF how two numbers stand."""

    def run(cpu, a, b):
        cpu.need_sse()
        x, y = a.get(), b.get()
        if likely(ordered_is_ours(form, x, y, x)):
            cpu.numbers_compared(x, y)
        else:
            tell_order(cpu, form, u64(x), u64(y), quiet)

    register, other = (Vd, Wd) if form.bits == 32 else (Vq, Wq)
    return op(f"{encoding} /r", register, other)(named(run, __name__, name))


ucomiss, ucomisd = ordering("ucomiss", "NP 0F 2E", SINGLE, True), ordering("ucomisd", "66 0F 2E", DOUBLE, True)
comiss, comisd = ordering("comiss", "NP 0F 2F", SINGLE, False), ordering("comisd", "66 0F 2F", DOUBLE, False)


# Logic, and rounding to integral values.

andps, andpd = whole(__name__, "andps", ("NP 0F 54",), both), whole(__name__, "andpd", ("66 0F 54",), both)
andnps, andnpd = (
    whole(__name__, "andnps", ("NP 0F 55",), other_only),
    whole(__name__, "andnpd", ("66 0F 55",), other_only),
)
orps, orpd = whole(__name__, "orps", ("NP 0F 56",), either), whole(__name__, "orpd", ("66 0F 56",), either)
xorps, xorpd = whole(__name__, "xorps", ("NP 0F 57",), one), whole(__name__, "xorpd", ("66 0F 57",), one)


@function
def integral(env, form, a: u64, control: u64):
    """One lane of ROUNDPS: control bits 0 and 1 are the mode unless bit 2 says MXCSR's; bit 3 hides
    inexactness.
    """
    mode = select(control & 4 != 0, env.rounding, control & 3)
    if control & 8 != 0:
        return round_to_integral(env, form, mode, a, False)
    return round_to_integral(env, form, mode, a, True)


def rounding(name: str, encoding: str, form, scalar: bool):
    T = lane_type(form)

    def run(cpu, to, by, control):
        cpu.need_sse()
        b, how = by.get(), u64(control.get())
        cpu.begin_sse()
        if scalar:
            r = T(integral(cpu.sse, form, u64(b), how))
        else:
            r = packed(u128, [T(integral(cpu.sse, form, u64(x), how)) for x in lanes(T, b)])
        cpu.end_sse()
        to.put(r)

    register, other = (Vx, Wx) if not scalar else (Vd, Wd) if form.bits == 32 else (Vq, Wq)
    return op(f"{encoding} /r ib", register, other, Ib)(named(run, __name__, name))


roundps, roundpd = (
    rounding("roundps", "66 0F 3A 08", SINGLE, False),
    rounding("roundpd", "66 0F 3A 09", DOUBLE, False),
)
roundss, roundsd = (
    rounding("roundss", "66 0F 3A 0A", SINGLE, True),
    rounding("roundsd", "66 0F 3A 0B", DOUBLE, True),
)
