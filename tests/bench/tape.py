"""A made-up tape for the benches: the same at every run."""

from datetime import date, datetime, timedelta
from decimal import Decimal

import numpy as np
from django.db import connection

from trading.marketdata.candles import store_columns
from trading.marketdata.marks import Source
from trading.marketdata.models import Feed, Instrument
from trading.marketdata.packing.blocks import Columns
from trading.venue.sessions import session_on

FIRST_DAY = date(2026, 1, 1)


def minutes(count: int) -> list[datetime]:
    """The first `count` one-minute bars of 2026."""
    starts: list[datetime] = []
    day = FIRST_DAY
    while len(starts) < count:
        session = session_on(day, assume_weekdays=True)
        starts += session.bar_starts(1) if session else []
        day += timedelta(days=1)
    return starts[:count]


def names(count: int) -> list[Instrument]:
    made = [Instrument(symbol=f"NSE:BENCH{n}-EQ", name=f"Bench {n}", tick_size=Decimal("0.05")) for n in range(count)]
    Instrument.objects.bulk_create(made, ignore_conflicts=True)
    return list(Instrument.objects.filter(symbol__startswith="NSE:BENCH").order_by("id")[:count])


def feed(name: str) -> Feed:
    return Feed.objects.get_or_create(name=name, defaults={"kind": Feed.Kind.SANDBOX})[0]


def prices(symbols: int, bars: int, seed: int = 7) -> np.ndarray:
    """A random walk in paise: int64[symbols, bars, 5], open, high, low, close, volume."""
    rng = np.random.default_rng(seed)
    close = 50_000 + np.cumsum(rng.integers(-40, 41, (symbols, bars)), axis=1)
    close = np.maximum(close, 5_000)
    open_ = np.concatenate((close[:, :1], close[:, :-1]), axis=1)
    spread = rng.integers(0, 30, (symbols, bars))
    high, low = np.maximum(open_, close) + spread, np.minimum(open_, close) - spread
    return np.stack((open_, high, low, close, rng.integers(1, 90_000, (symbols, bars))), axis=2)


def columns(instruments: list[Instrument], starts: list[datetime], walk: np.ndarray) -> Columns:
    """The walk as columns for the store, sorted by name and start."""
    symbols, bars = walk.shape[:2]
    stamps = np.array([int(start.timestamp()) for start in starts], np.int64)
    o, h, lo, c = (np.ascontiguousarray(walk[:, :, part]).ravel() * 100 for part in range(4))
    return Columns(
        np.repeat(np.array([one.pk for one in instruments], np.int64), bars), np.tile(stamps, symbols), o, h, lo, c,
        volume=np.ascontiguousarray(walk[:, :, 4]).ravel(), source=np.full(symbols * bars, Source.HISTORY, np.uint8),
        mark=np.zeros(symbols * bars, np.uint8),
    )  # fmt: skip


def filled(name: str, symbols: int, bars: int) -> tuple[Feed, list[Instrument], list[datetime]]:
    """A feed with `bars` minutes of `symbols` names."""
    source, instruments, starts = feed(name), names(symbols), minutes(bars)
    store_columns(source, 1, columns(instruments, starts, prices(symbols, bars)))
    analyze()
    return source, instruments, starts


def analyze() -> None:
    """What autovacuum does a minute later."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE marketdata_candleblock, marketdata_candleseries")
