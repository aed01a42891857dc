"""Vendors' tables, CSV or Parquet, packed or not, as columns: read whole, with care, and by name."""

import csv
import gzip
import io
import zlib
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trading.domain.clock import IST
from trading.domain.errors import TradingError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
LARGEST: Final = 500_000_000  # bytes, unpacked


class TableRefused(TradingError):
    """This file is no table that can be read. Nothing was done with it."""


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of one length, by lower-case name: text for CSV, numpy arrays for Parquet."""

    path: Path
    columns: dict[str, Any]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    @property
    def names(self) -> list[str]:
        return list(self.columns)

    def texts(self, name: str) -> list[str]:
        return [str(value).strip() for value in self.columns[name]]

    def floats(self, name: str) -> Floats:
        """Numbers; empty cells and dashes are NaN. Error: TableRefused (WRONG_NUMBER)."""
        column = self.columns[name]
        if isinstance(column, np.ndarray) and column.dtype.kind in "fiu":
            return column.astype(np.float64)
        try:
            return np.array([_number(value) for value in column], np.float64)
        except ValueError as error:
            raise TableRefused("WRONG_NUMBER", f"{self.path.name}, column {name}: {error}") from None

    def epochs(self, name: str) -> Ints:
        """Instants as epoch seconds UTC; a stamp without a zone is Indian time. Error: TableRefused (WRONG_TIME)."""
        column = self.columns[name]
        if isinstance(column, np.ndarray) and column.dtype.kind == "M":
            return column.astype("datetime64[s]").astype(np.int64) - 19_800
        try:
            return np.array([_epoch(str(value)) for value in column], np.int64)
        except ValueError as error:
            raise TableRefused("WRONG_TIME", f"{self.path.name}, column {name}: {error}") from None

    def dates(self, name: str) -> list[date]:
        """Days, written 2026-03-30 or 30-Mar-2026. Error: TableRefused (WRONG_DATE)."""
        try:
            return [_day(str(value).strip()) for value in self.columns[name]]
        except ValueError as error:
            raise TableRefused("WRONG_DATE", f"{self.path.name}, column {name}: {error}") from None


def _number(value: Any) -> float:
    text = str(value).strip()
    return float("nan") if text in ("", "-") else float(text)


def _epoch(text: str) -> int:
    instant = datetime.fromisoformat(text.strip())
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=IST)
    return int(instant.timestamp())


@lru_cache(maxsize=16_384)
def _day(text: str) -> date:
    if len(text) == 11 and text[2] == "-":
        return datetime.strptime(text, "%d-%b-%Y").replace(tzinfo=IST).date()
    return date.fromisoformat(text[:10])


def read_table(path: Path) -> Table:
    """Read a file as a whole. Errors: TableRefused (CANNOT_READ, EMPTY_FILE, NOT_TEXT, BROKEN_ARCHIVE, TOO_LARGE,
    NOT_A_TABLE, UNEVEN_ROWS)."""
    try:
        with path.open("rb") as raw:
            head = raw.read(4)
            if head == b"PAR1":
                return _parquet(path)
            raw.seek(0)
            body = gzip.GzipFile(fileobj=raw).read(LARGEST + 1) if head[:2] == b"\x1f\x8b" else raw.read(LARGEST + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise TableRefused("BROKEN_ARCHIVE", f"{path.name} is a damaged or cut .gz file") from None
    except OSError as error:
        raise TableRefused("CANNOT_READ", f"{path} cannot be read: {error.strerror or error}") from None
    if len(body) > LARGEST:
        raise TableRefused("TOO_LARGE", f"{path.name} has more than {LARGEST // 1_000_000} MB")
    if not body.strip():
        raise TableRefused("EMPTY_FILE", f"{path.name} is empty")
    try:
        return _csv(path, body.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise TableRefused("NOT_TEXT", f"{path.name} is not a text file") from None


def _csv(path: Path, text: str) -> Table:
    if "\x00" in text[:4096]:
        raise TableRefused("NOT_TEXT", f"{path.name} is not a text file")
    try:
        rows = [row for row in csv.reader(io.StringIO(text)) if row]
    except csv.Error as error:
        raise TableRefused("NOT_A_TABLE", f"{path.name}: {error}") from None
    header = [name.strip().lower() for name in rows[0]]
    if len(header) < 3 or len(set(header)) < len(header):
        raise TableRefused("NOT_A_TABLE", f"{path.name}: its first line names no columns")
    if len(rows) < 2:
        raise TableRefused("EMPTY_FILE", f"{path.name} has a header and no rows")
    uneven = next((at for at, row in enumerate(rows) if len(row) != len(header)), None)
    if uneven is not None:
        raise TableRefused(
            "UNEVEN_ROWS", f"{path.name}: row {uneven + 1} has {len(rows[uneven])} of {len(header)} cells"
        )
    return Table(path, {name: list(column) for name, column in zip(header, zip(*rows[1:], strict=True), strict=True)})


def _parquet(path: Path) -> Table:
    import duckdb  # loaded when a Parquet file is read: it is large

    try:
        with duckdb.connect(":memory:") as database:
            database.execute("SET threads = 1")
            answer = database.execute("SELECT * FROM read_parquet(?)", [str(path)])
            zoned = {name for name, kind, *_ in answer.description or () if str(kind) == "TIMESTAMP WITH TIME ZONE"}
            columns = answer.fetchnumpy()
    except duckdb.Error as error:
        raise TableRefused("NOT_A_TABLE", f"{path.name}: {type(error).__name__}") from None
    for name in zoned:
        columns[name] = columns[name] + np.timedelta64(19_800, "s")  # the clock in India, as of stamps without a zone
    table = Table(path, {name.lower(): _plain(column) for name, column in columns.items()})
    if not len(table):
        raise TableRefused("EMPTY_FILE", f"{path.name} has no rows")
    return table


def _plain(column: Any) -> Any:
    """Without masks: a missing number is NaN, a missing text is empty."""
    if not isinstance(column, np.ma.MaskedArray):
        return column
    if column.dtype.kind in "fiu":
        numbers: np.ma.MaskedArray = np.ma.array(column, np.float64)
        return numbers.filled(np.nan)
    return column if column.dtype.kind == "M" else column.filled("")
