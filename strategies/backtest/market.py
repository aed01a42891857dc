"""The bars a backtest runs on: one axis for all symbols, with the exchange's hours marked on it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from strategies.backtest.charges import NO_CHARGES, rate_rows
from strategies.backtest.errors import BacktestRefused
from strategies.rules.evaluate import Floats, Window, window_of
from trading.venue.charges import ChargeBroker, ChargeSegment
from trading.venue.matching import UNITS_PER_RUPEE
from trading.venue.sessions import Session, SessionKind, entry_window, session_on, square_off_at

IST_OFFSET_S: Final = 19_800
DAY_S: Final = 86_400
DAILY: Final = 1_440
OPEN_S: Final = 9 * 3_600 + 15 * 60 - IST_OFFSET_S  # 09:15 in India, from midnight UTC
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
HIGHEST_PRICE: Final = 1_000_000  # rupees; above it the event loop's whole numbers could overflow
_FIELDS: Final = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True)
class Hours:
    """bool[bars] each: an entry may fill at this open; intraday positions leave at this open; or at this close."""

    may_enter: NDArray[np.bool_]
    must_leave: NDArray[np.bool_]
    day_ends: NDArray[np.bool_]


@dataclass(frozen=True)
class Market:
    """Bars of one or more symbols. The first `warm_up` bars are history for the rules and are not traded.

    `timeframe` minutes. `ticks` rupees and `lots` units, in the order of the symbols. `notes` are what a reader of the
    result must know about the data.
    """

    window: Window
    timeframe: int
    ticks: tuple[Decimal, ...]
    lots: tuple[int, ...]
    exchange: str = "NSE"
    warm_up: int = 0
    kind: SessionKind = SessionKind.EQUITY
    notes: tuple[str, ...] = field(default=())

    @property
    def symbols(self) -> tuple[str, ...]:
        return self.window.symbols

    @property
    def bars(self) -> int:
        """Bars that are traded."""
        return int(self.window.starts.size) - self.warm_up

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """int64[bars]: epoch seconds of the traded bars."""
        return self.window.starts[self.warm_up :]

    @cached_property
    def day_ordinals(self) -> NDArray[np.int64]:
        """int64[bars]: the exchange day of each traded bar, as a proleptic ordinal."""
        return exchange_days(self.starts) + _EPOCH_ORDINAL

    @cached_property
    def day_ends(self) -> NDArray[np.int64]:
        """The last traded bar of each exchange day, int64[days]."""
        return np.append(np.flatnonzero(np.diff(self.day_ordinals)), self.bars - 1)

    @cached_property
    def prices(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Open, high, low and close of the traded bars, float64[symbols, bars], contiguous."""
        open_, high, low, close = (self.traded(getattr(self.window, name)) for name in _FIELDS[:4])
        return open_, high, low, close

    def traded(self, values: NDArray) -> NDArray:
        """The traded part of something per symbol and bar."""
        return np.ascontiguousarray(values[:, self.warm_up :])

    @cached_property
    def ticks_units(self) -> NDArray[np.int64]:
        return np.array([int(tick * UNITS_PER_RUPEE) for tick in self.ticks], np.int64)

    @cached_property
    def lot_units(self) -> NDArray[np.int64]:
        return np.array(self.lots, np.int64)

    @cached_property
    def always_open(self) -> Hours:
        """The hours of a strategy that may hold and enter at any time."""
        never = np.zeros(self.bars, np.bool_)
        return Hours(np.ones(self.bars, np.bool_), never, never)

    def hours(self, *, after_open_min: int, before_close_min: int, square_off_min: int) -> Hours:
        """The hours of an intraday strategy, by the start of each bar."""
        key = (after_open_min, before_close_min, square_off_min)
        known = self._hours_by_rule.get(key)
        if known is None:
            known = self._hours_by_rule[key] = self._hours(*key)
        return known

    @cached_property
    def _hours_by_rule(self) -> dict[tuple[int, int, int], Hours]:
        return {}

    def _hours(self, after_open_min: int, before_close_min: int, square_off_min: int) -> Hours:
        starts = self.starts
        may_enter, must_leave = np.zeros(self.bars, np.bool_), np.zeros(self.bars, np.bool_)
        day_ends = np.zeros(self.bars, np.bool_)
        for first, after, ordinal in _day_slices(self.day_ordinals):
            day_ends[after - 1] = True
            session = _session(ordinal, self.kind)
            if session is None:
                continue  # a bar on a day without trading: held positions leave with it, nothing is opened
            day = starts[first:after]
            opens, closes = entry_window(session, after_open_min, before_close_min)
            may_enter[first:after] = (day >= opens.timestamp()) & (day < closes.timestamp())
            must_leave[first:after] = day >= square_off_at(session, square_off_min).timestamp()
        return Hours(may_enter, must_leave, day_ends)

    def rates(self, broker: ChargeBroker | None, segment: ChargeSegment) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The row of charge rates of each traded bar, int64[bars], and the rows (see `charges.rate_rows`)."""
        known = self._rates_by_list.get((broker, segment))
        if known is None:
            known = self._rates_by_list[broker, segment] = self._rates(broker, segment)
        return known

    @cached_property
    def _rates_by_list(self) -> dict[tuple[ChargeBroker | None, ChargeSegment], tuple[NDArray, NDArray]]:
        return {}

    def _rates(self, broker: ChargeBroker | None, segment: ChargeSegment) -> tuple[NDArray, NDArray]:
        if broker is None:
            return np.zeros(self.bars, np.int64), NO_CHARGES
        ends = self.day_ends
        of_day, rows = rate_rows(self.day_ordinals[ends], broker=broker, segment=segment, exchange=self.exchange)
        return np.repeat(of_day, np.diff(ends, prepend=-1)), rows

    @cached_property
    def data_hash(self) -> str:
        """sha256 of every number the rules and the fills can see."""
        digest = hashlib.sha256()
        for one in (self.symbols, self.timeframe, self.ticks, self.lots, self.warm_up, self.exchange):
            digest.update(repr(one).encode())
        digest.update(np.ascontiguousarray(self.window.starts).data)
        for name in _FIELDS:
            digest.update(getattr(self.window, name).data)
        return digest.hexdigest()


def market_of(
    *, symbols: Sequence[str], starts: NDArray[np.int64], open_: Floats, high: Floats, low: Floats, close: Floats,
    volume: Floats, timeframe: int, ticks: Sequence[Decimal], lots: Sequence[int], warm_up: int = 0,
    exchange: str = "NSE", kind: SessionKind = SessionKind.EQUITY, notes: Sequence[str] = (),
) -> Market:  # fmt: skip
    """A market from arrays, float64[symbols, bars] on rising `starts`. BacktestRefused: prices the loop cannot take."""
    top = np.nanmax(high) if np.isfinite(high).any() else 0.0
    if top > HIGHEST_PRICE:
        raise BacktestRefused("PRICE_TOO_LARGE", f"A price of {top:,.2f} is above {HIGHEST_PRICE:,}", price=float(top))
    window = window_of(
        symbols=symbols, starts=starts, open_=open_, high=high, low=low, close=close, volume=volume,
        timeframe=timeframe, kind=kind,
    )  # fmt: skip
    return Market(
        window=window, timeframe=timeframe, ticks=tuple(ticks), lots=tuple(lots), warm_up=warm_up, exchange=exchange,
        kind=kind, notes=tuple(notes),
    )  # fmt: skip


def exchange_days(starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Days in India since 1970-01-01."""
    return (starts + IST_OFFSET_S) // DAY_S


