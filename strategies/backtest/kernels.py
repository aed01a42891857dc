"""The event loop: many symbols, one account, one bar after another.

Within a bar, in this order:

1. the open: what was decided at the last close is filled, exits before entries, so that an exit frees its slot and its
   money; a stop the bar opened beyond is out here too; what must not stay past the square-off leaves;
2. entries, best score first, while slots and money last;
3. inside the bar: stop, then target (see `trading.venue.matching`);
4. the close: positions are marked, trailing stops moved by bars that are over, and the rules decided for the next open.

Money is in whole ten-thousandths of a rupee (int64), charges in whole paise: cash adds up exactly. The last bar closes
what is still held at its own open: the last price at which an order decided before it could be filled. An entry that
waited for that open is filled and closed there at the same price. What the rules say on the last bar comes too late,
unless the run is to end as the published results of other engines do (`late_orders`): there an order decided on the
last bar is filled at the open of that same bar, is valued at its close, and is no trade. That is one fill with
hindsight; it is counted, and results that have one say so.

The buffers for trades and equity belong to the caller and are as large as they can ever need to be; a buffer that grew
inside the loop would make every bar several times slower.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from strategies.backtest.charges import order_charges
from trading.venue.matching import (
    kernel,
    market_fill,
    stop_is_hit,
    stop_price,
    target_is_hit,
    target_price,
    units,
)

# Why a position ended.
RULE, STOP, TARGET, TRAILING, TIME, SQUARE_OFF, REVERSAL, END, RUIN = range(1, 10)
# How a level is measured.
NO_LEVEL, BY_PERCENT, BY_ATR, BY_PRICE, BY_RISK = range(5)
# How much is bought.
ALL_IN, FIXED, PERCENT_EQUITY, RISK_PER_TRADE = range(4)

# Columns of a trade.
(T_SYMBOL, T_SIDE, T_SIGNAL_BAR, T_ENTRY_BAR, T_EXIT_BAR, T_ENTRY, T_EXIT, T_QUANTITY, T_CHARGES_IN, T_CHARGES_OUT,
 T_PNL, T_REASON, T_STOP, T_TARGET, T_BEST, T_WORST) = range(16)  # fmt: skip
TRADE_COLUMNS: Final = 16

# What became of the signals.
C_SIGNALS, C_TAKEN, C_NO_SLOT, C_OUT_OF_HOURS, C_NO_MONEY, C_NO_BAR, C_NO_LEVEL, C_RUIN, C_LATE = range(9)
COUNTERS: Final = 9

# Columns of what is held in a symbol, and of the order that waits for its next open.
(H_QUANTITY, H_ENTRY, H_ENTRY_BAR, H_SIGNAL_BAR, H_STOP, H_TARGET, H_FIRST_STOP, H_BEST, H_WORST, H_FEE, H_EXIT,
 H_TRAILED, H_MARK, W_SIDE, W_BAR, W_PRICE, W_STOP, W_TARGET, H_ENDED) = range(19)  # fmt: skip
_HELD: Final = 19

# Terms of a run: whole numbers, one vector of them. Money in ten-thousandths of a rupee; caps in millionths of equity
# (0: none); trailing in millionths of a percent of the best price and of the entry (0: none); 0 bars: no limit.
(X_CASH, X_SIZING, X_SIZE, X_LEVERAGE, X_SLOTS, X_SLIPPAGE, X_REVERSE, X_LATE_ORDERS, X_POSITION_CAP, X_EXPOSURE_CAP,
 X_ORDER_CAP, X_STOP_KIND, X_STOP_VALUE, X_TARGET_KIND, X_TARGET_VALUE, X_TRAIL, X_TRAIL_AFTER,
 X_MAX_BARS) = range(18)  # fmt: skip
TERMS: Final = 18

LARGEST_ORDER: Final = 10**16  # a lakh crore rupees: beyond any market, and far from the end of 64 bits


@kernel
def _floor_of(x):
    """The whole number at or below; what misses one by no more than the rounding of a float is that number."""
    near = np.floor(x + 0.5)
    return np.int64(near) if abs(x - near) < 1e-14 * max(1.0, abs(x)) else np.int64(np.floor(x))


@kernel
def _ceil_of(x):
    return -_floor_of(-x)


@kernel
def reference_price(close, side, tick):
    """The signal's price: the close on the passive side of its tick."""
    whole = units(close)
    return whole // tick * tick if side > 0 else -(-whole // tick) * tick


