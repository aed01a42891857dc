"""Candles in and out of the database, against a table of one row a candle used as Django's ORM uses it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from statistics import median

import numpy as np
from django.db import connection, models
from django.test import override_settings

from strategies.rules.compiled import compile_rule
from strategies.scanner.scan_bar import rule_window
from tests.bench import tape
from tests.bench.bench_scan import RULE
from tests.bench.harness import Figure, Run, Skipped, bench, middle_ms, timed
from trading.marketdata.builder import Bar
from trading.marketdata.candles import STREAM, forget_candles, store_bars, store_columns
from trading.marketdata.models import Instrument
from trading.marketdata.windows import WindowCache, load_window

ORM_WRITE = "one row a candle, Django bulk_create"
ORM_READ = "one row a candle, Django values_list into numpy"
PLAIN_LOAD = "load_window, the whole window again"
AT_ONCE = 2_000


class CandleRow(models.Model):
    """The peer: a candle as one row, indexed as a window reads it. Exists only while a bench runs."""

    feed_id = models.BigIntegerField()
    instrument_id = models.BigIntegerField()
    timeframe = models.PositiveSmallIntegerField()
    started_at = models.DateTimeField()
    open = models.DecimalField(max_digits=14, decimal_places=4)
    high = models.DecimalField(max_digits=14, decimal_places=4)
    low = models.DecimalField(max_digits=14, decimal_places=4)
    close = models.DecimalField(max_digits=14, decimal_places=4)
    volume = models.BigIntegerField()
    source = models.CharField(max_length=16)

    class Meta:
        app_label = "bench"
        constraints = [
            models.UniqueConstraint(fields=["feed_id", "instrument_id", "timeframe", "started_at"], name="bench_once")
        ]

    def __str__(self) -> str:
        return f"{self.instrument_id} {self.started_at}"


@contextmanager
def candle_rows() -> Iterator[None]:
    """The peer's table, empty."""
    with connection.schema_editor() as editor:
        editor.create_model(CandleRow)
    try:
        yield
    finally:
        with connection.schema_editor() as editor:
            editor.delete_model(CandleRow)


def write_rows(names: list[Instrument], starts: list[datetime], walk: np.ndarray) -> None:
    for row, name in enumerate(names):
        table = walk[row].tolist()
        CandleRow.objects.bulk_create(
            [
                CandleRow(
                    feed_id=1, instrument_id=name.pk, timeframe=1, started_at=start, open=Decimal(o) / 100,
                    high=Decimal(h) / 100, low=Decimal(lo) / 100, close=Decimal(c) / 100, volume=v, source=STREAM,
                )
                for start, (o, h, lo, c, v) in zip(starts, table, strict=True)
            ],
            batch_size=AT_ONCE,
        )  # fmt: skip


def read_rows(names: list[Instrument], starts: list[datetime]) -> np.ndarray:
    """float64[5, symbols, bars], a query a name, as one writes it first."""
    columns = {start: at for at, start in enumerate(starts)}
    result = np.full((5, len(names), len(starts)), np.nan)
    for place, name in enumerate(names):
        rows = CandleRow.objects.filter(feed_id=1, instrument_id=name.pk, timeframe=1).order_by("started_at")
        found = list(rows.values_list("started_at", "open", "high", "low", "close", "volume"))
        where = [columns[row[0]] for row in found]
        result[:, place, where] = np.array([row[1:] for row in found], float).T
    return result


@bench
def candle_writes(run: Run) -> Iterator[Figure]:
    """Backfill of 500 names × 5,000 minutes, bars of a live minute, against a row each."""
    symbols, bars = (50, 1_000) if run.quick else (500, 5_000)
    few = symbols // 10
    names, starts, walk = tape.names(symbols), tape.minutes(bars), tape.prices(symbols, bars)
    columns = tape.columns(names, starts, walk)
    feeds = iter([tape.feed(f"WRITE{number}") for number in range(9)])
    ours = median(timed(lambda: store_columns(next(feeds), 1, columns), run.rounds(3), warm_up=1))
    with candle_rows():
        (theirs,) = timed(lambda: write_rows(names[:few], starts, walk), 1, warm_up=0)
    yield Figure("candle_backfill", len(columns) / ours, "rows/s", ORM_WRITE, few * bars / theirs)
    yield Figure("candle_backfill_whole", ours, "s")

    live, minutes = tape.feed("LIVE"), iter(range(bars))

    def minute() -> None:
        """What the engine does when a minute is over: one bar of every name."""
        at = next(minutes)
        store_bars(live, 1, [_bar(name, starts[at], walk[row, at]) for row, name in enumerate(names)], STREAM)

    yield Figure("candle_live_minute", middle_ms(minute, run.rounds(120)), "ms")
    for one in ("LIVE", *(f"WRITE{number}" for number in range(9))):
        forget_candles(tape.feed(one))


