"""manage.py archive: old candles to Parquet, verified before they leave the database, and read from there."""

import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from trading.marketdata.day_end import KEPT_MONTHS, months_before
from trading.marketdata.files.archive import ArchiveDamaged, archive_candles, verify
from trading.marketdata.models import CandleArchive, Feed


class Command(BaseCommand):
    help = (
        "Move whole months of candles that are older than --months to Parquet files under var/archive. Each file is"
        " read back and compared before anything is deleted. Exit 0: all is well; 1: a file is damaged."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--feed", default="NSE")
        parser.add_argument(
            "--months", type=int, default=KEPT_MONTHS, help=f"kept in the database (default {KEPT_MONTHS})"
        )
        parser.add_argument("--dry-run", action="store_true", help="say what would move")
        parser.add_argument("--list", action="store_true", help="show what is archived")
        parser.add_argument("--verify", action="store_true", help="check every file against what was noted of it")
        parser.add_argument("--json", action="store_true")

    def handle(self, *_: Any, **given: Any) -> None:
        if given["list"] or given["verify"]:
            self._look(verified=given["verify"])
            return
        feed = Feed.objects.filter(name=given["feed"]).first()
        if feed is None:
            raise CommandError(f"UNKNOWN_FEED: there is no feed {given['feed']!r}", returncode=2)
        if given["months"] < 1:
            raise CommandError("TOO_RECENT: the running month stays in the database", returncode=2)
        before = months_before(timezone.localdate(), given["months"])
        try:
            told = archive_candles(feed, before=before, wall=timezone.now(), dry_run=given["dry_run"])
        except ArchiveDamaged as error:
            raise CommandError(f"ARCHIVE_DAMAGED: {error}", returncode=1) from None
        if given["json"]:
            rows = [{"timeframe": one.timeframe, "first_day": one.first_day.isoformat(), "bars": one.bars,
                     "path": one.path, "why_not": one.why_not} for one in told]  # fmt: skip
            self.stdout.write(json.dumps(rows, indent=2))
            return
        for one in told:
            self.stdout.write(f"{one.path}: {one.bars:,} bars{f' ({one.why_not})' if one.why_not else ''}")
        self.stdout.write(f"{sum(one.bars for one in told):,} bars of before {before} in {len(told)} files")

    def _look(self, *, verified: bool) -> None:
        damaged = 0
        for one in CandleArchive.objects.select_related("feed").order_by("feed", "timeframe", "first_day"):
            state = ""
            if verified:
                try:
                    verify(one)
                    state = ": as it was verified"
                except ArchiveDamaged as error:
                    damaged, state = damaged + 1, f": DAMAGED, {error}"
            self.stdout.write(f"{one.path}: {one.bars:,} bars, {one.first_day} to {one.last_day}{state}")
        if damaged:
            sys.exit(1)
