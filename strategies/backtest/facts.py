"""What the exchange said of instruments on the days of a test: ticks, lots and largest orders, bands, and actions.

Stored candles are prices as they were. What held on a day is read for that day, so that a test of last year is not run
with the lots, the ticks and the share counts of today.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, time
from decimal import Decimal
from itertools import pairwise
from math import log
from typing import Final

import numpy as np

from risk.gates.concentration import CORRELATION_DAYS
from risk.snapshot import is_option
from strategies.backtest.market import DAILY, ContractTerms, CorporateAction, Market, exchange_days, factors_of
from trading.domain.clock import IST
from trading.marketdata.listing.actions import confirmed_between, shares_of, undecided_between
from trading.marketdata.listing.bands import bands_between
from trading.marketdata.listing.identities import Terms, terms_between
from trading.marketdata.models import CorporateAction as StoredAction
from trading.marketdata.models import Feed, Instrument
from trading.marketdata.windows import load_window
from trading.venue.matching import UNITS_PER_RUPEE

PLAIN_STEP: Final = 0.15  # in logarithms: an action that moves prices by more must be seen in them
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()


def with_facts(
    market: Market, feed: Feed, instruments: Sequence[Instrument], *, largest_order: Decimal | None = None
) -> Market:
    """The market with all that was true of its instruments on its days.

    `largest_order`, rupees: no order will be worth more, so that a largest quantity which none can reach is left away.
    """
    days = [date.fromordinal(int(market.day_ordinals[end])) for end in market.day_ends]
    market = _with_actions(market, instruments, days[-1])
    market = _with_terms(market, instruments, days[0], days[-1], largest_order)
    banded = replace(market, bands=bands_between(feed, instruments, days))
    return banded if banded.blocked.any() else market  # bands that stop nothing change nothing


def with_house_facts(market: Market, feed: Feed, instruments: Sequence[Instrument]) -> Market:
    """The market with what only the house's gates ask for: sectors, options, closes of the days before its window."""
    by_symbol = {one.symbol: one for one in instruments}
    traded = [by_symbol[symbol] for symbol in market.symbols]
    options = frozenset(one.symbol for one in traded if is_option(one))
    market = replace(market, sectors=tuple(one.own_sector for one in traded), options=options)
    first = date.fromordinal(int(exchange_days(market.window.starts[:1])[0]) + _EPOCH_ORDINAL)
    midnight = datetime.combine(first, time(), tzinfo=IST)
    before = load_window(feed, traded, DAILY, bars=CORRELATION_DAYS + 1, until=midnight, adjusted=True)
    if not before.bars:
        return market
    factors = factors_of(market.actions, market.symbols, before.starts)
    closes = before.close if factors is None else before.close * factors
    return replace(market, days_before=(exchange_days(before.starts) + _EPOCH_ORDINAL, closes))


def _with_terms(
    market: Market, instruments: Sequence[Instrument], first: date, last: date, largest_order: Decimal | None
) -> Market:
    periods = [
        (day, [found[one.pk] for one in instruments]) for day, found in terms_between(instruments, first, last)
    ]  # fmt: skip
    floors = [_lowest(row) for row in market.prices[2]]
    most = [None if largest_order is None else float(largest_order) / floor for floor in floors]

    def freezes(terms: Sequence[Terms]) -> tuple[int, ...]:
        reach = [one.freeze_quantity or 0 for one in terms]
        return tuple(
            0 if limit is not None and limit <= units else units for units, limit in zip(reach, most, strict=True)
        )

    table = [
        ContractTerms(day, tuple(one.tick_size for one in terms), tuple(one.lot_size for one in terms), freezes(terms))
        for day, terms in periods
    ]
    own, later = table[0], [one for before, one in pairwise(table) if _differ(before, one)]
    begins = zip(instruments, periods[0][1], strict=True)
    assumed = [one.symbol for one, terms in begins if terms.assumed and terms.lot_size > 1]
    notes = [f"TERMS_ASSUMED: the earliest known lot of {name} stands in for the days before" for name in assumed]
    return replace(
        market, ticks=own.ticks, lots=own.lots, freezes=own.freezes if any(own.freezes) else (),
        later_terms=tuple(later), notes=(*market.notes, *notes),
    )  # fmt: skip


def _differ(one: ContractTerms, other: ContractTerms) -> bool:
    return (one.ticks, one.lots, one.freezes) != (other.ticks, other.lots, other.freezes)


def _lowest(row: np.ndarray) -> float:
    return float(np.nanmin(row))


def _with_actions(market: Market, instruments: Sequence[Instrument], last: date) -> Market:
    first = date.fromordinal(int(exchange_days(market.window.starts[:1])[0]) + _EPOCH_ORDINAL)
    symbols = {one.pk: one.symbol for one in instruments}
    actions, notes = [], []
    for stored in confirmed_between(list(symbols), first, last):
        symbol = symbols[stored.instrument_id]
        step = _step_at(market, market.symbols.index(symbol), stored.ex_date)
        if step is None:
            continue  # no price before it: nothing to make comparable, and nothing that could be held
        close, opened = step
        if not _is_seen(float(stored.factor), opened / close):
            notes.append(
                f"ACTION_NOT_SEEN: prices of {symbol} do not step at its action of {stored.ex_date}: they are taken as"
                " adjusted for it already"
            )
            continue
        actions.append(_as_traded(stored, symbol, close))
    for doubted in undecided_between(list(symbols), first, last):
        symbol = symbols[doubted.instrument_id]
        if _step_at(market, market.symbols.index(symbol), doubted.ex_date) is not None:
            notes.append(
                f"ACTION_UNDECIDED: a suspected action of {symbol} on {doubted.ex_date} is neither confirmed nor"
                " dismissed: its step is traded here as a price, where the desk would not trade until it is decided"
            )
    return replace(market, actions=tuple(actions), notes=(*market.notes, *notes)) if actions or notes else market


def _as_traded(stored: StoredAction, symbol: str, close: float) -> CorporateAction:
    """A split or bonus changes shares. What else lowers a price (a demerger, rights, a special dividend) gives its
    value to the holder: it is paid in rupees, as if what was received had been sold at once."""
    if stored.kind in StoredAction.CHANGES_SHARES:
        after, before = shares_of(stored.factor)
        return CorporateAction(symbol, stored.ex_date, after=after, before=before)
    worth = (Decimal(str(close)) * (1 - stored.factor)).quantize(Decimal(1) / UNITS_PER_RUPEE)
    return CorporateAction(symbol, stored.ex_date, dividend=worth, factor=stored.factor.normalize())


def _step_at(market: Market, row: int, ex_date: date) -> tuple[float, float] | None:
    """The last close before a day, and the first open from it on; None: one of them is not there."""
    window = market.window
    known = np.flatnonzero(np.isfinite(window.close[row]))
    days = exchange_days(window.starts[known]) + _EPOCH_ORDINAL
    at = int(np.searchsorted(days, ex_date.toordinal()))
    if not 0 < at < known.size:
        return None
    return float(window.close[row, known[at - 1]]), float(window.open[row, known[at]])


def _is_seen(factor: float, step: float) -> bool:
    """Whether prices moved as an action says. A small one cannot be told from an ordinary night: it is believed."""
    if abs(log(factor)) <= PLAIN_STEP or step <= 0:
        return True
    return abs(log(step) - log(factor)) < abs(log(step))
