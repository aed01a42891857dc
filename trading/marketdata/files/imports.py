"""Candles from files: read, judge, report, and store what is sound.

A file is read once, in chunks. Rows that are good go, as whole numbers, to a spool; only when the whole file has been
judged is the spool written into the database, in one transaction. So a file is stored as a whole or not at all, prices
keep the digits they came with, and a dry run is the same walk without the last step. What is stored is then judged as
every evening's candles are, so that nothing is traded on a doubtful bar because it came by a file.
"""

import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import IO, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from trading.audit.record import record
from trading.domain.clock import IST
from trading.marketdata.candles import columns_from, columns_of, store_columns
from trading.marketdata.clocks import venue_now
from trading.marketdata.files.reading import ImportRefused, Reading, book_for, judge_file
from trading.marketdata.listing.identities import instrument_named
from trading.marketdata.listing.renames import successor
from trading.marketdata.marks import Source
from trading.marketdata.models import Feed, Instrument
from trading.marketdata.packing.blocks import Columns
from trading.marketdata.quality.bars import QualityReport
from trading.marketdata.quality.stored import DAILY, check_stored, judge_again, mark_spikes
from trading.venue.precision import stock_tick
from trading.venue.sessions import exchange_date

SPOOL_IN_MEMORY = 8_000_000
INDICES = {
    "NIFTY": "NSE:NIFTY50-INDEX",
    "NIFTY50": "NSE:NIFTY50-INDEX",
    "BANKNIFTY": "NSE:NIFTYBANK-INDEX",
    "NIFTYBANK": "NSE:NIFTYBANK-INDEX",
    "SENSEX": "BSE:SENSEX-INDEX",
}
INDEX_TICK = Decimal("0.05")
TIMEFRAMES = {"1m": 1, "2m": 2, "3m": 3, "5m": 5, "10m": 10, "15m": 15, "30m": 30, "60m": 60, "1h": 60, "1d": 1440}
_ENDINGS = (".csv", ".csv.gz", ".parquet")
_SYMBOL = re.compile(r"(NSE|BSE):[A-Z0-9][A-Z0-9&_-]{0,40}-(EQ|INDEX)")
_NAME = re.compile(r"[A-Z0-9][A-Z0-9&-]{0,40}")
_WRITTEN = re.compile(r"(?:(NSE|BSE)[:_])?(.+?)(?:-EQ|-INDEX|\.(NS|BO))?")


@dataclass(slots=True)
class FileReport:
    """What one file held and what became of it. `stored_as`: the instrument that once had the file's symbol."""

    path: str
    symbol: str = ""
    stored_as: str = ""
    quality: QualityReport | None = None
    stored: int = 0
    unchanged: int = 0
    differing: int = 0  # bars that are stored already with other numbers, and stay as they are
    untrusted: int = 0  # stored bars of these days on which nothing is traded
    instrument_created: bool = False
    warnings: list[str] = field(default_factory=list)
    error: dict[str, str] | None = None

    def as_dict(self) -> dict[str, Any]:
        known = self.quality.as_dict() if self.quality is not None else {}
        return {
            "path": self.path, "symbol": self.symbol, "stored_as": self.stored_as or self.symbol, **known,
            "stored": self.stored, "unchanged": self.unchanged, "differing": self.differing,
            "untrusted": self.untrusted, "instrument_created": self.instrument_created,
            "warnings": self.warnings, "error": self.error,
        }  # fmt: skip


@dataclass(slots=True)
class ImportReport:
    """All files, in the order given."""

    reading: Reading
    dry_run: bool
    files: list[FileReport] = field(default_factory=list)

    @property
    def failed(self) -> int:
        return sum(1 for one in self.files if one.error)

    def totals(self) -> dict[str, Any]:
        read = [one.quality for one in self.files if one.quality is not None and one.error is None]
        counts = ("rows", "good", "bad_bars", "duplicates", "unsorted", "missing", "gaps", "short_days", "float_noise")
        return {
            "files": len(self.files), "failed": self.failed,
            **{name: sum(getattr(one, name) for one in read) for name in counts},
            "out_of_session": sum(sum(one.out_of_session.values()) for one in read),
            "zero_volume_first_bars": sum(one.zero_volume_first_bars for one in read),
            "largest_gap_bars": max((one.largest_gap.bars for one in read if one.largest_gap), default=0),
            "stored": sum(one.stored for one in self.files), "unchanged": sum(one.unchanged for one in self.files),
            "differing": sum(one.differing for one in self.files),
            "warnings": sum(len(one.warnings) for one in self.files),
            "first": min((one.first for one in read if one.first), default=None),
            "last": max((one.last for one in read if one.last), default=None),
        }  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        return {
            "dry_run": self.dry_run, "timeframe": self.reading.timeframe, "label": self.reading.label,
            "zone": str(self.reading.zone), "files": [one.as_dict() for one in self.files], "total": self.totals(),
        }  # fmt: skip


