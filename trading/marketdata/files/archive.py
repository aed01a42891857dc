"""Old candles as Parquet files: written, read back, compared, and only then taken out of the database.

A file holds one month of one feed and timeframe (a year for daily bars), a row a bar, for anybody's tools. Our own
readers go on as before: what is not in the database is read from there. A block that changes after all comes back.
"""

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.db import connection, transaction

from trading.audit.record import record
from trading.marketdata.models import CandleArchive, CandleSeries, Feed
from trading.marketdata.packing.block_rows import blocks_between
from trading.marketdata.packing.blocks import DAY, BlockRow, Columns, day_number, pack, unpack

logger = logging.getLogger(__name__)
ABANDONED_S = 86_400  # after which a half-written file is nobody's
_READ = (
    "SELECT series, epoch(start)::BIGINT AS start, (open * 10000)::BIGINT AS open, (high * 10000)::BIGINT AS high,"
    " (low * 10000)::BIGINT AS low, (close * 10000)::BIGINT AS close, volume, source, mark FROM read_parquet(?)"
)
_NAMES = ("series", "start", "open", "high", "low", "close", "volume", "source", "mark")


@dataclass(frozen=True, slots=True)
class Archived:
    """What became of one stretch: bars that moved, or why they did not."""

    timeframe: int
    first_day: date
    bars: int
    path: str
    why_not: str = ""


class ArchiveDamaged(Exception):
    """A file does not hold what its row says. Nothing is guessed: whoever asked for its bars is told."""


def folder() -> Path:
    return Path(settings.VAR) / "archive"


def archive_candles(feed: Feed, *, before: date, wall: datetime, dry_run: bool = False) -> list[Archived]:
    """Move all candles of exchange days before `before`, rounded down to whole months (years of daily bars)."""
    told: list[Archived] = []
    timeframes = CandleSeries.objects.filter(feed=feed).order_by("timeframe").values_list("timeframe", flat=True)
    for timeframe in timeframes.distinct():
        series = list(CandleSeries.objects.filter(feed=feed, timeframe=timeframe).values_list("pk", flat=True))
        for first, last in _stretches(series, timeframe, before):
            rows = blocks_of(series, timeframe, first, last)
            path = _path(feed, timeframe, first)
            if dry_run:
                told.append(Archived(timeframe, first, sum(row[2] for row in rows), str(path), "dry run"))
                continue
            told.append(_move(feed, timeframe, series, rows, first, last, path, wall))
    return told


def blocks_of(series: Sequence[int], timeframe: int, first: date, last: date) -> list[BlockRow]:
    """Blocks that begin from `first` to `last`, wherever they lie, by series and day."""
    found = blocks_between(series, first, last)
    archives = _archives(series, timeframe, first, last)
    if not archives:
        return found
    known = {row[:2] for row in found}
    lower, upper = day_number(first), day_number(last)
    for archive in archives:
        rows = _packed(archive, series, timeframe)
        found += [row for row in rows if row[:2] not in known and lower <= row[1] <= upper]
    return sorted(found, key=lambda row: row[:2])


def _packed(archive: CandleArchive, series: Sequence[int], timeframe: int) -> list[BlockRow]:
    bars = pack(_bars_of(archive, series), timeframe)
    return [(one.series, one.first_day, one.bars, one.base, one.unit, one.packed) for one in bars]


def archived_between(series: Sequence[int], timeframe: int, first: date, last: date) -> list[BlockRow]:
    """Archived blocks alone; one that came back to the database may be among them."""
    if not _archives(series, timeframe, first, last):
        return []
    lower, upper = day_number(first), day_number(last)
    return [
        row for archive in _archives(series, timeframe, first, last) for row in _packed(archive, series, timeframe)
        if lower <= row[1] <= upper
    ]  # fmt: skip


def archived_at(
    series: Sequence[int], days: Sequence[int], timeframe: int, known: set[tuple[int, int]]
) -> list[BlockRow]:
    """Archived blocks of these (series, first day) pairs that are not `known` to lie in the database."""
    wanted = {pair for pair in zip(series, days, strict=True) if pair not in known}
    if not wanted:
        return []
    numbers = [day for _, day in wanted]
    first, last = (date(1970, 1, 1) + timedelta(days=day) for day in (min(numbers), max(numbers)))
    asked = sorted({pk for pk, _ in wanted})
    if not _archives(asked, timeframe, first, last):
        return []
    return [row for row in blocks_of(asked, timeframe, first, last) if row[:2] in wanted]


def any_archived_before(series: Sequence[int], timeframe: int, day: date) -> bool:
    return bool(_archives(series, timeframe, date.min, day - timedelta(days=1)))


def verify(archive: CandleArchive) -> None:
    """Check a file against its row. Errors: ArchiveDamaged."""
    path = folder() / archive.path
    if not path.is_file():
        raise ArchiveDamaged(f"{path} is missing")
    if _sha256(path) != archive.sha256:
        raise ArchiveDamaged(f"{path} is not the file that was verified")


def _archives(series: Sequence[int], timeframe: int, first: date, last: date) -> list[CandleArchive]:
    if not series:
        return []
    feeds = CandleSeries.objects.filter(pk=series[0]).values("feed")
    return list(
        CandleArchive.objects.filter(
            feed__in=feeds, timeframe=timeframe, first_day__lte=last, last_day__gte=first
        ).order_by("first_day")
    )


