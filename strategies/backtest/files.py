"""A market from one CSV file, plain or gzipped: a time, open, high, low, close and perhaps a volume."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from math import isfinite
from pathlib import Path
from typing import IO, Final, cast

import numpy as np

from strategies.backtest.errors import BacktestRefused
from strategies.backtest.market import DAILY, Market, day_open_s, exchange_days, market_of, range_of, shown
from trading.domain.clock import IST

_TIMES: Final = ("ts", "date", "datetime", "time", "timestamp", "")
_PRICES: Final = ("open", "high", "low", "close")
PENNY: Final = Decimal("0.01")


def market_of_file(
    path: Path, *, symbol: str, timeframe: int, from_date: date | None = None, to_date: date | None = None,
    tick: Decimal = PENNY, lot: int = 1,
) -> Market:  # fmt: skip
    """The bars of a file between two exchange days, both included; earlier ones are kept as history for the rules.

    Times without a zone are India's; days stand for their session. Rows may come in any order. BacktestRefused, with
    the line: a file that is none of candles, a price that is none, a bar that contradicts itself, two bars of one time.
    """
    first_s, end_s = range_of(from_date, to_date)
    rows = list(_bars(path, timeframe))
    if not rows:
        raise BacktestRefused("NO_CANDLES", f"{path.name} has no bars")
    notes = []
    stamps = np.array([row[0] for row in rows], np.int64)
    if (np.diff(stamps) < 0).any():
        notes.append("UNSORTED: rows were put into the order of time")
    order = np.argsort(stamps, kind="stable")
    starts = stamps[order]
    values = np.array([row[1:] for row in rows])[order].T
    twice = np.flatnonzero(np.diff(starts) == 0)
    if twice.size:
        at = int(starts[twice[0]])
        raise BacktestRefused("DUPLICATE_BAR", f"{path.name} has two bars of {shown(at, timeframe)}")
    _check_step(starts, timeframe, path)
    kept = starts < end_s
    starts, values = starts[kept], values[:, kept]
    warm_up = int(np.searchsorted(starts, first_s))
    if starts.size - warm_up < 1:
        raise BacktestRefused("EMPTY_RANGE", f"{path.name} has no bars between {from_date} and {to_date}")
    still = int(np.count_nonzero(values[4] <= 0))
    if still:
        notes.append(f"ZERO_VOLUME_BARS: {still} of {starts.size} bars have no volume")
    o, h, lo, c, v = (np.ascontiguousarray(row[None, :]) for row in values)
    return market_of(
        symbols=(symbol,), starts=starts, open_=o, high=h, low=lo, close=c, volume=v, timeframe=timeframe,
        ticks=(tick,), lots=(lot,), warm_up=warm_up, notes=notes,
    )  # fmt: skip


def _bars(path: Path, timeframe: int) -> Iterator[tuple[float, ...]]:
    try:
        with _opened(path) as lines:
            yield from _rows(csv.reader(lines), path, timeframe)
    except FileNotFoundError as error:
        raise BacktestRefused("NO_SUCH_FILE", f"There is no file {path}") from error
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise BacktestRefused("NOT_CANDLES", f"{path.name} cannot be read as candles: {error}") from error


def _opened(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return cast("IO[str]", gzip.open(path, "rt", encoding="utf-8-sig", newline=""))
    return path.open(encoding="utf-8-sig", newline="")


def _rows(lines: Iterator[list[str]], path: Path, timeframe: int) -> Iterator[tuple[float, ...]]:
    header = [name.strip().lower() for name in next(lines, [])]
    if not header:
        raise BacktestRefused("NO_CANDLES", f"{path.name} is empty")
    time_at = next((header.index(name) for name in _TIMES if name in header), None)
    missing = [name for name in _PRICES if name not in header]
    if time_at is None or missing:
        what = ", ".join(missing or ["a time"])
        raise BacktestRefused("NOT_CANDLES", f"{path.name} lacks a column for {what}")
    places = [header.index(name) for name in _PRICES]
    volume_at = header.index("volume") if "volume" in header else None
    for number, row in enumerate(lines, start=2):
        if not row or not any(field.strip() for field in row):
            continue
        where = f"{path.name}, line {number}"
        if len(row) <= max(places):
            raise BacktestRefused("BAD_ROW", f"{where}: {len(row)} fields are too few")
        o, h, lo, c = (_number(row[place], _PRICES[at], where) for at, place in enumerate(places))
        if lo <= 0 or h < max(o, c) or lo > min(o, c):
            raise BacktestRefused("BAD_BAR", f"{where}: {o}, {h}, {lo}, {c} are no open, high, low and close")
        volume = 0.0
        if volume_at is not None and volume_at < len(row) and row[volume_at].strip():
            volume = _number(row[volume_at], "volume", where)
        yield _start(row[time_at].strip(), timeframe, where), o, h, lo, c, max(0.0, volume)


def _number(text: str, what: str, where: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not isfinite(number):
        raise BacktestRefused("NOT_A_NUMBER", f"{where}: {what} is {text.strip() or 'empty'}, not a number")
    return number


def _start(text: str, timeframe: int, where: str) -> float:
    try:
        stamp = datetime.fromisoformat(text)
    except ValueError as error:
        raise BacktestRefused("NOT_A_TIME", f"{where}: {text or 'nothing'} is not a time") from error
    local = stamp.replace(tzinfo=IST) if stamp.tzinfo is None else stamp.astimezone(IST)
    return day_open_s(local.date()) if timeframe >= DAILY else int(local.timestamp())


def _check_step(starts: np.ndarray, timeframe: int, path: Path) -> None:
    """Bars closer together than the timeframe says are bars of another timeframe."""
    steps = np.diff(starts)
    steps = steps[np.diff(exchange_days(starts)) == 0] if timeframe < DAILY else steps
    if steps.size and int(np.median(steps)) != timeframe * 60 and timeframe < DAILY:
        raise BacktestRefused(
            "TIMEFRAME", f"The bars of {path.name} are {int(np.median(steps)) / 60:g} minutes apart, not {timeframe}"
        )
