"""Vendors' files as they come, judged before anything of them is stored: bars, ticks, end-of-day files, chains.

What a file is, its columns say. Every defect class has its code (`defects`); a file that cannot be read at all is
refused with the reason, and the others go on.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

from trading.domain.clock import IST
from trading.domain.errors import TradingError
from trading.marketdata.files.tables import Table, TableRefused, read_table
from trading.marketdata.listing.actions import ExchangeDay, Suspicion, steps_between, steps_of
from trading.marketdata.listing.renames import all_renames, successor
from trading.marketdata.quality.bars import DayBook, Ints, SessionLookup
from trading.marketdata.quality.days import Bars, DayQuality, OfficialDay, judge_days
from trading.marketdata.quality.defects import Defect, Findings
from trading.venue.calendar import current
from trading.venue.sessions import session_on

ENDED_DAYS: Final = 10  # sessions without a row at the end of a file's time after which a symbol has ended
INDEX_NAMES: Final = frozenset({"NIFTY", "NIFTY50", "BANKNIFTY", "NIFTYBANK", "SENSEX", "FINNIFTY", "BANKEX"})
STALE_CHAIN_S: Final = 120.0
CHAIN_HOLE_S: Final = 600.0
CHAIN_LATE_MINUTES: Final = 5


@dataclass(slots=True)
class CheckedFile:
    """What one file is worth. `kind`: BARS, DAILY, EXCHANGE_DAYS, TICKS, CHAIN."""

    path: str
    kind: str = ""
    symbol: str = ""
    rows: int = 0
    first: str = ""
    last: str = ""
    timeframe: int = 0
    score: float | None = None
    days: list[DayQuality] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)
    suspicions: dict[str, list[Suspicion]] = field(default_factory=dict)
    unchecked: list[str] = field(default_factory=list)
    error: dict[str, str] | None = None

    def as_dict(self, *, with_days: bool = False) -> dict[str, Any]:
        told: dict[str, Any] = {
            "path": self.path, "kind": self.kind, "symbol": self.symbol, "rows": self.rows, "first": self.first,
            "last": self.last, "timeframe": self.timeframe, "score": self.score, "days": len(self.days),
            "defects": self.findings.as_list(), "unchecked": self.unchecked, "error": self.error,
            "suspected_actions": {
                symbol: [[one.ex_date.isoformat(), round(one.factor, 6), one.kind, one.told] for one in found]
                for symbol, found in self.suspicions.items()
            },
        }  # fmt: skip
        if with_days:
            told["by_day"] = [
                {
                    "day": one.day.isoformat(), "score": one.score, "expected": one.expected, "present": one.present,
                    "defects": {code.value: count for code, count in one.defects.items()},
                }
                for one in self.days
            ]  # fmt: skip
        return told


def check_files(
    paths: Sequence[Path],
    *,
    exchange_days: Path | None = None,
    session_lookup: SessionLookup | None = None,
) -> list[CheckedFile]:
    """Judge each file. `exchange_days`: the exchange's end-of-day file, to compare volumes and prices with.

    Errors: TableRefused, where `exchange_days` cannot be read. A file that cannot is told in its own report.
    """
    known = _exchange_days(read_table(exchange_days)) if exchange_days is not None else {}
    checked = []
    for path in paths:
        one = CheckedFile(str(path))
        checked.append(one)
        try:
            _check(read_table(path), one, known, session_lookup)
        except TradingError as error:
            one.error = {"code": error.code, "message": error.message}
    _judge_ends(checked)
    return checked


def _check(
    table: Table, one: CheckedFile, known: Mapping[str, list[ExchangeDay]], session_lookup: SessionLookup | None
) -> None:
    one.rows = len(table)
    one.symbol = table.path.name.split(".")[0].upper()
    names = set(table.names)
    if {"file_ts", "fetch_ts", "expiry", "strike"} <= names:
        _check_chain(table, one)
    elif {"timestamp", "ltp", "volume"} <= names:
        _check_ticks(table, one)
    elif {"date", "symbol", "prev_close", "close"} <= names or {"date1", "symbol", "prev_close"} <= names:
        _check_exchange_days(table, one)
    elif {"ts", "open", "high", "low", "close", "volume"} <= names:
        _check_bars(table, one, known, session_lookup)
    elif {"date", "open", "high", "low", "close"} <= names:
        _check_daily(table, one, known)
    else:
        raise TableRefused("UNKNOWN_LAYOUT", f"{table.path.name}: columns {', '.join(table.names[:12])} are not known")


# -- bars --------------------------------------------------------------------------------------------------------------


def _check_bars(
    table: Table, one: CheckedFile, known: Mapping[str, list[ExchangeDay]], session_lookup: SessionLookup | None
) -> None:
    one.kind = "BARS"
    raw = table.epochs("ts")
    one.timeframe = _timeframe_of(raw)
    is_index = one.symbol in INDEX_NAMES
    prices = [table.floats(name) for name in ("open", "high", "low", "close", "volume")]
    label = _label(one, raw, prices, is_index)
    starts = raw - 60 * one.timeframe if label == "end" else raw
    order = np.argsort(starts, kind="stable")
    one.findings.add(Defect.UNSORTED_ROWS, int(np.count_nonzero(np.diff(raw) < 0)))
    starts, prices = starts[order], [column[order] for column in prices]
    fresh = np.concatenate(([True], np.diff(starts) != 0))
    one.findings.add(Defect.DUPLICATE_BARS, int(np.count_nonzero(~fresh)))
    ticks = table.floats("ticks")[order][fresh] if "ticks" in table.names else None
    opened, high, low, close, volume = (column[fresh] for column in prices)
    bars = Bars(starts[fresh], opened, high, low, close, volume, ticks)
    days = known.get(one.symbol, [])
    official = {day.day: day.official for day in days if isinstance(day, _WholeDay)}
    lookup = {} if session_lookup is None else {"session_lookup": session_lookup}
    one.days = judge_days(bars, one.timeframe, is_index=is_index, official=official, **lookup)
    if not official and not is_index:
        one.unchecked.append("PREOPEN_VOLUME and VOLUME_SHORT by the exchange's volume: none is at hand")
    _sum_up(one)
    _span(one, bars.starts)


def _label(one: CheckedFile, raw: Ints, prices: list[Any], is_index: bool) -> str:
    """Whether stamps are starts or ends, by the days themselves; a file of both is told as MIXED_LABELS."""
    book = DayBook(one.timeframe, is_index=is_index)
    book.judge(raw, *prices)
    report = book.finish()
    if report.mixed_labels:
        one.findings.add(Defect.MIXED_LABELS, report.days, days=report.days)
    if report.suspected_label == "end":
        one.findings.add(Defect.END_LABELLED, report.rows, "days begin one bar late and end at the close",
                         days=report.days)  # fmt: skip
        return "end"
    return "start"


def _timeframe_of(starts: Ints) -> int:
    steps = np.diff(np.unique(starts)) // 60
    steps = steps[(steps > 0) & (steps < 1440)]
    return int(np.bincount(steps).argmax()) if steps.size else 1


def _sum_up(one: CheckedFile) -> None:
    for day in one.days:
        for defect, count in day.defects.items():
            where = f"{day.day} from {day.gap_from}, {day.largest_gap} bars" if defect is Defect.MISSING_BARS else ""
            one.findings.add(defect, count, where or day.day.isoformat(), days=1)
    if one.days:
        one.score = round(sum(day.score for day in one.days) / len(one.days), 1)
    largest = max(one.days, key=lambda day: day.largest_gap, default=None)
    found = one.findings.met.get(Defect.MISSING_BARS)
    if found is not None and largest is not None and largest.largest_gap:
        found.examples.insert(0, f"largest: {largest.day} from {largest.gap_from}, {largest.largest_gap} bars")


def _span(one: CheckedFile, starts: Ints) -> None:
    if starts.size:
        one.first = datetime.fromtimestamp(int(starts.min()), IST).isoformat(timespec="minutes")
        one.last = datetime.fromtimestamp(int(starts.max()), IST).isoformat(timespec="minutes")


# -- days --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _WholeDay(ExchangeDay):
    """With what the exchange says of the day as a whole."""

    official: OfficialDay = field(kw_only=True)


def _exchange_days(table: Table) -> dict[str, list[ExchangeDay]]:
    """Rows of an end-of-day file by symbol, rising; the older names of a renamed symbol under the new one too."""
    day_name = "date" if "date" in table.names else "date1"
    if "symbol" not in table.names or "prev_close" not in table.names:
        raise TableRefused("UNKNOWN_LAYOUT", f"{table.path.name} is no end-of-day file")
    close = "close" if "close" in table.names else "close_price"
    volume = "volume" if "volume" in table.names else "ttl_trd_qnty"
    days, symbols = table.dates(day_name), table.texts("symbol")
    series = table.texts("series") if "series" in table.names else ["EQ"] * len(table)
    opened = "open" if "open" in table.names else "open_price"
    previous, closes, volumes = table.floats("prev_close"), table.floats(close), table.floats(volume)
    nothing = np.zeros(len(table))
    opens = table.floats(opened) if opened in table.names else nothing
    high, low = (next((one for one in (name, f"{name}_price") if one in table.names), "") for name in ("high", "low"))
    highs, lows = (table.floats(name) if name else nothing for name in (high, low))
    found: dict[str, list[ExchangeDay]] = {}
    for at, (day, symbol) in enumerate(zip(days, symbols, strict=True)):
        if series[at] in ("EQ", "BE"):
            whole = OfficialDay(*(float(column[at]) for column in (highs, lows, closes, volumes)))
            row = _WholeDay(day, float(previous[at]), float(closes[at]), float(opens[at]), official=whole)
            found.setdefault(symbol, []).append(row)
    for rows in found.values():
        rows.sort(key=lambda row: row.day)
    return found


def _check_exchange_days(table: Table, one: CheckedFile) -> None:
    one.kind, one.timeframe = "EXCHANGE_DAYS", 1440
    found = _exchange_days(table)
    all_days = sorted({row.day for rows in found.values() for row in rows})
    one.first, one.last = all_days[0].isoformat(), all_days[-1].isoformat()
    there = set(all_days)
    for day in _sessions_between(all_days[0], all_days[-1]):
        if day not in there:
            one.findings.add(Defect.MISSING_DAY, 1, day.isoformat(), days=1)
    for symbol, rows in sorted(found.items()):
        suspicions = steps_of(rows)
        if suspicions:
            one.suspicions[symbol] = suspicions
            one.findings.add(Defect.UNADJUSTED_ACTION, len(suspicions), f"{symbol} {suspicions[0].ex_date}")
        _judge_end(one, symbol, rows[-1].day, all_days)


def _check_daily(table: Table, one: CheckedFile, known: Mapping[str, list[ExchangeDay]]) -> None:
    one.kind, one.timeframe = "DAILY", 1440
    days, closes = table.dates("date"), table.floats("close")
    order = sorted(range(len(days)), key=lambda at: days[at])
    one.findings.add(Defect.UNSORTED_ROWS, sum(1 for a, b in pairwise(days) if b < a))
    one.findings.add(Defect.DUPLICATE_BARS, len(days) - len(set(days)))
    one.first, one.last = min(days).isoformat(), max(days).isoformat()
    there = set(days)
    for day in _sessions_between(min(days), max(days)):
        if day not in there:
            one.findings.add(Defect.MISSING_DAY, 1, day.isoformat(), days=1)
    raw = _chained(one.symbol, known)
    if not raw:
        one.unchecked.append("UNADJUSTED_ACTION: no end-of-day file to compare with")
        return
    suspicions = steps_between({days[at]: float(closes[at]) for at in order}, {row.day: row.close for row in raw})
    if suspicions:
        one.suspicions[one.symbol] = suspicions
        told = f"{suspicions[0].ex_date}: this file is adjusted for it, the exchange's is not"
        one.findings.add(Defect.UNADJUSTED_ACTION, len(suspicions), told)


def _chained(symbol: str, known: Mapping[str, list[ExchangeDay]]) -> list[ExchangeDay]:
    """The days of an instrument under all its names, rising."""
    names = {symbol}
    for name in known:
        if successor(f"NSE:{name}-EQ") == successor(f"NSE:{symbol}-EQ"):
            names.add(name)
    return sorted((row for name in names for row in known.get(name, [])), key=lambda row: row.day)


def _sessions_between(first: date, last: date) -> Iterable[date]:
    for number in range(first.toordinal(), last.toordinal() + 1):
        day = date.fromordinal(number)
        if current().knows(day) and session_on(day) is not None:
            yield day


# -- symbols that end --------------------------------------------------------------------------------------------------


def _judge_end(one: CheckedFile, symbol: str, last: date, all_days: Sequence[date]) -> None:
    left = sum(1 for day in all_days if day > last)
    if left < min(ENDED_DAYS, 3):
        return
    for rename in all_renames():
        if rename.old == f"NSE:{symbol}-EQ" and 0 <= (rename.from_date - last).days <= 31:
            one.findings.add(
                Defect.RENAMED_SYMBOL, 1, f"{symbol} to {rename.new} on {rename.from_date} ({rename.kind.lower()})"
            )
            return
    one.findings.add(Defect.SYMBOL_ENDS, 1, f"{symbol} after {last}")


def _judge_ends(checked: Sequence[CheckedFile]) -> None:
    """Among files of one folder, those that stop while the others go on."""
    for folder in sorted({str(Path(one.path).parent) for one in checked}):
        same = [
            one for one in checked
            if one.kind in ("BARS", "DAILY") and one.last and str(Path(one.path).parent) == folder
        ]  # fmt: skip
        if len(same) < 3:
            continue
        lasts = sorted(date.fromisoformat(one.last[:10]) for one in same)
        newest = lasts[len(lasts) // 2]
        for one in same:
            last = date.fromisoformat(one.last[:10])
            days = [day for day in _sessions_between(last, newest) if day > last]
            _judge_end(one, one.symbol, last, days)


# -- ticks -------------------------------------------------------------------------------------------------------------


def _check_ticks(table: Table, one: CheckedFile) -> None:
    one.kind = "TICKS"
    stamps, prices, volumes = table.epochs("timestamp"), table.floats("ltp"), table.floats("volume")
    empty = stamps <= 86_400
    one.findings.add(Defect.EPOCH_ZERO_TICK, int(np.count_nonzero(empty)), "1970-01-01 05:30")
    same = (np.diff(stamps) == 0) & (np.diff(prices) == 0) & (np.diff(volumes) == 0) & ~empty[1:]
    one.findings.add(Defect.DUPLICATE_TICK, int(np.count_nonzero(same)))
    stamps, prices, volumes = stamps[~empty], prices[~empty], volumes[~empty]
    if not stamps.size:
        return
    days = (stamps + 19_800) // 86_400
    usual = int(np.bincount(days - days.min()).argmax() + days.min())
    other = days != usual
    one.findings.add(Defect.OTHER_DAY_TICK, int(np.count_nonzero(other)), f"beside {date.fromordinal(719163 + usual)}")
    own = np.flatnonzero(~other)
    one.findings.add(Defect.UNSORTED_ROWS, int(np.count_nonzero(np.diff(stamps) < 0)))
    rising = volumes[own]
    if rising.size > 100 and rising.max() > 0:
        share = float(np.mean(np.diff(rising) >= 0))
        if share > 0.98 and rising[-1] > 50 * max(1.0, float(np.median(np.abs(np.diff(rising))))):
            one.findings.add(Defect.RUNNING_VOLUME, int(rising.size), f"{rising[0]:,.0f} to {rising.max():,.0f}")
        one.findings.add(Defect.VOLUME_BACKWARDS, int(np.count_nonzero(np.diff(rising) < 0)))
    elif rising.size and rising.max() == 0:
        one.findings.add(Defect.NO_VOLUME, int(rising.size))
    _span(one, stamps)


# -- option chains -----------------------------------------------------------------------------------------------------


def _check_chain(table: Table, one: CheckedFile) -> None:
    one.kind = "CHAIN"
    stored, exchange = table.epochs("file_ts"), table.epochs("fetch_ts")
    pairs = np.unique(np.stack((stored, exchange), axis=1), axis=0)
    ages = pairs[:, 0] - pairs[:, 1]
    stale = ages > STALE_CHAIN_S
    one.findings.add(
        Defect.STALE_CHAIN,
        int(np.count_nonzero(stale)),
        f"stored {ages.min():.0f} to {ages.max():.0f} s after the exchange",
    )
    repeated = pairs.shape[0] - np.unique(pairs[:, 1]).size
    one.findings.add(
        Defect.REPEATED_CHAIN, repeated, f"{pairs.shape[0]} stored, {np.unique(pairs[:, 1]).size} distinct"
    )
    for gap in np.flatnonzero(np.diff(pairs[:, 0]) > CHAIN_HOLE_S):
        seconds = int(pairs[gap + 1, 0] - pairs[gap, 0])
        at = datetime.fromtimestamp(int(pairs[gap, 0]), IST)
        one.findings.add(Defect.CHAIN_HOLE, 1, f"{seconds // 60} min {seconds % 60} s from {at:%Y-%m-%d %H:%M:%S}")
    first = datetime.fromtimestamp(int(pairs[0, 0]), IST)
    session = session_on(first.date(), assume_weekdays=True)
    if session is not None and (late := session.minutes_since_open(first)) > CHAIN_LATE_MINUTES:
        one.findings.add(Defect.LATE_CHAIN_START, 1, f"{late:.0f} min after the open, at {first:%H:%M}")
    if "ce_iv" in table.names:
        without = int(np.count_nonzero(table.floats("ce_iv") == 0) + np.count_nonzero(table.floats("pe_iv") == 0))
        one.findings.add(Defect.CHAIN_WITHOUT_IV, without)
    one.symbol = table.texts("underlying")[0] if "underlying" in table.names else one.symbol
    _span(one, pairs[:, 0])
