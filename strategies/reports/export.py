"""Trades and curves as files: CSV that no spreadsheet takes for a formula, Parquet by DuckDB, JSON as it is stored."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from strategies.backtest.tear_sheet import TearSheet
from strategies.models import BacktestRun
from strategies.reports.offline import offline_sheet
from strategies.runs.answers import Answer
from trading.domain.errors import NotFound

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_TRADE_TEXTS: Final = ("symbol", "side", "entry_at", "exit_at", "reason")
_TRADE_WHOLE: Final = ("quantity", "entry_bar", "exit_bar")

Columns = dict[str, NDArray]


def trades_table(answer: Answer) -> Columns:
    """Trades by column, in the order of their exits."""
    rows: list[Mapping[str, Any]] = answer.report["trade_list"]
    names = list(rows[0]) if rows else [*_TRADE_TEXTS, *_TRADE_WHOLE, "entry_price", "exit_price", "pnl"]
    return {name: _column(name, [row[name] for row in rows]) for name in names}


def equity_table(answer: Answer) -> Columns:
    """Equity and drawdown at the close of each bar; `at` is the start of the bar, UTC."""
    found = TearSheet(answer.report, answer.arrays)
    return {
        "at": np.asarray(answer.arrays["starts"], "datetime64[s]"),
        "equity": found.equity,
        "drawdown_pct": found.drawdown,
    }


def sets_table(answer: Answer) -> Columns:
    """Every set of parameters that a sweep tried, with its figures; NaN where there is none."""
    names: list[str] = answer.report["columns"]
    columns = [*answer.arrays["values"].T, *answer.arrays["table"].T]
    return {name: np.ascontiguousarray(column) for name, column in zip(names, columns, strict=True)}


def csv_text(columns: Columns) -> Iterator[str]:
    """Line by line. Text that begins as a formula does gets an apostrophe; numbers stay numbers."""
    names = list(columns)
    yield csv_line(names)
    values = [_plain(columns[name]) for name in names]
    for row in zip(*values, strict=True):
        yield csv_line([safe(one) if isinstance(one, str) else one for one in row])


def parquet_bytes(columns: Columns) -> bytes:
    """The same table as one Parquet file, compressed with Zstandard. DuckDB finds `columns` by its name."""
    import duckdb  # loaded when somebody asks for a file: it is large

    with tempfile.TemporaryDirectory(prefix="tarazu-export-") as folder, duckdb.connect(":memory:") as database:
        path = Path(folder) / "table.parquet"
        database.execute("SET threads = 1")
        database.execute("CREATE TABLE exported AS SELECT * FROM columns")
        database.execute(f"COPY exported TO '{path}' (FORMAT PARQUET, COMPRESSION ZSTD)")
        return path.read_bytes()


def safe(text: str) -> str:
    """Text that a spreadsheet does not run."""
    return f"'{text}" if text.startswith(FORMULA) else text


def _csv(table: Callable[[Answer], Columns]) -> Callable[[Answer], bytes]:
    return lambda answer: "".join(csv_text(table(answer))).encode()


def _parquet(table: Callable[[Answer], Columns]) -> Callable[[Answer], bytes]:
    return lambda answer: parquet_bytes(table(answer))


FILES: Final[dict[str, tuple[str, Callable[[Answer], bytes]]]] = {
    "tear-sheet.html": ("text/html; charset=utf-8", lambda answer: offline_sheet(answer).encode()),
    "report.json": ("application/json", lambda answer: answer.text.encode()),
    "trades.csv": ("text/csv; charset=utf-8", _csv(trades_table)),
    "trades.parquet": ("application/vnd.apache.parquet", _parquet(trades_table)),
    "sets.csv": ("text/csv; charset=utf-8", _csv(sets_table)),
    "sets.parquet": ("application/vnd.apache.parquet", _parquet(sets_table)),
    "equity.csv": ("text/csv; charset=utf-8", _csv(equity_table)),
    "equity.parquet": ("application/vnd.apache.parquet", _parquet(equity_table)),
}


SETS: Final = ("sets.csv", "sets.parquet")


def files_of(kind: str) -> list[str]:
    """The names of the files that a run of this kind has."""
    if kind == BacktestRun.Kind.BACKTEST:
        return [name for name in FILES if name not in SETS]
    return ["report.json", *SETS] if kind == BacktestRun.Kind.SWEEP else ["report.json"]


def file_of(answer: Answer, name: str) -> tuple[bytes, str]:
    """The bytes of one file of a finished run, and what they are. NotFound: there is no such file of it."""
    if name not in files_of(answer.run.kind):
        raise NotFound("FILE_NOT_FOUND", f"There is no {name} of this run.")
    kind, make = FILES[name]
    return make(answer), kind


def _column(name: str, values: Sequence[Any]) -> NDArray:
    if name in _TRADE_WHOLE:
        return np.array(values, np.int64)
    if name in _TRADE_TEXTS or any(isinstance(one, str) for one in values):
        return np.array(["" if one is None else str(one) for one in values], object)
    return np.array([np.nan if one is None else float(one) for one in values], np.float64)


def _plain(column: NDArray) -> list[Any]:
    if column.dtype.kind == "M":
        return [f"{one}Z" for one in np.datetime_as_string(column, unit="s").tolist()]
    if column.dtype.kind == "f":
        return ["" if one != one else one for one in column.tolist()]
    return list(column.tolist())


def csv_line(row: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(row)
    return text.getvalue()