def reading_of(*, timeframe: str, label: str | None, zone: str) -> Reading:
    """The words of the command line; no label means the start of bars, unless the file looks otherwise.

    Errors: ImportRefused UNKNOWN_TIMEFRAME, UNKNOWN_LABEL, UNKNOWN_ZONE.
    """
    if timeframe not in TIMEFRAMES:
        raise ImportRefused("UNKNOWN_TIMEFRAME", f"{timeframe!r} is none of {', '.join(TIMEFRAMES)}")
    if label not in (None, "start", "end"):
        raise ImportRefused("UNKNOWN_LABEL", f"a stamp labels the start or the end of its bar, not {label!r}")
    try:
        known = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ImportRefused("UNKNOWN_ZONE", f"no such time zone: {zone!r}") from None
    return Reading(TIMEFRAMES[timeframe], label or "start", known, label_given=label is not None)


def files_in(paths: Sequence[str]) -> list[Path]:
    """Files as they are, folders as all such files below, sorted. Errors: NO_SUCH_FILE, EMPTY_FOLDER."""
    found: list[Path] = []
    for one in paths:
        path = Path(one)
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and p.name.lower().endswith(_ENDINGS))
            if not inside:
                raise ImportRefused("EMPTY_FOLDER", f"{path} holds no .csv, .csv.gz or .parquet file")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise ImportRefused("NO_SUCH_FILE", f"{path} does not exist")
    return list(dict.fromkeys(found))


def symbol_of(path: Path) -> str:
    """The instrument a file is named after: RELIANCE.csv.gz → NSE:RELIANCE-EQ, BANKNIFTY.csv → NSE:NIFTYBANK-INDEX."""
    symbol = _written(re.sub(r"\.(csv(\.gz)?|parquet)$", "", path.name, flags=re.IGNORECASE))
    if symbol is None:
        raise ImportRefused("NO_SYMBOL", f"{path.name} names no instrument: give --symbol NSE:NAME-EQ")
    return symbol


def _written(text: str) -> str | None:
    """The symbol that is meant by TCS, NSE:TCS, TCS-EQ, TCS.NS, TCS.BO, NSE_TCS or NIFTY 50; None: none."""
    parts = _WRITTEN.fullmatch(text.strip().upper())
    exchange, name, ending = parts.groups() if parts else (None, "", None)
    exchange = exchange or ("BSE" if ending == "BO" else "NSE")
    if name.replace(" ", "") in INDICES:
        return INDICES[name.replace(" ", "")]
    return f"{exchange}:{name}-EQ" if _NAME.fullmatch(name) else None


def import_files(
    paths: Sequence[str],
    *,
    feed_name: str,
    reading: Reading,
    symbol: str | None = None,
    dry_run: bool = False,
    progress: Callable[[str, int], None] | None = None,
) -> ImportReport:
    """Import every file; one that cannot be read is reported, the others go on.

    `progress(path, rows)` is told of the rows read so far. Errors that concern the call as a whole: ImportRefused.
    """
    if symbol is not None and not _SYMBOL.fullmatch(symbol):
        raise ImportRefused("WRONG_SYMBOL", f"{symbol!r} is no symbol: NSE:NAME-EQ or NSE:NAME-INDEX")
    files = files_in(paths)
    if symbol is not None and len(files) > 1:
        raise ImportRefused("ONE_SYMBOL_MANY_FILES", f"--symbol names one instrument, but there are {len(files)} files")
    feed = _feed(feed_name, dry_run=dry_run)
    report = ImportReport(reading, dry_run)
    for path in files:
        one = FileReport(str(path))
        report.files.append(one)
        try:
            one.symbol = symbol or symbol_of(path)
            _import_file(path, one, feed, reading, progress, is_told=symbol is not None)
        except ImportRefused as error:
            one.error = {"code": error.code, "message": error.message}
    return report


def _feed(name: str, *, dry_run: bool) -> Feed | None:
    """The feed to store into; None: nothing is to be stored."""
    feed = Feed.objects.filter(name=name).first()
    if feed is None and name != "NSE":
        raise ImportRefused("UNKNOWN_FEED", f"there is no feed {name!r}")
    if dry_run:
        return None
    return feed or Feed.objects.get_or_create(name=name, defaults={"kind": Feed.Kind.EXCHANGE})[0]


