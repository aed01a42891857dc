"""Moving sums of float64[bars] with Kahan's compensation: the bits of pandas' rolling sums, eight stretches at once.

What leaves the window and what enters it have each a compensation of their own, so every bar waits for the one before:
a dozen cycles of nothing but waiting. Eight sums that know nothing of each other take hardly longer than one: where a
stretch begins is foretold, and the sum that arrives there confirms it, or is gone on with instead. So it is the same
recursion on the same bars, to the bit, whatever was foretold.

**How a beginning is foretold.** While prices stay between two powers of two they are whole multiples of one unit u,
and their sum, while it does so too, of U = 2ᵏ u. The compensations are then exact remainders: the one of entries is
minus the sum of all that came in, the one of exits the sum of all that went out, both modulo U and nearest to zero,
and total - entries - exits is the window's sum to the last unit. All of this is adding integers, and the bits of a
float64 are, within a power of two, such an integer. A remainder of just U / 2 has two nearest: rounding picked the
one that makes the total even.
"""

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from trading.indicators.lanes import LANES, any_of, lanes, row_of, where
from trading.indicators.passes import divide, mean_of_sum
from trading.indicators.rows import compiled

STRETCH = 128  # bars each of the eight goes at most
LEAST = 16  # and at least
STATE = 3 + 6 * LANES
EXPONENT = 1075  # of a float64 whose last bit is 1
FRACTION = (1 << 52) - 1


@compiled
def sum_alone(x, out, first, last, n, state):
    """out[i] = sum of the last n of x, or of all so far. Goes on from state[:3]: total, and what entries and exits owe.

    state[:3] is what the total holds too much for the last that came in, and for the last that went out.
    """
    total, gained, lost = state[0], state[1], state[2]
    for i in range(first, last):
        if i >= n:
            step = -x[i - n] - lost
            more = total + step
            lost = more - total - step
            total = more
        step = x[i] - gained
        more = total + step
        gained = more - total - step
        total = more
        out[i] = total
    state[0], state[1], state[2] = total, gained, lost


def _abreast(typing_context, x, out, bars, n, states):
    """Eight times `sum_alone`, `bars` bars each, in the lanes of one register.

    One begins where the other ends, the first at x[0], with n bars before it. states: float64[24], eight totals, what
    entries owe, what exits owe.
    """

    def generate(context, builder, signature, arguments):
        lanes, whole = ir.VectorType(ir.DoubleType(), LANES), ir.IntType(64)
        x, out, states = (
            context.make_array(of)(context, builder, value=given).data
            for of, given in ((signature.args[k], arguments[k]) for k in (0, 1, 4))
        )  # fmt: skip
        bars, n = arguments[2:4]
        in_a_row = builder.bitcast(states, lanes.as_pointer())
        places = [builder.gep(in_a_row, [whole(k)]) for k in range(3)]
        rows = [builder.gep(x, [builder.mul(bars, whole(k))]) for k in range(LANES)]
        gone = [builder.gep(row, [builder.neg(n)]) for row in rows]
        sums = [builder.gep(out, [builder.mul(bars, whole(k))]) for k in range(LANES)]

        def each(pointers, bar):
            gathered = lanes(ir.Undefined)
            for lane, pointer in enumerate(pointers):
                gathered = builder.insert_element(gathered, builder.load(builder.gep(pointer, [bar])), whole(lane))
            return gathered

        before, loop, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
        started = [builder.load(place, align=8) for place in places]
        builder.branch(loop)
        builder.position_at_end(loop)
        bar = builder.phi(whole)
        total, gained, lost = (builder.phi(lanes) for _ in range(3))
        step = builder.fadd(each(gone, bar), lost)
        more = builder.fsub(total, step)
        owed_by_exits = builder.fadd(builder.fsub(more, total), step)
        step = builder.fsub(each(rows, bar), gained)
        newest = builder.fadd(more, step)
        owed_by_entries = builder.fsub(builder.fsub(newest, more), step)
        for lane, pointer in enumerate(sums):
            builder.store(builder.extract_element(newest, whole(lane)), builder.gep(pointer, [bar]))
        following = builder.add(bar, whole(1))
        builder.cbranch(builder.icmp_signed("<", following, bars), loop, after)
        ended = [newest, owed_by_entries, owed_by_exits]
        for phi, start, end in zip((bar, total, gained, lost), (whole(0), *started), (following, *ended), strict=True):
            phi.add_incoming(start, before)
            phi.add_incoming(end, loop)
        builder.position_at_end(after)
        for place, end in zip(places, ended, strict=True):
            builder.store(end, place, align=8)
        return context.get_dummy_value()

    return types.void(x, out, types.intp, types.intp, states), generate


