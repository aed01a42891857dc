"""One symbol, many combinations: only what happens is visited.

The event loop looks at every bar; here a combination jumps from the bar that fires to the fill, and from the fill to
the bar that ends it. Three indexes make the jumps short, all shared between combinations: the lowest and highest value
of every block of sixteen bars of an indicator (two that do not overlap do not cross), of low and high (a block that
reaches neither level ends no trade), and of the closes (a block that cannot be the worst so far moves no drawdown).
What is done at a bar is done by the event loop's own functions, so the trades are the same rows, bit for bit.

Bars are counted from the first traded one; rows of indicators have `skip` bars of history before it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from strategies.backtest.charges import order_charges
from strategies.backtest.kernels import (
    C_NO_LEVEL,
    C_NO_MONEY,
    C_OUT_OF_HOURS,
    C_RUIN,
    C_SIGNALS,
    C_TAKEN,
    END,
    REVERSAL,
    RUIN,
    RULE,
    SQUARE_OFF,
    STOP,
    T_BEST,
    T_CHARGES_IN,
    T_CHARGES_OUT,
    T_ENTRY,
    T_ENTRY_BAR,
    T_EXIT,
    T_EXIT_BAR,
    T_INCOME,
    T_PNL,
    T_QUANTITY,
    T_REASON,
    T_SIDE,
    T_SIGNAL_BAR,
    T_STOP,
    T_SYMBOL,
    T_TARGET,
    T_WORST,
    TARGET,
    TIME,
    TRAILING,
    X_CASH,
    X_EXPOSURE_CAP,
    X_LEVERAGE,
    X_MAX_BARS,
    X_ORDER_CAP,
    X_POSITION_CAP,
    X_REVERSE,
    X_SIZE,
    X_SIZING,
    X_SLIPPAGE,
    X_SLOTS,
    X_STOP_KIND,
    X_STOP_VALUE,
    X_TARGET_KIND,
    X_TARGET_VALUE,
    X_TRAIL,
    X_TRAIL_AFTER,
    affordable_and_fee,
    levels,
    share_of,
    wanted_quantity,
)
from trading.venue.matching import bare, down_to, kernel, market_fill, stop_price, target_price, up_to

BLOCK: Final = 16

# What is asked of a bar. A program is int64[parts, 3]: what, and one or two rows of the pool.
ABOVE, BELOW, LESS, AT_MOST, MORE, AT_LEAST, EQUAL, UNEQUAL, MARKED = range(9)

# What a combination comes to.
(S_TRADES, S_WINS, S_CASH, S_WORST, S_DRAWDOWN, S_CHARGES, S_BARS_HELD, S_GAINED, S_LOST, S_MEAN, S_SPREAD, S_DOWN,
 S_SKEW, S_KURTOSIS, S_GROWTH, S_DAYS) = range(16)  # fmt: skip
SUMS: Final = 16


@kernel
def block_ranges(row, skip, lows, highs):
    """Lowest and highest value of every block of a row's traded bars; one with a missing value reaches everywhere."""
    bars = row.size - skip
    for block in range(lows.size):
        low, high = np.inf, -np.inf
        known = True
        for at in range(skip + block * BLOCK, skip + min(bars, block * BLOCK + BLOCK)):
            value = row[at]
            if not np.isfinite(value):
                known = False
            low, high = min(low, value), max(high, value)
        lows[block] = low if known else -np.inf
        highs[block] = high if known else np.inf


