"""manage.py export_candles SYMBOL… --out FILE: stored candles as CSV or Parquet."""

from argparse import ArgumentParser
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from trading.domain.clock import IST
from trading.marketdata.files.exports import bars_for_export, csv_lines, write_parquet
from trading.marketdata.files.imports import TIMEFRAMES
from trading.marketdata.models import Feed, Instrument


class Command(BaseCommand):
    help = "Write stored candles, archived ones too, to a .csv or .parquet file. Exit 2: nothing was written."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("symbols", nargs="+", metavar="SYMBOL", help="such as NSE:SBIN-EQ")
        parser.add_argument("--out", type=Path, required=True, help="a file that ends in .csv or .parquet")
        parser.add_argument("--timeframe", default="1m", choices=TIMEFRAMES)
        parser.add_argument("--from", dest="from_date", type=date.fromisoformat, default=date(1990, 1, 1))
        parser.add_argument("--to", dest="to_date", type=date.fromisoformat, help="included (today)")
        parser.add_argument("--feed", default="NSE")

    def handle(self, *_: Any, **given: Any) -> None:
        feed, out = Feed.objects.filter(name=given["feed"]).first(), given["out"]
        found = {one.symbol: one for one in Instrument.objects.filter(symbol__in=given["symbols"])}
        if feed is None:
            raise CommandError(f"UNKNOWN_FEED: there is no feed {given['feed']!r}", returncode=2)
        if unknown := [name for name in given["symbols"] if name not in found]:
            raise CommandError(f"UNKNOWN_INSTRUMENT: {', '.join(unknown)}", returncode=2)
        if out.suffix not in (".csv", ".parquet"):
            raise CommandError(f"UNKNOWN_FORMAT: {out.name} ends in neither .csv nor .parquet", returncode=2)
        midnight, after = datetime.min.time(), (given["to_date"] or timezone.localdate()) + timedelta(days=1)
        bars, symbols = bars_for_export(
            feed, list(found.values()), TIMEFRAMES[given["timeframe"]],
            start=datetime.combine(given["from_date"], midnight, IST), end=datetime.combine(after, midnight, IST),
        )  # fmt: skip
        if not len(bars):
            raise CommandError("NO_CANDLES: nothing of these is stored in that time", returncode=2)
        if out.suffix == ".csv":
            with out.open("w", encoding="ascii", newline="") as file:
                file.writelines(csv_lines(bars, symbols))
        else:
            write_parquet(out, bars, symbols)
        self.stdout.write(f"{len(bars):,} candles of {len(found)} instruments in {out}")