sum_abreast: Any = intrinsic(_abreast)


@compiled
def sum_of(x, bits, out, first, last, n, state):
    """`sum_alone`, quicker where it can be. bits: x seen as int64. Uses state[:STATE], of which [:3] is remembered."""
    mine, told, walked = state[0:3], state[3 : 3 + 3 * LANES], state[3 + 3 * LANES : STATE]
    stretch = STRETCH
    i = first
    if i < n:
        i = min(last, n)
        sum_alone(x, out, first, i, n, mine)
    while last - i >= LANES * LEAST:
        bars = min(stretch, (last - i) // LANES)
        lane = 0
        if foretell(bits, i, bars, n, mine, told):
            for k in range(3 * LANES):
                walked[k] = told[k]
            sum_abreast(x[i:], out[i:], bars, n, walked)
            while True:
                mine[0], mine[1], mine[2] = walked[lane], walked[LANES + lane], walked[2 * LANES + lane]
                i += bars
                lane += 1
                if lane == LANES or not (
                    mine[0] == told[lane] and mine[1] == told[LANES + lane] and mine[2] == told[2 * LANES + lane]
                ):
                    break
        if lane == LANES:
            stretch = min(2 * stretch, STRETCH)
            continue
        stretch = max(stretch // 2, LEAST)  # a power of two is crossed near here: nearer things are told better
        if lane <= 1:
            end = min(i + STRETCH, last)
            sum_alone(x, out, i, end, n, mine)
            i = end
    sum_alone(x, out, i, last, n, mine)


@compiled
def foretell(bits, first, bars, n, state, told):
    """Where the sum that is at `state` before bar `first` will be then, and 1, 2, … stretches of `bars` later.

    told: as the states of `sum_abreast`. False where nothing can be told; what is told may prove wrong.
    """
    unit = (bits[first] >> 52) - EXPONENT
    fraction, power = math.frexp(state[0])
    shift = power - 53 - unit
    if not (1 <= shift <= 9 and fraction > 0.0 and bits[first] > 0):
        return False
    whole = 1 << shift
    half = whole >> 1
    up, down = math.ldexp(1.0, -unit), math.ldexp(1.0, unit)
    gained, lost = int(state[1] * up), int(state[2] * up)
    now = (int(math.ldexp(fraction, 53)) << shift) - gained - lost
    told[0], told[LANES], told[2 * LANES] = state[0], state[1], state[2]
    for lane in range(1, LANES):
        last = first + lane * bars
        newest, oldest = bits[last - bars : last], bits[last - bars - n : last - n]
        entered = 0
        left = 0
        for k in range(newest.size):
            entered += newest[k]
            left += oldest[k]
        now += entered - left
        gained = ((gained - entered + half) & (whole - 1)) - half
        lost = ((lost + left + half) & (whole - 1)) - half
        value = (bits[last - 1] & FRACTION) + FRACTION + 1
        if lost == -half:
            before = ((gained + value + half) & (whole - 1)) - half
            if (now + lost + before - value) & whole:
                lost = half
        if gained == -half and (now + lost + gained) & whole:
            gained = half
        told[lane], told[LANES + lane], told[2 * LANES + lane] = (
            (now + gained + lost) * down,
            gained * down,
            lost * down,
        )
    return True


@compiled
def means_of(x, out, first, last, n, total):
    """Sums become means, in place; NaN before bar n - 1. Equal prices are their own mean, whatever the sum owes.

    total: the last of the sums. Once a bar was no number it is none either, and no later bar has a mean.
    """
    for i in range(first, min(last, n - 1)):
        out[i] = np.nan
    begin = max(first, n - 1)
    if begin >= last:
        return
    divide(out, begin, last, n)
    now, middle, then = x[begin:last], x[begin - n // 2 : last], x[begin - n + 1 : last]
    perhaps = 0
    for k in range(now.size):
        perhaps += (now[k] == then[k]) & (now[k] == middle[k])
    if perhaps == 0:
        return
    flat = 1
    nothing = total * 0.0
    for i in range(begin - n + 2, last):
        flat = flat + 1 if x[i] == x[i - 1] else 1
        if flat >= n and i >= begin:
            out[i] = where(nothing == 0.0, x[i], nothing)


@compiled
def _mean_of_one(x, out, first, last, n, state):
    bits = x.view(np.int64)
    while first < last:
        end = min(max(first, n) + LANES * STRETCH, last)
        sum_of(x, bits, out, first, end, n, state)
        means_of(x, out, first, end, n, state[0])
        first = end


@compiled
def means_of_all(x, out, first, last, n, state):
    """`mean_of` of neighbouring groups of lanes, a bar of all before the next: in the order in which memory lies."""
    begin = max(first, min(n, last))
    for s in range(x.shape[0]):
        _first_means(row_of(x, s), row_of(out, s), first, begin, last, n, row_of(state, s))
    inverse, size = 1.0 / n, float(n)
    for i in range(begin, last):
        for s in range(x.shape[0]):
            row, kept = row_of(x, s), row_of(state, s)
            kept[0], kept[1], kept[2] = _moved_on(row[i], row[i - n], kept[0], kept[1], kept[2])
            row_of(out, s)[i] = mean_of_sum(kept[0], inverse, size)
            same = where(row[i] == row[i - n + 1], where(row[i] == row[i - n // 2], 1.0, 0.0), 0.0)
            if any_of(same):
                kept[3] = 1.0
    for s in range(x.shape[0]):
        kept = row_of(state, s)
        if last >= n and (begin < n + 1 or any_of(kept[3]) or any_of(kept[0] * 0.0)):
            _flat_means(row_of(x, s), row_of(out, s), max(first, n - 1), last, n, kept[0] * 0.0)
        kept[3] = 0.0


@compiled
def _moved_on(entering, leaving, total, gained, lost):
    """One bar of `sum_alone`."""
    step = -leaving - lost
    more = total + step
    lost = more - total - step
    step = entering - gained
    total = more + step
    return total, total - more - step, lost


@compiled
def _first_means(x, out, first, begin, last, n, state):
    sum_alone(x, out, first, begin, n, state)
    for i in range(first, min(begin, n - 1)):
        out[i] = np.nan
    if first < n <= begin:
        divide(out, n - 1, n, n)


@compiled
def _mean_of_eight(x, out, first, last, n, state):
    """The recursions of eight series wait together: nothing need be foretold, and the rest is done while they wait."""
    begin = max(first, min(n, last))
    _first_means(x, out, first, begin, last, n, state)
    total, gained, lost = state[0], state[1], state[2]
    inverse, size = 1.0 / n, float(n)
    perhaps = total * 0.0
    entering, leaving, middle, oldest = (
        x[begin:last],
        x[begin - n : last],
        x[begin - n // 2 : last],
        x[begin - n + 1 : last],
    )
    mean = out[begin:last]
    for k in range(mean.size):
        total, gained, lost = _moved_on(entering[k], leaving[k], total, gained, lost)
        mean[k] = mean_of_sum(total, inverse, size)
        perhaps += where(entering[k] == oldest[k], where(entering[k] == middle[k], 1.0, 0.0), 0.0)
    state[0], state[1], state[2] = total, gained, lost
    if last >= n and (begin < n + 1 or any_of(perhaps)):
        _flat_means(x, out, max(first, n - 1), last, n, total * 0.0)


@compiled
def _flat_means(x, out, first, last, n, nothing):
    """Equal prices are their own mean, whatever the sum owes; none where one was no number: see `means_of`."""
    flat = where(nothing == 0.0, 1.0, nothing)
    for i in range(first - n + 2, last):
        flat = where(x[i] == x[i - 1], flat + 1.0, where(nothing == 0.0, 1.0, nothing))
        if i >= first:
            out[i] = where(flat >= n, x[i], out[i])
    if n == 1:
        for i in range(first, last):
            out[i] = where(nothing == 0.0, x[i], nothing)


def mean_of(x, out, first, last, n, state):
    """out[i] = mean of the last n of x, with the bits of `sum_alone`; NaN before bar n - 1. Uses state[:STATE]."""


@overload(mean_of)
def _mean_of(x, out, first, last, n, state):
    of = _mean_of_eight if x.dtype == lanes else _mean_of_one
    return lambda x, out, first, last, n, state: of(x, out, first, last, n, state)


def mean_of_all(x, out, first, last, n, state):
    """`mean_of` of every row."""


@overload(mean_of_all)
def _mean_of_all(x, out, first, last, n, state):
    by_bars = x.ndim == 3

    def in_turn(x, out, first, last, n, state):
        for s in range(x.shape[0]):
            mean_of(row_of(x, s), row_of(out, s), first[s], last[s], n, row_of(state, s))

    def abreast(x, out, first, last, n, state):
        if x.shape[0] == 1:
            mean_of(row_of(x, 0), row_of(out, 0), first[0], last[0], n, row_of(state, 0))
        else:
            means_of_all(x, out, first[0], last[0], n, state)

    return abreast if by_bars else in_turn
