"""The exchange's own daily files: all shares of a day, or of many days, as daily candles.

Read are `sec_bhavdata_full` as published (blanks after commas, `-` for what is missing), the newer UDiFF bhavcopy, and
Parquet of the same columns. The close is the official one, the volume-weighted price of the last half hour. Prices are
unadjusted: where one steps as no trading explains, a corporate action is suspected, and waits for a person.
"""

import csv
import gzip
import io
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from trading.audit.record import record
from trading.domain.clock import IST
from trading.marketdata.candles import columns_of, store_columns
from trading.marketdata.files.layouts import plain
from trading.marketdata.files.reading import ImportRefused
from trading.marketdata.listing.actions import ExchangeDay, steps_of, suspect_actions
from trading.marketdata.listing.announcements import complete_announced
from trading.marketdata.listing.renames import successor
from trading.marketdata.marks import Source
from trading.marketdata.models import Feed, FormerIdentity, Instrument
from trading.marketdata.packing.blocks import DAY, UNITS_PER_RUPEE, Columns, date_of, days_of
from trading.marketdata.quality.bars import ordinary_calendar, sensible
from trading.marketdata.quality.stored import judge_again, mark_spikes
from trading.venue import calendar
from trading.venue.precision import stock_tick

SERIES = ("EQ", "BE", "BZ")  # shares on the normal and on the trade-for-trade boards
_COLUMNS = {
    "symbol": ("symbol", "tckrsymb"), "series": ("series", "sctysrs"), "date": ("date1", "date", "traddt"),
    "open": ("openprice", "open", "opnpric"), "high": ("highprice", "high", "hghpric"),
    "low": ("lowprice", "low", "lwpric"), "close": ("closeprice", "close", "clspric"),
    "volume": ("ttltrdqnty", "volume", "ttltradgvol"), "previous": ("prevclose", "prvsclsgpric"),
}  # fmt: skip
_OPTIONAL = ("previous",)
HIGHEST_PRICE = 1e9  # rupees
_DAYS_BEFORE = timedelta(days=15)  # within which the session before a file's first lies
_DATES = ("%Y-%m-%d", "%d-%b-%Y", "%d-%m-%Y")


@dataclass(slots=True)
class BhavReport:
    """What one file held and what became of it."""

    path: str
    rows: int = 0
    other_series: int = 0
    bad: int = 0  # numbers that cannot be, or are missing
    closed_days: int = 0  # rows of days on which the calendar knows no session
    unknown: int = 0  # rows of shares that are no instrument here
    duplicates: int = 0
    good: int = 0
    stored: int = 0
    created: int = 0
    suspected: int = 0  # corporate actions, newly
    compared: int = 0  # series of shorter bars that were held against these days
    symbols: int = 0
    first: str | None = None
    last: str | None = None
    unknown_names: list[str] = field(default_factory=list)
    error: dict[str, str] | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def import_bhavcopy(
    path: Path, *, feed: Feed, now: datetime, create: bool = False, dry_run: bool = False,
    series: Sequence[str] = SERIES,
) -> BhavReport:  # fmt: skip
    """Store one file's daily candles of known instruments; `create` makes those that are not known.

    A share that changed its name is stored under the instrument it is today. `now`: when what is suspected was found.
    Errors: ImportRefused.
    """
    report = BhavReport(str(path))
    table, whose = _table(path, series, report)
    if not report.rows:
        raise ImportRefused("EMPTY_FILE", f"{path} has no rows")
    ids = _instruments(whose, table, report, create=create and not dry_run)
    kept = np.array([name in ids for name in whose], bool)
    table, names = table[kept], [name for name, row in zip(whose, kept, strict=True) if row]
    report.good, report.symbols = len(names), len(set(names))
    if not names:
        return report
    numbers = np.array([ids[name] for name in names], np.int64)
    pairs = np.stack((numbers, table[:, 0]))
    report.duplicates = len(names) - np.unique(pairs, axis=1).shape[1]
    days = np.sort(table[:, 0])
    report.first, report.last = (
        datetime.fromtimestamp(int(at)).astimezone().date().isoformat() for at in days[[0, -1]]
    )
    if dry_run:
        return report
    columns = Columns.of(
        [numbers, *(table[:, place] for place in range(6))],
        np.full(len(names), Source.IMPORT, np.uint8), np.zeros(len(names), np.uint8),
    )  # fmt: skip
    report.stored = store_columns(feed, DAY, columns)
    shares = list(Instrument.objects.filter(pk__in=np.unique(numbers).tolist()))
    first, last = (date_of(int(days_of(days[place : place + 1])[0])) for place in (0, days.size - 1))
    mark_spikes(feed=feed, instruments=shares, timeframe=DAY, first=first - _DAYS_BEFORE, last=last)
    report.compared = judge_again(feed=feed, instruments=shares, first=first, last=last, now=now)
    if report.stored:
        record(
            "candles.imported", actor="import_bhavcopy", subject=path.name, feed=feed.name, timeframe=DAY,
            stored=report.stored, symbols=report.symbols, first=report.first, last=report.last,
        )  # fmt: skip
    complete_announced(now=now)
    report.suspected = _suspect(feed, numbers, table, source=path.name, now=now)
    return report


