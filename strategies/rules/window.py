"""Bars that rules are reckoned on, with the exchange's sessions marked on them, and longer bars made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import pairwise
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from strategies.rules.columns import longer_bars
from trading.venue.sessions import Session, SessionKind, session_on

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
SeriesKey: TypeAlias = tuple[int, str]
"""Other bars a rule needs: timeframe in minutes, and an instrument's symbol or "" for the universe itself."""

DAILY: Final = 1_440
DAY_S: Final = 86_400
IST_OFFSET_S: Final = 19_800
ORDINARY_DAY_MIN: Final = 375
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
PRICES: Final = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True)
class Window:
    """Bars of several symbols on one common time axis, oldest first; a bar that a symbol lacks is NaN.

    `starts`, `ends` int64[bars], epoch seconds UTC; a bar is known at its end. `open` … `volume`
    float64[symbols, bars], rupees and units. `session_index` int64[bars] grows with each exchange day.
    float64[bars]: `minutes_since_open` at the bar's start, `minutes_to_close` at its end. `timeframe` in minutes; 0: as
    the closest two starts tell. Only completed bars belong here. `others`: bars of other timeframes and of reference
    instruments. `members` bool[symbols, bars]: who belongs to the universe at a bar and is ranked in it; None: all,
    always. Most windows are made by `window_of`, which knows the sessions.
    """

    symbols: tuple[str, ...]
    starts: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    session_index: Ints
    minutes_since_open: Floats
    minutes_to_close: Floats = None  # type: ignore[assignment]  # __post_init__ fills what was not given
    ends: Ints = None  # type: ignore[assignment]
    timeframe: int = 0
    others: Mapping[SeriesKey, Window] = field(default_factory=dict)
    members: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        bars = self.starts.shape[0]
        for name in PRICES:
            values = getattr(self, name)
            if values.shape != (len(self.symbols), bars):
                raise ValueError(f"{name} is {values.shape}, not {len(self.symbols)} symbols of {bars} bars")
            # One memory layout, so that every kernel is compiled once.
            object.__setattr__(self, name, np.require(values, np.float64, ["C", "W"]))
        if not self.timeframe:
            object.__setattr__(self, "timeframe", _closest_min(self.starts))
        if self.ends is None:
            object.__setattr__(self, "ends", self.starts + 60 * self.timeframe)
        if self.minutes_to_close is None:
            left = ORDINARY_DAY_MIN - self.minutes_since_open - self.timeframe
            object.__setattr__(self, "minutes_to_close", np.maximum(left, 0.0))
        for name, kind in (
            ("starts", np.int64), ("ends", np.int64), ("session_index", np.int64), ("minutes_since_open", np.float64),
            ("minutes_to_close", np.float64),
        ):  # fmt: skip
            values = getattr(self, name)
            if values.shape != (bars,):
                raise ValueError(f"{name} is {values.shape}, not {bars} bars")
            object.__setattr__(self, name, np.require(values, kind, ["C", "W"]))

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.symbols), int(self.starts.shape[0])

    def until(self, bars: int) -> Window:
        """The first `bars` bars: what was known then, of other timeframes and instruments too."""
        cut = self._slice(slice(0, bars))
        if not self.others or not bars:
            return replace(cut, others={}) if self.others else cut
        known_s = int(self.ends[bars - 1])
        kept = {key: other.until(_known_bars(other, known_s)) for key, other in self.others.items()}
        return replace(cut, others=kept)

    def row(self, symbol: str) -> Window:
        """The bars of one of the symbols alone."""
        place = self.symbols.index(symbol)
        prices = {name: getattr(self, name)[place : place + 1] for name in PRICES}
        members = None if self.members is None else self.members[place : place + 1]
        return replace(self, symbols=(symbol,), others={}, members=members, **prices)

    def _slice(self, bars: slice) -> Window:
        prices = {name: getattr(self, name)[:, bars] for name in PRICES}
        axis = {
            name: getattr(self, name)[bars]
            for name in ("starts", "ends", "session_index", "minutes_since_open", "minutes_to_close")
        }
        members = None if self.members is None else self.members[:, bars]
        return replace(self, members=members, **prices, **axis)


