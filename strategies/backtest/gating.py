"""The house's gates, and what they remember, in whole numbers for the event loop.

The arithmetic is that of `risk.gates`, in its order and with its codes; a property feeds both one sequence of days and
compares verdict by verdict (`tests/property/test_risk_parity.py`). What the market's past says is measured before the
loop (`market_past`). What only a person may lift on the desk is lifted
here where the desk would allow it at the earliest: a daily lock with the next session. A halt after a drawdown stays.

Also the other arithmetic that only some plans need: impact, trailing by range, limit prices, corporate actions.
"""

from __future__ import annotations

import numpy as np

from risk.gates.concentration import CORRELATION_DAYS, LEAST_DAYS
from strategies.backtest import kernels as k
from strategies.backtest.kernels import share_of
from trading.venue.matching import bare, down_to, up_to
from trading.venue.matching import most_of_volume as most_of_volume

ONE = 1_000_000  # the whole, in millionths
OPTION_COLLAR = 50_000  # five rupees
NORMAL, CAUTIOUS, DEFENSIVE, STOPPED = range(4)


@bare
def opened(terms, account):
    """The account on its first morning."""
    cash = terms[k.X_CASH]
    account[k.A_CASH] = cash
    account[k.A_DAY_EQUITY] = account[k.A_LAST_EQUITY] = account[k.A_PEAK] = cash


@bare
def new_session(account):
    """A new exchange day: its own count, its own losses and their row, no lock."""
    account[k.A_DAY_EQUITY] = account[k.A_LAST_EQUITY]
    account[k.A_TRADES_TODAY] = account[k.A_OPENED_TODAY] = 0
    account[k.A_HALF] = account[k.A_LOCKED] = account[k.A_LOSSES] = 0


@bare
def _reaches(amount, base, share):
    """Whether an amount is at least `share` millionths of a base, exactly and within 64 bits."""
    return amount >= base // ONE * share + -(-(base % ONE * share) // ONE)


@bare
def _lost(terms, account, equity):
    """Latch what today's loss so far brings: half the size, then no entries."""
    day, soft = account[k.A_DAY_EQUITY], terms[k.X_LOSS_SOFT]
    loss = day - equity
    if loss <= 0 or day <= 0:
        return False
    if soft >= 0 and _reaches(loss, day, share_of(soft, terms[k.X_HALF_SHARE])):
        account[k.A_HALF] = 1
    if soft >= 0 and _reaches(loss, day, soft):
        account[k.A_LOCKED] = max(account[k.A_LOCKED], 1)
    if terms[k.X_LOSS_HARD] >= 0 and _reaches(loss, day, terms[k.X_LOSS_HARD]):
        account[k.A_LOCKED] = 2
    return account[k.A_LOCKED] == 2


@bare
def drawdown_state(terms, state, below, peak):
    """The next state of the account `below` its `peak`: a step is taken at once and left when well above it; a halt
    is never left."""
    if terms[k.X_HALT] >= 0 and (state == STOPPED or _reaches(below, peak, terms[k.X_HALT])):
        return STOPPED
    gap = terms[k.X_HYSTERESIS]
    if terms[k.X_DEFENSIVE] >= 0 and (
        _reaches(below, peak, terms[k.X_DEFENSIVE])
        or (state == DEFENSIVE and below > share_of(peak, terms[k.X_DEFENSIVE] - gap))
    ):
        return DEFENSIVE
    if terms[k.X_CAUTIOUS] >= 0 and (
        _reaches(below, peak, terms[k.X_CAUTIOUS])
        or (state >= CAUTIOUS and below > share_of(peak, terms[k.X_CAUTIOUS] - gap))
    ):
        return CAUTIOUS
    return NORMAL


@bare
def after_close(terms, account, held, equity, counters):
    """Equity at a close: the day's locks, the peak, the state of the drawdown; what must be closed, is at the open."""
    account[k.A_LAST_EQUITY] = equity
    hard = _lost(terms, account, equity)
    account[k.A_PEAK] = max(account[k.A_PEAK], equity)
    state = drawdown_state(terms, account[k.A_STATE], account[k.A_PEAK] - equity, account[k.A_PEAK])
    halted = state == STOPPED and account[k.A_STATE] != STOPPED
    account[k.A_STATE] = state
    if halted:
        counters[k.C_HALTED] = 1
    if halted or (hard and terms[k.X_FLATTEN] > 0):
        for s in range(held.shape[0]):
            if held[s, k.H_QUANTITY] != 0:
                held[s, k.H_EXIT] = k.HALTED if halted else k.LOCKED