def _suspect(feed: Feed, numbers: np.ndarray, table: np.ndarray, *, source: str, now: datetime) -> int:
    """Keep the steps between a day of the file and the session before it, in the file or imported earlier; how many
    were not known."""
    first = datetime.fromtimestamp(int(table[:, 0].min()), UTC)
    last = datetime.fromtimestamp(int(table[:, 0].max()), UTC)
    ids = np.unique(numbers).tolist()
    earlier = columns_of(feed, ids, DAY, start=first - _DAYS_BEFORE, end=last)
    earlier = earlier.take(earlier.source == Source.IMPORT)
    days: dict[int, dict[int, ExchangeDay]] = {pk: {} for pk in ids}
    for pk, number, close in zip(
        earlier.series.tolist(), days_of(earlier.starts).tolist(), earlier.close.tolist(), strict=True
    ):
        days[pk][number] = ExchangeDay(date_of(number), 0.0, close / UNITS_PER_RUPEE)
    rows = zip(numbers.tolist(), days_of(table[:, 0]).tolist(), *table[:, (6, 4, 1)].T.tolist(), strict=True)
    for pk, number, *prices in rows:
        days[pk][number] = ExchangeDay(date_of(number), *(price / UNITS_PER_RUPEE for price in prices))
    found = {pk: steps_of([those[number] for number in sorted(those)]) for pk, those in days.items()}
    concerned = Instrument.objects.in_bulk([pk for pk, steps in found.items() if steps])
    return sum(
        len(suspect_actions(instrument=one, suspicions=found[pk], source=source, now=now))
        for pk, one in concerned.items()
    )


def _table(path: Path, series: Sequence[str], report: BhavReport) -> tuple[np.ndarray, list[str]]:
    """int64[rows, 7]: start, open, high, low, close (ten-thousandths), volume, close before (0: not said).

    And the symbol of each row.
    """
    rows: list[tuple[float, ...]] = []
    names: list[str] = []
    refused: Counter[str] = Counter()
    for symbol, board, text, *numbers, previous in _rows(path):
        report.rows += 1
        if board not in series:
            refused["series"] += 1
            continue
        try:
            start = _start_of(text)
            values = tuple(map(float, numbers))
        except ValueError:  # `-`: not traded, or not said
            refused["bad"] += 1
            continue
        if start is None:
            refused["closed"] += 1
            continue
        rows.append((start, *values, _or_zero(previous)))
        names.append(f"NSE:{symbol}-EQ")
    table = np.array(rows, float).reshape(-1, 7)
    o, h, lo, c, v = (table[:, place] for place in range(1, 6))
    sound = sensible(o, h, lo, c, v) & (v == np.rint(v))
    report.other_series, report.closed_days = refused["series"], refused["closed"]
    report.bad = refused["bad"] + int(np.count_nonzero(~sound))
    whole = np.empty((int(np.count_nonzero(sound)), 7), np.int64)
    whole[:, 0], whole[:, 5] = table[sound, 0], table[sound, 5]
    whole[:, (1, 2, 3, 4, 6)] = np.rint(table[sound][:, (1, 2, 3, 4, 6)] * UNITS_PER_RUPEE)
    return whole, [name for name, keep in zip(names, sound, strict=True) if keep]


def _or_zero(text: str) -> float:
    try:
        value = float(text)
    except ValueError:  # `-`, or no such column
        return 0.0
    return value if 0 < value < HIGHEST_PRICE else 0.0


@calendar.remembered(16_384)
def _start_of(text: str) -> int | None:
    """The open of a day's session, epoch seconds; None where there was none. ValueError: no date."""
    for form in _DATES:
        try:
            day = datetime.strptime(text.strip()[:11].strip(), form).date()  # noqa: DTZ007 - a day has no zone
            break
        except ValueError:
            continue
    else:
        raise ValueError(text)
    session = ordinary_calendar(day)
    if session is not None:
        return int(session.opens_at.timestamp())
    if calendar.current().knows(day):
        return None
    return int(datetime.combine(day, time(9, 15), IST).timestamp())  # the exchange's own file says that it was open


