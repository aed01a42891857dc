"""One account on one symbol: from the bar that fires to the fill, and from the fill to the bar that ends it.

The event loop looks at every bar; here only those are visited on which something happens. What lies between is skipped
by what is known of every block of sixteen bars: a block that reaches neither level ends no trade, and one that can
neither be a new peak nor the worst so far moves no drawdown. What is done at a bar is done by the event loop's own
functions, so the trades are the same rows, bit for bit.

Bars are counted from the first traded one.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from strategies.backtest.abreast import BLOCK, WHOLE, extremes, first_of, soon, touched
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
    capped,
    levels,
    share_of,
    wanted_quantity,
)
from trading.venue.matching import bare, down_to, kernel, market_fill, stop_price, target_price, up_to

# What a combination comes to.
(S_TRADES, S_WINS, S_CASH, S_WORST, S_DRAWDOWN, S_CHARGES, S_BARS_HELD, S_GAINED, S_LOST, S_MEAN, S_SPREAD, S_DOWN,
 S_SKEW, S_KURTOSIS, S_GROWTH, S_DAYS) = range(16)  # fmt: skip
SUMS: Final = 16


class Ground(NamedTuple):
    """The market under a plan, once for all its combinations: one symbol, every price known.

    `prices` int64[4, blocks × 16], ten-thousandths of a rupee: open, high, low and close of the traded bars, the last
    repeated. `ranges` int64[4, blocks]: lowest low, highest high, lowest and highest close. `may_enter` bool[bars];
    `leaves` and `closes_day` int64[bars]: the first bar from here on at whose open, and at whose close, nothing may
    stay; all three are empty where there are no hours. `day_ends` and `day_closes` int64[days]: the last bar of each
    day, and its close. `rate_of_bar` int16[bars], row of `rates`. `tick` in ten-thousandths of a rupee.
    """

    prices: NDArray[np.int64]
    ranges: NDArray[np.int64]
    bars: int
    may_enter: NDArray[np.bool_]
    leaves: NDArray[np.int64]
    closes_day: NDArray[np.int64]
    day_ends: NDArray[np.int64]
    day_closes: NDArray[np.int64]
    rate_of_bar: NDArray[np.int16]
    rates: NDArray[np.int64]
    tick: int
    lot: int


@kernel
def whole_prices(prices, whole, ranges):
    """Float rupees, float64[4, bars], as whole ten-thousandths, and the ranges of their blocks: see `Ground`."""
    bars = prices.shape[1]
    for row in range(4):
        for bar in range(bars):
            whole[row, bar] = np.int64(np.floor(prices[row, bar] * 10_000.0 + 0.5))
        whole[row, bars:] = whole[row, bars - 1]
    high, low, close = whole[1], whole[2], whole[3]
    for block in range(ranges.shape[1]):
        first = block * BLOCK
        ranges[0, block], _ = extremes(low, first, 0, BLOCK)
        _, ranges[1, block] = extremes(high, first, 0, BLOCK)
        ranges[2, block], ranges[3, block] = extremes(close, first, 0, BLOCK)


@bare
def _next(events, count, at, bar):
    """The first event at or after a bar, by its place; `count` when there is none. Places only grow."""
    while at < count and events[at] < bar:
        at += 1
    return at


@bare
def walk(ground, pool, skip, range_row, asked_row, terms, events, counts, daily, sums, counters, trades):
    """One account from its first signal to its last exit; the number of its trades.

    `pool` float64[rows, skip + bars]: `range_row` and `asked_row` are those of the average range and of the price that
    a rule asks for as stop, -1 without. `events` int32[4, bars] and `counts` int64[4]: the bars on which a rule says to
    enter long and short, and to leave long and short. Written: `daily` int64[days], equity at the end of each (empty:
    not wanted), `sums` float64[SUMS], `counters`, and `trades` int64[enough, TRADE_COLUMNS] unless there are no rows.
    """
    prices, ranges, bars, may_enter, leaves, closes_day, day_ends, day_closes, rate_of_bar, rates, tick, lot = ground
    open_, high, low, close = prices[0], prices[1], prices[2], prices[3]
    last = bars - 1
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
            worst, worst_peak, worst_at, worst_from, peak = settled(cash, worst, worst_peak, worst_at, worst_from, peak)
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
        if may_enter.size > 0 and not may_enter[entered]:
            counters[C_OUT_OF_HOURS] += 1
            continue
        fill = market_fill(open_[entered], side, slippage, tick)
        row = rate_of_bar[entered]
        way = 0 if side > 0 else 1
        quantity = wanted_quantity(sizing, size, cash, slots, leverage, fill, price, stop, lot)
        quantity = capped(quantity, fill, terms[X_ORDER_CAP])
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
        if at_long + 1 < counts[0]:
            _comes_next(ground.prices, longs[at_long + 1])
        if at_short + 1 < counts[1]:
            _comes_next(ground.prices, shorts[at_short + 1])
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
        if leaves.size > 0 and entered < last and leaves[entered + 1] < decided:
            decided, reason = leaves[entered + 1], SQUARE_OFF
        if decided <= last:
            soon(open_, decided)
        ends = min(closes_day[entered], last) if closes_day.size > 0 else last  # the bar that nothing outlives

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
                high, low, ranges, at, min(until, turn), side, stop, target, trail, trail_after, fill, best,
                trailed, tick,
            )  # fmt: skip
            if ended >= 0 or turn > asked_until:
                break
            worst, worst_peak, worst_at, worst_from, peak, mark = _marked_to(
                close, ranges, mark, turn + 1, units_held, cash, worst, worst_peak, worst_at, worst_from, peak
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
                close, ranges, mark, ended, units_held, cash, worst, worst_peak, worst_at, worst_from, peak
            )
            ruined = mark < ended
        if ruined:  # nothing is left to trade with: closed at this close
            ended, reason = mark, RUIN
            out = close[mark]
            turning = 0
        paid = units_held * out
        fee_out = order_charges((abs(paid) + 50) // 100, rates, rate_of_bar[ended], 1 - way)
        while day < daily.size and day_ends[day] < ended:
            daily[day] = cash + units_held * day_closes[day]
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
            worst, worst_peak, worst_at, worst_from, peak = settled(cash, worst, worst_peak, worst_at, worst_from, peak)
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
def _comes_next(prices, bar):
    """Have the prices around a bar fetched: where they lie is known long before they are asked for."""
    first = bar // BLOCK * BLOCK
    soon(prices[0], first)
    soon(prices[1], first)
    soon(prices[2], first)
    soon(prices[3], first)


@bare
def _reached(high, low, ranges, at, search, side, stop, target, trail, trail_after, fill, best, trailed, tick):
    """The first bar from `at` to `search` that touches a level, -1 if none; how far the search and the trail came."""
    if trail == 0:
        if stop == 0 and target == 0:
            return -1, max(at, search + 1), stop, best, trailed
        floor_ = stop if side > 0 else target
        roof = target if side > 0 else stop
        if roof == 0:
            roof = np.int64(9_223_372_036_854_775_807)
        asked = WHOLE << (at & (BLOCK - 1))
        for block in range(at // BLOCK, search // BLOCK + 1):
            if ranges[0, block] <= floor_ or ranges[1, block] >= roof:
                hits = touched(low, high, block * BLOCK, floor_, roof) & asked
                if hits != 0:
                    hit = block * BLOCK + first_of(hits)
                    if hit <= search:
                        return hit, hit, stop, best, trailed
                    break
            asked = WHOLE
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
def _marked_to(close, ranges, mark, end, held, cash, worst, worst_peak, worst_at, worst_from, peak):
    """Equity at the closes from `mark` to before `end`: peak and worst drawdown so far, and the bar that was reached.
    That is `end`, unless everything was lost at the close of an earlier bar."""
    while mark < end:
        block = mark // BLOCK
        first = block * BLOCK
        until = min(end, first + BLOCK)
        part = mark > first or until < first + BLOCK
        lowest, highest = ranges[2, block], ranges[3, block]
        under, over = cash + held * lowest, cash + held * highest
        if held < 0:
            under, over = over, under
        if part and not (over <= peak and under > 0 and under * worst_peak >= worst * peak):
            lowest, highest = extremes(close, first, mark - first, until - first)
            under, over = cash + held * lowest, cash + held * highest
            if held < 0:
                under, over = over, under
        if under > 0 and under * worst_peak >= worst * max(peak, over):
            peak = max(peak, over)
            mark = until
        elif under > 0 and over <= peak:  # below the peak throughout: the lowest is the worst
            worst, worst_peak, worst_at, worst_from = float(under), float(peak), under, peak
            mark = until
        else:
            while mark < until:
                now = cash + held * close[mark]
                worst, worst_peak, worst_at, worst_from, peak = settled(
                    now, worst, worst_peak, worst_at, worst_from, peak
                )
                if now <= 0:
                    return worst, worst_peak, worst_at, worst_from, peak, mark
                mark += 1
    return worst, worst_peak, worst_at, worst_from, peak, mark


@bare
def settled(now, worst, worst_peak, worst_at, worst_from, peak):
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


@kernel
def one_walk(ground, pool, terms, events, counts, sums, counters, trades, equity):
    """A single run: the number of its trades. See `walk`.

    Row 0 of `pool` is the average range and row 1 the price of the stop, where there are any. `equity` int64[bars] is
    written at the closes.
    """
    no_days = np.empty(0, np.int64)
    rows = pool.shape[0]
    count = walk(
        ground, pool, 0, 0 if rows > 0 else -1, 1 if rows > 1 else -1, terms, events, counts, no_days, sums, counters,
        trades,
    )  # fmt: skip
    close = ground.prices[3]
    cash = terms[X_CASH]
    bar = 0
    for row in range(count):
        trade = trades[row]
        held = trade[T_SIDE] * trade[T_QUANTITY]
        entered, ended = trade[T_ENTRY_BAR], trade[T_EXIT_BAR]
        equity[bar:entered] = cash
        cash -= held * trade[T_ENTRY] + trade[T_CHARGES_IN] * 100
        for at in range(entered, ended):
            equity[at] = cash + held * close[at]
        cash += held * trade[T_EXIT] - trade[T_CHARGES_OUT] * 100
        bar = ended
    equity[bar:] = cash
    return count