@bare
def after_exit(account, memory, s, pnl, reason, now_s):
    """What a trade that is over leaves behind: a row of losses, a stop-out of its symbol. A part booked is no trade."""
    if reason == k.PARTIAL:
        return
    if pnl < 0:
        account[k.A_LOSSES] += 1
        account[k.A_LAST_LOSS_S] = now_s
    elif pnl > 0:
        account[k.A_LOSSES] = 0
    if reason == k.STOP or reason == k.TRAILING:
        memory[k.M_STOPPED, s] = now_s


@bare
def after_entry(memory, s, side, now_s):
    memory[k.M_BOUGHT if side > 0 else k.M_SOLD, s] = now_s


@bare
def _refused_by_state(terms, account, memory, s, side, equity, now_s):
    """The first gate of the account's own state that says no, 0: none."""
    asked = memory[k.M_BOUGHT if side > 0 else k.M_SOLD, s]
    if asked > 0 and now_s - asked < terms[k.X_DUPLICATE_S]:
        return k.R_DUPLICATE
    stopped = memory[k.M_STOPPED, s]
    if stopped > 0 and now_s - stopped < terms[k.X_COOLDOWN_S]:
        return k.R_COOLDOWN
    if (
        terms[k.X_STREAK] > 0
        and account[k.A_LOSSES] >= terms[k.X_STREAK]
        and now_s < account[k.A_LAST_LOSS_S] + terms[k.X_STREAK_PAUSE_S]
    ):
        return k.R_STREAK
    _lost(terms, account, equity)
    if account[k.A_LOCKED] > 0:
        return k.R_LOSS_HARD if account[k.A_LOCKED] == 2 else k.R_LOSS
    return 0


@bare
def _refused_by_market(seen_now, seen_then):
    """The first gate of the market's past that says no: of the bar an entry is filled on, and of its signal's."""
    if seen_now & k.GAPPED:
        return k.R_GAP
    if seen_then & k.WIDE:
        return k.R_SPREAD
    return k.R_VOLUME if seen_then & k.THIN else 0


@bare
def alike(daily, one, other, days):
    """Pearson of the returns of two symbols over the sixty days before: `risk.market_facts.correlation`, which says
    what `daily` closes are; -2 where it is not known."""
    count, first = 0, max(0, days - CORRELATION_DAYS - 1)
    mean_one = mean_other = 0.0
    for day in range(first + 1, days):
        a, b = daily[one, day] / daily[one, day - 1] - 1, daily[other, day] / daily[other, day - 1] - 1
        if np.isfinite(a) and np.isfinite(b):
            count += 1
            mean_one += a
            mean_other += b
    if count < LEAST_DAYS:
        return -2.0
    mean_one /= count
    mean_other /= count
    moved_one = moved_other = together = 0.0
    for day in range(first + 1, days):
        a, b = daily[one, day] / daily[one, day - 1] - 1, daily[other, day] / daily[other, day - 1] - 1
        if np.isfinite(a) and np.isfinite(b):
            moved_one += (a - mean_one) ** 2
            moved_other += (b - mean_other) ** 2
            together += (a - mean_one) * (b - mean_other)
    if moved_one <= 0.0 or moved_other <= 0.0:
        return -2.0
    return min(1.0, max(-1.0, together / np.sqrt(moved_one * moved_other)))


@bare
def strongest(daily, held, s, side, days):
    """How much an entry is the same bet as something that is held, signed by the sides; -2: nothing to compare with."""
    found = -2.0
    for other in range(held.shape[0]):
        if other == s or held[other, k.H_QUANTITY] == 0:
            continue
        moves = alike(daily, s, other, days)
        if moves >= -1.0:
            found = max(found, moves * side * (1 if held[other, k.H_QUANTITY] > 0 else -1))
    return found