@bare
def _crossings(x, y, skip, x_low, x_high, y_low, y_high, ups, downs):
    """Bars where x goes above y, and below it, as `crosses_above` and `crosses_below` have it; how many of each."""
    up = down = 0
    before = 2  # -1 below, 0 at, 1 above, 2 unknown: at the last bar where both were known
    for at in range(skip - 1, -1, -1):
        if np.isfinite(x[at]) and np.isfinite(y[at]):
            before = (x[at] > y[at]) * 1 - (x[at] < y[at]) * 1
            break
    bars = x.size - skip
    for block in range(x_low.size):
        first = block * BLOCK
        if x_low[block] > y_high[block]:
            if before <= 0:
                ups[up] = first
                up += 1
            before = 1
        elif x_high[block] < y_low[block]:
            if before == 0 or before == 1:
                downs[down] = first
                down += 1
            before = -1
        else:
            after = min(bars, first + BLOCK)
            left, right = x[skip + first : skip + after], y[skip + first : skip + after]
            over = under = 0
            for at in range(left.size):
                over += left[at] > right[at]
                under += left[at] < right[at]
            if (over == left.size and before == 1) or (under == left.size and before == -1):
                continue
            for bar in range(first, after):
                a, b = x[skip + bar], y[skip + bar]
                if a > b:
                    if before <= 0:
                        ups[up] = bar
                        up += 1
                    before = 1
                elif a < b:
                    if before == 0 or before == 1:
                        downs[down] = bar
                        down += 1
                    before = -1
                elif a == b:
                    before = 0
    return up, down


@bare
def _holds(what, a, b):
    if what == LESS:
        return a < b
    if what == AT_MOST:
        return a <= b
    if what == MORE:
        return a > b
    if what == AT_LEAST:
        return a >= b
    if what == EQUAL:
        return a == b
    if what == UNEQUAL:
        return a < b or a > b
    return a > 0.0


@bare
def _where(what, x, y, skip, x_low, x_high, y_low, y_high, out):
    """Bars on which a comparison is known to be true, ascending; how many."""
    count = 0
    bars = x.size - skip
    for block in range(x_low.size):
        less, more = x_high[block] < y_low[block], x_low[block] > y_high[block]
        if (less and (what in (MORE, AT_LEAST, EQUAL))) or (more and (what in (LESS, AT_MOST, EQUAL))):
            continue
        for bar in range(block * BLOCK, min(bars, block * BLOCK + BLOCK)):
            out[count] = bar
            count += 1 if _holds(what, x[skip + bar], y[skip + bar]) else 0
    return count


@bare
def _marked(x, skip, x_high, out):
    """Bars that a condition reckoned elsewhere has marked with 1."""
    count = 0
    bars = x.size - skip
    for block in range(x_high.size):
        if x_high[block] > 0.0:
            for bar in range(block * BLOCK, min(bars, block * BLOCK + BLOCK)):
                out[count] = bar
                count += 1 if x[skip + bar] > 0.0 else 0
    return count


@bare
def _find(program, first, after, pool, pool_low, pool_high, skip, crossed, events, spare):
    """Bars on which every part of a program holds, into `events`; how many.

    The first part finds bars, the others are asked at those alone. `crossed` remembers which two rows `events` and
    `spare` were crossed for: a rule to enter and a rule to leave are mostly the two directions of one crossing.
    """
    what, left, right = program[first, 0], program[first, 1], program[first, 2]
    if what in (ABOVE, BELOW):
        ups, downs = _crossings(
            pool[left], pool[right], skip, pool_low[left], pool_high[left], pool_low[right], pool_high[right],
            events if what == ABOVE else spare, spare if what == ABOVE else events,
        )  # fmt: skip
        count = ups if what == ABOVE else downs
        crossed[0], crossed[1], crossed[2], crossed[3] = left, right, what, downs if what == ABOVE else ups
    elif what == MARKED:
        count = _marked(pool[left], skip, pool_high[left], events)
    else:
        count = _where(
            what, pool[left], pool[right], skip, pool_low[left], pool_high[left], pool_low[right], pool_high[right],
            events,
        )  # fmt: skip
    return _kept(program, first + 1, after, pool, skip, events, count)


@bare
def _kept(program, first, after, pool, skip, events, count):
    for part in range(first, after):
        what, x, y = program[part, 0], pool[program[part, 1]], pool[program[part, 2]]
        kept = 0
        for at in range(count):
            bar = events[at]
            events[kept] = bar
            kept += 1 if _holds(what, x[skip + bar], y[skip + bar]) else 0
        count = kept
    return count


