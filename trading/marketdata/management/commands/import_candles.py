"""manage.py import_candles PATH…: candles from CSV or Parquet files, with a report of what is wrong with them."""

import json
import sys
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from trading.marketdata.files.imports import FileReport, ImportRefused, ImportReport, import_files, local, reading_of


class Command(BaseCommand):
    help = (
        "Import candles from .csv, .csv.gz and .parquet files of one instrument each. Columns are known by their names:"
        " a time stamp (ts, timestamp, datetime, date, date and time; ISO, epochs, usual Indian dates), open, high,"
        " low, close, volume. Exit 0: all files read; 1: some were refused; 2: nothing could be done."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("paths", nargs="+", metavar="PATH", help="files, or folders with such files")
        parser.add_argument("--timeframe", default="1m", help="1m (default), 5m, 15m, 60m … 1d")
        parser.add_argument(
            "--label",
            help="which time a stamp carries: start or end of its bar (start, unless the file looks otherwise)",
        )
        parser.add_argument("--tz", default="Asia/Kolkata", help="zone of stamps that name none")
        parser.add_argument("--symbol", help="NSE:NAME-EQ; otherwise the file's name is the instrument's")
        parser.add_argument("--feed", default="NSE", help="feed the candles belong to (default NSE)")
        parser.add_argument("--dry-run", action="store_true", help="read, judge and report; store nothing")
        parser.add_argument("--json", action="store_true", help="the report as JSON on standard output")

    def handle(self, *_: Any, **given: Any) -> None:
        started, shown = time.monotonic(), _Progress(self.stderr)
        try:
            report = import_files(
                given["paths"],
                feed_name=given["feed"],
                reading=reading_of(timeframe=given["timeframe"], label=given["label"], zone=given["tz"]),
                symbol=given["symbol"],
                dry_run=given["dry_run"],
                progress=shown.told,
            )
        except ImportRefused as error:
            self.stderr.write(f"error: {error}")
            sys.exit(2)
        shown.end()
        if given["json"]:
            self.stdout.write(json.dumps(report.as_dict(), indent=2, sort_keys=True, ensure_ascii=False))
        else:
            self._tell(report)
        for one in report.files:
            if one.error:
                self.stderr.write(f"error: {one.error['code']}: {one.error['message']}")
            for warning in one.warnings:
                self.stderr.write(f"warning: {one.path}: {warning}")
        rows, seconds = report.totals()["rows"], time.monotonic() - started
        self.stderr.write(f"{rows:,} rows in {seconds:.1f} s ({rows / max(seconds, 1e-9):,.0f} rows/s)")
        if report.failed:
            sys.exit(2 if report.failed == len(report.files) else 1)

    def _tell(self, report: ImportReport) -> None:
        for one in report.files:
            self.stdout.write(_line(one))
        total = report.totals()
        kept = "would be stored" if report.dry_run else "stored"
        count = total["good"] if report.dry_run else total["stored"]
        self.stdout.write(
            f"{total['files']} files, {total['failed']} refused: {total['rows']:,} rows, {count:,} {kept},"
            f" {total['unchanged']:,} unchanged, {total['duplicates']:,} duplicates, {total['bad_bars']:,} bad,"
            f" {total['out_of_session']:,} out of session, {total['missing']:,} missing, {total['gaps']:,} gaps"
        )


def _line(one: FileReport) -> str:
    found = one.quality
    if one.error or found is None:
        return f"{one.path}: refused, {one.error['code'] if one.error else ''}"
    gap = found.largest_gap
    outside = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in found.out_of_session.items() if count)
    called = f" (then {one.symbol})" if one.stored_as != one.symbol else ""
    parts = [
        f"{one.path} → {one.stored_as}{called}: {found.rows:,} rows, {found.good:,} good",
        f"{one.stored:,} stored, {one.unchanged:,} unchanged",
        "a new instrument" if one.instrument_created else "",
        f"{one.differing:,} are stored with other numbers and stay as they are" if one.differing else "",
        f"{local(found.first or '')} to {local(found.last or '')}, {found.days} days, {found.short_days} short",
        f"{found.missing:,} missing in {found.gaps:,} gaps"
        + (f", the largest {gap.bars} on {gap.date} from {gap.from_time}" if gap else ""),
        f"out of session: {outside}" if outside else "",
        f"{found.bad_bars} bad bars" if found.bad_bars else "",
        f"{one.untrusted} stored bars are not trusted" if one.untrusted else "",
        f"{found.duplicates} duplicates" if found.duplicates else "",
        f"{found.unsorted} steps backward" if found.unsorted else "",
        f"{found.zero_volume_first_bars} first bars without volume" if found.zero_volume_first_bars else "",
        f"{found.float_noise:,} prices with more than two decimals" if found.float_noise else "",
        f"days without bars: {', '.join(found.missing_days)}" if found.missing_days else "",
    ]
    return "; ".join(part for part in parts if part)


class _Progress:
    """One line that is written over, where somebody is looking."""

    def __init__(self, out: Any) -> None:
        self.out = out
        self.visible = hasattr(out, "isatty") and out.isatty()
        self.last = ""

    def told(self, path: str, rows: int) -> None:
        if self.visible:
            self.last = f"\r{path}: {rows:,} rows"
            self.out.write(self.last, ending="")
            self.out.flush()

    def end(self) -> None:
        if self.last:
            self.out.write("")