@bare
def allowed(
    terms, account, memory, seen_now, seen_then, likeness, in_sector, in_options, is_option, s, side, quantity, lot,
    fill, price, stop, equity, gross, now_s,
):  # fmt: skip
    """(units, 0), or (0, the gate that refuses): the gates in the desk's order, each about what the one before left.

    Money in ten-thousandths of a rupee; `in_sector` is what its sector holds, -1 where it has none; `in_options` what
    all options hold; `likeness` as `strongest` says it. `fill` is what a unit costs, `price` and `stop` those of the
    order.
    """
    if seen_now & k.FORBIDDEN:
        return np.int64(0), k.R_RESTRICTED
    if stop > 0 and (fill - stop) * side <= 0:  # the market has gone past it since the signal
        return np.int64(0), k.R_STOP
    code = _refused_by_state(terms, account, memory, s, side, equity, now_s)
    if code != 0:
        return np.int64(0), code
    if account[k.A_HALF] > 0:
        quantity = quantity // 2 // lot * lot
        if quantity < 1:
            return np.int64(0), k.R_LOSS
    if account[k.A_STATE] == STOPPED:
        return np.int64(0), k.R_HALTED
    if account[k.A_STATE] == CAUTIOUS or account[k.A_STATE] == DEFENSIVE:
        quantity = share_of(quantity, terms[k.X_DRAWDOWN_SIZE]) // lot * lot
        if quantity < 1:
            return np.int64(0), k.R_DRAWDOWN
    if terms[k.X_TRADES_PER_DAY] >= 0 and account[k.A_TRADES_TODAY] >= terms[k.X_TRADES_PER_DAY]:
        return np.int64(0), k.R_TRADES
    code = _refused_by_market(seen_now, seen_then)
    if code != 0:
        return np.int64(0), code
    if likeness >= -1.0:
        if terms[k.X_ALIKE] >= 0 and likeness * ONE > terms[k.X_ALIKE]:
            return np.int64(0), k.R_CORRELATION
        if terms[k.X_ALIKE_HALF] >= 0 and likeness * ONE > terms[k.X_ALIKE_HALF]:
            quantity = quantity // 2 // lot * lot
            if quantity < 1:
                return np.int64(0), k.R_CORRELATION
    return _within_limits(
        terms, account, quantity, lot, fill, price, stop, max(equity, np.int64(0)), gross, in_sector, in_options,
        is_option,
    )  # fmt: skip


