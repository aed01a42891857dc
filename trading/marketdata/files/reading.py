"""A file of candles, row by row: CSV, packed or not, or Parquet; judged as it goes, the good bars spooled."""

import csv
import gzip
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta, tzinfo
from itertools import chain
from pathlib import Path
from typing import IO

import numpy as np

from trading.domain.clock import IST
from trading.domain.errors import TradingError
from trading.marketdata.files.layouts import Layout, StampReader, layout_of
from trading.marketdata.packing.blocks import DAY, UNITS_PER_RUPEE
from trading.marketdata.quality.bars import DAY_S, GOOD, IST_OFFSET_S, DayBook, ordinary_calendar
from trading.marketdata.quality.daily import DailyBook

CHUNK_ROWS = 50_000
LONGEST_FIELD = 64
LONGEST_HEADER = 65_536
_PARTING = ",;\t|"  # what may stand between fields; told by the header
_IN_THOUSANDS = re.compile(r"-?\d{1,3}(,\d{2,3})*,\d{3}(\.\d+)?")  # 1,234.50 and 12,34,567
_PARQUET = b"PAR1"
_FIRST_BYTES_OF_OTHERS = (b"PK\x03\x04", b"\x89PNG", b"%PDF", b"\x7fELF")
Book = DayBook | DailyBook


class ImportRefused(TradingError):
    """This file, or this call, cannot be read as candles; nothing of it was stored."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read the files. `label`: whether a stamp is the start or the end of its bar; `zone` is for bare stamps."""

    timeframe: int = 1
    label: str = "start"
    zone: tzinfo = IST
    label_given: bool = False  # somebody said so: a suspicion is then told, and not acted on

    @property
    def is_daily(self) -> bool:
        return self.timeframe >= DAY


def book_for(reading: Reading, *, is_index: bool) -> Book:
    return DailyBook(is_index=is_index) if reading.is_daily else DayBook(reading.timeframe, is_index=is_index)


def judge_file(
    path: Path, book: Book, reading: Reading, spool: IO[bytes], progress: Callable[[int], None],
    *, is_of: Callable[[str], bool] = lambda named: True,
) -> str | None:  # fmt: skip
    """Walk through the file: judge every row, spool the good ones. The last good close, as text.

    `is_of`: whether what a file calls its instrument is the one it is read as.
    Errors: ImportRefused with what the file is instead of candles.
    """
    last_price: str | None = None
    stamps = _Stamps(path, reading)
    named: set[str] = set()
    with _rows_of(path) as (header, rows, in_thousands):
        layout = _layout(path, header, volume_needed=not book.is_index)
        for chunk in _chunks(rows):
            _one_symbol(path, chunk, layout, named, is_of)
            last_price = _judge_chunk(chunk, layout, stamps, book, spool, in_thousands=in_thousands) or last_price
            progress(book.report.rows)
    if not book.report.good and stamps.unreadable and book.report.bad_bars == book.report.rows:
        raise ImportRefused(
            "NO_GOOD_BAR", f"{path}: none of {book.report.rows} rows is a bar, such as {stamps.unreadable}"
        )
    return last_price


@contextmanager
def _rows_of(path: Path) -> Iterator[tuple[list[str], Iterator[list[str]], bool]]:
    """Header and rows, as text, and whether a comma within a number can only part its thousands."""
    try:
        with path.open("rb") as raw:
            is_parquet = raw.read(4) == _PARQUET
    except OSError as error:
        raise ImportRefused("CANNOT_READ", f"{path} cannot be read: {error.strerror or error}") from None
    if is_parquet:
        with _parquet(path) as (header, rows):
            yield header, rows, True
        return
    csv.field_size_limit(4096)
    with _opened(path) as text:
        first = text.readline(LONGEST_HEADER)
        parting = max(_PARTING, key=first.count)
        lines = csv.reader(chain([first], text), delimiter=parting)
        try:
            yield next(lines, []), lines, parting == ","
        except csv.Error as error:
            code = "HUGE_FIELD" if "field larger" in str(error) else "NOT_CSV"
            raise ImportRefused(code, f"{path}: line {lines.line_num}: {error}") from None


