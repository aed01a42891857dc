"""Candles in and out of the database, against Django's ORM with an object a row."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from statistics import median

import numpy as np

from tests.bench import tape
from tests.bench.harness import Figure, Run, bench, middle_ms, timed
from trading.marketdata.builder import Bar
from trading.marketdata.candles import STREAM, store_bars
from trading.marketdata.models import Candle
from trading.marketdata.windows import WindowCache, load_window

ORM_WRITE = "Django bulk_create, one object a row"
ORM_READ = "Django ORM, one object a row, into numpy"
PLAIN_LOAD = "load_window, the whole window again"


@bench
def candle_writes(run: Run) -> Iterator[Figure]:
    """Rows a second into the candle table."""
    symbols, bars = (10, 500) if run.quick else (50, 1_000)
    names, starts, walk = tape.names(symbols), tape.minutes(bars), tape.prices(symbols, bars)
    rows = [
        Bar(
            name.symbol,
            start,
            *(Decimal(int(value)) / 100 for value in walk[row, bar, :4]),
            volume=int(walk[row, bar, 4]),
        )
        for bar, start in enumerate(starts)
        for row, name in enumerate(names)
    ]
    feeds = iter(tape.feed(f"WRITE{number}") for number in range(99))
    ids = {name.symbol: name.pk for name in names}

    def orm() -> None:
        source = next(feeds)
        Candle.objects.bulk_create(
            [
                Candle(
                    feed=source, instrument_id=ids[bar.symbol], timeframe=1, started_at=bar.started_at, open=bar.open,
                    high=bar.high, low=bar.low, close=bar.close, volume=bar.volume, source=STREAM,
                )
                for bar in rows
            ],
            batch_size=2_000,
            ignore_conflicts=True,
        )  # fmt: skip

    ours = median(timed(lambda: store_bars(next(feeds), 1, rows, STREAM), run.rounds(4), warm_up=0))
    theirs = median(timed(orm, 2, warm_up=0))
    yield Figure("candle_writes", len(rows) / ours, "rows/s", ORM_WRITE, len(rows) / theirs)
    Candle.objects.filter(feed__name__startswith="WRITE").delete()


@bench
def window_reads(run: Run) -> Iterator[Figure]:
    """A window of 50 names × 5,000 bars into arrays: cold, and one bar later."""
    symbols, bars = (20, 1_000) if run.quick else (50, 5_000)
    source, names, starts = tape.filled("READ", symbols, bars)
    until = starts[-1] + timedelta(minutes=1)

    def orm() -> np.ndarray:
        columns = {start: at for at, start in enumerate(starts)}
        rows = {name.pk: at for at, name in enumerate(names)}
        result = np.full((5, symbols, bars), np.nan)
        for candle in Candle.objects.filter(feed=source, timeframe=1, instrument__in=names, started_at__lt=until):
            row, column = rows[candle.instrument_id], columns[candle.started_at]
            result[:, row, column] = candle.open, candle.high, candle.low, candle.close, candle.volume
        return result

    window = load_window(source, names, 1, bars=bars, until=until)
    assert np.array_equal(orm()[3], window.close)
    cold = middle_ms(lambda: load_window(source, names, 1, bars=bars, until=until), run.rounds(8))
    yield Figure("window_cold", cold, "ms", ORM_READ, middle_ms(orm, 2, warm_up=0))

    cache, clock = WindowCache(), iter(starts[-40:])
    cache.window(source, names, 1, bars=bars, until=starts[-41])
    warm = middle_ms(lambda: cache.window(source, names, 1, bars=bars, until=next(clock)), run.rounds(32))
    yield Figure("window_warm", warm, "ms", PLAIN_LOAD, cold)
    Candle.objects.filter(feed=source).delete()
