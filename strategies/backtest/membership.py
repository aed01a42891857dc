"""Who belonged to the universes of a contract on each day of a test.

The scanner judges the members of its day. A test that judged today's members in the past would know who was going to
do well enough to be in an index, and would leave out who was not: so nothing is opened in, or ranked with, an
instrument on a day on which it did not belong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import numpy as np
from numpy.typing import NDArray

from strategies.backtest.errors import BacktestRefused
from strategies.backtest.market import DAILY, Market, exchange_days
from strategies.rules.window import Window
from trading.marketdata.listing.universes import Stay, stays_in
from trading.marketdata.models import Instrument

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


def with_members(market: Market, instruments: Sequence[Instrument], universes: Sequence[str]) -> Market:
    """The market, its window and those of other timeframes marked with who belonged when; the same one where everybody
    always did. `instruments` are those of the market, in its order.

    Before the first list that the desk knows of a universe, that list stands in, and a note says so. BacktestRefused
    EMPTY_UNIVERSE: none of them ever belonged on a traded day.
    """
    stays = stays_in(universes)
    of_symbol = {one.symbol: [stay for stay in stays if stay.instrument_id == one.pk] for one in instruments}
    window = _marked(market.window, of_symbol)
    if window.members is None:
        return replace(market, notes=(*market.notes, *_assumed(market, universes, stays)))
    others = {
        key: _marked(other, of_symbol) if not key[1] else other for key, other in window.others.items()
    }  # fmt: skip
    traded = window.members[:, market.warm_up :]
    if not traded.any():
        raise BacktestRefused(
            "EMPTY_UNIVERSE", f"None of them belonged to {', '.join(universes)} on any day of the test"
        )
    days = market.day_ends
    partly = [
        f"NOT_ALWAYS_A_MEMBER: {symbol} belonged to {', '.join(universes)} on {int(row[days].sum())} of {days.size}"
        " days: nothing is opened in it on the others"
        for symbol, row in zip(market.symbols, traded, strict=True)
        if not row.all()
    ]
    return replace(
        market, window=replace(window, others=others),
        notes=(*market.notes, *_assumed(market, universes, stays), *partly),
    )  # fmt: skip


def _marked(window: Window, of_symbol: dict[str, list[Stay]]) -> Window:
    """bool[symbols, bars]: whether a symbol belonged on the day on which a bar is judged."""
    judged = exchange_days(window.starts) + _EPOCH_ORDINAL
    if window.timeframe >= DAILY:  # a daily bar is judged when the next session opens
        judged = np.append(judged[1:], judged[-1:])
    rows = np.stack([_belongs(of_symbol[symbol], judged) for symbol in window.symbols])
    return window if rows.all() else replace(window, members=rows)


def _belongs(stays: Sequence[Stay], ordinals: NDArray[np.int64]) -> NDArray[np.bool_]:
    found = np.zeros(ordinals.size, np.bool_)
    for stay in stays:
        found |= (ordinals >= stay.first.toordinal()) & (ordinals <= stay.last.toordinal())
    return found


def _assumed(market: Market, universes: Sequence[str], stays: Sequence[Stay]) -> list[str]:
    since = {stay.universe: stay.known_since for stay in stays}
    first = date.fromordinal(int(market.day_ordinals[0]))
    said = []
    for name in (one for one in universes if one in since):
        known = since[name]
        if known is None:
            said.append(
                f"MEMBERS_ASSUMED: the list of {name} has no date: its members are taken to have always belonged"
            )
        elif first < known:
            said.append(
                f"MEMBERS_ASSUMED: who belonged to {name} before {known} is not known: its first list stands in"
            )
    return said
