"""The bars a backtest runs on: one axis for all symbols, with the exchange's hours marked on it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from strategies.backtest.abreast import BLOCK, aligned
from strategies.backtest.charges import NO_CHARGES, rate_rows
from strategies.backtest.errors import BacktestRefused
from strategies.backtest.events import blocks_of
from strategies.backtest.jumps import whole_prices
from strategies.rules.window import Floats, Window, window_of
from trading.venue.charges import ChargeBroker, ChargeSegment
from trading.venue.matching import UNITS_PER_RUPEE
from trading.venue.sessions import Session, SessionKind, entry_window, session_on, square_off_at

IST_OFFSET_S: Final = 19_800
DAY_S: Final = 86_400
DAILY: Final = 1_440
OPEN_S: Final = 9 * 3_600 + 15 * 60 - IST_OFFSET_S  # 09:15 in India, from midnight UTC
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
USUAL_BARS: Final = 20  # whose mean volume is the usual one
HIGHEST_PRICE: Final = 1_000_000  # rupees; above it the event loop's whole numbers could overflow
_FIELDS: Final = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True)
class Hours:
    """bool[4, bars]: an entry may fill at this open; intraday positions leave at this open; or at this close; and the
    first bar of a day."""

    block: NDArray[np.bool_]

    @property
    def may_enter(self) -> NDArray[np.bool_]:
        return self.block[0]

    @property
    def must_leave(self) -> NDArray[np.bool_]:
        return self.block[1]

    @property
    def day_ends(self) -> NDArray[np.bool_]:
        return self.block[2]


@dataclass(frozen=True, slots=True)
class CorporateAction:
    """On the morning of `ex_date` every `before` shares become `after`; `dividend` rupees a share are paid besides, on
    the shares held before. For prices that are not adjusted for it. `factor`: what the rules multiply earlier prices by
    on account of the money that left the share."""

    symbol: str
    ex_date: date
    after: int = 1
    before: int = 1
    dividend: Decimal = Decimal(0)
    factor: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True)
class ContractTerms:
    """Ticks in rupees, lots and largest single orders (0: none) of all symbols, from a day on."""

    from_date: date
    ticks: tuple[Decimal, ...]
    lots: tuple[int, ...]
    freezes: tuple[int, ...]


@dataclass(frozen=True)
class Market:
    """Bars of one or more symbols. The first `warm_up` bars are history for the rules and are not traded.

    `timeframe` minutes. `ticks` rupees and `lots` units, in the order of the symbols; `later_terms` replace them from
    their day on, `freezes` are the largest single orders until then. `bands`: lowest and highest price of each traded
    day, float64[2, symbols, days]; where they are not known (NaN), `bands_pct` is a band around the close of the day
    before (None: none). `notes` are what a reader of the result must know about the data.

    With `actions` the window holds prices as they were; rules see them adjusted for what came later, fills do not.

    What only gates ask for: `sectors` of the symbols ("": not known), those that are `options`, and closes of the
    exchange days before the window (ordinals, rising, and float64[symbols, days] comparable with its own).
    """

    window: Window
    timeframe: int
    ticks: tuple[Decimal, ...]
    lots: tuple[int, ...]
    exchange: str = "NSE"
    warm_up: int = 0
    kind: SessionKind = SessionKind.EQUITY
    notes: tuple[str, ...] = field(default=())
    freezes: tuple[int, ...] = ()
    later_terms: tuple[ContractTerms, ...] = ()
    bands_pct: tuple[Decimal | None, ...] = ()
    bands: Floats | None = field(default=None, compare=False)
    actions: tuple[CorporateAction, ...] = ()
    sectors: tuple[str, ...] = ()
    options: frozenset[str] = frozenset()
    days_before: tuple[NDArray[np.int64], Floats] | None = field(default=None, compare=False)

    @property
    def symbols(self) -> tuple[str, ...]:
        return self.window.symbols

    @property
    def bars(self) -> int:
        """Bars that are traded."""
        return int(self.window.starts.size) - self.warm_up

    @cached_property
    def members(self) -> NDArray[np.bool_] | None:
        """bool[symbols, bars]: whether a symbol may be entered on what its traded bar says; None: always."""
        return None if self.window.members is None else self.traded(self.window.members)

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
    def daily_closes(self) -> tuple[NDArray[np.int64], Floats]:
        """Ordinals of the exchange days, and the last closes on them as the rules see them, float64[symbols, days]."""
        days = exchange_days(self.window.starts) + _EPOCH_ORDINAL
        firsts = np.flatnonzero(np.diff(days, prepend=days[0] - 1))
        close = self.adjusted.close
        bars = np.maximum.accumulate(np.where(np.isfinite(close), np.arange(days.size), -1), axis=1)
        last = bars[:, np.append(firsts[1:] - 1, days.size - 1)]
        own = np.where(last >= firsts, np.take_along_axis(close, np.maximum(last, 0), axis=1), np.nan)
        if self.days_before is None:
            return days[firsts], own
        before, closes = self.days_before
        return np.append(before, days[firsts]), np.concatenate((closes, own), axis=1)

    @cached_property
    def prices(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Open, high, low and close of the traded bars, float64[symbols, bars], contiguous."""
        open_, high, low, close = (self.traded(getattr(self.window, name)) for name in _FIELDS[:4])
        return open_, high, low, close

    @cached_property
    def price_block(self) -> Floats:
        """The same in one piece, float64[4, symbols, bars]."""
        return np.stack(self.prices)

    @cached_property
    def is_whole(self) -> bool:
        """One symbol, and every price of every traded bar known."""
        return len(self.symbols) == 1 and all(bool((row > 0).all() and (row < np.inf).all()) for row in self.prices)

    @cached_property
    def whole_prices(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Prices of a single symbol as whole numbers, and the ranges of their blocks: see `jumps.Ground`."""
        blocks = blocks_of(self.bars)
        whole, ranges = aligned((4, blocks * BLOCK), np.int64), aligned((4, blocks), np.int64)
        whole_prices(self.price_block[:, 0], whole, ranges)
        return whole, ranges

    def traded(self, values: NDArray) -> NDArray:
        """The traded part of something per symbol and bar."""
        return np.ascontiguousarray(values[:, self.warm_up :])

    @cached_property
    def contract_terms(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The period of each traded bar, int64[bars], and int64[periods, symbols, 3]: tick in ten-thousandths of a
        rupee, lot, largest single order."""
        freezes = self.freezes or (0,) * len(self.symbols)
        later = sorted(self.later_terms, key=lambda one: one.from_date)
        rows = [(self.ticks, self.lots, freezes), *((one.ticks, one.lots, one.freezes) for one in later)]
        table = [
            [(int(tick * UNITS_PER_RUPEE), lot, most) for tick, lot, most in zip(*row, strict=True)] for row in rows
        ]
        starts = np.array([one.from_date.toordinal() for one in later], np.int64)
        period = np.searchsorted(starts, self.day_ordinals, side="right").astype(np.int64)
        return period, np.array(table, np.int64).reshape(len(rows), len(self.symbols), 3)

    @cached_property
    def new_days(self) -> NDArray[np.bool_]:
        """bool[bars]: the first traded bar of an exchange day."""
        return np.diff(self.day_ordinals, prepend=-1) != 0

    @cached_property
    def usual_volume(self) -> Floats:
        """float64[symbols, bars]: mean units traded in the twenty bars before; NaN where none are known."""
        volume = np.nan_to_num(self.window.volume, nan=0.0)
        summed = np.cumsum(np.pad(volume, ((0, 0), (1, 0))), axis=1)
        upto = np.arange(self.window.starts.size)
        first = np.maximum(upto - USUAL_BARS, 0)
        with np.errstate(invalid="ignore"):
            mean = (summed[:, upto] - summed[:, first]) / (upto - first)
        return self.traded(np.where(mean > 0, mean, np.nan))

    @cached_property
    def blocked(self) -> NDArray[np.uint8]:
        """uint8[symbols, bars]: 1 nobody sells (locked at the upper circuit), 2 nobody buys, 3 neither. Empty when no
        symbol has a band."""
        if self.bands is None and not any(self.bands_pct):
            return np.zeros((0, 0), np.uint8)
        _, high, low, _ = self.prices
        ends = self.day_ends
        days = np.repeat(np.arange(ends.size), np.diff(ends, prepend=-1))
        lower, upper = (one[:, days] for one in self._day_bands())
        return ((low >= upper - 1e-9) * 1 + (high <= lower + 1e-9) * 2).astype(np.uint8)

    def _day_bands(self) -> Floats:
        """float64[2, symbols, days]: the lower and the upper band of each traded day; NaN: none."""
        close, ends = self.comparable_close, self.day_ends
        found = np.full((2, len(self.symbols), ends.size), np.nan)
        for row, band in enumerate(self.bands_pct):
            if band is None:
                continue
            known = np.where(np.isfinite(close[row]), np.arange(self.bars), 0)
            last = close[row][np.maximum.accumulate(known)[ends]]
            before = np.concatenate(([np.nan], last[:-1]))
            if self.factors is not None:  # in shares of the day itself
                before = before / self.traded(self.factors)[row, ends]
            tick, share = float(self.ticks[row]), float(band) / 100
            found[0, row] = np.ceil(before * (1 - share) / tick - 1e-9) * tick
            found[1, row] = np.floor(before * (1 + share) / tick + 1e-9) * tick
        return found if self.bands is None else np.where(np.isnan(self.bands), found, self.bands)

    @cached_property
    def action_rows(self) -> NDArray[np.int64]:
        """int64[actions, 5]: bar, symbol, shares after, shares before, dividend; those that fall on traded bars."""
        rows = []
        for one in self.actions:
            bar = int(np.searchsorted(self.day_ordinals, one.ex_date.toordinal()))
            if one.symbol in self.symbols and 0 < bar < self.bars:
                dividend = int(one.dividend * UNITS_PER_RUPEE)
                rows.append((bar, self.symbols.index(one.symbol), one.after, one.before, dividend))
        return np.array(sorted(rows), np.int64).reshape(-1, 5)

    @cached_property
    def factors(self) -> Floats | None:
        """float64[symbols, all bars]: what makes prices before an action comparable with those after; None: nothing."""
        return factors_of(self.actions, self.symbols, self.window.starts)

    @cached_property
    def adjusted(self) -> Window:
        """What the rules see: the window, with the prices before an action in shares of today."""
        return adjusted(self.window, self.actions)

    @cached_property
    def comparable_close(self) -> Floats:
        """float64[symbols, bars]: closes of the traded bars as the rules see them."""
        return self.prices[3] if self.factors is None else self.traded(self.adjusted.close)

    def as_traded(self, values: NDArray) -> NDArray:
        """The traded part of prices that were reckoned on `adjusted`, in the prices of their own day."""
        return self.traded(values if self.factors is None else values / self.factors)

    @property
    def is_plain(self) -> bool:
        """One set of terms, nothing locked, no actions, always a member."""
        return not (
            self.later_terms or any(self.freezes) or any(self.bands_pct) or self.actions or self.bands is not None
            or self.members is not None
        )  # fmt: skip

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
        return Hours(np.stack((~never, never, never, self.new_days)))

    def hours(self, *, after_open_min: int, before_close_min: int, square_off_min: int) -> Hours:
        """The hours of an intraday strategy, by the start of each bar."""
        key = (after_open_min, before_close_min, square_off_min)
        known = self._hours_by_rule.get(key)
        if known is None:
            known = self._hours_by_rule[key] = self._hours(*key)
        return known

    def leaving_at(self, hours: Hours, clock: time) -> Hours:
        """The same hours for trades that end at a time of day in India: nothing is opened from then until midnight."""
        second = (self.starts + IST_OFFSET_S) % DAY_S
        late = second >= clock.hour * 3_600 + clock.minute * 60
        return Hours(np.stack((hours.may_enter & ~late, hours.must_leave | late, hours.day_ends, self.new_days)))

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
        return Hours(np.stack((may_enter, must_leave, day_ends, self.new_days)))

    def rates(self, broker: ChargeBroker | None, segment: ChargeSegment) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The row of charge rates of each traded bar, int64[bars], and the rows (see `charges.rate_rows`)."""
        known = self._rates_by_list.get((broker, segment))
        if known is None:
            known = self._rates_by_list[broker, segment] = self._rates(broker, segment)
        return known

    def clock(self, broker: ChargeBroker | None, segment: ChargeSegment) -> NDArray[np.int64]:
        """int64[3, bars]: when each traded bar begins (epoch seconds), its row of charge rates, its period of terms."""
        known = self._clock_by_list.get((broker, segment))
        if known is None:
            known = np.stack((self.starts, self.rates(broker, segment)[0], self.contract_terms[0]))
            self._clock_by_list[broker, segment] = known
        return known

    @cached_property
    def _clock_by_list(self) -> dict[tuple[ChargeBroker | None, ChargeSegment], NDArray[np.int64]]:
        return {}

    @cached_property
    def pasts(self) -> dict[Any, Any]:
        """What gates ask of this market's past, by what they ask: see `market_past`."""
        return {}

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
        for more in (self.freezes, self.later_terms, self.bands_pct, self.actions):
            if more:
                digest.update(repr(more).encode())
        for fact in (self.sectors, sorted(self.options)):
            if any(fact):
                digest.update(repr(fact).encode())
        for rows in (self.bands, self.window.members, *(self.days_before or ())):
            if rows is not None:
                digest.update(np.ascontiguousarray(rows).data)
        digest.update(np.ascontiguousarray(self.window.starts).data)
        for name in _FIELDS:
            digest.update(getattr(self.window, name).data)
        for key, other in sorted(self.window.others.items()):
            digest.update(repr((key, other.symbols)).encode())
            digest.update(np.ascontiguousarray(other.starts).data)
            for name in _FIELDS:
                digest.update(getattr(other, name).data)
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


def factors_of(
    actions: Sequence[CorporateAction], symbols: Sequence[str], starts: NDArray[np.int64], *, of_volume: bool = False
) -> Floats | None:
    """float64[symbols, bars]: what prices before each action are multiplied by, and volumes divided by: shares alone
    change those. None: nothing changes."""
    row_of = {symbol: row for row, symbol in enumerate(symbols)}
    days = exchange_days(starts) + _EPOCH_ORDINAL
    found = None
    for one in actions:
        factor = one.before / one.after * (1.0 if of_volume else float(one.factor))
        if factor == 1 or one.symbol not in row_of:
            continue
        if found is None:
            found = np.ones((len(row_of), starts.size))
        found[row_of[one.symbol], days < one.ex_date.toordinal()] *= factor
    return found


def adjusted(window: Window, actions: Sequence[CorporateAction]) -> Window:
    """Bars as they look when the actions had always been so; the same window where there is nothing to change."""
    factors = factors_of(actions, window.symbols, window.starts)
    if factors is None:
        return window
    shares = factors_of(actions, window.symbols, window.starts, of_volume=True)
    w = window
    return replace(
        w, open=w.open * factors, high=w.high * factors, low=w.low * factors, close=w.close * factors,
        volume=w.volume if shares is None else w.volume / shares,
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