@contextmanager
def _parquet(path: Path) -> Iterator[tuple[list[str], Iterator[list[str]]]]:
    """A Parquet file by DuckDB, every cell as the text a CSV of it would hold; instants in UTC."""
    import duckdb  # loaded when somebody brings such a file: it is large

    with duckdb.connect(":memory:") as database:
        database.execute("SET threads = 1")
        database.execute("SET TimeZone = 'UTC'")
        try:
            answer = database.execute("SELECT COLUMNS(*)::VARCHAR FROM read_parquet(?)", [str(path)])
            header = [column[0] for column in answer.description or ()]
        except duckdb.Error as error:
            raise ImportRefused("BROKEN_PARQUET", f"{path}: {str(error).splitlines()[0][:200]}") from None

        def rows() -> Iterator[list[str]]:
            try:
                while block := answer.fetchmany(CHUNK_ROWS):
                    yield from ([cell or "" for cell in row] for row in block)
            except duckdb.Error as error:
                raise ImportRefused("BROKEN_PARQUET", f"{path}: {str(error).splitlines()[0][:200]}") from None

        yield header, rows()


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    """The file as ASCII text, whether packed or not."""
    try:
        with path.open("rb") as raw:
            first = raw.read(8)
            raw.seek(0)
            if not first:
                raise ImportRefused("EMPTY_FILE", f"{path} is empty")
            if first.startswith(_FIRST_BYTES_OF_OTHERS) or (b"\x00" in first and not first.startswith(b"\x1f\x8b")):
                raise ImportRefused("NOT_TEXT", f"{path} is not a CSV file")
            if first.startswith(b"\x1f\x8b"):
                with gzip.open(raw, "rt", encoding="utf-8-sig", newline="") as text:
                    yield text
            else:
                with path.open("r", encoding="utf-8-sig", newline="") as text:
                    yield text
    except UnicodeDecodeError:
        raise ImportRefused("NOT_TEXT", f"{path} is not a CSV file") from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise ImportRefused("BROKEN_ARCHIVE", f"{path} is a damaged or cut .gz file") from None
    except OSError as error:
        raise ImportRefused("CANNOT_READ", f"{path} cannot be read: {error.strerror or error}") from None


def _layout(path: Path, header: list[str], *, volume_needed: bool) -> Layout:
    if any("\x00" in name or not name.isascii() for name in header):
        raise ImportRefused("NOT_TEXT", f"{path} is not a CSV file")
    if not header:
        raise ImportRefused("EMPTY_FILE", f"{path} has no rows")
    found = layout_of(header, volume_needed=volume_needed)
    if isinstance(found, str):
        raise ImportRefused("WRONG_COLUMNS", f"{path}: {found}")
    return found


def _one_symbol(
    path: Path, chunk: list[list[str]], layout: Layout, named: set[str], is_of: Callable[[str], bool]
) -> None:
    """A file is of one instrument, and of the one it is read as; others would be mixed up without a word."""
    if layout.symbol is None:
        return
    fresh = {row[layout.symbol].strip() for row in chunk if len(row) > layout.symbol} - named - {""}
    named |= fresh
    if len(named) > 1:
        shown = ", ".join(sorted(named)[:3])
        raise ImportRefused("MANY_SYMBOLS", f"{path} holds {shown} …: split it, or import_bhavcopy reads daily files")
    for one in fresh:
        if not is_of(one):
            raise ImportRefused(
                "OTHER_SYMBOL", f"{path} says that it is of {one[:40]}: give --symbol NSE:NAME-EQ to say whose it is"
            )


def _chunks(rows: Iterator[list[str]]) -> Iterator[list[list[str]]]:
    chunk: list[list[str]] = []
    for row in rows:
        if row:
            chunk.append(row)
            if len(chunk) == CHUNK_ROWS:
                yield chunk
                chunk = []
    if chunk:
        yield chunk