@bare
def _within_limits(
    terms, account, quantity, lot, fill, price, stop, equity, gross, in_sector, in_options, is_option
):  # fmt: skip
    """The units that every limit on size leaves, or 0 and the first that leaves not one lot."""
    if terms[k.X_RISK_CAP] >= 0 and stop > 0 and stop != price:
        quantity = min(quantity, share_of(equity, terms[k.X_RISK_CAP]) // abs(price - stop)) // lot * lot
        if quantity < 1:
            return np.int64(0), k.R_RISK
    one = terms[k.X_OPTION_CAP] if is_option and terms[k.X_OPTION_CAP] >= 0 else terms[k.X_POSITION_CAP]
    if one > 0 or (is_option and one >= 0):
        quantity = min(quantity, share_of(equity, one) // fill) // lot * lot
        if quantity < 1:
            return np.int64(0), k.R_POSITION
    if is_option and terms[k.X_OPTIONS] >= 0:
        quantity = min(quantity, _left(share_of(equity, terms[k.X_OPTIONS]) - in_options) // fill) // lot * lot
        if quantity < 1:
            return np.int64(0), k.R_OPTIONS
    if in_sector >= 0 and terms[k.X_SECTOR] >= 0:
        quantity = min(quantity, _left(share_of(equity, terms[k.X_SECTOR]) - in_sector) // fill) // lot * lot
        if quantity < 1:
            return np.int64(0), k.R_SECTOR
    if terms[k.X_HARD_EXPOSURE] >= 0:
        room = share_of(equity, terms[k.X_HARD_EXPOSURE]) - gross
        if room <= 0:
            return np.int64(0), k.R_EXPOSURE_HARD
        quantity = min(quantity, room // fill) // lot * lot
    if terms[k.X_EXPOSURE_CAP] > 0:
        quantity = min(quantity, _left(share_of(equity, terms[k.X_EXPOSURE_CAP]) - gross) // fill) // lot * lot
    if quantity < 1:
        return np.int64(0), k.R_EXPOSURE
    if terms[k.X_CASH_RESERVE] >= 0:
        room = _left(equity - gross - share_of(equity, terms[k.X_CASH_RESERVE]))
        quantity = min(quantity, room // fill) // lot * lot
        if quantity < 1:
            return np.int64(0), k.R_RESERVE
    if terms[k.X_DAY_VALUE] >= 0:
        room = _left(share_of(equity, terms[k.X_DAY_VALUE]) - account[k.A_OPENED_TODAY])
        quantity = min(quantity, room // fill) // lot * lot
        if quantity < 1:
            return np.int64(0), k.R_DAY_VALUE
    quantity = min(quantity, terms[k.X_ORDER_CAP] // fill) // lot * lot
    if quantity < 1:
        return np.int64(0), k.R_ORDER_VALUE
    if terms[k.X_MOST_UNITS] >= 0:
        quantity = min(quantity, terms[k.X_MOST_UNITS]) // lot * lot
        if quantity < 1:
            return np.int64(0), k.R_ORDER_QUANTITY
    return quantity, 0


@bare
def _left(room):
    return max(room, np.int64(0))


@bare
def in_collar(terms, price, close, is_option):
    """Whether an order's price is as near the last one as the desk demands; an option's may be five rupees away."""
    most = terms[k.X_OPTION_COLLAR] if is_option else terms[k.X_COLLAR]
    away = abs(price - close)
    return most < 0 or away * ONE <= most * close or (is_option and away <= OPTION_COLLAR)


@bare
def tightened(terms, entry, stop, side, tick):
    """A stop at its smaller distance while DEFENSIVE, on the tick away from the price; never further than it was."""
    if terms[k.X_DEFENSIVE_STOP] < 0 or stop <= 0 or (entry - stop) * side <= 0:
        return stop
    exact = entry * ONE + (stop - entry) * terms[k.X_DEFENSIVE_STOP]
    step = tick * ONE
    return (exact // step if side > 0 else -(-exact // step)) * tick


# Volume


@bare
def impact_of(quantity, usual, impact):
    """Further slippage of an order above a tenth of the usual volume of a bar: `impact` for every tenth more, a fifth
    of the price at most. Where no volume is known, at most."""
    if not np.isfinite(usual) or usual <= 0.0:
        return np.int64(200_000)
    share = quantity / usual
    if share <= 0.1:
        return np.int64(0)
    return np.int64(min(200_000.0, np.ceil(impact * (share - 0.1) * 10.0)))


# Prices


@bare
def limit_price(price, side, kind, value, tick, average_range):
    """The price of a limit entry: away from the signal's, on the passive side of its tick; 0 where it is not known."""
    if kind == k.BY_ATR:
        if not np.isfinite(average_range) or average_range <= 0.0:
            return np.int64(0)
        away = np.int64(np.floor(value / 1_000_000.0 * average_range * 10_000.0 + 0.5))
        asked = price - side * away
        return down_to(asked, tick) if side > 0 else up_to(asked, tick)
    exact = price * (100_000_000 - side * value)
    step = 100_000_000 * tick
    return (exact // step if side > 0 else -(-exact // step)) * tick


@bare
def trailed(best, sign, kind, distance, tick, ranges, s, bar):
    """A stop behind the best price: by percent of it, or by multiples of the average range of the bar that is over."""
    if kind == k.BY_PERCENT:
        away = best * (100_000_000 + sign * distance)
        step = 100_000_000 * tick
        return (away // step if sign < 0 else -(-away // step)) * tick
    average_range = ranges[s, bar]
    if not np.isfinite(average_range) or average_range <= 0.0:
        return np.int64(0)
    away = np.int64(np.floor(distance / 1_000_000.0 * average_range * 10_000.0 + 0.5))
    return down_to(best - away, tick) if sign < 0 else up_to(best + away, tick)


# Corporate actions


@bare
def apply_action(row, action, tick):
    """Change what is held, and what is ordered, by `action` (bar, symbol, shares after, shares before, dividend a
    share). Gives the cash it brings: dividends, and what fractions of a share are worth. Value changes by no more."""
    after, before, dividend = action[2], action[3], action[4]
    held = row[k.H_QUANTITY]
    paid = np.int64(0)
    if held != 0:
        side = 1 if held > 0 else -1
        paid = held * dividend
        if after != before:
            quantity, rest = abs(held) * after // before, abs(held) * after % before
            entry = row[k.H_ENTRY] * before // after
            fraction = side * (rest * row[k.H_MARK] // after)
            row[k.H_INCOME] += side * (quantity * entry - abs(held) * row[k.H_ENTRY]) + fraction
            paid += fraction
            row[k.H_QUANTITY] = side * quantity
            row[k.H_INITIAL] = row[k.H_INITIAL] * after // before
            row[k.H_ENTRY] = entry
            row[k.H_MARK] = row[k.H_MARK] * before // after
            row[k.H_BEST] = row[k.H_BEST] * before // after
            row[k.H_WORST] = row[k.H_WORST] * before // after
            for column in (k.H_STOP, k.H_FIRST_STOP):
                moved = row[column] * before // after
                row[column] = down_to(moved, tick) if side > 0 else up_to(moved, tick)
            for column in (k.H_TARGET,):
                moved = row[column] * before // after
                row[column] = up_to(moved, tick) if side > 0 else down_to(moved, tick)
            for rung in range(k.MOST_RUNGS):
                moved = row[k.H_RUNGS + rung] * before // after
                row[k.H_RUNGS + rung] = up_to(moved, tick) if side > 0 else down_to(moved, tick)
        row[k.H_INCOME] += held * dividend
    if row[k.W_SIDE] != 0 and after != before:
        side = row[k.W_SIDE]
        for column in (k.W_PRICE, k.W_LIMIT, k.W_STOP):
            moved = row[column] * before // after
            row[column] = down_to(moved, tick) if side > 0 else up_to(moved, tick)
        moved = row[k.W_TARGET] * before // after
        row[k.W_TARGET] = up_to(moved, tick) if side > 0 else down_to(moved, tick)
    return paid
