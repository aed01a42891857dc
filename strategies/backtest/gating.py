"""The house's gates, and what they remember, in whole numbers for the event loop.

The arithmetic is that of `risk.gates.loss_limits`, `risk.gates.per_trade` and `risk.gates.exposure`; a property feeds
both one sequence of days (`tests/property/test_risk_parity.py`). What only a person may lift on the desk is lifted
here where the desk would allow it at the earliest: a daily lock with the next session. A halt after a drawdown stays.

Also the other arithmetic that only some plans need: impact, trailing by range, limit prices, corporate actions.
"""

from __future__ import annotations

import numpy as np

from strategies.backtest import kernels as k
from strategies.backtest.kernels import share_of
from trading.venue.matching import bare, down_to, up_to
from trading.venue.matching import most_of_volume as most_of_volume

ONE = 1_000_000  # the whole, in millionths
NORMAL, CAUTIOUS, DEFENSIVE, STOPPED = range(4)


@bare
def opened(terms, account):
    """The account on its first morning."""
    cash = terms[k.X_CASH]
    account[k.A_CASH] = cash
    account[k.A_DAY_EQUITY] = account[k.A_LAST_EQUITY] = account[k.A_PEAK] = cash


@bare
def new_session(account):
    """A new exchange day: its own count, its own losses, no lock."""
    account[k.A_DAY_EQUITY] = account[k.A_LAST_EQUITY]
    account[k.A_TRADES_TODAY] = account[k.A_OPENED_TODAY] = 0
    account[k.A_HALF] = account[k.A_LOCKED] = 0


@bare
def _reaches(amount, base, share):
    """Whether an amount is at least `share` millionths of a base, exactly and within 64 bits."""
    return amount >= base // ONE * share + -(-(base % ONE * share) // ONE)


@bare
def _lost(terms, account, equity):
    """Latch what today's loss so far brings: half the size, then no entries."""
    loss = account[k.A_DAY_EQUITY] - equity
    if loss <= 0 or account[k.A_DAY_EQUITY] <= 0:
        return False
    soft = terms[k.X_LOSS_SOFT]
    day = account[k.A_DAY_EQUITY]
    if soft > 0 and _reaches(loss, day, share_of(soft, terms[k.X_HALF_SHARE])):
        account[k.A_HALF] = 1
    if soft > 0 and _reaches(loss, day, soft):
        account[k.A_LOCKED] = max(account[k.A_LOCKED], 1)
    if terms[k.X_LOSS_HARD] > 0 and _reaches(loss, day, terms[k.X_LOSS_HARD]):
        account[k.A_LOCKED] = 2
    return account[k.A_LOCKED] == 2


@bare
def drawdown_state(terms, state, below, peak):
    """The next state of the account `below` its `peak`: a step is taken at once and left when well above it; a halt
    is never left."""
    if terms[k.X_HALT] > 0 and (state == STOPPED or _reaches(below, peak, terms[k.X_HALT])):
        return STOPPED
    gap = terms[k.X_HYSTERESIS]
    if terms[k.X_DEFENSIVE] > 0 and (
        _reaches(below, peak, terms[k.X_DEFENSIVE])
        or (state == DEFENSIVE and below > share_of(peak, terms[k.X_DEFENSIVE] - gap))
    ):
        return DEFENSIVE
    if terms[k.X_CAUTIOUS] > 0 and (
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
        memory[s] = now_s


@bare
def allowed_share(terms, account, memory, s, equity, gross, now_s):
    """The share of the usual size that the gates allow an entry now, millionths; 0 refuses it."""
    _lost(terms, account, equity)
    if account[k.A_LOCKED] > 0 or account[k.A_STATE] == STOPPED:
        return np.int64(0)
    if terms[k.X_COOLDOWN_S] > 0 and memory[s] > 0 and now_s - memory[s] < terms[k.X_COOLDOWN_S]:
        return np.int64(0)
    if (
        terms[k.X_STREAK] > 0
        and account[k.A_LOSSES] >= terms[k.X_STREAK]
        and now_s < account[k.A_LAST_LOSS_S] + terms[k.X_STREAK_PAUSE_S]
    ):
        return np.int64(0)
    if terms[k.X_TRADES_PER_DAY] > 0 and account[k.A_TRADES_TODAY] >= terms[k.X_TRADES_PER_DAY]:
        return np.int64(0)
    if terms[k.X_HARD_EXPOSURE] > 0 and gross >= share_of(max(equity, np.int64(0)), terms[k.X_HARD_EXPOSURE]):
        return np.int64(0)
    share = np.int64(ONE)
    if account[k.A_HALF] > 0:
        share = share // 2
    if account[k.A_STATE] == CAUTIOUS or account[k.A_STATE] == DEFENSIVE:
        share = share_of(share, terms[k.X_DRAWDOWN_SIZE])
    return share


@bare
def most_units(terms, equity, price, stop):
    """The units of one order: what may be lost at the stop, and the cap whatever the price."""
    most = np.int64(9_000_000_000_000_000_000)
    if terms[k.X_RISK_CAP] > 0 and stop > 0 and stop != price:
        most = share_of(equity, terms[k.X_RISK_CAP]) // abs(price - stop)
    if terms[k.X_MOST_UNITS] > 0:
        most = min(most, terms[k.X_MOST_UNITS])
    return most


@bare
def tightened(terms, entry, stop, side, tick):
    """A stop at its smaller distance while DEFENSIVE, on the tick away from the price; never further than it was."""
    if terms[k.X_DEFENSIVE_STOP] <= 0 or stop <= 0 or (entry - stop) * side <= 0:
        return stop
    exact = entry * ONE + (stop - entry) * terms[k.X_DEFENSIVE_STOP]
    step = tick * ONE
    return (exact // step if side > 0 else -(-exact // step)) * tick


@bare
def room(terms, account, equity, gross):
    """The value that may still be opened: what is kept in cash, and what one day may open."""
    most = np.int64(9_000_000_000_000_000_000)
    if terms[k.X_HARD_EXPOSURE] > 0:
        most = share_of(equity, terms[k.X_HARD_EXPOSURE]) - gross
    if terms[k.X_CASH_RESERVE] > 0:
        most = min(most, equity - gross - share_of(equity, terms[k.X_CASH_RESERVE]))
    if terms[k.X_DAY_VALUE] > 0:
        most = min(most, share_of(equity, terms[k.X_DAY_VALUE]) - account[k.A_OPENED_TODAY])
    return max(most, np.int64(0))


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
