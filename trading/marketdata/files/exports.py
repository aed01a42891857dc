"""Stored candles as files for other tools: CSV with exact prices, or Parquet."""

import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from trading.domain.clock import IST
from trading.marketdata.candles import columns_of
from trading.marketdata.marks import Mark, Source
from trading.marketdata.models import Feed, Instrument
from trading.marketdata.packing.blocks import UNITS_PER_RUPEE, Columns

HEADER: Final = "symbol,ts,open,high,low,close,volume,source,marks"
_PRICE: Final = "({0}::DECIMAL(18,4) * 0.0001)::DECIMAL(18,4) AS {0}"


def bars_for_export(
    feed: Feed, instruments: Sequence[Instrument], timeframe: int, *, start: datetime, end: datetime
) -> tuple[Columns, dict[int, str]]:
    """Stored bars by instrument and start, and the symbols by instrument id. What is archived is among them."""
    bars = columns_of(feed, instruments, timeframe, start=start, end=end)
    return bars, {one.pk: one.symbol for one in instruments}


def csv_lines(bars: Columns, symbols: dict[int, str]) -> Iterator[str]:
    """A line a bar, stamps in India's time, prices with as many digits as they have. `import_candles` reads them."""
    yield HEADER + "\n"
    table = (bars.series, bars.starts, bars.open, bars.high, bars.low, bars.close, bars.volume, bars.source, bars.mark)
    for pk, at, o, h, lo, c, volume, source, mark in zip(*(column.tolist() for column in table), strict=True):
        stamp = datetime.fromtimestamp(at, UTC).astimezone(IST).isoformat()
        prices = ",".join(map(_price, (o, h, lo, c)))
        marks = (Mark(mark).name or "") if mark else ""
        yield f"{symbols[pk]},{stamp},{prices},{volume},{Source(source).name},{marks}\n"


def _price(units: int) -> str:
    whole, rest = divmod(units, UNITS_PER_RUPEE)
    return f"{whole}.{rest:04d}"[:-2] if rest % 100 == 0 else f"{whole}.{rest:04d}"


def write_parquet(path: Path, bars: Columns, symbols: dict[int, str]) -> None:
    """One Parquet file; `start` is UTC, prices are DECIMAL(18,4) rupees."""
    import duckdb  # loaded when somebody asks for a file: it is large

    table = {
        "instrument": bars.series, "start_s": bars.starts, "open": bars.open, "high": bars.high, "low": bars.low,
        "close": bars.close, "volume": bars.volume, "source": bars.source, "mark": bars.mark,
    }  # fmt: skip
    names = {
        "instrument": np.array(list(symbols), np.int64),
        "symbol": np.array(list(symbols.values()), object),
    }
    with duckdb.connect(":memory:") as database:
        database.execute("SET threads = 1")
        database.register("bars", table)
        database.register("names", names)
        prices = ", ".join(_PRICE.format(name) for name in ("open", "high", "low", "close"))
        database.execute(
            f"COPY (SELECT symbol, make_timestamp(start_s * 1000000) AS start, {prices}, volume, source, mark"  # noqa: S608
            f" FROM bars JOIN names USING (instrument) ORDER BY symbol, start) TO '{path}'"
            " (FORMAT PARQUET, COMPRESSION ZSTD)"
        )


def parquet_bytes(bars: Columns, symbols: dict[int, str]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="tarazu-export-") as folder:
        path = Path(folder) / "candles.parquet"
        write_parquet(path, bars, symbols)
        return path.read_bytes()
