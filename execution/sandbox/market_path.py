"""The simulated market: every price of every day as a function of (seed, date, symbol), nothing else.

A day's close comes from a slow, mean-reverting daily chain; the day itself is a bridge from yesterday's close to
today's, made of a market, a sector and an own movement with regimes of trend, U-shaped in volatility and volume.
Because nothing is random but the seed, history, the running session and a restart always agree.
"""

from __future__ import annotations

import zlib
from datetime import date, timedelta
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from execution.sandbox.calendar import is_trading_day, session_hours
from execution.sandbox.session import Ints, Session, SymbolDay
from execution.sandbox.universe import ETFS, INDICES, NIFTY50, Listing, members_of

GRID_S = 3
FIRST_DAY = date(2024, 1, 1)
LAST_DAY = date(2031, 12, 31)
MARKET_DAY_VOL, SECTOR_DAY_VOL, OWN_DAY_VOL = 0.0070, 0.0055, 0.0095
MEAN_REVERSION = 0.985
CIRCUIT = 0.10
PREMIUM_VOL, PREMIUM_TICKS = 0.0003, 240  # of a fund: how far it strays from its index, and for how long
DAY_RETURN_LIMIT, DAY_PATH_LIMIT = 0.055, 0.09
SECTORS = tuple(sorted({share.sector for share in NIFTY50}))
BETA = np.array([0.75 + (share.exchange_token * 7919 % 60) / 100 for share in NIFTY50])
POSITION = {share.symbol: row for row, share in enumerate(NIFTY50)}

Floats = NDArray[np.float64]


def _rng(seed: int, day: date, story: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([seed, day.toordinal(), zlib.crc32(story.encode())]))


