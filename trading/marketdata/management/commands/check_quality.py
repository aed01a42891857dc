"""manage.py check_quality: what market data is worth, of files as they come or of candles as they are stored."""

import json
import sys
from argparse import ArgumentParser
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from trading.domain.errors import TradingError
from trading.marketdata.clocks import venue_now
from trading.marketdata.models import Feed, Instrument
from trading.marketdata.quality.files import CheckedFile, check_files
from trading.marketdata.quality.stored import DAILY, check_stored
from trading.venue.sessions import exchange_date

ENDINGS = (".csv", ".csv.gz", ".parquet")


class Command(BaseCommand):
    help = (
        "Judge market data: files and folders (bars, ticks, end-of-day files, option chains), or with --stored the"
        " candles in the database, whose bars are then marked. Exit 0: read; 1: some files were refused; 2: nothing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("paths", nargs="*", metavar="PATH", help="files, or folders with such files")
        parser.add_argument("--exchange-days", metavar="FILE", help="the exchange's end-of-day file, to compare with")
        parser.add_argument("--stored", action="store_true", help="judge stored candles, keep the reports, mark bars")
        parser.add_argument("--feed", default="NSE", help="with --stored: the feed (default NSE)")
        parser.add_argument("--symbol", action="append", help="with --stored: this instrument (may be repeated)")
        parser.add_argument("--timeframe", type=int, default=1, help="with --stored: minutes (default 1)")
        parser.add_argument("--from", dest="first", type=date.fromisoformat, help="with --stored: first day")
        parser.add_argument("--to", dest="last", type=date.fromisoformat, help="with --stored: last day")
        parser.add_argument("--days", action="store_true", help="with --json: every day, not only the sums")
        parser.add_argument("--json", action="store_true", help="the report as JSON")

    def handle(self, *_: Any, **given: Any) -> None:
        if given["stored"]:
            self._stored(given)
            return
        files = [file for name in given["paths"] for file in self._files(Path(name))]
        if not files:
            raise CommandError("NOTHING_TO_CHECK: give files or folders, or --stored", returncode=2)
        against = given["exchange_days"]
        try:
            checked = check_files(files, exchange_days=Path(against) if against else None)
        except TradingError as error:
            raise CommandError(str(error), returncode=2) from None
        if given["json"]:
            self.stdout.write(json.dumps([one.as_dict(with_days=given["days"]) for one in checked], indent=2))
        else:
            for one in checked:
                self.stdout.write(told(one))
        refused = sum(1 for one in checked if one.error)
        if refused:
            sys.exit(2 if refused == len(checked) else 1)

    def _files(self, path: Path) -> list[Path]:
        if path.is_dir():
            return sorted(file for file in path.rglob("*") if file.name.lower().endswith(ENDINGS))
        if not path.is_file():
            raise CommandError(f"NO_SUCH_FILE: {path} does not exist", returncode=2)
        return [path]

    def _stored(self, given: dict[str, Any]) -> None:
        if not 1 <= given["timeframe"] < DAILY:
            raise CommandError("TIMEFRAME: stored bars are judged below a day, from 1 minute on", returncode=2)
        feed = Feed.objects.filter(name=given["feed"]).first()
        if feed is None:
            raise CommandError(f"UNKNOWN_FEED: there is no feed {given['feed']!r}", returncode=2)
        instruments = Instrument.objects.all()
        if given["symbol"]:
            instruments = instruments.filter(symbol__in=given["symbol"])
            if instruments.count() < len(set(given["symbol"])):
                raise CommandError("UNKNOWN_INSTRUMENT: not every symbol is known", returncode=2)
        now = venue_now(feed.name)
        last = given["last"] or exchange_date(now)
        first = given["first"] or last - timedelta(days=365)
        reports = check_stored(
            feed=feed, instruments=list(instruments), timeframe=given["timeframe"], first=first, last=last, now=now
        )
        if given["json"]:
            self.stdout.write(json.dumps([one.as_dict() for one in reports], indent=2))
            return
        for one in reports:
            self.stdout.write(one.line())
        self.stdout.write(f"{len(reports)} instruments judged, {sum(one.days for one in reports):,} days")


def told(one: CheckedFile) -> str:
    """A file's report for people: what it is, its score, and each defect with where it was met."""
    if one.error:
        return f"{one.path}: refused, {one.error['code']}: {one.error['message']}"
    score = f", score {one.score}" if one.score is not None else ""
    lines = [f"{one.path}: {one.kind} {one.symbol}, {one.rows:,} rows, {one.first} to {one.last}{score}"]
    for found in one.findings.met.values():
        where = f" ({'; '.join(found.examples)})" if found.examples else ""
        days = f" on {found.days} days" if found.days else ""
        lines.append(f"    {found.defect.value}: {found.count:,}{days}{where}")
    lines += [f"    not checked: {why}" for why in one.unchecked]
    return "\n".join(lines)