def _judge_chunk(
    chunk: list[list[str]], layout: Layout, stamps: "_Stamps", book: Book, spool: IO[bytes], *, in_thousands: bool
) -> str | None:
    o, h, lo, c, v = layout.fields
    nothing = float("nan")
    texts: list[tuple[str, str, str, str, str]] = []
    epochs: list[int] = []
    numbers: list[tuple[float, float, float, float, float]] = []
    unreadable = 0
    for row in chunk:
        try:
            stamp = layout.stamp(row)
            text = (row[o], row[h], row[lo], row[c], row[v] if layout.has_volume else "0")
            epoch = stamps.epoch(stamp)
            try:
                number = tuple(map(float, text))
            except ValueError:
                if not in_thousands:
                    raise
                text = tuple(map(_without_commas, text))  # type: ignore[assignment]
                number = tuple(map(float, text))
        except (ValueError, IndexError):
            unreadable += 1
            stamps.unreadable = stamps.unreadable or ",".join(row)[:120]
            if any(len(cell) > LONGEST_FIELD for cell in row):
                raise ImportRefused(
                    "HUGE_FIELD", f"{stamps.path}: a field of {max(map(len, row))} characters"
                ) from None
            continue
        joined = "".join(text)
        if (
            "_" in joined
            or not (joined.isascii() and joined.isprintable())
            or len(joined) > 5 * LONGEST_FIELD
            or not number[4].is_integer()
        ):
            number = (nothing,) * 5
        texts.append(text)
        epochs.append(epoch)
        numbers.append(number)  # type: ignore[arg-type]
    book.report.rows += unreadable
    book.report.bad_bars += unreadable
    if not texts:
        return None
    starts = stamps.starts(np.array(epochs, np.int64))
    prices = np.array(numbers)
    fate = book.judge(starts, *(np.ascontiguousarray(prices[:, at]) for at in range(5)))
    good = np.flatnonzero(fate == GOOD)
    if not good.size:
        return None
    bars = np.empty((good.size, 6), np.int64)
    bars[:, 0] = starts[good]
    bars[:, 1:5] = np.rint(prices[good, :4] * UNITS_PER_RUPEE)  # exact: a price has fewer digits than a float
    bars[:, 5] = prices[good, 4]
    spool.write(bars.tobytes())
    return texts[good[-1]][3]


def _without_commas(text: str) -> str:
    return text.replace(",", "") if _IN_THOUSANDS.fullmatch(text.strip()) else text


class _Stamps:
    """Reads time stamps with a zone, or without and then in the zone given. One zone a file."""

    def __init__(self, path: Path, reading: Reading) -> None:
        self.path = path
        self.reading = reading
        self._reader = StampReader(reading.zone, daily=reading.is_daily)
        self._offset: timedelta | str | None = "unset"
        self.unreadable = ""  # the first row that is no bar, as it stands

    def epoch(self, text: str) -> int:
        """Epoch seconds. ValueError: no time stamp. A fraction of a second makes none."""
        epoch, offset = self._reader.read(text)
        if offset != self._offset:
            if self._offset != "unset":
                raise ImportRefused(
                    "MIXED_ZONES", f"{self.path}: time stamps of more than one zone, such as {text[:40]}"
                )
            self._offset = offset
        return epoch

    def starts(self, epochs: np.ndarray) -> np.ndarray:
        """Starts of the bars, whatever the stamps label."""
        minutes = self.reading.timeframe
        if self.reading.is_daily:
            return DailyBook.starts(epochs)
        if self.reading.label == "start":
            return epochs
        starts = epochs - 60 * minutes
        if minutes == 1:
            return starts
        days = (epochs + IST_OFFSET_S) // DAY_S
        for number in np.unique(days):  # the last bar of a session may be shorter than the others
            for end, start in self._short_bars(int(number)):
                starts[epochs == end] = start
        return starts

    def _short_bars(self, number: int) -> list[tuple[int, int]]:
        session = ordinary_calendar(date(1970, 1, 1) + timedelta(days=number))
        minutes = self.reading.timeframe
        ends = [] if session is None else [(session.bar_end(at, minutes), at) for at in session.bar_starts(minutes)]
        return [
            (int(end.timestamp()), int(at.timestamp())) for end, at in ends if end - at < timedelta(minutes=minutes)
        ]
