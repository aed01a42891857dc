"""manage.py refresh_instruments [FILE…]: take over instrument masters from files, or from the broker."""

import json
import sys
import time
from argparse import ArgumentParser
from datetime import date
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.models import BrokerAccount
from execution.brokers.instrument_refresh import Taken, refresh_from_broker, refresh_from_files
from trading.marketdata.clocks import venue_now


class Command(BaseCommand):
    help = (
        "Take over instrument masters: FYERS CSV (any age) or JSON, or a Zerodha dump, packed or not; without a"
        " file the broker's own are fetched. Exit 0: all taken; 1: some were refused; 2: nothing could be done."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("files", nargs="*", metavar="FILE")
        parser.add_argument(
            "--part", action="store_true", help="the file is a part of its market: what it does not list stays in use"
        )
        parser.add_argument("--as-of", type=date.fromisoformat, help="the day of a file that names none, YYYY-MM-DD")
        parser.add_argument("--force", action="store_true", help="take an older or a much shorter master all the same")
        parser.add_argument("--account", type=int, help="broker account whose masters are fetched (default: the first)")
        parser.add_argument("--json", action="store_true", help="the report as JSON on standard output")

    def handle(self, *_: Any, **given: Any) -> None:
        began = time.monotonic()
        paths = [Path(name) for name in given["files"]]
        if absent := [str(path) for path in paths if not path.is_file()]:
            raise CommandError(f"NO_SUCH_FILE: {', '.join(absent)}", returncode=2)
        taken = self._from_files(paths, given) if paths else self._from_broker(given)
        if given["json"]:
            self.stdout.write(json.dumps([one.as_dict() for one in taken], indent=2))
        else:
            for one in taken:
                self.stdout.write(line_of(one))
        lines = sum(one.diff.listed for one in taken if one.diff)
        self.stderr.write(f"{lines:,} lines in {time.monotonic() - began:.1f} s")
        refused = sum(1 for one in taken if one.error)
        if refused:
            sys.exit(2 if refused == len(taken) else 1)

    def _from_files(self, paths: list[Path], given: dict[str, Any]) -> list[Taken]:
        return refresh_from_files(
            paths, now=venue_now("NSE"), actor="refresh_instruments", whole=not given["part"], force=given["force"],
            as_of=given["as_of"],
        )  # fmt: skip

    def _from_broker(self, given: dict[str, Any]) -> list[Taken]:
        accounts = BrokerAccount.objects.order_by("environment", "pk")
        account = accounts.filter(pk=given["account"]).first() if given["account"] else accounts.first()
        if account is None:
            raise CommandError("NO_ACCOUNT: there is no such broker account; give a file", returncode=2)
        return refresh_from_broker(account, now=venue_now(account.feed), actor="refresh_instruments")


def line_of(one: Taken) -> str:
    """One master's fate as a sentence."""
    if one.diff is None:
        error = one.error or {"code": "NOTHING", "message": "was not read"}
        return f"{one.name}: refused, {error['code']}: {error['message']}"
    told = ", ".join(f"{count:,} {word}" for word, count in one.diff.counts().items() if count)
    renamed = ", ".join(f"{old} → {new}" for new, old in list(one.diff.renamed.items())[:10])
    return (
        f"{one.name} ({one.source}{f' of {one.as_of}' if one.as_of else ''}): {one.diff.listed:,} lines: "
        f"{told or 'nothing new'}{f'; renamed {renamed}' if renamed else ''}"
    )