@kernel
def combinations(
    prices,  # int64[4, bars], ten-thousandths of a rupee: open, high, low, close of the traded bars, all known
    price_ranges,  # int64[4, blocks], ten-thousandths of a rupee: lowest low, highest high, lowest and highest close
    pool, pool_low, pool_high,  # float64[rows, skip + bars], float64[rows, blocks] twice
    skip,
    programs, starts,  # int64[combinations, parts, 3], int64[combinations, 5]: where each of the four rules begins
    ranges, asked,  # int64[combinations]: rows of the average range and of the stop's price, -1 without
    terms,  # int64[combinations, TERMS]
    may_enter, leaves,  # bool[bars]; int64[bars]: the first bar from here on at whose open nothing may stay
    closes_day,  # int64[bars]: the first bar from here on at whose close nothing may stay
    day_ends,  # int64[days]: the last bar of each day
    rate_of_bar, rates, tick, lot,
    events,  # int32[5, bars], scratch
    daily,  # int64[days], scratch
    sums, counters,  # float64[combinations, SUMS], int64[combinations, COUNTERS], written here
    trades,  # int64[enough, 16] for a single combination whose trades are wanted, else int64[0, 16]
):  # fmt: skip
    """Every combination of a batch from its first signal to its last exit. Gives the number of trades of the last."""
    crossed = np.empty(4, np.int64)
    counts = np.empty(4, np.int64)
    count = 0
    for one in range(sums.shape[0]):
        crossed[0] = crossed[1] = -1
        for rule in range(4):
            first, after = starts[one, rule], starts[one, rule + 1]
            counts[rule] = 0
            if after > first:
                program = programs[one]
                what, left, right = program[first, 0], program[first, 1], program[first, 2]
                if what <= BELOW and crossed[0] == left and crossed[1] == right and crossed[2] != what:
                    for at in range(crossed[3]):
                        events[rule, at] = events[4, at]
                    counts[rule] = _kept(program, first + 1, after, pool, skip, events[rule], crossed[3])
                    crossed[0] = -1
                else:
                    counts[rule] = _find(
                        program, first, after, pool, pool_low, pool_high, skip, crossed, events[rule], events[4]
                    )
        count = _walk(
            prices, price_ranges, pool, skip, ranges[one], asked[one], terms[one], may_enter, leaves, closes_day,
            day_ends, rate_of_bar, rates, tick, lot, events, counts, daily, sums[one], counters[one], trades,
        )  # fmt: skip
        of_days(daily, sums[one])
    return count


@bare
def _next(events, count, at, bar):
    """The first event at or after a bar, by its place; `count` when there is none. Places only grow."""
    while at < count and events[at] < bar:
        at += 1
    return at