class MarketPath:
    """All sessions of one seed, made when asked for."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._levels: Floats | None = None
        self._factor = lru_cache(maxsize=160)(self._factor_path)
        self.symbol_day = lru_cache(maxsize=16)(self._symbol_day)
        self.session = lru_cache(maxsize=2)(self._session)

    def _daily_levels(self) -> Floats:
        """Log distance from the base price at each day's close: float64[days + 1, shares], row 0 before day one."""
        if self._levels is None:
            days = (LAST_DAY - FIRST_DAY).days + 1
            shocks = np.random.Generator(np.random.PCG64([self.seed, 1])).standard_normal(
                (days, 1 + len(SECTORS) + len(NIFTY50))
            )
            sector_of = np.array([SECTORS.index(share.sector) for share in NIFTY50])
            moves = (
                MARKET_DAY_VOL * shocks[:, :1] * BETA
                + SECTOR_DAY_VOL * shocks[:, 1 : 1 + len(SECTORS)][:, sector_of]
                + OWN_DAY_VOL * shocks[:, 1 + len(SECTORS) :]
            )
            np.clip(moves, -DAY_RETURN_LIMIT, DAY_RETURN_LIMIT, out=moves)
            levels = np.zeros((days + 1, len(NIFTY50)))
            for row in range(days):
                if is_trading_day(FIRST_DAY + timedelta(days=row)):
                    levels[row + 1] = MEAN_REVERSION * levels[row] + moves[row]
                else:
                    levels[row + 1] = levels[row]
            self._levels = levels
        return self._levels

    def _ends_of(self, share: Listing, day: date) -> tuple[int, int]:
        """Yesterday's and today's close, paise, on the tick."""
        if not FIRST_DAY <= day <= LAST_DAY:
            raise ValueError(f"the simulated market knows {FIRST_DAY} to {LAST_DAY}, not {day}")
        levels, row, column = self._daily_levels(), (day - FIRST_DAY).days, POSITION[share.symbol]
        before, after = (share.base_paise * float(np.exp(levels[at, column])) for at in (row, row + 1))
        return (round(before / share.tick_paise) * share.tick_paise, round(after / share.tick_paise) * share.tick_paise)

    def _factor_path(self, day: date, story: str, day_vol: float) -> Floats:
        """Cumulative log movement of one driver over the day, one value per tick: noise plus regimes of trend."""
        count = tick_count(day)
        rng = _rng(self.seed, day, story)
        shape = volatility_shape(count)
        noise = rng.standard_normal(count) * shape
        trend, at = np.zeros(count), 0
        while at < count:
            length = int(rng.integers(20 * 60 // GRID_S, 75 * 60 // GRID_S))
            strength = float(rng.normal(0.0, 1.2)) if rng.random() < 0.6 else 0.0
            trend[at : at + length] = strength / np.sqrt(length)
            at += length
        return np.cumsum(noise + trend) * (day_vol * 0.8 / np.sqrt(count))

    def _prices(self, share: Listing, day: date) -> tuple[int, Floats, Ints, np.random.Generator]:
        """Yesterday's close, the log path from it, the traded prices, and the generator for the rest of the tape."""
        count, tick, row = tick_count(day), share.tick_paise, POSITION[share.symbol]
        prev_close, close = self._ends_of(share, day)
        rng = _rng(self.seed, day, "tape " + share.symbol)
        path = (
            BETA[row] * self._factor(day, "market", MARKET_DAY_VOL)
            + self._factor(day, "sector " + share.sector, SECTOR_DAY_VOL)
            + self._factor_path(day, "own " + share.symbol, OWN_DAY_VOL)
        )
        total = float(np.log(close / prev_close))
        gap = float(np.clip(0.3 * total + rng.normal(0, 0.0015), -0.03, 0.03))
        line = np.arange(1, count + 1) / count
        path = np.clip(gap + path + line * (total - gap - path[-1]), -DAY_PATH_LIMIT, DAY_PATH_LIMIT)
        return prev_close, path, np.rint(prev_close * np.exp(path) / tick).astype(np.int64) * tick, rng

    def _symbol_day(self, symbol: str, day: date) -> SymbolDay:
        share = NIFTY50[POSITION[symbol]]
        return _tape(share, day, *self._prices(share, day))

    def derived_days(self, prices: dict[str, Ints], closes: dict[str, int], day: date) -> dict[str, SymbolDay]:
        """Both indices from their members' prices and yesterday's closes, and the funds that hold them."""
        found = {index.symbol: _index_day(index, prices, closes) for index in INDICES}
        return found | {fund.symbol: self._fund_day(fund, found[fund.tracks], day) for fund in ETFS}

    def _fund_day(self, fund: Listing, index: SymbolDay, day: date) -> SymbolDay:
        """A fund trades at its part of the index, with a premium of its own that comes and goes."""
        part = fund.base_paise / next(one.base_paise for one in INDICES if one.symbol == fund.tracks)
        rng = _rng(self.seed, day, "tape " + fund.symbol)
        noise = np.convolve(rng.standard_normal(index.price.size + PREMIUM_TICKS - 1), np.ones(PREMIUM_TICKS), "valid")
        left = np.arange(index.price.size - 1, -1, -1) / PREMIUM_TICKS  # it is gone by the evening
        premium = PREMIUM_VOL * np.minimum(left, 1.0) * noise / np.sqrt(PREMIUM_TICKS)
        price = np.rint(index.price * part * np.exp(premium) / fund.tick_paise)
        prices = np.maximum(price, 1).astype(np.int64) * fund.tick_paise
        prev_close = round(index.prev_close * part / fund.tick_paise) * fund.tick_paise
        return _tape(fund, day, prev_close, np.log(prices / prev_close), prices, rng)

    def past_derived_days(self, day: date) -> dict[str, SymbolDay]:
        """The indices and funds of a day of which nothing else is wanted."""
        prices, closes = {}, {}
        for share in NIFTY50:
            closes[share.symbol], _, prices[share.symbol], _ = self._prices(share, day)
        return self.derived_days(prices, closes, day)

    def _session(self, day: date) -> Session:
        opens_at, closes_at = session_hours(day)
        names = {share.symbol: self._symbol_day(share.symbol, day) for share in NIFTY50}
        prices = {symbol: tape.price for symbol, tape in names.items()}
        closes = {symbol: tape.prev_close for symbol, tape in names.items()}
        names.update(self.derived_days(prices, closes, day))
        return Session(day, opens_at, closes_at, tick_instants(day), names)


def _tape(share: Listing, day: date, prev_close: int, path: Floats, price: Ints, rng: np.random.Generator) -> SymbolDay:
    """What was traded along a path of prices: how much at each tick, and on which side."""
    count = tick_count(day)
    moved = np.abs(np.diff(path, prepend=path[0]))
    usual = float(moved.mean()) or 1.0
    weight = (
        volume_shape(count) * np.exp(0.9 * rng.standard_normal(count)) * (0.5 + 0.5 * np.minimum(moved / usual, 4.0))
    )
    day_volume = share.day_volume * float(np.exp(rng.normal(0, 0.25)))
    volume = np.maximum(1, day_volume * weight / weight.sum()).astype(np.int64)
    change = np.sign(np.diff(price, prepend=prev_close))
    at_ask = np.where(change == 0, rng.random(count) < 0.5, change > 0)
    spread = np.where(rng.random(count) < 0.85, 1, 2).astype(np.int8)
    level = max(1, int(share.day_volume / count * 0.8))
    return SymbolDay(price, volume, at_ask, spread, prev_close, level)


def _index_day(index: Listing, prices: dict[str, Ints], closes: dict[str, int]) -> SymbolDay:
    """Weighted sum of the members, scaled so that base prices give the base level. An index has no volume."""
    shares = members_of(index)
    total = sum(share.weight for share in shares)
    factors = {share.symbol: index.base_paise * share.weight / total / share.base_paise for share in shares}
    level = np.sum([factor * prices[symbol] for symbol, factor in factors.items()], axis=0)
    before = sum(factor * closes[symbol] for symbol, factor in factors.items())
    price = np.rint(level / index.tick_paise).astype(np.int64) * index.tick_paise
    flat = np.zeros(len(price), np.int64)
    prev_close = round(before / index.tick_paise) * index.tick_paise
    return SymbolDay(price, flat, flat.astype(np.bool_), np.ones(len(price), np.int8), prev_close, 0)


def tick_count(day: date) -> int:
    opens_at, closes_at = session_hours(day)
    return (closes_at - opens_at) // GRID_S


def tick_instants(day: date) -> Ints:
    opens_at, _ = session_hours(day)
    return opens_at + GRID_S * np.arange(tick_count(day), dtype=np.int64)


@lru_cache(maxsize=4)
def volatility_shape(count: int) -> Floats:
    """High after the open, low at noon, higher into the close; mean square 1."""
    x = np.linspace(0, 1, count)
    shape = 0.75 + 1.5 * np.exp(-x / 0.06) + 0.5 * np.exp(-(1 - x) / 0.08)
    return shape / np.sqrt(np.mean(shape**2))


@lru_cache(maxsize=4)
def volume_shape(count: int) -> Floats:
    """U-shaped, mean 1."""
    x = np.linspace(0, 1, count)
    shape = 0.6 + 2.2 * np.exp(-x / 0.05) + 1.6 * np.exp(-(1 - x) / 0.09)
    return shape / shape.mean()


LISTINGS: tuple[Listing, ...] = (*NIFTY50, *INDICES, *ETFS)
