"""manage.py import_bhavcopy FILE…: the exchange's daily files as daily candles."""

import json
import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from trading.marketdata.files.bhavcopy import SERIES, BhavReport, import_bhavcopy
from trading.marketdata.files.reading import ImportRefused
from trading.marketdata.models import Feed


class Command(BaseCommand):
    help = (
        "Import the exchange's daily files (sec_bhavdata_full or UDiFF as CSV, packed or not, or Parquet) as daily"
        " candles of known instruments. Exit 0: all files read; 1: some were refused; 2: nothing could be done."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("files", nargs="+", metavar="FILE")
        parser.add_argument("--create", action="store_true", help="make instruments of shares that are not known yet")
        parser.add_argument("--series", default=",".join(SERIES), help=f"boards to take (default {','.join(SERIES)})")
        parser.add_argument("--feed", default="NSE", help="feed the candles belong to (default NSE)")
        parser.add_argument("--dry-run", action="store_true", help="read, judge and report; store nothing")
        parser.add_argument("--json", action="store_true", help="the report as JSON on standard output")

    def handle(self, *_: Any, **given: Any) -> None:
        began = time.monotonic()
        feed = Feed.objects.filter(name=given["feed"]).first()
        if feed is None and given["feed"] != "NSE":
            raise CommandError(f"UNKNOWN_FEED: there is no feed {given['feed']!r}", returncode=2)
        if feed is None:
            feed = Feed(name="NSE", kind=Feed.Kind.EXCHANGE)
            if not given["dry_run"]:
                feed.save()
        reports = []
        for name in given["files"]:
            try:
                reports.append(
                    import_bhavcopy(
                        Path(name), feed=feed, now=timezone.now(), create=given["create"], dry_run=given["dry_run"],
                        series=given["series"].upper().split(","),
                    )
                )  # fmt: skip
            except ImportRefused as error:
                reports.append(BhavReport(name, error={"code": error.code, "message": error.message}))
                self.stderr.write(f"error: {error}")
        if given["json"]:
            self.stdout.write(json.dumps([one.as_dict() for one in reports], indent=2))
        else:
            for one in reports:
                self.stdout.write(line_of(one))
        rows, seconds = sum(one.rows for one in reports), time.monotonic() - began
        self.stderr.write(f"{rows:,} rows in {seconds:.1f} s ({rows / max(seconds, 1e-9):,.0f} rows/s)")
        failed = sum(1 for one in reports if one.error)
        if failed:
            sys.exit(2 if failed == len(reports) else 1)


def line_of(one: BhavReport) -> str:
    """One file's fate as a sentence."""
    if one.error:
        return f"{one.path}: refused, {one.error['code']}"
    unknown = f" ({', '.join(one.unknown_names[:5])} …)" if one.unknown_names else ""
    doubts = f"; {one.suspected:,} suspected corporate actions wait in the console" if one.suspected else ""
    return (
        f"{one.path}: {one.rows:,} rows, {one.good:,} good of {one.symbols:,} shares, {one.first} to {one.last};"
        f" {one.stored:,} stored, {one.created:,} instruments made; left out: {one.other_series:,} of other boards,"
        f" {one.unknown:,} unknown{unknown}, {one.bad:,} without sensible numbers, {one.closed_days:,} on closed days,"
        f" {one.duplicates:,} duplicates{doubts}"
    )
