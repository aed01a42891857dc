"""What the market shows at an instant: last trade, five levels of depth, quotes, candles. Simulated or replayed.

The tape does not bend to the users' orders: they are small beside the market, and a tape that is a function of the
seed alone is what makes history, the live session and a restart agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

import numpy as np

from execution.sandbox.calendar import is_trading_day, next_trading_day, session_hours
from execution.sandbox.market_path import CIRCUIT, LISTINGS, MarketPath, tick_instants
from execution.sandbox.replay import Replay
from execution.sandbox.session import MINUTE_S, Candles, Session, candles_of, resample
from execution.sandbox.universe import Listing

LEVELS = 5
NO_CANDLES: Candles = np.empty((0, 6), dtype=np.int64)


@dataclass(frozen=True)
class Level:
    price: int
    size: int
    orders: int


@dataclass(frozen=True)
class Depth:
    """Displayed by the simulated market, best first; empty before the first trade."""

    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


@dataclass(frozen=True)
class Quote:
    """Paise and shares. `prev_close` is yesterday's; `traded_at` epoch seconds."""

    last: int
    last_size: int
    volume: int
    average: int
    open: int
    high: int
    low: int
    prev_close: int
    traded_at: int


class Market:
    """The board of one running session, plus all that was before it."""

    def __init__(self, *, seed: int, replay: Replay | None = None) -> None:
        self.seed = seed
        self.replay = replay
        self.listings: dict[str, Listing] = {
            listing.symbol: listing for listing in (replay.listings if replay else LISTINGS)
        }
        self._path = MarketPath(seed)
        self._derived_days = lru_cache(maxsize=8)(self._path.past_derived_days)
        self._minutes = lru_cache(maxsize=len(LISTINGS) * 62)(self._minute_candles)
        self.session: Session | None = None

    def open(self, day: date) -> Session:
        """Make `day` the running session."""
        self.session = self.replay.session if self.replay else self._path.session(day)
        return self.session

    def first_day(self, wanted: date) -> date:
        if self.replay:
            return self.replay.session.day
        while not is_trading_day(wanted):
            wanted += timedelta(days=1)
        return wanted

    def day_after(self, day: date) -> date | None:
        """The next session, or None: a replay has only its own day."""
        return None if self.replay else next_trading_day(day)

    @property
    def running(self) -> Session:
        if self.session is None:
            raise RuntimeError("no session is open")
        return self.session

    def band(self, symbol: str) -> tuple[int, int]:
        """Lowest and highest price the exchange accepts, on the tick, paise."""
        if self.replay:
            return self.replay.bands[symbol]
        tick, prev_close = self.listings[symbol].tick_paise, self.running.names[symbol].prev_close
        return -(-int(prev_close * (1 - CIRCUIT)) // tick) * tick, int(prev_close * (1 + CIRCUIT)) // tick * tick

    def quote(self, symbol: str, tick: int) -> Quote:
        """As of `tick`; before the first trade everything rests on yesterday's close."""
        day = self.running.names[symbol]
        if tick < day.started:
            p = day.prev_close
            return Quote(p, 0, 0, p, p, p, p, p, self.running.opens_at)
        return Quote(
            last=int(day.price[tick]),
            last_size=int(day.volume[tick]),
            volume=int(day.cum_volume[tick]),
            average=day.average_paise(tick),
            open=int(day.price[day.started]),
            high=int(day.high[tick]),
            low=int(day.low[tick]),
            prev_close=day.prev_close,
            traded_at=int(self.running.instants[tick]),
        )

    def depth(self, symbol: str, tick: int) -> Depth:
        """Five levels a side around the last trade, inside the circuit. Sizes follow from (seed, day, symbol, tick)."""
        session, listing = self.running, self.listings[symbol]
        day = session.names[symbol]
        if listing.is_index or tick < day.started:
            return Depth((), ())
        step, last = listing.tick_paise, int(day.price[tick])
        last -= last % step  # a replayed price may sit off the tick
        spread = int(day.spread_ticks[tick]) * step
        bid = last - spread if day.at_ask[tick] else last
        ask = bid + spread
        low, high = self.band(symbol)
        state = _mix(self.seed * 1_000_003 + session.day.toordinal(), listing.exchange_token, tick)
        bids: list[Level] = []
        asks: list[Level] = []
        for level in range(LEVELS):
            for side, price in ((bids, bid - level * step), (asks, ask + level * step)):
                state = _next(state)
                if low <= price <= high:
                    size = max(1, day.level_size * (40 + (state >> 20) % 200) * (4 + level) // 480)
                    side.append(Level(price, size, 1 + (state >> 40) % 24))
        return Depth(tuple(bids), tuple(asks))

    # -- candles ------------------------------------------------------------------------------------------------

    def _minute_candles(self, symbol: str, day: date) -> Candles:
        """All one-minute candles of a finished simulated day."""
        instants, (opens_at, _) = tick_instants(day), session_hours(day)
        listing = self.listings[symbol]
        if listing.is_derived:
            tape = self._derived_days(day)[symbol]
        else:
            tape = self._path.symbol_day(symbol, day)
        return candles_of(instants, tape, bucket_s=MINUTE_S, origin=opens_at, last_tick=len(instants) - 1)

    def running_candles(self, symbol: str, tick: int, *, bucket_s: int) -> Candles:
        """Candles of the running day as published up to `tick`, the forming one included."""
        session = self.running
        tape = session.names.get(symbol)
        if tape is None or tick < tape.started:
            return NO_CANDLES
        return candles_of(session.instants, tape, bucket_s=bucket_s, origin=session.opens_at, last_tick=tick)

    def day_candles(self, symbol: str, day: date, tick: int, *, bucket_s: int) -> Candles:
        """Intraday candles of `day`: the published part if it is running, nothing if it lies ahead."""
        session = self.running
        if day == session.day:
            return self.running_candles(symbol, tick, bucket_s=bucket_s)
        if self.replay or day > session.day or not is_trading_day(day):
            return NO_CANDLES
        return resample(self._minutes(symbol, day), bucket_s=bucket_s, origin=session_hours(day)[0])

    def imported_candles(self, symbol: str, *, bucket_s: int, tick: int) -> Candles:
        """A replay's earlier days at this resolution and the running day."""
        assert self.replay is not None
        books = self.replay.history.get(symbol, {})
        exact = books.get(str(bucket_s // 60))
        fine = books.get("1")
        past = NO_CANDLES
        if exact is not None:
            past = exact
        elif fine is not None and len(fine):
            parts = []
            days = (fine[:, 0] + 19_800) // 86_400
            for number in np.unique(days):
                day = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=int(number))).date()
                opens_at = (self.replay.hours.get(day) or session_hours(day))[0]
                parts.append(resample(fine[days == number], bucket_s=bucket_s, origin=opens_at))
            past = np.concatenate(parts)
        past = past[past[:, 0] < self.running.opens_at]
        return np.concatenate([past, self.running_candles(symbol, tick, bucket_s=bucket_s)])


def daily_of(candles: Candles, day: date) -> Candles:
    """One candle of a day, stamped 00:00 UTC of its date."""
    if len(candles) == 0:
        return NO_CANDLES
    stamp = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    return np.array(
        [[stamp, candles[0, 1], candles[:, 2].max(), candles[:, 3].min(), candles[-1, 4], candles[:, 5].sum()]],
        dtype=np.int64,
    )


_MASK = (1 << 64) - 1


def _mix(a: int, b: int, c: int) -> int:
    return _next(_next(_next(a & _MASK) ^ (b & _MASK)) ^ (c & _MASK))


def _next(state: int) -> int:
    """splitmix64: cheap, and the same on every machine."""
    state = (state + 0x9E3779B97F4A7C15) & _MASK
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
    return state ^ (state >> 31)