def window_of(
    *, symbols: Sequence[str], starts: Ints, open_: Floats, high: Floats, low: Floats, close: Floats, volume: Floats,
    timeframe: int, kind: SessionKind = SessionKind.EQUITY, others: Mapping[SeriesKey, Window] | None = None,
) -> Window:  # fmt: skip
    """Bars of `timeframe` minutes on rising `starts`, with their sessions read from the exchange's calendar.

    Days without a session in the calendar count as ordinary ones, from their first bar.
    """
    days, since_open, to_close, ends = session_marks(starts, timeframe, kind)
    return Window(
        symbols=tuple(symbols), starts=starts, open=open_, high=high, low=low, close=close, volume=volume,
        session_index=days, minutes_since_open=since_open, minutes_to_close=to_close, ends=ends, timeframe=timeframe,
        others=others or {},
    )  # fmt: skip


def session_marks(starts: Ints, timeframe: int, kind: SessionKind) -> tuple[Ints, Floats, Floats, Ints]:
    """Of each bar: exchange day since 1970, minutes since the open at its start and to the close at its end, its end.

    A daily bar begins at the open and is complete when its day is over.
    """
    days = (starts + IST_OFFSET_S) // DAY_S
    if timeframe >= DAILY:
        return days, np.zeros(starts.size), np.zeros(starts.size), (days + 1) * DAY_S - IST_OFFSET_S
    since_open, to_close, ends = np.empty(starts.size), np.empty(starts.size), np.empty(starts.size, np.int64)
    for part, session in _day_slices(starts, days, kind):
        day, end = starts[part], starts[part] + 60 * timeframe
        opens = float(day[0]) if session is None else session.opens_at.timestamp()
        closes = opens + 60 * ORDINARY_DAY_MIN if session is None else session.closes_at.timestamp()
        for segment in session.segments if session else ():
            inside = (day >= segment.opens_at.timestamp()) & (day < segment.closes_at.timestamp())
            end = np.where(inside, np.minimum(end, int(segment.closes_at.timestamp())), end)
        since_open[part] = (day - opens) / 60
        to_close[part] = np.maximum(closes - end, 0) / 60
        ends[part] = end
    return days, since_open, to_close, ends


def longer(window: Window, timeframe: int, kind: SessionKind = SessionKind.EQUITY) -> Window:
    """The same symbols in bars of `timeframe` minutes, made of these; the last one may still be incomplete.

    First open, highest high, lowest low, last close, sum of volume. Every segment of a session begins a new bar.
    """
    if timeframe <= window.timeframe or (timeframe < DAILY and timeframe % window.timeframe):
        raise ValueError(f"bars of {timeframe} minutes cannot be made of bars of {window.timeframe}")
    starts = window.starts
    days = (starts + IST_OFFSET_S) // DAY_S
    groups = np.empty(starts.size, np.int64)
    for part, session in _day_slices(starts, days, kind):
        day = starts[part]
        first = int(day[0]) if session is None else int(session.opens_at.timestamp())
        if timeframe >= DAILY:
            groups[part] = first
            continue
        group = first + (day - first) // (60 * timeframe) * (60 * timeframe)
        for segment in session.segments[1:] if session else ():
            opens = int(segment.opens_at.timestamp())
            group = np.where(day >= opens, opens + (day - opens) // (60 * timeframe) * (60 * timeframe), group)
        groups[part] = group
    prices = (getattr(window, name) for name in PRICES)
    made, open_, high, low, close, volume = longer_bars(groups, *prices)
    return window_of(
        symbols=window.symbols, starts=made, open_=open_, high=high, low=low, close=close, volume=volume,
        timeframe=timeframe, kind=kind,
    )  # fmt: skip


def _day_slices(starts: Ints, days: Ints, kind: SessionKind) -> Iterator[tuple[slice, Session | None]]:
    edges = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist(), starts.size] if starts.size else [0]
    for first, after in pairwise(edges):
        day = date.fromordinal(int(days[first]) + _EPOCH_ORDINAL)
        yield slice(first, after), session_on(day, kind=kind, assume_weekdays=True)


def _known_bars(window: Window, at_s: int) -> int:
    return int(np.searchsorted(window.ends, at_s, side="right"))


def _closest_min(starts: Ints) -> int:
    steps = np.diff(starts)
    return max(1, int(steps[steps > 0].min()) // 60) if (steps > 0).any() else 1
