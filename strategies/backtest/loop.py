"""The event loop: many symbols, one account, one bar after another.

Within a bar, in this order:

1. before the open: splits, bonuses and dividends of the day change what is held and its levels;
2. the open: what was decided at the last close is filled, exits before entries, so that an exit frees its slot and its
   money; a stop the bar opened beyond is out here too; what must not stay past the square-off leaves;
3. entries, best score first, while slots, money and the house's gates allow; a limit order that the open reaches fills
   there, others wait for the bar;
4. inside the bar: stop, then parts booked, then target (see `trading.venue.matching`); then limit entries that the bar
   reached, at their price. On the bar of such an entry a stop counts and a profit does not: what came first is unknown;
5. the close: positions are marked, trailing stops moved by bars that are over, the gates' memory brought up to date,
   and the rules decided for the next open.

Money is in whole ten-thousandths of a rupee (int64), charges in whole paise: cash adds up exactly. The last bar closes
what is still held at its own open: the last price at which an order decided before it could be filled. An entry that
waited for that open is filled and closed there at the same price. What the rules say on the last bar comes too late,
unless the run is to end as the published results of other engines do (`late_orders`): there an order decided on the
last bar is filled at the open of that same bar, is valued at its close, and is no trade. That is one fill with
hindsight; it is counted, and results that have one say so.

A symbol that is locked at its circuit band, or suspended, cannot be left or entered on that side: an entry is dropped,
an exit waits. The buffers for trades and equity belong to the caller and are as large as they can ever need to be; a
buffer that grew inside the loop would make every bar several times slower.

`simulate` runs through; `steps` is the same loop as a generator that stops after every close, so that a strategy
written in Python can decide (see `coded`). Both are made of the same three functions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from strategies.backtest import gating as g
from strategies.backtest import kernels as k
from strategies.backtest.kernels import (
    affordable,
    capped,
    close_part,
    fees_of,
    levels,
    reference_price,
    share_of,
    slipped,
    wanted_quantity,
)
from trading.venue.matching import kernel, phase, stop_is_hit, stop_price, target_is_hit, target_price, units

OPEN, HIGH, LOW, CLOSE = range(4)
LONG_IN, SHORT_IN, LONG_OUT, SHORT_OUT = range(4)
MAY_ENTER, MUST_LEAVE, DAY_ENDS, NEW_DAY = range(4)
STARTS, RATE, PERIOD = range(3)
TICK, LOT, FREEZE = range(3)


class Past(NamedTuple):
    """What gates go by; empty where they do not ask. `seen` uint8[symbols, bars]: bits of what forbids an entry.
    `daily` float64[symbols, days]: closes, and `known` int64[bars]: how many of those days are over. `traits`
    int64[symbols, 2]: the number of a sector (-1: not known), and whether it is an option.
    """

    seen: NDArray[np.uint8]
    daily: NDArray[np.float64]
    known: NDArray[np.int64]
    traits: NDArray[np.int64]


NO_PAST = Past(np.zeros((0, 0), np.uint8), np.zeros((0, 0)), np.zeros(0, np.int64), np.zeros((0, 2), np.int64))


class Given(NamedTuple):
    """What the loop reads. Arrays that a plan does not need are empty.

    `prices` float64[4, symbols, bars]: open, high, low, close in rupees; NaN: no such bar. `flags` bool[4, symbols,
    bars]: enter long and short, leave long and short. float64[symbols, bars]: `score`; `ranges`, average true range;
    `liquid`, mean units traded in the bars before. `asked` float64[3, symbols, bars]: prices that rules ask for as stop
    and as target, and the share of equity that a volatility allows, millionths. `blocked` uint8[symbols, bars]: 1 no
    buying, 2 no selling, 3 neither. `hours` bool[4, bars]: entries may fill, square-off at the open, nothing stays over
    the close, a new day. `clock` int64[3, bars]: start in epoch seconds, row of `rates`, row of `contracts`. `rates`
    int64[rows, buy and sell, 7]. `contracts` int64[periods, symbols, 3]: tick in ten-thousandths of a rupee, lot,
    largest single order (0: none). `rungs` int64[parts, 3]: kind of level, its value, share of the position in
    millionths. `actions` int64[actions, 5]: bar, symbol, shares after, shares before, dividend a share; by bar. `terms`
    int64[TERMS].
    """

    prices: NDArray[np.float64]
    flags: NDArray[np.bool_]
    score: NDArray[np.float64]
    ranges: NDArray[np.float64]
    asked: NDArray[np.float64]
    liquid: NDArray[np.float64]
    blocked: NDArray[np.uint8]
    hours: NDArray[np.bool_]
    clock: NDArray[np.int64]
    rates: NDArray[np.int64]
    contracts: NDArray[np.int64]
    rungs: NDArray[np.int64]
    actions: NDArray[np.int64]
    past: Past
    terms: NDArray[np.int64]


@phase
def _price(liquid, terms, at, sign, quantity, s, bar, tick):
    """What an order at the market fills at around a price: spread, slippage, and impact if it is large."""
    impact = np.int64(0)
    if liquid.size > 0 and terms[k.X_IMPACT] > 0:
        impact = g.impact_of(quantity, liquid[s, bar], terms[k.X_IMPACT])
    return slipped(at, sign, terms[k.X_SLIPPAGE] + impact, terms[k.X_SPREAD], tick)


@phase
def _leave(clock, rates, contracts, terms, s, bar, price, reason, quantity, held, account, trades, memory):
    """Close a part of a position or all of it, and remember what the gates ask for."""
    period = clock[PERIOD, bar]
    paid = close_part(
        s, bar, price, reason, quantity, held, rates, clock[RATE, bar], contracts[period, s, FREEZE], contracts[period,
        s, LOT], trades, account[k.A_COUNT],
    )  # fmt: skip
    account[k.A_CASH] += paid
    account[k.A_COUNT] += 1
    if held[s, k.H_QUANTITY] == 0:
        account[k.A_POSITIONS] -= 1
    if terms[k.X_GATED] > 0:
        g.after_exit(account, memory, s, trades[account[k.A_COUNT] - 1, k.T_PNL], reason, clock[STARTS, bar])


@phase
def _can(blocked, s, bar, sign):
    """Whether an order of this direction can trade in a bar at all."""
    return blocked.size == 0 or blocked[s, bar] & (1 if sign > 0 else 2) == 0


@phase
def _size(terms, asked, s, bar):
    """What the way of sizing goes by: a number of the plan, or of the signal's bar."""
    if terms[k.X_SIZING] != k.VOLATILITY:
        return terms[k.X_SIZE]
    return np.int64(asked[2, s, bar]) if np.isfinite(asked[2, s, bar]) else np.int64(0)


