"""A made-up tape for the benches: the same at every run."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np

from trading.marketdata.candles import HISTORY, store_text
from trading.marketdata.models import Feed, Instrument
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


def lines(instruments: list[Instrument], starts: list[datetime], walk: np.ndarray) -> list[str]:
    """Rows for COPY, oldest first, all names of a minute together, as a live session writes them."""
    stamps = [start.astimezone(UTC).isoformat() for start in starts]
    table = walk.tolist()
    rows = []
    for bar, stamp in enumerate(stamps):
        for row, instrument in enumerate(instruments):
            o, h, lo, c, volume = table[row][bar]
            rows.append(
                f"{instrument.pk}\t{stamp}\t{o / 100:.2f}\t{h / 100:.2f}\t{lo / 100:.2f}\t{c / 100:.2f}\t{volume}\n"
            )
    return rows


def filled(name: str, symbols: int, bars: int) -> tuple[Feed, list[Instrument], list[datetime]]:
    """A feed with `bars` minutes of `symbols` names."""
    source, instruments, starts = feed(name), names(symbols), minutes(bars)
    store_text(source, 1, ["".join(lines(instruments, starts, prices(symbols, bars)))], HISTORY)
    return source, instruments, starts