@kernel
def levels(side, price, tick, stop_kind, stop_value, target_kind, target_value, average_range, asked_stop):
    """Stop and target around a signal's price, and whether both make sense: the arithmetic of `stop_and_target`.

    Prices in ten-thousandths of a rupee; values in millionths of a percent, of a multiple or of R; `average_range` and
    `asked_stop` float rupees. A level that is not asked for is 0.
    """
    stop = np.int64(0)
    target = np.int64(0)
    if stop_kind == BY_PERCENT:
        exact = price * (100_000_000 - side * stop_value)
        step = 100_000_000 * tick
        stop = (exact // step if side > 0 else -(-exact // step)) * tick
    elif stop_kind != NO_LEVEL:
        raw = asked_stop if stop_kind == BY_PRICE else average_range
        if not np.isfinite(raw) or raw <= 0.0:
            return stop, target, False
        if stop_kind == BY_ATR:
            raw = price / 10_000.0 - side * (stop_value / 1_000_000.0) * average_range
        in_ticks = raw * 10_000.0 / tick
        stop = (_floor_of(in_ticks) if side > 0 else _ceil_of(in_ticks)) * tick
    risk = (price - stop) * side
    if stop_kind != NO_LEVEL and (risk <= 0 or stop <= 0):
        return stop, target, False
    if target_kind == NO_LEVEL:
        return stop, target, True
    if target_kind == BY_ATR:
        if not np.isfinite(average_range) or average_range <= 0.0:
            return stop, target, False
        in_ticks = (price + side * (target_value / 1_000_000.0) * average_range * 10_000.0) / tick
        target = (_ceil_of(in_ticks) if side > 0 else _floor_of(in_ticks)) * tick
    else:
        if target_kind == BY_PERCENT:
            exact = price * (100_000_000 + side * target_value)
            step = 100_000_000 * tick
        else:
            exact = price * 1_000_000 + side * risk * target_value
            step = 1_000_000 * tick
        target = (-(-exact // step) if side > 0 else exact // step) * tick
    return stop, target, target > 0


@kernel
def share_of(amount, share):
    """`share` millionths of an amount, rounded down, within 64 bits."""
    return amount // 1_000_000 * share + amount % 1_000_000 * share // 1_000_000


@kernel
def wanted_quantity(kind, value, equity, slots, leverage, fill, price, stop, lot):
    """Units a signal asks for, in whole lots, before money is counted.

    `value`: units, or millionths of the share of equity; `leverage` in hundredths. `all_in` spends an even share of
    equity (with one slot all of it but the last ten-thousandth of a rupee) at the price of the fill; the others are
    sized at the signal's price, when the order was written.
    """
    if equity <= 0:
        return np.int64(0)
    quantity = np.int64(0)
    if kind == ALL_IN:
        power = (equity // 100 * leverage + equity % 100 * leverage // 100) // slots
        quantity = (power - 1) // fill
    elif kind == FIXED:
        quantity = value
    elif kind == PERCENT_EQUITY:
        quantity = share_of(equity, value) // price
    elif stop > 0 and stop != price:
        quantity = share_of(equity, value) // abs(price - stop)
    return quantity // lot * lot


@kernel
def affordable(quantity, fill, free, rates, lot):
    """The most of `quantity` that `free` money pays for, charges included, in whole lots."""
    quantity = min(quantity, max(free, np.int64(0)) // fill) // lot * lot
    while quantity > 0:
        cost = quantity * fill
        over = cost + order_charges((cost + 50) // 100, rates) * 100 - free
        if over <= 0:
            break
        quantity = (quantity - -(-over // fill)) // lot * lot
    return max(quantity, np.int64(0))


@kernel
def _close(symbol, bar, price, reason, held, rates, in_force, trades, count):
    """Write the trade down; what the exit pays into the account."""
    quantity = held[symbol, H_QUANTITY]
    side = 1 if quantity > 0 else -1
    value = quantity * price
    charges = order_charges((abs(value) + 50) // 100, rates[in_force, 1 if side > 0 else 0])
    row = trades[count]
    row[T_SYMBOL] = symbol
    row[T_SIDE] = side
    row[T_SIGNAL_BAR] = held[symbol, H_SIGNAL_BAR]
    row[T_ENTRY_BAR] = held[symbol, H_ENTRY_BAR]
    row[T_EXIT_BAR] = bar
    row[T_ENTRY] = held[symbol, H_ENTRY]
    row[T_EXIT] = price
    row[T_QUANTITY] = abs(quantity)
    row[T_CHARGES_IN] = held[symbol, H_FEE]
    row[T_CHARGES_OUT] = charges
    row[T_PNL] = quantity * (price - held[symbol, H_ENTRY]) - (held[symbol, H_FEE] + charges) * 100
    row[T_REASON] = reason
    row[T_STOP] = held[symbol, H_FIRST_STOP]
    row[T_TARGET] = held[symbol, H_TARGET]
    best, worst = held[symbol, H_BEST], held[symbol, H_WORST]
    row[T_BEST] = max(best, price) if side > 0 else min(best, price)
    row[T_WORST] = min(worst, price) if side > 0 else max(worst, price)
    held[symbol, H_QUANTITY] = 0
    held[symbol, H_EXIT] = 0
    return value - charges * 100


@kernel
def simulate(
    open_, high, low, close,  # float64[symbols, bars], rupees; NaN: no such bar
    long_in, short_in, long_out, short_out,  # bool[symbols, bars]; the two exits may be bool[0, 0]
    score, ranges, asked_stop,  # float64[symbols, bars] or float64[0, 0]
    may_enter, must_leave, day_ends,  # bool[bars]: fills of entries allowed, square-off at the open, nothing stays
    rate_of_bar, rates,  # int64[bars], int64[rows, buy and sell, 7]
    tick, lot,  # int64[symbols]: ten-thousandths of a rupee, units
    terms,  # int64[TERMS]: money, sizing, levels and limits
    trades, equity, counters,  # int64[enough, 16], int64[bars], int64[9], written here
):  # fmt: skip
    """Run the account over all bars. Gives the number of trades and the cash at the end."""
    symbols, bars = close.shape
    cash = terms[X_CASH]
    sizing, size, leverage, slots = terms[X_SIZING], terms[X_SIZE], terms[X_LEVERAGE], terms[X_SLOTS]
    slippage, reverse, late_orders = terms[X_SLIPPAGE], terms[X_REVERSE] != 0, terms[X_LATE_ORDERS] != 0
    position_cap, exposure_cap, order_cap = terms[X_POSITION_CAP], terms[X_EXPOSURE_CAP], terms[X_ORDER_CAP]
    stop_kind, stop_value = terms[X_STOP_KIND], terms[X_STOP_VALUE]
    target_kind, target_value = terms[X_TARGET_KIND], terms[X_TARGET_VALUE]
    trail, trail_after, max_bars = terms[X_TRAIL], terms[X_TRAIL_AFTER], terms[X_MAX_BARS]
    held = np.zeros((symbols, _HELD), np.int64)
    count = 0
    positions = 0
    waiting = 0
    scored = score.size > 0
    for bar in range(bars):
        in_force = rate_of_bar[bar]
        last = bar == bars - 1

        if positions > 0:
            for s in range(symbols):
                quantity = held[s, H_QUANTITY]
                if quantity == 0 or not np.isfinite(open_[s, bar]):
                    continue
                sign = -1 if quantity > 0 else 1
                at = units(open_[s, bar])
                reason = held[s, H_EXIT]
                if reason == 0 and must_leave[bar]:
                    reason = SQUARE_OFF
                stop = held[s, H_STOP]
                if reason == 0 and stop > 0 and (at <= stop if sign < 0 else at >= stop):
                    reason = TRAILING if held[s, H_TRAILED] else STOP
                if reason != 0:
                    price = market_fill(at, sign, slippage, tick[s])
                    cash += _close(s, bar, price, reason, held, rates, in_force, trades, count)
                    count += 1
                    positions -= 1

        if waiting > 0:
            worth = cash
            gross = np.int64(0)
            for s in range(symbols):
                if held[s, H_QUANTITY] != 0:
                    mark = units(open_[s, bar]) if np.isfinite(open_[s, bar]) else held[s, H_MARK]
                    worth += held[s, H_QUANTITY] * mark
                    gross += abs(held[s, H_QUANTITY]) * mark
            while waiting > 0:
                s = -1
                for one in range(symbols):
                    if held[one, W_SIDE] != 0 and (
                        s < 0 or (scored and score[one, held[one, W_BAR]] > score[s, held[s, W_BAR]])
                    ):
                        s = one
                side = held[s, W_SIDE]
                held[s, W_SIDE] = 0
                waiting -= 1
                if not np.isfinite(open_[s, bar]) or open_[s, bar] <= 0.0:
                    counters[C_NO_BAR] += 1
                    continue
                if not may_enter[bar]:
                    counters[C_OUT_OF_HOURS] += 1
                    continue
                if positions >= slots:
                    counters[C_NO_SLOT] += 1
                    continue
                fill = market_fill(units(open_[s, bar]), side, slippage, tick[s])
                fees = rates[in_force, 0 if side > 0 else 1]
                free = worth // 100 * leverage + worth % 100 * leverage // 100 - gross
                quantity = wanted_quantity(
                    sizing, size, worth, slots, leverage, fill, held[s, W_PRICE], held[s, W_STOP], lot[s]
                )
                quantity = min(quantity, order_cap // fill)
                if position_cap > 0:
                    quantity = min(quantity, share_of(max(worth, np.int64(0)), position_cap) // fill)
                if exposure_cap > 0:
                    room = share_of(max(worth, np.int64(0)), exposure_cap) - gross
                    quantity = min(quantity, max(room, np.int64(0)) // fill)
                quantity = affordable(quantity, fill, free, fees, lot[s])
                if quantity < 1:
                    counters[C_NO_MONEY] += 1
                    continue
                value = quantity * fill
                fee = order_charges((value + 50) // 100, fees)
                cash -= side * value + fee * 100
                worth -= fee * 100
                gross += value
                held[s, H_QUANTITY] = side * quantity
                held[s, H_ENTRY] = fill
                held[s, H_ENTRY_BAR] = bar
                held[s, H_SIGNAL_BAR] = held[s, W_BAR]
                held[s, H_STOP] = held[s, W_STOP]
                held[s, H_FIRST_STOP] = held[s, W_STOP]
                held[s, H_TARGET] = held[s, W_TARGET]
                held[s, H_BEST] = fill
                held[s, H_WORST] = fill
                held[s, H_FEE] = fee
                held[s, H_EXIT] = 0
                held[s, H_TRAILED] = 0
                held[s, H_MARK] = fill
                positions += 1
                counters[C_TAKEN] += 1

        if positions > 0:
            for s in range(symbols):
                quantity = held[s, H_QUANTITY]
                if quantity == 0 or not np.isfinite(close[s, bar]):
                    continue
                sign = -1 if quantity > 0 else 1
                top, bottom = units(high[s, bar]), units(low[s, bar])
                price = np.int64(0)
                reason = np.int64(0)
                stop = held[s, H_STOP]
                target = held[s, H_TARGET]
                if stop > 0 and stop_is_hit(stop, sign, top, bottom):
                    price = market_fill(stop_price(stop, sign, units(open_[s, bar])), sign, slippage, tick[s])
                    reason = TRAILING if held[s, H_TRAILED] else STOP
                elif target > 0 and target_is_hit(target, sign, top, bottom):
                    price = target_price(target, sign, units(open_[s, bar]))
                    reason = TARGET
                elif last:
                    price = market_fill(units(open_[s, bar]), sign, slippage, tick[s])
                    reason = END
                elif day_ends[bar]:
                    price = market_fill(units(close[s, bar]), sign, slippage, tick[s])
                    reason = SQUARE_OFF
                if reason == 0 or reason == SQUARE_OFF:
                    if sign < 0:
                        held[s, H_BEST] = max(held[s, H_BEST], top)
                        held[s, H_WORST] = min(held[s, H_WORST], bottom)
                    else:
                        held[s, H_BEST] = min(held[s, H_BEST], bottom)
                        held[s, H_WORST] = max(held[s, H_WORST], top)
                if reason != 0:
                    if reason == END:
                        held[s, H_ENDED] = -sign
                    cash += _close(s, bar, price, reason, held, rates, in_force, trades, count)
                    count += 1
                    positions -= 1
                    continue
                held[s, H_MARK] = units(close[s, bar])
                if trail > 0:
                    best, entry = held[s, H_BEST], held[s, H_ENTRY]
                    if (best - entry) * -sign * 100_000_000 >= entry * trail_after:
                        away = best * (100_000_000 + sign * trail)
                        step = 100_000_000 * tick[s]
                        moved = (away // step if sign < 0 else -(-away // step)) * tick[s]
                        if moved > 0 and (stop == 0 or (moved - stop) * -sign > 0):
                            held[s, H_STOP] = moved
                            held[s, H_TRAILED] = 1
                if max_bars > 0 and bar - held[s, H_ENTRY_BAR] + 1 >= max_bars:
                    held[s, H_EXIT] = TIME

            if last or day_ends[bar]:  # a symbol without this bar leaves at the last price it had
                for s in range(symbols):
                    if held[s, H_QUANTITY] != 0:
                        sign = -1 if held[s, H_QUANTITY] > 0 else 1
                        price = market_fill(held[s, H_MARK], sign, slippage, tick[s])
                        cash += _close(s, bar, price, END if last else SQUARE_OFF, held, rates, in_force, trades, count)
                        count += 1
                        positions -= 1

        if not last:
            for s in range(symbols):
                quantity = held[s, H_QUANTITY]
                side = 1 if long_in[s, bar] else (-1 if short_in[s, bar] else 0)
                if quantity != 0:
                    if quantity > 0:
                        out = long_out.size > 0 and long_out[s, bar]
                    else:
                        out = short_out.size > 0 and short_out[s, bar]
                    if out:
                        held[s, H_EXIT] = RULE
                    if not reverse or side == 0 or side * quantity > 0:
                        continue
                elif side == 0:
                    continue
                if not np.isfinite(close[s, bar]):
                    continue
                counters[C_SIGNALS] += 1
                price = reference_price(close[s, bar], side, tick[s])
                stop, target, sound = levels(
                    side, price, tick[s], stop_kind, stop_value, target_kind, target_value,
                    ranges[s, bar] if ranges.size > 0 else np.nan,
                    asked_stop[s, bar] if asked_stop.size > 0 else np.nan,
                )  # fmt: skip
                if not sound or price <= 0:
                    counters[C_NO_LEVEL] += 1
                    continue
                if quantity != 0:
                    held[s, H_EXIT] = REVERSAL
                held[s, W_SIDE] = side
                held[s, W_BAR] = bar
                held[s, W_PRICE] = price
                held[s, W_STOP] = stop
                held[s, W_TARGET] = target
                waiting += 1

        elif late_orders:
            worth = cash
            for s in range(symbols):
                side = 1 if long_in[s, bar] else (-1 if short_in[s, bar] else 0)
                ended = held[s, H_ENDED]
                if side == 0 or (ended != 0 and (not reverse or ended == side)) or positions >= slots:
                    continue
                if not np.isfinite(open_[s, bar]) or not np.isfinite(close[s, bar]):
                    continue
                price = reference_price(close[s, bar], side, tick[s])
                stop, target, sound = levels(
                    side, price, tick[s], stop_kind, stop_value, target_kind, target_value,
                    ranges[s, bar] if ranges.size > 0 else np.nan,
                    asked_stop[s, bar] if asked_stop.size > 0 else np.nan,
                )  # fmt: skip
                if not sound or price <= 0:
                    continue
                fill = market_fill(units(open_[s, bar]), side, slippage, tick[s])
                fees = rates[in_force, 0 if side > 0 else 1]
                gross = np.int64(0)
                for one in range(symbols):
                    gross += abs(held[one, H_QUANTITY]) * held[one, H_ENTRY]
                free = worth // 100 * leverage + worth % 100 * leverage // 100 - gross
                quantity = wanted_quantity(sizing, size, worth, slots, leverage, fill, price, stop, lot[s])
                quantity = affordable(min(quantity, order_cap // fill), fill, free, fees, lot[s])
                if quantity < 1:
                    continue
                cash -= side * quantity * fill + order_charges((quantity * fill + 50) // 100, fees) * 100
                held[s, H_QUANTITY] = side * quantity
                held[s, H_ENTRY] = fill
                held[s, H_MARK] = units(close[s, bar])
                positions += 1
                counters[C_LATE] += 1

        total = cash
        if positions > 0:
            for s in range(symbols):
                total += held[s, H_QUANTITY] * held[s, H_MARK]
        equity[bar] = total
        if total <= 0 and not last:  # nothing is left to trade with: everything is closed at this close
            for s in range(symbols):
                held[s, W_SIDE] = 0
                if held[s, H_QUANTITY] != 0:
                    cash += _close(s, bar, held[s, H_MARK], RUIN, held, rates, in_force, trades, count)
                    count += 1
            counters[C_RUIN] = 1
            equity[bar:] = cash
            break
    return count, cash
