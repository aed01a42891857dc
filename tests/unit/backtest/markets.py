"""Small markets: written by hand bar for bar, or drawn at random from a seed."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

import numpy as np

from strategies.backtest.market import DAILY, DAY_S, Market, day_open_s, market_of
from strategies.backtest.plan import Account, Costs, Plan, rule_of

MONDAY = date(2026, 2, 16)
NICKEL = Decimal("0.05")


def by_hand(*bars: Sequence[float | None], timeframe: int = 5, first: date = MONDAY, skip: int = 0) -> Market:
    """One symbol, open high low close each; None is a bar that does not exist. Intraday bars run on from 09:15."""
    rows = np.array([[np.nan] * 4 if bar is None else [float(x) for x in bar] for bar in bars])  # type: ignore[union-attr, arg-type]
    return together(rows, timeframe=timeframe, first=first, skip=skip)


def together(*symbols: np.ndarray, timeframe: int = 5, first: date = MONDAY, skip: int = 0) -> Market:
    """Several symbols, float[bars, 4] each."""
    bars = symbols[0].shape[0]
    if timeframe >= DAILY:
        days = np.busday_offset(np.datetime64(first), skip + np.arange(bars), roll="forward").astype(np.int64)
        starts = days * DAY_S + day_open_s(date(1970, 1, 1))
    else:
        starts = day_open_s(first) + (skip + np.arange(bars)) * timeframe * 60
    prices = np.stack(symbols)
    o, h, lo, c = (np.ascontiguousarray(prices[:, :, place]) for place in range(4))
    return market_of(
        symbols=[f"NSE:S{at}-EQ" for at in range(len(symbols))], starts=starts, open_=o, high=h, low=lo, close=c,
        volume=np.where(np.isfinite(c), 1_000.0, np.nan), timeframe=timeframe, ticks=[NICKEL] * len(symbols),
        lots=[1] * len(symbols),
    )  # fmt: skip


def wandering(seed: int, bars: int, *, start: float = 500.0, spread: float = 0.012, holes: float = 0.0) -> np.ndarray:
    """A random walk on ticks of 0.05, float[bars, 4], each bar enclosing its open and close; `holes`: share of NaN."""
    draw = np.random.default_rng(seed)
    close = start * np.exp(np.cumsum(draw.normal(0, spread, bars)))
    open_ = np.concatenate(([start], close[:-1])) * np.exp(draw.normal(0, spread / 3, bars))
    high = np.maximum(open_, close) * np.exp(np.abs(draw.normal(0, spread / 2, bars)))
    low = np.minimum(open_, close) * np.exp(-np.abs(draw.normal(0, spread / 2, bars)))
    rows = np.round(np.stack((open_, high, low, close), axis=1) * 20) / 20
    rows[:, 1] = rows[:, [0, 1, 3]].max(axis=1)
    rows[:, 2] = rows[:, [0, 2, 3]].min(axis=1)
    rows = np.maximum(np.round(rows, 2), 0.05)
    if holes:
        rows[draw.random(bars) < holes] = np.nan
    return rows


def plan(long: str | None = None, short: str | None = None, *, cash: str = "100000", **more: object) -> Plan:
    """A plan with the usual account; `more` as `Plan` takes it."""
    more.setdefault("account", Account(cash=Decimal(cash)))
    more.setdefault("costs", Costs())
    return Plan(
        name="test",
        version="",
        long_entry=rule_of(long, "long"),
        short_entry=rule_of(short, "short"),
        **more,  # type: ignore[arg-type]
    )


def intraday(bars: int, *, symbols: int = 1, seed: int = 7) -> Market:
    """Five-minute bars over whole sessions, as many as asked for, without a weekend between."""
    a_day = 75
    days = np.busday_offset(np.datetime64(date(2022, 1, 3)), np.arange(-(-bars // a_day))).astype(np.int64)
    starts = (days[:, None] * DAY_S + day_open_s(date(1970, 1, 1)) + np.arange(a_day) * 300).ravel()[:bars]
    o, h, lo, c = (
        np.ascontiguousarray(column)
        for column in np.moveaxis(np.stack([wandering(seed + at, bars, spread=0.0015) for at in range(symbols)]), 2, 0)
    )
    return market_of(
        symbols=[f"NSE:S{at}-EQ" for at in range(symbols)], starts=starts, open_=o, high=h, low=lo, close=c,
        volume=np.full(c.shape, 1_000.0), timeframe=5, ticks=[NICKEL] * symbols, lots=[1] * symbols,
    )  # fmt: skip