def _stretches(series: list[int], timeframe: int, before: date) -> Iterator[tuple[date, date]]:
    """Whole months or years before a day of which anything lies in the database."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT date_trunc(%s, first_day)::date FROM marketdata_candleblock"
            " WHERE series_id = ANY(%s) AND first_day < %s ORDER BY 1",
            ["year" if timeframe >= DAY else "month", series, before],
        )
        firsts = [row[0] for row in cursor.fetchall()]
    for first in firsts:
        after = date(first.year + 1, 1, 1) if timeframe >= DAY else (first + timedelta(days=32)).replace(day=1)
        if after <= before:
            yield first, after - timedelta(days=1)


def _path(feed: Feed, timeframe: int, first: date) -> Path:
    stretch = f"{first:%Y}" if timeframe >= DAY else f"{first:%Y-%m}"
    name = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in feed.name)
    return folder() / f"{feed.pk}-{name}" / f"{timeframe}m" / f"{stretch}.parquet"


def _move(
    feed: Feed, timeframe: int, series: list[int], rows: list[BlockRow], first: date, last: date, path: Path,
    wall: datetime,
) -> Archived:  # fmt: skip
    """Write one file, read it back, compare, and take the blocks out in the same transaction that notes the file."""
    bars = unpack(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f"{path.stem}.*.new"):  # by one that was killed; others may be at it now
        if wall.timestamp() - left.stat().st_mtime > ABANDONED_S:
            left.unlink(missing_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}.new")
    try:
        _write(fresh, bars)
        if not _same(_read(fresh, None), bars):
            raise ArchiveDamaged(f"{fresh} does not read back as it was written")
        with transaction.atomic():
            list(CandleSeries.objects.select_for_update(no_key=True).filter(pk__in=series).order_by("instrument_id"))
            if not _same(unpack(blocks_of(series, timeframe, first, last)), bars):
                return Archived(timeframe, first, 0, str(path), "it changed meanwhile: the next run takes it")
            digest = _sha256(fresh)
            fresh.replace(path)
            _settle(path.parent)
            CandleArchive.objects.update_or_create(
                feed=feed, timeframe=timeframe, first_day=first,
                defaults={"last_day": last, "path": str(path.relative_to(folder())), "sha256": digest,
                          "bars": len(bars), "archived_at": wall},
            )  # fmt: skip
            with connection.cursor() as cursor:
                cursor.execute(
                    "DELETE FROM marketdata_candleblock WHERE series_id = ANY(%s) AND first_day BETWEEN %s AND %s",
                    [series, first, last],
                )
            record(
                "candles.archived", actor="archive", subject=str(path.relative_to(folder())), feed=feed.name,
                timeframe=timeframe, bars=len(bars), sha256=digest,
            )  # fmt: skip
    finally:
        fresh.unlink(missing_ok=True)
    return Archived(timeframe, first, len(bars), str(path))


def _write(path: Path, bars: Columns) -> None:
    import duckdb  # loaded when something is archived: it is large

    present = CandleSeries.objects.filter(pk__in=np.unique(bars.series).tolist())
    symbols = dict(present.values_list("pk", "instrument__symbol"))
    table = {
        "series": bars.series, "start_s": bars.starts, "open": bars.open, "high": bars.high, "low": bars.low,
        "close": bars.close, "volume": bars.volume, "source": bars.source, "mark": bars.mark,
    }  # fmt: skip
    names = {"series": np.array(list(symbols), np.int64), "symbol": np.array(list(symbols.values()), object)}
    with duckdb.connect(":memory:") as database:
        database.execute("SET threads = 1")
        database.register("bars", table)
        database.register("names", names)
        price = "({0}::DECIMAL(18,4) * 0.0001)::DECIMAL(18,4) AS {0}"
        prices = ", ".join(price.format(name) for name in ("open", "high", "low", "close"))
        database.execute(
            f"COPY (SELECT symbol, series, make_timestamp(start_s * 1000000) AS start, {prices}, volume, source, mark"  # noqa: S608
            f" FROM bars JOIN names USING (series) ORDER BY series, start) TO '{path}'"
            " (FORMAT PARQUET, COMPRESSION ZSTD)"
        )
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _settle(folder: Path) -> None:
    """A file's new name outlives a power cut before what it replaces is deleted."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _bars_of(archive: CandleArchive, series: Iterable[int]) -> Columns:
    path = folder() / archive.path
    if not path.is_file():
        raise ArchiveDamaged(f"{path} is missing: restore it from a backup")
    return _read(path, list(series))


def _read(path: Path, series: list[int] | None) -> Columns:
    import duckdb  # loaded when something archived is asked for: it is large

    with duckdb.connect(":memory:") as database:
        database.execute("SET threads = 1")
        where, given = ("", [str(path)]) if series is None else (" WHERE list_contains(?, series)", [str(path), series])
        try:
            found: dict[str, Any] = database.execute(f"{_READ}{where} ORDER BY series, start", given).fetchnumpy()
        except duckdb.Error as error:
            raise ArchiveDamaged(f"{path} does not read back: {error}"[:300]) from None
    numbers = [np.asarray(found[name], np.int64) for name in _NAMES[:7]]
    return Columns.of(numbers, np.asarray(found["source"], np.uint8), np.asarray(found["mark"], np.uint8))


def _same(left: Columns, right: Columns) -> bool:
    return len(left) == len(right) and all(
        np.array_equal(getattr(left, name), getattr(right, name))
        for name in ("series", "starts", "open", "high", "low", "close", "volume", "source", "mark")
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