@bare
def _walk(
    prices, price_ranges, pool, skip, range_row, asked_row, terms, may_enter, leaves, closes_day, day_ends,
    rate_of_bar, rates, tick, lot, events, counts, daily, sums, counters, trades,
):  # fmt: skip
    """One combination. The comments name the phase of the event loop that each step stands for."""
    open_, high, low, close = prices[0], prices[1], prices[2], prices[3]
    last = close.size - 1
    sizing, size, leverage, slots = terms[X_SIZING], terms[X_SIZE], terms[X_LEVERAGE], terms[X_SLOTS]
    slippage, reverse, max_bars = terms[X_SLIPPAGE], terms[X_REVERSE] != 0, terms[X_MAX_BARS]
    trail, trail_after = terms[X_TRAIL], terms[X_TRAIL_AFTER]
    position_cap, exposure_cap = terms[X_POSITION_CAP], terms[X_EXPOSURE_CAP]
    keep = trades.shape[0] > 0
    cash = terms[X_CASH]
    longs, shorts = events[0], events[1]
    at_long = at_short = at_long_out = at_short_out = 0  # places in the lists of events
    peak = cash
    worst, worst_peak = 1.0, 1.0  # the worst share of a peak that was left, as a fraction
    worst_at, worst_from = np.int64(1), np.int64(1)
    day = 0
    count = wins = 0
    signal = next_price = next_stop = next_target = np.int64(0)
    charged = np.int64(0)
    held_bars = 0
    gained = lost = np.int64(0)
    counted_to = -1
    bar = np.int64(0)  # the close at which the rules are asked next
    turning = 0  # an opposite signal that waits with the exit
    price = stop = target = np.int64(0)
    side = 0
    reason = 0
    while True:
        if turning == 0:
            worst, worst_peak, worst_at, worst_from, peak = _settled(
                cash, worst, worst_peak, worst_at, worst_from, peak
            )
            at_long = _next(longs, counts[0], at_long, bar)
            at_short = _next(shorts, counts[1], at_short, bar)
            fires = last
            if at_long < counts[0]:
                fires = longs[at_long]
            if at_short < counts[1] and shorts[at_short] < fires:
                fires = shorts[at_short]
                side = -1
            else:
                side = 1
            broke = cash <= 0 and bar < last
            if broke and fires > bar:
                counters[C_RUIN] = 1
                break
            if fires >= last:
                break
            signal = fires
            counters[C_SIGNALS] += 1
            price = up_to(close[signal], tick) if side < 0 else down_to(close[signal], tick)
            stop, target, sound = levels(
                side, price, tick, terms[X_STOP_KIND], terms[X_STOP_VALUE], terms[X_TARGET_KIND],
                terms[X_TARGET_VALUE], pool[range_row, skip + signal] if range_row >= 0 else np.nan,
                pool[asked_row, skip + signal] if asked_row >= 0 else np.nan, np.nan,
            )  # fmt: skip
            if not sound or price <= 0:
                counters[C_NO_LEVEL] += 1
            if broke:
                counters[C_RUIN] = 1
                break
            if not sound or price <= 0:
                bar = signal + 1
                continue
        turning = 0
        entered = signal + 1
        # entries
        bar = entered
        if not may_enter[entered]:
            counters[C_OUT_OF_HOURS] += 1
            continue
        fill = market_fill(open_[entered], side, slippage, tick)
        row = rate_of_bar[entered]
        way = 0 if side > 0 else 1
        quantity = wanted_quantity(sizing, size, cash, slots, leverage, fill, price, stop, lot)
        quantity = min(quantity, terms[X_ORDER_CAP] // fill)
        if position_cap > 0:
            quantity = min(quantity, share_of(max(cash, np.int64(0)), position_cap) // fill)
        if exposure_cap > 0:
            quantity = min(quantity, share_of(max(cash, np.int64(0)), exposure_cap) // fill)
        quantity, fee = affordable_and_fee(
            quantity, fill, cash // 100 * leverage + cash % 100 * leverage // 100, rates, row, way, lot, 0
        )
        if quantity < 1:
            counters[C_NO_MONEY] += 1
            continue
        counters[C_TAKEN] += 1
        value = quantity * fill
        while day < daily.size and day_ends[day] < entered:
            daily[day] = cash
            day += 1
        cash -= side * value + fee * 100
        units_held = side * quantity

        # Until when, if no level is reached before.
        decided = last + 1  # the open that an exit decided at the close before is filled at
        reason = 0
        if max_bars > 0 and entered + max_bars <= last:
            decided, reason = entered + max_bars, TIME
        outs = events[2] if side > 0 else events[3]
        if side > 0:
            at_long_out = _next(outs, counts[2], at_long_out, entered)
            if at_long_out < counts[2] and outs[at_long_out] + 1 <= min(decided, last):
                decided, reason = outs[at_long_out] + 1, RULE
        else:
            at_short_out = _next(outs, counts[3], at_short_out, entered)
            if at_short_out < counts[3] and outs[at_short_out] + 1 <= min(decided, last):
                decided, reason = outs[at_short_out] + 1, RULE
        forced = leaves[entered + 1] if entered < last else last + 1
        if forced < decided:
            decided, reason = forced, SQUARE_OFF
        ends = min(closes_day[entered], last)  # the bar that nothing outlives

        first_stop = stop
        ended = np.int64(-1)
        at = mark = np.int64(entered)
        out = np.int64(0)
        until, asked_until = min(decided - 1, ends), min(decided, ends) - 1
        best = fill
        trailed = False
        ruined = False
        opposite = shorts if side > 0 else longs
        others = counts[1] if side > 0 else counts[0]
        at_opposite, at_both = others, at_long
        if reverse:
            at_opposite = _next(opposite, others, at_short if side > 0 else at_long, entered)
        while True:
            turn = last + 1  # the close with an opposite signal
            if at_opposite < others:
                turn = opposite[at_opposite]
                if side > 0:
                    at_both = _next(longs, counts[0], at_both, turn)
                    if at_both < counts[0] and longs[at_both] == turn:  # both on one bar are a signal to buy
                        at_opposite += 1
                        continue
            ended, at, stop, best, trailed = _reached(
                high, low, price_ranges, at, min(until, turn), side, stop, target, trail, trail_after, fill, best,
                trailed, tick,
            )  # fmt: skip
            if ended >= 0 or turn > asked_until:
                break
            worst, worst_peak, worst_at, worst_from, peak, mark = _marked_to(
                close, price_ranges, mark, turn + 1, units_held, cash, worst, worst_peak, worst_at, worst_from, peak
            )
            ruined = mark <= turn
            if mark < turn:
                break
            at_opposite += 1
            counters[C_SIGNALS] += 1
            next_price = up_to(close[turn], tick) if side > 0 else down_to(close[turn], tick)
            next_stop, next_target, sound = levels(
                -side, next_price, tick, terms[X_STOP_KIND], terms[X_STOP_VALUE], terms[X_TARGET_KIND],
                terms[X_TARGET_VALUE], pool[range_row, skip + turn] if range_row >= 0 else np.nan,
                pool[asked_row, skip + turn] if asked_row >= 0 else np.nan, np.nan,
            )  # fmt: skip
            if not sound or next_price <= 0:
                counters[C_NO_LEVEL] += 1
            if ruined:
                break
            if not sound or next_price <= 0:
                continue
            decided, reason = turn + 1, REVERSAL
            turning = 1
            break

        if ended >= 0:
            opened = open_[ended]
            bottom, top = low[ended], high[ended]
            if stop > 0 and (bottom <= stop if side > 0 else top >= stop):
                reason = TRAILING if trailed else STOP
                out = market_fill(stop_price(stop, -side, opened), -side, slippage, tick)
            else:
                reason = TARGET
                out = target_price(target, -side, opened)
        elif decided <= ends:
            ended = decided
            out = market_fill(open_[ended], -side, slippage, tick)
        elif ends == last:
            ended, reason = ends, END
            out = market_fill(open_[ended], -side, slippage, tick)
        else:
            ended, reason = ends, SQUARE_OFF
            out = market_fill(close[ended], -side, slippage, tick)
        if not ruined:
            worst, worst_peak, worst_at, worst_from, peak, mark = _marked_to(
                close, price_ranges, mark, ended, units_held, cash, worst, worst_peak, worst_at, worst_from, peak
            )
            ruined = mark < ended
        if ruined:  # nothing is left to trade with: closed at this close
            ended, reason = mark, RUIN
            out = close[mark]
            turning = 0
        paid = units_held * out
        fee_out = order_charges((abs(paid) + 50) // 100, rates, rate_of_bar[ended], 1 - way)
        while day < daily.size and day_ends[day] < ended:
            daily[day] = cash + units_held * close[day_ends[day]]
            day += 1
        cash += paid - fee_out * 100
        profit = units_held * (out - fill) - (fee + fee_out) * 100
        charged += fee + fee_out
        if profit > 0:
            wins += 1
            gained += profit
        else:
            lost -= profit
        held_bars += ended + 1 - max(entered, counted_to + 1)  # type: ignore[operator]  # whole numbers, compiled
        counted_to = ended  # type: ignore[assignment]
        if keep:
            seen = ended + 1 if reason == RUIN or (reason == SQUARE_OFF and ended == ends and decided > ends) else ended
            row_out = trades[count]
            _write(row_out, side, signal, entered, ended, fill, out, quantity, fee, fee_out, profit, reason)
            row_out[T_STOP], row_out[T_TARGET] = first_stop, target
            _extremes(row_out, high, low, entered, seen, side)
        count += 1
        bar = ended
        if ruined:
            counters[C_RUIN] = 1
            worst, worst_peak, worst_at, worst_from, peak = _settled(
                cash, worst, worst_peak, worst_at, worst_from, peak
            )
            break
        if turning != 0:  # turned at this open: the next position stands at this bar's close
            signal, price, stop, target, side = turn, next_price, next_stop, next_target, -side
    while day < daily.size:
        daily[day] = cash
        day += 1
    sums[S_TRADES], sums[S_WINS], sums[S_CASH] = count, wins, cash
    sums[S_WORST], sums[S_DRAWDOWN] = worst_from, worst_at - worst_from
    sums[S_CHARGES], sums[S_BARS_HELD], sums[S_GAINED], sums[S_LOST] = charged, held_bars, gained, lost
    return count


@bare
def _reached(high, low, price_ranges, at, search, side, stop, target, trail, trail_after, fill, best, trailed, tick):
    """The first bar from `at` to `search` that touches a level, -1 if none; how far the search and the trail came."""
    if trail == 0:
        if stop == 0 and target == 0:
            return -1, max(at, search + 1), stop, best, trailed
        floor_ = stop if side > 0 else target
        roof = target if side > 0 else stop
        if roof == 0:
            roof = np.int64(9_223_372_036_854_775_807)
        while at <= search:
            if at & (BLOCK - 1) == 0:
                block, top = at // BLOCK, search // BLOCK
                while block <= top and price_ranges[0, block] > floor_ and price_ranges[1, block] < roof:
                    block += 1
                at = block * BLOCK
                if at > search:
                    break
            end = min(search, at | (BLOCK - 1))
            while at <= end:
                if low[at] <= floor_ or high[at] >= roof:
                    return at, at, stop, best, trailed
                at += 1
        return -1, max(at, search + 1), stop, best, trailed
    while at <= search:
        top_price, bottom = high[at], low[at]
        if side > 0:
            if (stop > 0 and bottom <= stop) or (target > 0 and top_price >= target):
                return at, at, stop, best, trailed
            best = max(best, top_price)
        else:
            if (stop > 0 and top_price >= stop) or (target > 0 and bottom <= target):
                return at, at, stop, best, trailed
            best = min(best, bottom)
        if (best - fill) * side * 100_000_000 >= fill * trail_after:
            away = best * (100_000_000 - side * trail)
            step = 100_000_000 * tick
            moved = (away // step if side > 0 else -(-away // step)) * tick
            if moved > 0 and (stop == 0 or (moved - stop) * side > 0):
                stop = moved
                trailed = True
        at += 1
    return -1, at, stop, best, trailed


@bare
def _marked_to(close, price_ranges, mark, end, held, cash, worst, worst_peak, worst_at, worst_from, peak):
    """Equity at the closes from `mark` to before `end`: peak and worst drawdown so far, and the bar that was reached.
    That is `end`, unless everything was lost at the close of an earlier bar."""
    while mark < end:
        if mark & (BLOCK - 1) == 0 and mark + BLOCK <= end:
            block = mark // BLOCK
            lowest, highest = price_ranges[2, block], price_ranges[3, block]
            if held < 0:
                lowest, highest = highest, lowest
            under, over = cash + held * lowest, max(peak, cash + held * highest)
            if under > 0 and under * worst_peak >= worst * over:
                peak = over
                mark += BLOCK
                continue
        until = min(end, (mark | (BLOCK - 1)) + 1)
        while mark < until:
            now = cash + held * close[mark]
            worst, worst_peak, worst_at, worst_from, peak = _settled(now, worst, worst_peak, worst_at, worst_from, peak)
            if now <= 0:
                return worst, worst_peak, worst_at, worst_from, peak, mark
            mark += 1
    return worst, worst_peak, worst_at, worst_from, peak, mark


@bare
def _settled(now, worst, worst_peak, worst_at, worst_from, peak):
    if now >= peak:
        return worst, worst_peak, worst_at, worst_from, now
    if peak > 0 and now * worst_peak < worst * peak:
        return float(now), float(peak), now, peak, peak
    return worst, worst_peak, worst_at, worst_from, peak


@bare
def _write(row, side, signal, entered, ended, fill, out, quantity, fee, fee_out, profit, reason):
    row[T_SYMBOL], row[T_SIDE], row[T_SIGNAL_BAR], row[T_ENTRY_BAR], row[T_EXIT_BAR] = 0, side, signal, entered, ended
    row[T_ENTRY], row[T_EXIT], row[T_QUANTITY], row[T_CHARGES_IN], row[T_CHARGES_OUT] = (
        fill,
        out,
        quantity,
        fee,
        fee_out,
    )
    row[T_PNL], row[T_REASON], row[T_INCOME] = profit, reason, 0


@bare
def _extremes(row, high, low, entered, seen, side):
    """Best and worst price of a trade: its fills, and the bars it was held through."""
    highest, lowest = max(row[T_ENTRY], row[T_EXIT]), min(row[T_ENTRY], row[T_EXIT])
    for bar in range(entered, seen):
        highest, lowest = max(highest, high[bar]), min(lowest, low[bar])
    row[T_BEST], row[T_WORST] = (highest, lowest) if side > 0 else (lowest, highest)


@bare
def of_days(daily, sums):
    """Moments of the daily returns; no days where a day ended with nothing."""
    days = daily.size - 1
    sums[S_DAYS] = 0
    if days < 2:
        return
    for day in range(days):
        if daily[day] <= 0:
            return
    total = squares = down = 0.0
    for day in range(days):
        change = daily[day + 1] / daily[day] - 1.0
        total += change
        fall = min(change, 0.0)
        down += fall * fall
    mean = total / days
    third = fourth = 0.0
    for day in range(days):
        away = daily[day + 1] / daily[day] - 1.0 - mean
        square = away * away
        squares += square
        third += square * away
        fourth += square * square
    sums[S_DAYS], sums[S_MEAN], sums[S_SPREAD], sums[S_DOWN] = days, mean, squares / (days - 1), down / days
    sums[S_GROWTH] = daily[days] / daily[0]
    if squares > 0.0:
        variance = squares / days
        sums[S_SKEW], sums[S_KURTOSIS] = third / days / variance**1.5, fourth / days / variance**2


@kernel
def of_run(trades, equity, day_ends, sums):
    """The same sums of what the event loop wrote: int64[trades, 16], int64[bars]."""
    peak = equity[0]
    worst, worst_peak = 1.0, 1.0
    worst_at, worst_from = np.int64(1), np.int64(1)
    for bar in range(equity.size):
        worst, worst_peak, worst_at, worst_from, peak = _settled(
            equity[bar], worst, worst_peak, worst_at, worst_from, peak
        )
    held = np.zeros(equity.size, np.bool_)
    sums[S_TRADES], sums[S_CASH] = trades.shape[0], equity[equity.size - 1]
    sums[S_WORST], sums[S_DRAWDOWN] = worst_from, worst_at - worst_from
    for row in range(trades.shape[0]):
        profit = trades[row, T_PNL]
        sums[S_CHARGES] += trades[row, T_CHARGES_IN] + trades[row, T_CHARGES_OUT]
        sums[S_WINS] += 1 if profit > 0 else 0
        sums[S_GAINED] += max(profit, 0)
        sums[S_LOST] -= min(profit, 0)
        held[trades[row, T_ENTRY_BAR] : trades[row, T_EXIT_BAR] + 1] = True
    sums[S_BARS_HELD] = np.count_nonzero(held)
    daily = np.empty(day_ends.size, np.int64)
    for day in range(day_ends.size):
        daily[day] = equity[day_ends[day]]
    of_days(daily, sums)
