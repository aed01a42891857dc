"""The words and the arithmetic of the event loop: columns, reasons, terms, levels, sizes, fills.

Money is in whole ten-thousandths of a rupee (int64), charges in whole paise: cash adds up exactly.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from strategies.backtest.charges import order_charges
from trading.venue.matching import bare, market_fill, units

# Why a position, or a part of it, ended.
RULE, STOP, TARGET, TRAILING, TIME, SQUARE_OFF, REVERSAL, END, RUIN, PARTIAL, LOCKED, HALTED = range(1, 13)
# How a level is measured.
NO_LEVEL, BY_PERCENT, BY_ATR, BY_PRICE, BY_RISK = range(5)
NO_LIMIT: Final = NO_LEVEL  # entries at the market
# How much is bought.
ALL_IN, FIXED, PERCENT_EQUITY, RISK_PER_TRADE, RUPEES, VOLATILITY = range(6)

# Columns of a trade. P&L = side × quantity × (exit - entry) + income - charges, exactly; income is dividends and what
# a corporate action rounds.
(T_SYMBOL, T_SIDE, T_SIGNAL_BAR, T_ENTRY_BAR, T_EXIT_BAR, T_ENTRY, T_EXIT, T_QUANTITY, T_CHARGES_IN, T_CHARGES_OUT,
 T_PNL, T_REASON, T_STOP, T_TARGET, T_BEST, T_WORST, T_INCOME) = range(17)  # fmt: skip
TRADE_COLUMNS: Final = 17

# What became of the signals.
(C_SIGNALS, C_TAKEN, C_NO_SLOT, C_OUT_OF_HOURS, C_NO_MONEY, C_NO_BAR, C_NO_LEVEL, C_RUIN, C_LATE, C_GATED, C_LOCKED,
 C_EXPIRED, C_HALTED) = range(13)  # fmt: skip
# Which gate refused, as the desk calls it: counted from C_BY_GATE on, 0 is none.
(R_RESTRICTED, R_STOP, R_COLLAR, R_DUPLICATE, R_COOLDOWN, R_STREAK, R_LOSS_HARD, R_LOSS, R_HALTED, R_DRAWDOWN, R_TRADES,
 R_GAP, R_SPREAD, R_VOLUME, R_CORRELATION, R_RISK, R_POSITION, R_OPTIONS, R_SECTOR, R_EXPOSURE_HARD, R_EXPOSURE,
 R_RESERVE, R_DAY_VALUE, R_ORDER_VALUE, R_ORDER_QUANTITY) = range(1, 26)  # fmt: skip
GATES: Final = (
    "", "RESTRICTED", "STOP_REQUIRED", "PRICE_COLLAR", "DUPLICATE", "COOLDOWN", "LOSS_STREAK", "DAILY_LOSS_HARD",
    "DAILY_LOSS", "DRAWDOWN_HALTED", "DRAWDOWN", "TRADES_PER_DAY", "OPENING_GAP", "LIQUIDITY_SPREAD",
    "LIQUIDITY_VOLUME", "CORRELATION", "RISK_PER_TRADE", "POSITION_SIZE", "OPTIONS_EXPOSURE", "SECTOR_EXPOSURE",
    "HARD_EXPOSURE", "TOTAL_EXPOSURE", "CASH_RESERVE", "DAY_VALUE", "ORDER_VALUE", "ORDER_QUANTITY",
)  # fmt: skip
C_BY_GATE: Final = 13  # as many a sweep counts
COUNTERS: Final = C_BY_GATE + len(GATES)

# What the past of a bar's market says against an entry, in bits: of the bar it is filled on, and of its signal's.
FORBIDDEN, GAPPED, WIDE, THIN = 1, 2, 4, 8
# What a symbol is: the number of its sector (-1: not known), and whether it is an option.
S_SECTOR, S_OPTION = range(2)
# What the gates remember of a symbol, epoch seconds: its last stop-out, and the last entry on either side.
M_STOPPED, M_BOUGHT, M_SOLD = range(3)
MEMORY: Final = 3

# Columns of what is held in a symbol, and of the order that waits for its next open.
MOST_RUNGS: Final = 3
(H_QUANTITY, H_ENTRY, H_ENTRY_BAR, H_SIGNAL_BAR, H_STOP, H_TARGET, H_FIRST_STOP, H_BEST, H_WORST, H_FEE, H_EXIT,
 H_TRAILED, H_MARK, W_SIDE, W_BAR, W_PRICE, W_STOP, W_TARGET, H_ENDED, H_INITIAL, H_INCOME, H_INSIDE, W_LIMIT, W_UNTIL,
 W_TURN, H_RUNGS) = range(26)  # fmt: skip
HELD: Final = H_RUNGS + MOST_RUNGS

# Columns of the account.
(A_CASH, A_POSITIONS, A_WAITING, A_COUNT, A_OVER, A_ACTION, A_DAY_EQUITY, A_LAST_EQUITY, A_PEAK, A_TRADES_TODAY,
 A_OPENED_TODAY, A_HALF, A_LOCKED, A_STATE, A_LOSSES, A_LAST_LOSS_S) = range(16)  # fmt: skip
ACCOUNT: Final = 16

# Terms of a run: whole numbers, one vector of them. Money in ten-thousandths of a rupee; caps, limits and shares in
# millionths (0: none; of what the gates go by NOT_ASKED is none, and 0 lets nothing in); trailing in millionths of a
# percent of the best price and of the entry, or of a multiple (0: none); spread in ticks; slippage, and impact for a
# tenth of the usual volume, in hundredths of a basis point.
(X_CASH, X_SIZING, X_SIZE, X_LEVERAGE, X_SLOTS, X_SLIPPAGE, X_REVERSE, X_LATE_ORDERS, X_POSITION_CAP, X_EXPOSURE_CAP,
 X_ORDER_CAP, X_STOP_KIND, X_STOP_VALUE, X_TARGET_KIND, X_TARGET_VALUE, X_TRAIL, X_TRAIL_AFTER, X_MAX_BARS, X_SPREAD,
 X_IMPACT, X_PARTICIPATION, X_TRAIL_KIND, X_LIMIT, X_LIMIT_VALUE, X_LIMIT_BARS, X_SAFE, X_GATED, X_TRADES_PER_DAY,
 X_COOLDOWN_S, X_STREAK, X_STREAK_PAUSE_S, X_LOSS_SOFT, X_LOSS_HARD, X_HALF_SHARE, X_FLATTEN, X_CAUTIOUS, X_DEFENSIVE,
 X_HALT, X_HYSTERESIS, X_DRAWDOWN_SIZE, X_HARD_EXPOSURE, X_CASH_RESERVE, X_DAY_VALUE,
 X_RISK_CAP, X_MOST_UNITS, X_DEFENSIVE_STOP, X_DUPLICATE_S, X_COLLAR, X_OPTION_COLLAR, X_ALIKE_HALF, X_ALIKE, X_SECTOR,
 X_OPTION_CAP, X_OPTIONS) = range(54)  # fmt: skip
TERMS: Final = 54
NOT_ASKED: Final = -1

LARGEST_ORDER: Final = 10**16  # a lakh crore rupees: beyond any market, and far from the end of 64 bits


@bare
def _floor_of(x):
    """The whole number at or below; what misses one by no more than the rounding of a float is that number."""
    near = np.floor(x + 0.5)
    return np.int64(near) if abs(x - near) < 1e-14 * max(1.0, abs(x)) else np.int64(np.floor(x))


@bare
def _ceil_of(x):
    return -_floor_of(-x)


@bare
def reference_price(close, side, tick):
    """The signal's price: the close on the passive side of its tick."""
    whole = units(close)
    return whole // tick * tick if side > 0 else -(-whole // tick) * tick