@phase
def _held_with(prices, traits, s, bar, held, column):
    """The value of what is held that is `column` as this symbol is: in its sector, or an option as well."""
    total = np.int64(0)
    for one in range(held.shape[0]):
        if held[one, k.H_QUANTITY] != 0 and traits[one, column] == traits[s, column]:
            fresh = held[one, k.H_ENTRY_BAR] == bar or not np.isfinite(prices[OPEN, one, bar])
            mark = held[one, k.H_MARK] if fresh else units(prices[OPEN, one, bar])
            total += abs(held[one, k.H_QUANTITY]) * mark
    return total


@phase
def _allowed(prices, clock, past, terms, s, bar, side, quantity, lot, fill, worth, gross, held, account, memory):
    """(units, gate): what the house's gates leave of an entry, and the one that refuses it."""
    seen_now, seen_then = 0, 0
    if past.seen.size > 0:
        seen_now, seen_then = past.seen[s, bar], past.seen[s, held[s, k.W_BAR]]
    likeness = -2.0
    if past.daily.size > 0 and account[k.A_POSITIONS] > 0:
        likeness = g.strongest(past.daily, held, s, side, past.known[bar])
    in_sector = np.int64(-1)
    in_options, is_option = np.int64(0), False
    if past.traits.size > 0:
        is_option = past.traits[s, k.S_OPTION] > 0
        if past.traits[s, k.S_SECTOR] >= 0:
            in_sector = _held_with(prices, past.traits, s, bar, held, k.S_SECTOR)
        if is_option:
            in_options = _held_with(prices, past.traits, s, bar, held, k.S_OPTION)
    return g.allowed(
        terms, account, memory, seen_now, seen_then, likeness, in_sector, in_options, is_option, s, side, quantity, lot,
        fill, held[s, k.W_PRICE], held[s, k.W_STOP], worth, gross, clock[STARTS, bar],
    )  # fmt: skip