def _instruments(names: list[str], table: np.ndarray, report: BhavReport, *, create: bool) -> dict[str, int]:
    """Instrument ids by the symbol of the file; one that was given up finds its share under the name of today."""
    last = {name: row for row, name in enumerate(names)}
    ids = dict(Instrument.objects.filter(symbol__in=last).values_list("symbol", "pk"))
    absent = last.keys() - ids.keys()
    ids |= dict(
        FormerIdentity.objects.filter(symbol__in=absent).order_by("until_date").values_list("symbol", "instrument_id")
    )
    renamed = {name: now for name in absent - ids.keys() if (now := successor(name)) != name}
    today = dict(Instrument.objects.filter(symbol__in=renamed.values()).values_list("symbol", "pk"))
    ids |= {name: today[now] for name, now in renamed.items() if now in today}
    if create:
        rows: dict[str, int] = {}  # of shares to be made, by their name of today: one share, whatever it was called
        for name in last.keys() - ids.keys():
            now = successor(name)
            rows[now] = max(last[name], rows.get(now, -1))
        made = []
        for name, row in sorted(rows.items()):
            day = date_of(int(days_of(table[row : row + 1, 0])[0]))
            tick = stock_tick(Decimal(int(table[row, 4])) / UNITS_PER_RUPEE, on_date=day)
            made.append(Instrument(symbol=name, name=name[4:-3], exchange="NSE", tick_size=tick, master_date=day))
        Instrument.objects.bulk_create(made)
        report.created, new = len(made), {one.symbol: one.pk for one in made}
        ids |= {name: new[successor(name)] for name in last.keys() - ids.keys()}
        if made:
            record("instruments.created", actor="import_bhavcopy", subject=report.path, count=len(made))
    unknown = [name for name in names if name not in ids]
    report.unknown, report.unknown_names = len(unknown), sorted(set(unknown))[:20]
    return ids


def _rows(path: Path) -> Iterator[tuple[str, ...]]:
    """Symbol, series, date, open, high, low, close, volume, close before, as text without blanks."""
    try:
        with path.open("rb") as raw:
            first = raw.read(4)
    except OSError as error:
        raise ImportRefused("CANNOT_READ", f"{path} cannot be read: {error.strerror or error}") from None
    if not first:
        raise ImportRefused("EMPTY_FILE", f"{path} is empty")
    try:
        if first == b"PAR1":
            yield from _of_parquet(path)
            return
        packed = first[:2] == b"\x1f\x8b"
        with gzip.open(path, "rb") if packed else path.open("rb") as raw:
            text = io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")  # type: ignore[arg-type]
            lines = csv.reader(text)
            places = _places(path, next(lines, []))
            for line in lines:
                if len(line) > max(places):
                    yield tuple(line[place].strip() if place >= 0 else "" for place in places)
    except (UnicodeDecodeError, csv.Error, EOFError, zlib.error, gzip.BadGzipFile):
        raise ImportRefused("NOT_A_BHAVCOPY", f"{path} cannot be read as a daily file of the exchange") from None


def _of_parquet(path: Path) -> Iterator[tuple[str, ...]]:
    import duckdb  # loaded when somebody brings such a file: it is large

    with duckdb.connect(":memory:") as database:
        database.execute("SET threads = 1")
        try:
            answer = database.execute("SELECT COLUMNS(*)::VARCHAR FROM read_parquet(?)", [str(path)])
            places = _places(path, [column[0] for column in answer.description or ()])
            while block := answer.fetchmany(50_000):
                yield from (
                    tuple((row[place] or "").strip() if place >= 0 else "" for place in places) for row in block
                )
        except duckdb.Error as error:
            raise ImportRefused("BROKEN_PARQUET", f"{path}: {str(error).splitlines()[0][:200]}") from None


def _places(path: Path, header: Sequence[str]) -> list[int]:
    names = [plain(name) for name in header]
    places = []
    for role, known in _COLUMNS.items():
        found = next((name for name in known if name in names), None)
        if found is None and role in _OPTIONAL:
            places.append(-1)
            continue
        if found is None:
            raise ImportRefused("NOT_A_BHAVCOPY", f"{path}: no column for {role}; read are sec_bhavdata_full and UDiFF")
        places.append(names.index(found))
    return places