@bare
def levels(
    side, price, tick, stop_kind, stop_value, target_kind, target_value, average_range, asked_stop, asked_target
):
    """Stop and target around a signal's price, and whether both make sense: the arithmetic of `stop_and_target`.

    Prices in ten-thousandths of a rupee; values in millionths of a percent, of a multiple or of R; `average_range`,
    `asked_stop` and `asked_target` float rupees. A level that is not asked for is 0.
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
    elif target_kind == BY_PRICE:
        if not np.isfinite(asked_target) or asked_target <= 0.0:
            return stop, target, False
        in_ticks = asked_target * 10_000.0 / tick
        target = (_ceil_of(in_ticks) if side > 0 else _floor_of(in_ticks)) * tick
        return stop, target, (target - price) * side > 0
    else:
        if target_kind == BY_PERCENT:
            exact = price * (100_000_000 + side * target_value)
            step = 100_000_000 * tick
        else:
            exact = price * 1_000_000 + side * risk * target_value
            step = 1_000_000 * tick
        target = (-(-exact // step) if side > 0 else exact // step) * tick
    return stop, target, target > 0


@bare
def share_of(amount, share):
    """`share` millionths of an amount, rounded down, within 64 bits."""
    return amount // 1_000_000 * share + amount % 1_000_000 * share // 1_000_000


@bare
def in_lots(quantity, lot):
    """Whole lots of a quantity that is not negative. A division takes as long as ten sums: none for a lot of one."""
    return quantity if lot == 1 else quantity // lot * lot


@bare
def capped(quantity, price, most):
    """No more than `most` money buys at a price; only what comes near is divided."""
    return quantity if float(quantity) * price < (1.0 - 1e-12) * most else min(quantity, most // price)


@bare
def wanted_quantity(kind, value, equity, slots, leverage, fill, price, stop, lot):
    """Units a signal asks for, in whole lots, before money is counted.

    `value`: units, money, or millionths of the share of equity; `leverage` in hundredths. `all_in` spends an even share
    of equity (with one slot all of it but the last ten-thousandth of a rupee) at the price of the fill; the others are
    sized at the signal's price, when the order was written.
    """
    if equity <= 0:
        return np.int64(0)
    quantity = np.int64(0)
    if kind == ALL_IN:
        power = equity if leverage == 100 else equity // 100 * leverage + equity % 100 * leverage // 100
        quantity = ((power if slots == 1 else power // slots) - 1) // fill
    elif kind == FIXED:
        quantity = value
    elif kind == RUPEES:
        quantity = value // price
    elif kind in (PERCENT_EQUITY, VOLATILITY):
        quantity = share_of(equity, value) // price
    elif stop > 0 and stop != price:
        quantity = share_of(equity, value) // abs(price - stop)
    return in_lots(quantity, lot)


@bare
def fees_of(quantity, price, rates, row, way, lot, freeze):
    """Charges of an order in whole paise. The exchange takes at most `freeze` units at once (0: any number); what is
    more is cut as the desk cuts it, and every piece is an order with its own brokerage."""
    value = quantity * price
    if freeze <= 0 or quantity <= freeze:
        return order_charges((value + 50) // 100, rates, row, way)
    piece = max(freeze // lot * lot, lot)
    pieces, rest = quantity // piece, quantity % piece
    total = pieces * order_charges((piece * price + 50) // 100, rates, row, way)
    return total + order_charges((rest * price + 50) // 100, rates, row, way) if rest > 0 else total


@bare
def affordable(quantity, fill, free, rates, row, way, lot, freeze):
    """The most of `quantity` that `free` money pays for, charges included, in whole lots."""
    return affordable_and_fee(quantity, fill, free, rates, row, way, lot, freeze)[0]


@bare
def affordable_and_fee(quantity, fill, free, rates, row, way, lot, freeze):
    """The same, and its charges in whole paise; 0 and 0 where nothing can be paid for."""
    quantity = in_lots(capped(quantity, fill, max(free, np.int64(0))), lot)
    while quantity > 0:
        fee = fees_of(quantity, fill, rates, row, way, lot, freeze)
        over = quantity * fill + fee * 100 - free
        if over <= 0:
            return quantity, fee
        quantity = in_lots(max(quantity - -(-over // fill), np.int64(0)), lot)
    return np.int64(0), np.int64(0)


@bare
def slipped(price, sign, slippage, spread, tick):
    """What an order at the market fills at: half the spread of so many ticks and the slippage against it."""
    if spread > 0:
        price += sign * -(-spread * tick // 2)
    return market_fill(max(price, tick) if sign < 0 else price, sign, slippage, tick)


@bare
def close_part(symbol, bar, price, reason, quantity, held, rates, in_force, freeze, lot, trades, count):
    """Write a trade down for `quantity` of what is held, with its share of the entry's charges; what it pays in."""
    all_of_it = abs(held[symbol, H_QUANTITY])
    side = 1 if held[symbol, H_QUANTITY] > 0 else -1
    value = side * quantity * price
    charges = fees_of(quantity, price, rates, in_force, 1 if side > 0 else 0, lot, freeze)
    fee, income = held[symbol, H_FEE], held[symbol, H_INCOME]
    if quantity < all_of_it:
        fee, income = fee * quantity // all_of_it, income * quantity // all_of_it
    row = trades[count]
    row[T_SYMBOL] = symbol
    row[T_SIDE] = side
    row[T_SIGNAL_BAR] = held[symbol, H_SIGNAL_BAR]
    row[T_ENTRY_BAR] = held[symbol, H_ENTRY_BAR]
    row[T_EXIT_BAR] = bar
    row[T_ENTRY] = held[symbol, H_ENTRY]
    row[T_EXIT] = price
    row[T_QUANTITY] = quantity
    row[T_CHARGES_IN] = fee
    row[T_CHARGES_OUT] = charges
    row[T_PNL] = side * quantity * (price - held[symbol, H_ENTRY]) + income - (fee + charges) * 100
    row[T_REASON] = reason
    row[T_STOP] = held[symbol, H_FIRST_STOP]
    row[T_TARGET] = held[symbol, H_TARGET]
    best, worst = held[symbol, H_BEST], held[symbol, H_WORST]
    row[T_BEST] = max(best, price) if side > 0 else min(best, price)
    row[T_WORST] = min(worst, price) if side > 0 else max(worst, price)
    row[T_INCOME] = income
    held[symbol, H_QUANTITY] -= side * quantity
    held[symbol, H_FEE] -= fee
    held[symbol, H_INCOME] -= income
    if quantity == all_of_it:
        held[symbol, H_EXIT] = 0
    return value - charges * 100
