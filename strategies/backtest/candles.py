"""A market from the desk's stored candles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np

from strategies.backtest.errors import BacktestRefused
from strategies.backtest.facts import with_facts
from strategies.backtest.market import DAILY, Market, adjusted, market_of, range_of
from strategies.contracts.schema import ContractBody
from strategies.rules.compiled import RuleSet
from strategies.rules.functions import TIMEFRAME_NAMES, nearest
from strategies.rules.window import SeriesKey, Window, window_of
from trading.marketdata.candles import bars_by_day
from trading.marketdata.models import Feed, Instrument, Universe, UniverseMember
from trading.marketdata.sessions import session_kind
from trading.marketdata.windows import load_window, series_of
from trading.venue.calendar import remembered
from trading.venue.sessions import SessionKind, session_on

SESSION_MINUTES = 385  # the longest session there is: derivatives until 15:40
NAMED_HOLES = 5  # instruments that lack most are named


def instruments_of(names: Sequence[str]) -> list[Instrument]:
    """Instruments by symbol (NSE:SBIN-EQ) or ticker (SBIN). BacktestRefused: unknown, or nothing that can be traded."""
    by_name: dict[str, Instrument] = {}
    for one in Instrument.objects.filter(active=True):
        by_name.setdefault(one.ticker, one)
        by_name[one.symbol] = one
    found: list[Instrument] = []
    for name in names:
        instrument = by_name.get(name.upper())
        if instrument is None:
            hint = nearest(name, (known.lower() for known in by_name))
            raise BacktestRefused(
                "UNKNOWN_SYMBOL", f"There is no instrument {name}" + (f"; did you mean {hint.upper()}?" if hint else "")
            )
        if not instrument.is_tradable:
            raise BacktestRefused("NOT_TRADABLE", f"{instrument.symbol} cannot be traded")
        if instrument not in found:
            found.append(instrument)
    return found


def allowed_instruments(body: ContractBody) -> list[Instrument]:
    """Every instrument that ever belonged to a universe of the contract, also one that is not traded any more: a test
    of those that are left would know who survived."""
    stays = UniverseMember.objects.filter(universe__name__in=body.universes).values("instrument_id")
    found = list(Instrument.objects.filter(pk__in=stays).order_by("symbol"))
    if not found:
        known = ", ".join(Universe.objects.order_by("name").values_list("name", flat=True)) or "none"
        raise BacktestRefused(
            "EMPTY_UNIVERSE", f"No instrument belongs to {', '.join(body.universes)} (known universes: {known})"
        )
    return [one for one in found if one.instrument_type != "INDEX"]


def check_allowed(body: ContractBody, instruments: Sequence[Instrument], timeframe: str) -> None:
    """A contract runs where it says it does, in a test as on the desk. BacktestRefused names what is not allowed."""
    if timeframe != body.timeframe:
        raise BacktestRefused(
            "TIMEFRAME_NOT_ALLOWED", f"{body.name} is a contract for {body.timeframe} bars, not for {timeframe}"
        )
    allowed = {one.pk for one in allowed_instruments(body)}
    others = [one.symbol for one in instruments if one.pk not in allowed]
    if others:
        raise BacktestRefused(
            "UNIVERSE_NOT_ALLOWED",
            f"{body.name} is for {', '.join(body.universes)} without {', '.join(others)}",
        )


def market_of_candles(
    feed: Feed, instruments: Sequence[Instrument], *, timeframe: int, from_date: date, to_date: date, settling: int,
    named: bool = True, largest_order: Decimal | None = None,
) -> Market:  # fmt: skip
    """Stored candles of exchange days `from_date` to `to_date`, up to `settling` bars before them as history, and what
    was true of the instruments on those days (see `facts`).

    BacktestRefused: an empty range, or an instrument without a single candle in it; one that nobody `named` (it belongs
    to a universe) is left out and noted instead.
    """
    first_s, end_s = range_of(from_date, to_date)
    days = (to_date - from_date).days + 1
    a_day = 1 if timeframe >= DAILY else -(-SESSION_MINUTES // timeframe)
    until = datetime.fromtimestamp(end_s, UTC)
    prices = load_window(feed, instruments, timeframe, bars=days * a_day + settling, until=until)
    first = int(np.searchsorted(prices.starts, first_s))
    if prices.bars - first < 1:
        raise BacktestRefused(
            "NO_CANDLES",
            f"{feed.name} has no {timeframe}-minute candles of {_names(instruments)} from {from_date} to {to_date}",
        )
    without = [one for one, row in zip(instruments, prices.close[:, first:], strict=True) if np.isnan(row).all()]
    if without and not named and len(without) < len(instruments):
        others = [one for one in instruments if one not in without]
        market = market_of_candles(
            feed, others, timeframe=timeframe, from_date=from_date, to_date=to_date, settling=settling,
            largest_order=largest_order,
        )  # fmt: skip
        note = f"LEFT_OUT: there are no candles of {_names(without)}"
        return replace(market, notes=(note, *market.notes))
    if without:
        raise BacktestRefused(
            "NO_CANDLES", f"{feed.name} has no candles of {_names(without)} from {from_date} to {to_date}"
        )
    warm_up = min(first, settling)
    skip = first - warm_up
    o, h, lo, c, v = (
        np.ascontiguousarray(getattr(prices, name)[:, skip:]) for name in ("open", "high", "low", "close", "volume")
    )
    market = market_of(
        symbols=prices.symbols, starts=prices.starts[skip:].copy(), open_=o, high=h, low=lo, close=c, volume=v,
        timeframe=timeframe, ticks=[one.tick_size for one in instruments], lots=[one.lot_size for one in instruments],
        warm_up=warm_up, exchange=instruments[0].exchange, kind=_kind(instruments),
        notes=_notes(prices.symbols, c[:, warm_up:], v[:, warm_up:], warm_up, settling),
    )  # fmt: skip
    market = replace(market, notes=(*market.notes, *_holes(feed, instruments, market)))
    return with_facts(market, feed, instruments, largest_order=largest_order)


def with_other_bars(market: Market, rules: RuleSet, *, feed: Feed, instruments: Sequence[Instrument]) -> Market:
    """The market with the bars of other timeframes and reference instruments that the rules look at.

    BacktestRefused: the desk has no such instrument, or no candles of it in the range.
    """
    if not rules.needs:
        return market
    window = market.window
    by_symbol = {one.symbol: one for one in instruments}
    universe = [by_symbol[symbol] for symbol in market.symbols]
    until = datetime.fromtimestamp(int(window.ends[-1]), UTC)
    days = int(np.unique(window.session_index).size) + 1
    others: dict[SeriesKey, Window] = {}
    for need in rules.needs:
        timeframe, symbol = need.key(market.timeframe)
        wanted = universe if not symbol else instruments_named(symbol)
        a_day = 1 if timeframe >= DAILY else -(-SESSION_MINUTES // timeframe)
        bars = days * a_day + need.bars
        prices = load_window(feed, wanted, timeframe, bars=bars, until=until, adjusted=bool(symbol))
        if symbol and not prices.bars:
            raise BacktestRefused("NO_CANDLES", f"{feed.name} has no {timeframe}-minute candles of {symbol}")
        other = window_of(
            symbols=prices.symbols, starts=prices.starts.copy(), open_=prices.open, high=prices.high, low=prices.low,
            close=prices.close, volume=prices.volume, timeframe=timeframe, kind=_kind(wanted),
        )  # fmt: skip
        others[timeframe, symbol] = other if symbol else adjusted(other, market.actions)
    return replace(market, window=replace(window, others=others))


def instruments_named(symbol: str) -> list[Instrument]:
    """The reference instrument of a rule; it need not be one that can be traded."""
    found = list(Instrument.objects.filter(symbol=symbol)[:1])
    if not found:
        raise BacktestRefused("UNKNOWN_SYMBOL", f"The rules name {symbol}, which this desk does not know")
    return found


def _kind(instruments: Sequence[Instrument]) -> SessionKind:
    """The hours that all of them keep: the shorter ones where any closes by auction."""
    if any(one.has_derivatives for one in instruments):
        return SessionKind.EQUITY_DERIVATIVE_STOCK
    return SessionKind.EQUITY


def _notes(symbols: Sequence[str], close: np.ndarray, volume: np.ndarray, warm_up: int, settling: int) -> list[str]:
    notes = []
    if warm_up < settling:
        notes.append(f"SHORT_HISTORY: {warm_up} of {settling} bars of history: early values of averages depend on it")
    for symbol, row, traded in zip(symbols, close, volume, strict=True):
        lacking = int(np.count_nonzero(~np.isfinite(row)))
        if lacking:
            notes.append(f"MISSING_BARS: {symbol} lacks {lacking} of {row.size} bars")
        still = int(np.count_nonzero(np.isfinite(row) & ~(traded > 0)))
        if still:
            notes.append(f"ZERO_VOLUME_BARS: {symbol} has {still} bars without volume")
    return notes


def _holes(feed: Feed, instruments: Sequence[Instrument], market: Market) -> list[str]:
    """What the sessions up to the last traded bar had and the store has not; the worst instruments by name.

    Where bars are made of minutes, a minute that is not there is in none of them: the bar looks whole and is not.
    """
    first, last = (date.fromordinal(int(market.day_ordinals[at])) for at in (0, -1))
    end = datetime.fromtimestamp(int(market.window.ends[-1]), UTC)
    stored: dict[int, int] = {}
    for series in series_of(feed, instruments, market.timeframe):  # rising: its own bars are used where there are any
        stored[series.instrument_id] = series.timeframe
    days = [date.fromordinal(number) for number in range(first.toordinal(), last.toordinal() + 1)]
    found: list[tuple[int, str]] = []
    for minutes in sorted(set(stored.values())):
        those = [one for one in instruments if stored.get(one.pk) == minutes]
        there = bars_by_day(feed, those, minutes, first=first, last=last)
        wanted: dict[SessionKind, list[int]] = {}  # bars of each day
        for one in those:
            kind = session_kind(one)
            if kind not in wanted:
                wanted[kind] = [len(_bars_of_day(day, minutes, kind)) for day in days]
                wanted[kind][-1] = sum(at < end for at in _bars_of_day(last, minutes, kind))
            expected = wanted[kind]
            short = (count - there.get((one.pk, day), 0) for day, count in zip(days, expected, strict=True))
            lacking = [count for count in short if count > 0]
            if lacking:
                whole, name = sum(expected), TIMEFRAME_NAMES.get(minutes, str(minutes))
                told = (
                    f"of {one.symbol} {sum(lacking)} of {whole} bars of {name} are not stored, on {len(lacking)} days"
                )
                found.append((sum(lacking), told))
    found.sort(key=lambda hole: -hole[0])
    notes = [f"HOLES: {told}" for _, told in found[:NAMED_HOLES]]
    rest = found[NAMED_HOLES:]
    return [*notes, f"HOLES: and of {len(rest)} more, {rest[0][0]} bars at most of each"] if rest else notes


@remembered(maxsize=16_384)
def _bars_of_day(day: date, minutes: int, kind: SessionKind) -> list[datetime]:
    session = session_on(day, kind=kind)
    if session is None:
        return []
    return [session.opens_at] if minutes >= DAILY else session.bar_starts(minutes)


def _names(instruments: Sequence[Instrument]) -> str:
    shown = ", ".join(one.symbol for one in instruments[:5])
    return shown if len(instruments) <= 5 else f"{shown} and {len(instruments) - 5} more"