def _bar(name: Instrument, start: datetime, row: np.ndarray) -> Bar:
    o, h, lo, c = (Decimal(int(value)) / 100 for value in row[:4])
    return Bar(name.symbol, start, o, h, lo, c, int(row[4]))


@bench
def window_reads(run: Run) -> Iterator[Figure]:
    """A window of 500 names × 5,000 bars into arrays: cold, and one bar later."""
    symbols, bars = (50, 1_000) if run.quick else (500, 5_000)
    few = symbols // 10
    source, names, starts = tape.filled("READ", symbols, bars)
    until = starts[-1] + timedelta(minutes=1)
    window = load_window(source, names, 1, bars=bars, until=until)
    cold = middle_ms(lambda: load_window(source, names, 1, bars=bars, until=until), run.rounds(8))
    with candle_rows():
        write_rows(names[:few], starts, tape.prices(symbols, bars)[:few])
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE bench_candlerow")
        theirs = middle_ms(lambda: read_rows(names[:few], starts), 3, warm_up=0)
        assert np.array_equal(read_rows(names[:few], starts)[3], window.close[:few])
    yield Figure("window_cold", cold, "ms")
    yield Figure("window_read", symbols * bars / cold * 1000, "rows/s", ORM_READ, few * bars / theirs * 1000)

    cache, clock = WindowCache(), iter(starts[-40:])
    cache.window(source, names, 1, bars=bars, until=starts[-41])
    warm = middle_ms(lambda: cache.window(source, names, 1, bars=bars, until=next(clock)), run.rounds(32))
    yield Figure("window_warm", warm, "ms", PLAIN_LOAD, cold)
    forget_candles(source)


@bench
def window_files_between_processes(run: Run) -> Iterator[Figure]:
    """A window of 500 names × 5,000 bars in a process that has just started: mapped from a file, or read anew."""
    symbols, bars = (50, 1_000) if run.quick else (500, 5_000)
    source, names, starts = tape.filled("FILES", symbols, bars)
    until = starts[-1] + timedelta(minutes=1)
    with override_settings(VAR=run.var):
        WindowCache().window(source, names, 1, bars=bars, until=until)  # writes the file

        def started() -> float:
            """Every close is looked at, so that what is mapped lazily is paid for."""
            window = WindowCache().window(source, names, 1, bars=bars, until=until)
            return float(window.close.sum())

        mapped = middle_ms(started, run.rounds(12))
    anew = middle_ms(lambda: load_window(source, names, 1, bars=bars, until=until), run.rounds(8))
    yield Figure("window_from_file", mapped, "ms", PLAIN_LOAD, anew)
    forget_candles(source)


@bench
def scan_from_the_database(run: Run) -> Iterator[Figure]:
    """From the database to the names that fire: 500 × 5,000 bars, EMA crossing under an RSI filter, nothing kept."""
    try:
        import pandas as pd
    except ImportError:
        raise Skipped("pandas is not installed: put it on PYTHONPATH") from None
    symbols, bars = (50, 1_000) if run.quick else (500, 5_000)
    few = max(5, symbols // 20)
    source, names, starts = tape.filled("HITS", symbols, bars)
    rule, until = compile_rule(RULE), starts[-1] + timedelta(minutes=1)

    def ours() -> np.ndarray:
        window = rule_window(load_window(source, names, 1, bars=bars, until=until))
        return np.flatnonzero(rule.evaluate(window)[:, -1])

    def theirs() -> list[int]:
        hits = []
        for place, name in enumerate(names[:few]):
            rows = CandleRow.objects.filter(feed_id=1, instrument_id=name.pk, timeframe=1).order_by("started_at")
            frame = pd.DataFrame(list(rows.values_list("started_at", "open", "high", "low", "close", "volume")))
            close = frame[4].astype(float)
            fast, slow = close.ewm(span=9, adjust=False).mean(), close.ewm(span=21, adjust=False).mean()
            moves = close.diff()
            gain = moves.clip(lower=0).ewm(alpha=1 / 14, adjust=False).mean()
            loss = (-moves.clip(upper=0)).ewm(alpha=1 / 14, adjust=False).mean()
            strength = 100 * gain / (gain + loss)
            crossed = fast.iat[-1] > slow.iat[-1] and fast.iat[-2] <= slow.iat[-2]
            if crossed and strength.iat[-1] > 50:
                hits.append(place)
        return hits

    with candle_rows():
        write_rows(names[:few], starts, tape.prices(symbols, bars)[:few])
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE bench_candlerow")
        assert theirs() == [hit for hit in ours().tolist() if hit < few]
        peer = symbols / few * middle_ms(theirs, 3, warm_up=0)
    yield Figure(
        "scan_from_database", middle_ms(ours, run.rounds(8)), "ms", "ORM and pandas, a twentieth of the names", peer
    )
    forget_candles(source)
