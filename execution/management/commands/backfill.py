"""manage.py backfill: fetch the past of instruments from the broker, only what is missing."""

import json
import sys
import uuid
from argparse import ArgumentParser
from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounts.models import BrokerAccount
from execution.backfills import backfill_ask, work_on_backfills
from trading.domain.errors import TradingError
from trading.marketdata.fetching.backfill import backfill_cancel
from trading.marketdata.models import Backfill

TIMEFRAMES = {"1m": 1, "2m": 2, "3m": 3, "5m": 5, "10m": 10, "15m": 15, "20m": 20, "30m": 30, "60m": 60, "1h": 60,
              "2h": 120, "4h": 240, "1d": 1440}  # fmt: skip


class Command(BaseCommand):
    help = (
        "Fetch candles from the account's broker: only what is missing, within its limits, in its pace. Killed, it goes"
        " on where it was. Exit 0: done; 1: some instruments failed; 2: nothing could be done."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("symbols", nargs="*", metavar="SYMBOL", help="such as NSE:SBIN-EQ")
        parser.add_argument("--universe", default="", help="all members of this universe instead")
        parser.add_argument("--from", dest="from_date", type=date.fromisoformat, help="first day, YYYY-MM-DD")
        parser.add_argument("--to", dest="to_date", type=date.fromisoformat, help="last day (today)")
        parser.add_argument("--timeframe", default="1m", choices=TIMEFRAMES)
        parser.add_argument("--account", type=int, help="id of the broker account (default: the first)")
        parser.add_argument("--queue", action="store_true", help="leave the work to the workers")
        parser.add_argument("--list", action="store_true", help="show open and recent backfills, and do nothing")
        parser.add_argument("--cancel", metavar="ID", type=uuid.UUID, help="end an open backfill")
        parser.add_argument("--json", action="store_true", help="the outcome as JSON on standard output")

    def handle(self, *_: Any, **given: Any) -> None:
        if given["list"]:
            for row in Backfill.objects.all()[:20]:
                self.stdout.write(f"{row.pk}  {line_of(row)}")
            return
        if given["cancel"]:
            there = Backfill.objects.filter(pk=given["cancel"]).first()
            done = there is not None and backfill_cancel(backfill=there, wall=timezone.now())
            self.stdout.write("cancelled" if done else "nothing to cancel")
            return
        row = self._ask(given)
        if given["queue"]:
            self.stdout.write(f"{row.pk} {line_of(row)}")
            return
        work_on_backfills(most_s=float("inf"), backfill_id=row.pk, told=self._told)
        row.refresh_from_db()
        if sys.stderr.isatty():
            self.stderr.write("")
        if given["json"]:
            self.stdout.write(json.dumps(as_dict(row), indent=2))
        else:
            self.stdout.write(line_of(row))
            for symbol, code in list(row.failed.items())[:20]:
                self.stdout.write(f"  {symbol}: {code}")
        if row.state != Backfill.State.DONE or row.failed:
            sys.exit(1 if row.stored or row.state == Backfill.State.DONE else 2)

    def _ask(self, given: dict[str, Any]) -> Backfill:
        accounts = BrokerAccount.objects.select_related("owner").order_by("pk")
        account = accounts.filter(pk=given["account"]).first() if given["account"] else accounts.first()
        if account is None:
            raise CommandError("NO_ACCOUNT: there is no such broker account", returncode=2)
        if given["from_date"] is None:
            raise CommandError("NO_RANGE: say --from YYYY-MM-DD", returncode=2)
        try:
            return backfill_ask(
                user=account.owner, account=account, symbols=given["symbols"], universe=given["universe"],
                timeframe=TIMEFRAMES[given["timeframe"]], from_date=given["from_date"],
                to_date=given["to_date"] or timezone.localdate(),
            )  # fmt: skip
        except TradingError as error:
            raise CommandError(f"{error.code}: {error.message}", returncode=2) from None

    def _told(self, row: Backfill) -> None:
        if sys.stderr.isatty():
            self.stderr.write(f"\r{line_of(row)}\033[K", ending="")


def line_of(row: Backfill) -> str:
    """How far a backfill is, as a sentence."""
    rate, left_s = row.pace(timezone.now())
    pace = f", {rate:,.0f} bars/s" if rate else ""
    left = f", {left_s / 60:.0f} min left" if left_s and row.is_open else ""
    return (
        f"{row.title}: {row.state.lower()}, {row.percent} %, {row.position} of {len(row.symbols)} instruments,"
        f" {row.stored:,} bars new, {row.calls} calls, {row.saved} saved{pace}{left}"
        f"{f', {row.error}' if row.error else ''}"
    )


def as_dict(row: Backfill) -> dict[str, Any]:
    return {
        "id": str(row.pk), "title": row.title, "state": row.state, "instruments": len(row.symbols),
        "position": row.position, "needed": row.needed, "calls": row.calls, "saved": row.saved, "bars": row.bars,
        "stored": row.stored, "failed": row.failed, "error": row.error,
    }  # fmt: skip