def day_open_s(day: date) -> int:
    """Epoch seconds of the ordinary open of a day: the start of its daily bar."""
    return (day.toordinal() - _EPOCH_ORDINAL) * DAY_S + OPEN_S


def _day_slices(ordinals: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    edges = np.flatnonzero(np.diff(ordinals)) + 1
    firsts = [0, *edges.tolist()] if ordinals.size else []
    return [(a, b, int(ordinals[a])) for a, b in zip(firsts, [*firsts[1:], int(ordinals.size)], strict=True)]


def _session(ordinal: int, kind: SessionKind) -> Session | None:
    return session_on(date.fromordinal(ordinal), kind=kind, assume_weekdays=True)


def range_of(from_date: date | None, to_date: date | None) -> tuple[float, float]:
    """Epoch seconds of the first instant and of the end of a range of exchange days, both ends included."""
    first, last = -np.inf, np.inf
    if from_date is not None:
        first = float((from_date.toordinal() - _EPOCH_ORDINAL) * DAY_S - IST_OFFSET_S)
    if to_date is not None:
        last = float((to_date.toordinal() + 1 - _EPOCH_ORDINAL) * DAY_S - IST_OFFSET_S)
    if first >= last:
        raise BacktestRefused("EMPTY_RANGE", f"The range ends ({to_date}) before it begins ({from_date})")
    return first, last


def shown(start_s: int, timeframe: int) -> str:
    """A bar's start as people of the exchange write it: the day alone for daily bars."""
    local = datetime.fromtimestamp(int(start_s), UTC) + timedelta(seconds=IST_OFFSET_S)
    return local.strftime("%Y-%m-%d") if timeframe >= DAILY else local.strftime("%Y-%m-%dT%H:%M:%S+05:30")