def _import_file(
    path: Path, report: FileReport, feed: Feed | None, reading: Reading, progress: Callable[[str, int], None] | None,
    *, is_told: bool,
) -> None:  # fmt: skip
    is_index = report.symbol.endswith("-INDEX")
    book = book_for(reading, is_index=is_index)
    with tempfile.SpooledTemporaryFile(max_size=SPOOL_IN_MEMORY) as spool:
        last_price = judge_file(
            path, book, reading, spool, lambda rows: progress(report.path, rows) if progress else None,
            is_of=lambda named: is_told or _means(named, report.symbol),
        )  # fmt: skip
        report.quality = quality = book.finish()
        _refuse_nonsense(path, quality)
        report.warnings = _warnings(quality, reading)
        if report.warnings and feed is not None and not reading.label_given:
            raise ImportRefused("SUSPECTED_LABEL", f"{path}: {report.warnings[0]}, or --label start if it is so")
        assert quality.last is not None and last_price is not None
        last_at = datetime.fromisoformat(quality.last)
        known = instrument_named(report.symbol, exchange_date(last_at))  # under a later name, if it was renamed
        report.instrument_created = known is None
        report.stored_as = known.symbol if known is not None else report.symbol
        if feed is None:
            return
        instrument = _instrument(report.stored_as, Decimal(last_price), last_at)
        columns = _spooled(spool, instrument.pk)
        report.stored = store_columns(feed, reading.timeframe, columns)
        if report.stored < quality.good:
            report.differing = _differing(feed, reading.timeframe, columns)
        report.unchanged = quality.good - report.stored - report.differing
        first = exchange_date(datetime.fromisoformat(quality.first or quality.last))
        among: dict[str, Any] = {
            "feed": feed,
            "instruments": [instrument],
            "first": first,
            "last": exchange_date(last_at),
        }
        if reading.timeframe < DAILY:
            (judged,) = check_stored(**among, timeframe=reading.timeframe, now=venue_now(feed.name))
            report.untrusted = judged.untrusted
        else:
            report.untrusted = sum(mark_spikes(**among, timeframe=DAILY).values())
            judge_again(**among, now=venue_now(feed.name))
        if report.stored:
            record(
                "candles.imported", actor="import_candles", subject=report.stored_as, named=report.symbol,
                feed=feed.name, file=path.name,
                timeframe=reading.timeframe, label=reading.label, stored=report.stored,
                first=quality.first, last=quality.last,
            )  # fmt: skip


def _spooled(spool: IO[bytes], instrument_id: int) -> Columns:
    """The good bars of the file."""
    spool.seek(0)
    bars = np.frombuffer(spool.read(), np.int64).reshape(-1, 6)
    return columns_from(instrument_id, bars.T, Source.IMPORT)


def _differing(feed: Feed, timeframe: int, given: Columns) -> int:
    """How many of these bars are stored with other numbers. What is stored first counts; somebody should know."""
    first, last = (datetime.fromtimestamp(int(at), UTC) for at in (given.starts.min(), given.starts.max()))
    known = columns_of(feed, [int(given.series[0])], timeframe, start=first, end=last + timedelta(seconds=1))
    places = np.searchsorted(known.starts, given.starts)  # all of them are stored
    names = ("open", "high", "low", "close", "volume")
    return int(np.count_nonzero(np.any([getattr(known, name)[places] != getattr(given, name) for name in names], 0)))


def _means(named: str, symbol: str) -> bool:
    """Whether a file's own word for its instrument is that of a symbol, under any of its names."""
    meant = _written(named)
    return meant is not None and successor(meant) == successor(symbol)


def _refuse_nonsense(path: Path, quality: QualityReport) -> None:
    if quality.rows == 0:
        raise ImportRefused("EMPTY_FILE", f"{path} has no rows")
    if quality.good == 0 and quality.bad_bars == quality.rows:
        raise ImportRefused("NO_GOOD_BAR", f"{path}: none of {quality.rows} rows is a bar")
    if quality.good == 0:
        raise ImportRefused(
            "NOTHING_IN_SESSION",
            f"{path}: none of {quality.rows} rows is in an exchange session: check --tz and --timeframe",
        )
    if quality.mixed_labels:
        raise ImportRefused(
            "MIXED_LABELS", f"{path}: some days carry the start of each bar and some its end: split the file"
        )


def _warnings(quality: QualityReport, reading: Reading) -> list[str]:
    found: list[str] = []
    if quality.suspected_label == "end" and reading.label == "start":
        found.append("SUSPECTED_END_LABEL: days begin one bar late and end at the close; try --label end")
    if quality.suspected_label == "start" and reading.label == "end":
        found.append("SUSPECTED_START_LABEL: days begin before the open; try --label start")
    return found


def _instrument(symbol: str, price: Decimal, last_at: datetime) -> Instrument:
    """The instrument, made when it is unknown. Its tick follows its price until the broker's master knows better."""
    exchange, _, rest = symbol.partition(":")
    name, _, kind = rest.rpartition("-")
    is_index, day = kind == "INDEX", exchange_date(last_at)
    tick = INDEX_TICK if is_index else stock_tick(price, on_date=day)
    instrument, created = Instrument.objects.get_or_create(
        symbol=symbol,
        defaults={
            "name": name, "exchange": exchange, "instrument_type": "INDEX" if is_index else "EQ", "tick_size": tick,
            "master_date": day,
        },
    )  # fmt: skip
    if created:
        record("instrument.created", actor="import_candles", subject=symbol, tick_size=str(tick))
    elif not instrument.fy_token and instrument.master_date is not None and instrument.master_date < day:
        instrument.tick_size, instrument.master_date = tick, day
        instrument.save(update_fields=["tick_size", "master_date"])
    return instrument


def local(stamp: str) -> str:
    """A stored instant as the clock in India showed it, for people."""
    return datetime.fromisoformat(stamp).astimezone(IST).strftime("%Y-%m-%d %H:%M") if stamp else ""