@phase
def _enter(
    prices, ranges, asked, liquid, hours, clock, rates, contracts, rungs, past, terms, s, bar, side, fill_at, is_limit,
    worth, gross, held, account, counters, memory,
):  # fmt: skip
    """Fill the order that waited in a symbol, as large as everything allows. Gives the value opened, 0: none."""
    period = clock[PERIOD, bar]
    tick, lot, freeze = contracts[period, s, TICK], contracts[period, s, LOT], contracts[period, s, FREEZE]
    if not hours[MAY_ENTER, bar]:
        counters[k.C_OUT_OF_HOURS] += 1
        return np.int64(0)
    if account[k.A_POSITIONS] >= terms[k.X_SLOTS]:
        counters[k.C_NO_SLOT] += 1
        return np.int64(0)
    fill = fill_at if is_limit else slipped(fill_at, side, terms[k.X_SLIPPAGE], terms[k.X_SPREAD], tick)
    row, way = clock[RATE, bar], 0 if side > 0 else 1
    free = worth // 100 * terms[k.X_LEVERAGE] + worth % 100 * terms[k.X_LEVERAGE] // 100 - gross
    quantity = wanted_quantity(
        terms[k.X_SIZING], _size(terms, asked, s, held[s, k.W_BAR]), worth, terms[k.X_SLOTS], terms[k.X_LEVERAGE],
        fill, held[s, k.W_PRICE], held[s, k.W_STOP], lot,
    )  # fmt: skip
    if terms[k.X_GATED] > 0:
        if account[k.A_STATE] == g.DEFENSIVE:
            held[s, k.W_STOP] = g.tightened(terms, held[s, k.W_PRICE], held[s, k.W_STOP], side, tick)
        if quantity > 0:
            quantity, refused = _allowed(
                prices, clock, past, terms, s, bar, side, quantity, lot, fill, worth, gross, held, account, memory
            )
            if refused != 0:
                counters[k.C_GATED] += 1
                counters[k.C_BY_GATE + refused] += 1
                return np.int64(0)
    else:
        equity = max(worth, np.int64(0))
        quantity = capped(quantity, fill, terms[k.X_ORDER_CAP])
        if terms[k.X_POSITION_CAP] > 0:
            quantity = min(quantity, share_of(equity, terms[k.X_POSITION_CAP]) // fill)
        if terms[k.X_EXPOSURE_CAP] > 0:
            quantity = min(quantity, max(share_of(equity, terms[k.X_EXPOSURE_CAP]) - gross, np.int64(0)) // fill)
    if liquid.size > 0 and not is_limit:
        if terms[k.X_PARTICIPATION] > 0:
            quantity = min(quantity, g.most_of_volume(liquid[s, bar], terms[k.X_PARTICIPATION]))
        quantity = quantity // lot * lot
        if quantity > 0:
            fill = _price(liquid, terms, fill_at, side, quantity, s, bar, tick)
    quantity = affordable(quantity, fill, free, rates, row, way, lot, freeze)
    if quantity < 1:
        counters[k.C_NO_MONEY] += 1
        return np.int64(0)
    value = quantity * fill
    fee = fees_of(quantity, fill, rates, row, way, lot, freeze)
    account[k.A_CASH] -= side * value + fee * 100
    held[s, k.H_QUANTITY] = side * quantity
    held[s, k.H_INITIAL] = quantity
    held[s, k.H_ENTRY] = fill
    held[s, k.H_ENTRY_BAR] = bar
    held[s, k.H_SIGNAL_BAR] = held[s, k.W_BAR]
    held[s, k.H_STOP] = held[s, k.W_STOP]
    held[s, k.H_FIRST_STOP] = held[s, k.W_STOP]
    held[s, k.H_TARGET] = held[s, k.W_TARGET]
    held[s, k.H_BEST] = fill
    held[s, k.H_WORST] = fill
    held[s, k.H_FEE] = fee
    held[s, k.H_EXIT] = 0
    held[s, k.H_TRAILED] = 0
    held[s, k.H_MARK] = fill
    held[s, k.H_INCOME] = 0
    for rung in range(rungs.shape[0]):
        before = held[s, k.W_BAR]
        _, level, sound = levels(
            side, held[s, k.W_PRICE], tick, terms[k.X_STOP_KIND], terms[k.X_STOP_VALUE], rungs[rung, 0],
            rungs[rung, 1], ranges[s, before] if ranges.size > 0 else np.nan,
            asked[0, s, before] if asked.size > 0 else np.nan, np.nan,
        )  # fmt: skip
        held[s, k.H_RUNGS + rung] = level if sound else 0
    account[k.A_POSITIONS] += 1
    account[k.A_OPENED_TODAY] += value
    account[k.A_TRADES_TODAY] += 1
    counters[k.C_TAKEN] += 1
    if terms[k.X_GATED] > 0:
        g.after_entry(memory, s, side, clock[STARTS, bar])
    return value


@phase
def _before_the_open(clock, contracts, actions, bar, held, account):
    """Corporate actions that take effect on this bar."""
    actions = actions
    while account[k.A_ACTION] < actions.shape[0] and actions[account[k.A_ACTION], 0] <= bar:
        action = actions[account[k.A_ACTION]]
        account[k.A_ACTION] += 1
        tick = contracts[clock[PERIOD, bar], action[1], TICK]
        account[k.A_CASH] += g.apply_action(held[action[1]], action, tick)


@phase
def _at_the_open(
    prices, score, ranges, asked, liquid, blocked, hours, clock, rates, contracts, rungs, past, terms, bar, held,
    account, counters, trades, memory,
):  # fmt: skip
    """Exits decided before, gaps, square-off; then entries."""
    symbols = held.shape[0]
    if terms[k.X_GATED] > 0 and hours[NEW_DAY, bar]:
        g.new_session(account)
    if account[k.A_POSITIONS] > 0:
        for s in range(symbols):
            quantity = held[s, k.H_QUANTITY]
            if quantity == 0 or not np.isfinite(prices[OPEN, s, bar]):
                continue
            sign = -1 if quantity > 0 else 1
            at = units(prices[OPEN, s, bar])
            reason = held[s, k.H_EXIT]
            if reason == 0 and hours[MUST_LEAVE, bar]:
                reason = k.SQUARE_OFF
            stop = held[s, k.H_STOP]
            if reason == 0 and stop > 0 and (at <= stop if sign < 0 else at >= stop):
                reason = k.TRAILING if held[s, k.H_TRAILED] else k.STOP
            if reason != 0 and _can(blocked, s, bar, sign):
                tick = contracts[clock[PERIOD, bar], s, TICK]
                price = _price(liquid, terms, at, sign, abs(quantity), s, bar, tick)
                _leave(
                    clock, rates, contracts, terms, s, bar, price, reason, abs(quantity), held, account, trades, memory
                )

    if account[k.A_WAITING] > 0:
        scored = score.size > 0
        worth, gross = account[k.A_CASH], np.int64(0)
        for s in range(symbols):
            held[s, k.W_TURN] = held[s, k.W_SIDE]
            if held[s, k.H_QUANTITY] != 0:
                mark = units(prices[OPEN, s, bar]) if np.isfinite(prices[OPEN, s, bar]) else held[s, k.H_MARK]
                worth += held[s, k.H_QUANTITY] * mark
                gross += abs(held[s, k.H_QUANTITY]) * mark
        for _ in range(account[k.A_WAITING]):
            s = -1
            for one in range(symbols):
                if held[one, k.W_TURN] != 0 and (
                    s < 0 or (scored and score[one, held[one, k.W_BAR]] > score[s, held[s, k.W_BAR]])
                ):
                    s = one
            side, limit = held[s, k.W_SIDE], held[s, k.W_LIMIT]
            held[s, k.W_TURN] = 0
            known = np.isfinite(prices[OPEN, s, bar]) and prices[OPEN, s, bar] > 0.0
            at = units(prices[OPEN, s, bar]) if known else np.int64(0)
            if limit > 0 and (not known or (at - limit) * side > 0):
                continue  # it stands until its price comes, or its time is over
            held[s, k.W_SIDE] = 0
            account[k.A_WAITING] -= 1
            if not known:
                counters[k.C_NO_BAR] += 1
                continue
            if not _can(blocked, s, bar, side) or held[s, k.H_QUANTITY] != 0:  # or what it would turn could not leave
                counters[k.C_LOCKED] += 1
                continue
            cash = account[k.A_CASH]
            value = _enter(
                prices, ranges, asked, liquid, hours, clock, rates, contracts, rungs, past, terms, s, bar, side, at,
                limit > 0, worth, gross, held, account, counters, memory,
            )  # fmt: skip
            if value > 0:
                worth -= cash - account[k.A_CASH] - side * value
                gross += value


@phase
def _inside(
    prices, ranges, asked, liquid, blocked, hours, clock, rates, contracts, rungs, past, terms, bar, last, held,
    account, counters, trades, memory,
):  # fmt: skip
    """Levels, limit entries and what nothing outlives; then the marks and the trailing stops."""
    symbols = held.shape[0]
    trail, trail_after = terms[k.X_TRAIL], terms[k.X_TRAIL_AFTER]
    limits = account[k.A_WAITING] > 0 and terms[k.X_LIMIT] != k.NO_LIMIT
    if account[k.A_POSITIONS] == 0 and not limits:
        return
    for s in range(symbols):
        if limits and held[s, k.W_SIDE] != 0 and held[s, k.W_LIMIT] > 0:
            _limit_inside(
                prices, ranges, asked, liquid, blocked, hours, clock, rates, contracts, rungs, past, terms, s, bar,
                held, account, counters, memory,
            )  # fmt: skip
        quantity = held[s, k.H_QUANTITY]
        if quantity == 0 or not np.isfinite(prices[CLOSE, s, bar]):
            continue
        sign = -1 if quantity > 0 else 1
        fresh = held[s, k.H_INSIDE] == bar + 1  # entered inside this very bar: no profit is counted on it
        top, bottom = units(prices[HIGH, s, bar]), units(prices[LOW, s, bar])
        tick = contracts[clock[PERIOD, bar], s, TICK]
        price = np.int64(0)
        reason = 0
        stop = held[s, k.H_STOP]
        target = held[s, k.H_TARGET]
        can = _can(blocked, s, bar, sign)
        opened = held[s, k.H_ENTRY] if fresh else units(prices[OPEN, s, bar])
        if stop > 0 and can and stop_is_hit(stop, sign, top, bottom):
            price = _price(liquid, terms, stop_price(stop, sign, opened), sign, abs(quantity), s, bar, tick)
            reason = k.TRAILING if held[s, k.H_TRAILED] else k.STOP
        else:
            if rungs.shape[0] > 0 and can and not fresh:
                _book(clock, rates, contracts, rungs, terms, s, bar, top, bottom, opened, held, account, trades, memory)
                quantity = held[s, k.H_QUANTITY]
                if quantity == 0:
                    continue
            if target > 0 and can and not fresh and target_is_hit(target, sign, top, bottom):
                price = target_price(target, sign, opened)
                reason = k.TARGET
            elif last:
                price = _price(liquid, terms, opened, sign, abs(quantity), s, bar, tick)
                reason = k.END
            elif hours[DAY_ENDS, bar] and can:
                price = _price(liquid, terms, units(prices[CLOSE, s, bar]), sign, abs(quantity), s, bar, tick)
                reason = k.SQUARE_OFF
        if reason == 0 or reason == k.SQUARE_OFF:
            if sign < 0:
                held[s, k.H_BEST] = max(held[s, k.H_BEST], top)
                held[s, k.H_WORST] = min(held[s, k.H_WORST], bottom)
            else:
                held[s, k.H_BEST] = min(held[s, k.H_BEST], bottom)
                held[s, k.H_WORST] = max(held[s, k.H_WORST], top)
        if reason != 0:
            if reason == k.END:
                held[s, k.H_ENDED] = -sign
            _leave(clock, rates, contracts, terms, s, bar, price, reason, abs(quantity), held, account, trades, memory)
            continue
        held[s, k.H_MARK] = units(prices[CLOSE, s, bar])
        if trail > 0:
            best, entry = held[s, k.H_BEST], held[s, k.H_ENTRY]
            if (best - entry) * -sign * 100_000_000 >= entry * trail_after:
                moved = g.trailed(best, sign, terms[k.X_TRAIL_KIND], trail, tick, ranges, s, bar)
                if moved > 0 and (stop == 0 or (moved - stop) * -sign > 0):
                    held[s, k.H_STOP] = moved
                    held[s, k.H_TRAILED] = 1
        if terms[k.X_MAX_BARS] > 0 and bar - held[s, k.H_ENTRY_BAR] + 1 >= terms[k.X_MAX_BARS]:
            held[s, k.H_EXIT] = k.TIME

    if last or hours[DAY_ENDS, bar]:  # a symbol without this bar leaves at the last price it had
        for s in range(symbols):
            quantity = held[s, k.H_QUANTITY]
            if quantity != 0 and (last or not np.isfinite(prices[CLOSE, s, bar])):
                sign = -1 if quantity > 0 else 1
                tick = contracts[clock[PERIOD, bar], s, TICK]
                price = _price(liquid, terms, held[s, k.H_MARK], sign, abs(quantity), s, bar, tick)
                _leave(
                    clock,
                    rates,
                    contracts,
                    terms,
                    s,
                    bar,
                    price,
                    k.END if last else k.SQUARE_OFF,
                    abs(quantity),
                    held,
                    account,
                    trades,
                    memory,
                )


@phase
def _limit_inside(
    prices, ranges, asked, liquid, blocked, hours, clock, rates, contracts, rungs, past, terms, s, bar, held, account,
    counters, memory,
):  # fmt: skip
    """A limit order whose price the bar reaches is filled at it; one whose time is over is gone."""
    side, limit = held[s, k.W_SIDE], held[s, k.W_LIMIT]
    known = np.isfinite(prices[CLOSE, s, bar])
    reached = known and (units(prices[LOW, s, bar]) <= limit if side > 0 else units(prices[HIGH, s, bar]) >= limit)
    if reached and _can(blocked, s, bar, side) and held[s, k.H_QUANTITY] == 0:
        held[s, k.W_SIDE] = 0
        account[k.A_WAITING] -= 1
        worth, gross = account[k.A_CASH], np.int64(0)
        for one in range(held.shape[0]):
            mark = units(prices[OPEN, one, bar]) if np.isfinite(prices[OPEN, one, bar]) else held[one, k.H_MARK]
            if held[one, k.H_QUANTITY] != 0:
                worth += held[one, k.H_QUANTITY] * mark
                gross += abs(held[one, k.H_QUANTITY]) * mark
        value = _enter(
            prices, ranges, asked, liquid, hours, clock, rates, contracts, rungs, past, terms, s, bar, side, limit,
            True, worth, gross, held, account, counters, memory,
        )  # fmt: skip
        if value > 0:
            held[s, k.H_INSIDE] = bar + 1
    elif bar >= held[s, k.W_UNTIL]:
        held[s, k.W_SIDE] = 0
        account[k.A_WAITING] -= 1
        counters[k.C_EXPIRED] += 1


@phase
def _book(clock, rates, contracts, rungs, terms, s, bar, top, bottom, opened, held, account, trades, memory):
    """Take the parts of a position whose level the bar reaches, nearest first. The rest may then be made safe."""
    lot = contracts[clock[PERIOD, bar], s, LOT]
    for rung in range(rungs.shape[0]):
        quantity, level = held[s, k.H_QUANTITY], held[s, k.H_RUNGS + rung]
        if quantity == 0 or level == 0:
            continue
        sign = -1 if quantity > 0 else 1
        if not target_is_hit(level, sign, top, bottom):
            continue
        held[s, k.H_RUNGS + rung] = 0
        booked = min(share_of(held[s, k.H_INITIAL], rungs[rung, 2]) // lot * lot, abs(quantity))
        if booked < 1:
            continue
        price = target_price(level, sign, opened)
        _leave(clock, rates, contracts, terms, s, bar, price, k.PARTIAL, booked, held, account, trades, memory)
        if terms[k.X_SAFE] > 0 and held[s, k.H_QUANTITY] != 0:
            entry, stop = held[s, k.H_ENTRY], held[s, k.H_STOP]
            if stop == 0 or (entry - stop) * -sign > 0:
                held[s, k.H_STOP] = entry


@phase
def _decide(prices, flags, ranges, asked, clock, contracts, past, terms, bar, held, account, counters):
    """Ask the rules at the close: exits, and orders for the next open."""
    reverse = terms[k.X_REVERSE] != 0
    for s in range(held.shape[0]):
        quantity = held[s, k.H_QUANTITY]
        side = 1 if flags[LONG_IN, s, bar] else (-1 if flags[SHORT_IN, s, bar] else 0)
        if quantity != 0:
            if quantity > 0:
                out = flags[LONG_OUT, s, bar]
            else:
                out = flags[SHORT_OUT, s, bar]
            if out:
                held[s, k.H_EXIT] = k.RULE
            if not reverse or side == 0 or side * quantity > 0:
                continue
        elif side == 0 or held[s, k.W_SIDE] == side:
            continue
        if not np.isfinite(prices[CLOSE, s, bar]):
            continue
        counters[k.C_SIGNALS] += 1
        tick = contracts[clock[PERIOD, bar], s, TICK]
        price = reference_price(prices[CLOSE, s, bar], side, tick)
        average_range = ranges[s, bar] if ranges.size > 0 else np.nan
        limit = np.int64(0)
        if terms[k.X_LIMIT] != k.NO_LIMIT:
            limit = g.limit_price(price, side, terms[k.X_LIMIT], terms[k.X_LIMIT_VALUE], tick, average_range)
            price = limit
        stop, target, sound = levels(
            side, price, tick, terms[k.X_STOP_KIND], terms[k.X_STOP_VALUE], terms[k.X_TARGET_KIND],
            terms[k.X_TARGET_VALUE], average_range, asked[0, s, bar] if asked.size > 0 else np.nan,
            asked[1, s, bar] if asked.size > 0 else np.nan,
        )  # fmt: skip
        if not sound or price <= 0:
            counters[k.C_NO_LEVEL] += 1
            continue
        if limit > 0 and terms[k.X_GATED] > 0:
            is_option = past.traits.size > 0 and past.traits[s, k.S_OPTION] > 0
            if not g.in_collar(terms, price, units(prices[CLOSE, s, bar]), is_option):
                counters[k.C_GATED] += 1
                counters[k.C_BY_GATE + k.R_COLLAR] += 1
                continue
        if quantity != 0:
            held[s, k.H_EXIT] = k.REVERSAL
        if held[s, k.W_SIDE] == 0:
            account[k.A_WAITING] += 1
        else:
            counters[k.C_EXPIRED] += 1  # an order that stood for the other side
        held[s, k.W_SIDE] = side
        held[s, k.W_BAR] = bar
        held[s, k.W_PRICE] = price
        held[s, k.W_STOP] = stop
        held[s, k.W_TARGET] = target
        held[s, k.W_LIMIT] = limit
        held[s, k.W_UNTIL] = bar + terms[k.X_LIMIT_BARS]


@phase
def _late(prices, flags, ranges, asked, clock, rates, contracts, terms, bar, held, account, counters):
    """What the rules say on the last bar, filled at its own open as published results have it."""
    reverse = terms[k.X_REVERSE] != 0
    worth = account[k.A_CASH]
    for s in range(held.shape[0]):
        side = 1 if flags[LONG_IN, s, bar] else (-1 if flags[SHORT_IN, s, bar] else 0)
        ended = held[s, k.H_ENDED]
        if side == 0 or (ended != 0 and (not reverse or ended == side)) or account[k.A_POSITIONS] >= terms[k.X_SLOTS]:
            continue
        if not np.isfinite(prices[OPEN, s, bar]) or not np.isfinite(prices[CLOSE, s, bar]):
            continue
        period = clock[PERIOD, bar]
        tick, lot, freeze = contracts[period, s, TICK], contracts[period, s, LOT], contracts[period, s, FREEZE]
        price = reference_price(prices[CLOSE, s, bar], side, tick)
        stop, _, sound = levels(
            side, price, tick, terms[k.X_STOP_KIND], terms[k.X_STOP_VALUE], terms[k.X_TARGET_KIND],
            terms[k.X_TARGET_VALUE], ranges[s, bar] if ranges.size > 0 else np.nan,
            asked[0, s, bar] if asked.size > 0 else np.nan,
            asked[1, s, bar] if asked.size > 0 else np.nan,
        )  # fmt: skip
        if not sound or price <= 0:
            continue
        fill = slipped(units(prices[OPEN, s, bar]), side, terms[k.X_SLIPPAGE], terms[k.X_SPREAD], tick)
        row, way = clock[RATE, bar], 0 if side > 0 else 1
        gross = np.int64(0)
        for one in range(held.shape[0]):
            gross += abs(held[one, k.H_QUANTITY]) * held[one, k.H_ENTRY]
        free = worth // 100 * terms[k.X_LEVERAGE] + worth % 100 * terms[k.X_LEVERAGE] // 100 - gross
        quantity = wanted_quantity(
            terms[k.X_SIZING], _size(terms, asked, s, bar), worth, terms[k.X_SLOTS], terms[k.X_LEVERAGE], fill, price,
            stop, lot,
        )  # fmt: skip
        quantity = affordable(capped(quantity, fill, terms[k.X_ORDER_CAP]), fill, free, rates, row, way, lot, freeze)
        if quantity < 1:
            continue
        account[k.A_CASH] -= side * quantity * fill + fees_of(quantity, fill, rates, row, way, lot, freeze) * 100
        held[s, k.H_QUANTITY] = side * quantity
        held[s, k.H_ENTRY] = fill
        held[s, k.H_MARK] = units(prices[CLOSE, s, bar])
        account[k.A_POSITIONS] += 1
        counters[k.C_LATE] += 1


@phase
def _draw_stops_closer(clock, contracts, terms, bar, held):
    """What is held when the drawdown turns DEFENSIVE gets a nearer stop, from the next bar on."""
    period = clock[PERIOD, bar]
    for s in range(held.shape[0]):
        if held[s, k.H_QUANTITY] == 0 or held[s, k.H_FIRST_STOP] <= 0:
            continue
        side = 1 if held[s, k.H_QUANTITY] > 0 else -1
        nearer = g.tightened(terms, held[s, k.H_ENTRY], held[s, k.H_FIRST_STOP], side, contracts[period, s, TICK])
        if (nearer - held[s, k.H_STOP]) * side > 0:
            held[s, k.H_STOP] = nearer
            held[s, k.H_TRAILED] = 1


@phase
def _settle(clock, rates, contracts, terms, bar, last, held, account, counters, trades, equity, memory):
    """Equity at the close. When nothing is left to trade with, everything is closed here and the run is over."""
    symbols = held.shape[0]
    total = account[k.A_CASH]
    if account[k.A_POSITIONS] > 0:
        for s in range(symbols):
            total += held[s, k.H_QUANTITY] * held[s, k.H_MARK]
    equity[bar] = total
    if terms[k.X_GATED] > 0:
        before = account[k.A_STATE]
        g.after_close(terms, account, held, total, counters)
        if account[k.A_STATE] == g.DEFENSIVE and before != g.DEFENSIVE:
            _draw_stops_closer(clock, contracts, terms, bar, held)
    if total <= 0 and not last:
        for s in range(symbols):
            held[s, k.W_SIDE] = 0
            if held[s, k.H_QUANTITY] != 0:
                quantity = abs(held[s, k.H_QUANTITY])
                _leave(
                    clock, rates, contracts, terms, s, bar, held[s, k.H_MARK], k.RUIN, quantity, held, account, trades,
                    memory,
                )  # fmt: skip
        counters[k.C_RUIN] = 1
        account[k.A_OVER] = 1
        equity[bar:] = account[k.A_CASH]


@kernel
def simulate(given, trades, equity, counters):
    """Run the account over all bars. Gives the number of trades and the cash at the end.

    Written here: `trades` int64[enough, TRADE_COLUMNS], `equity` int64[bars], `counters` int64[COUNTERS].
    """
    (
        prices, flags, score, ranges, asked, liquid, blocked, hours, clock, rates, contracts, rungs, actions, past,
        terms,
    ) = given  # fmt: skip
    symbols, bars = prices.shape[1:]
    held = np.zeros((symbols, k.HELD), np.int64)
    account = np.zeros(k.ACCOUNT, np.int64)
    memory = np.zeros((k.MEMORY, symbols if terms[k.X_GATED] > 0 else 0), np.int64)
    g.opened(terms, account)
    for bar in range(bars):
        last = bar == bars - 1
        if actions.shape[0] > 0:
            _before_the_open(clock, contracts, actions, bar, held, account)
        if account[k.A_POSITIONS] + account[k.A_WAITING] > 0 or terms[k.X_GATED] > 0:
            _at_the_open(
                prices, score, ranges, asked, liquid, blocked, hours, clock, rates, contracts, rungs, past, terms, bar,
                held, account, counters, trades, memory,
            )  # fmt: skip
            _inside(
                prices, ranges, asked, liquid, blocked, hours, clock, rates, contracts, rungs, past, terms, bar, last,
                held, account, counters, trades, memory,
            )  # fmt: skip
        if not last:
            _decide(prices, flags, ranges, asked, clock, contracts, past, terms, bar, held, account, counters)
        elif terms[k.X_LATE_ORDERS] != 0:
            _late(prices, flags, ranges, asked, clock, rates, contracts, terms, bar, held, account, counters)
        _settle(clock, rates, contracts, terms, bar, last, held, account, counters, trades, equity, memory)
        if account[k.A_OVER] > 0:
            break
    return account[k.A_COUNT], account[k.A_CASH]


@kernel
def steps(given, held, account, trades, equity, counters):
    """The same, stopping after the inside of every bar: the caller writes what it decides into the flags of that bar
    (`long_in`, `short_in`, `long_out`, `short_out`), and may look at `held` and `account`."""
    (
        prices, flags, score, ranges, asked, liquid, blocked, hours, clock, rates, contracts, rungs, actions, past,
        terms,
    ) = given  # fmt: skip
    symbols, bars = prices.shape[1:]
    memory = np.zeros((k.MEMORY, symbols if terms[k.X_GATED] > 0 else 0), np.int64)
    g.opened(terms, account)
    for bar in range(bars):
        last = bar == bars - 1
        if actions.shape[0] > 0:
            _before_the_open(clock, contracts, actions, bar, held, account)
        _at_the_open(
            prices, score, ranges, asked, liquid, blocked, hours, clock, rates, contracts, rungs, past, terms, bar,
            held, account, counters, trades, memory,
        )  # fmt: skip
        _inside(
            prices, ranges, asked, liquid, blocked, hours, clock, rates, contracts, rungs, past, terms, bar, last, held,
            account, counters, trades, memory,
        )  # fmt: skip
        yield bar
        if not last:
            _decide(prices, flags, ranges, asked, clock, contracts, past, terms, bar, held, account, counters)
        elif terms[k.X_LATE_ORDERS] != 0:
            _late(prices, flags, ranges, asked, clock, rates, contracts, terms, bar, held, account, counters)
        _settle(clock, rates, contracts, terms, bar, last, held, account, counters, trades, equity, memory)
        if account[k.A_OVER] > 0:
            break
