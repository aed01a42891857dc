"""`manage.py true_up`: make a day's charges what the broker's contract note says."""

import json
from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from trading.domain.errors import TradingError
from trading.marketdata.clocks import venue_now
from trading.portfolio.models import Portfolio
from trading.portfolio.true_up import booked_charges, note_of, true_up_charges


class Command(BaseCommand):
    help = "Post the difference between estimated charges and a contract note. Without --note: show what is booked."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("portfolio", type=int)
        parser.add_argument("--date", type=date.fromisoformat, required=True, help="day of the trades, YYYY-MM-DD")
        parser.add_argument("--reference", default="", help="number of the contract note")
        parser.add_argument(
            "--note",
            help='rupees by line as JSON: {"brokerage": "40.00", "stt": "25", "gst": "8.31"}; lines left out are 0',
        )

    def handle(self, *args: Any, **given: Any) -> None:
        portfolio = Portfolio.objects.select_related("account").filter(pk=given["portfolio"]).first()
        if portfolio is None:
            raise CommandError("There is no such portfolio.")
        if given["note"] is None:
            self.stdout.write(json.dumps(booked_charges(portfolio.pk, given["date"]), indent=2))
            return
        if not given["reference"]:
            raise CommandError("--reference: which note is it? Its number makes the correction happen once.")
        try:
            lines = json.loads(given["note"])
            if not isinstance(lines, dict):
                raise CommandError("--note: rupees by line, as an object")
            note = note_of(lines)
        except (ValueError, TypeError, TradingError) as error:
            raise CommandError(f"--note: {error}") from error
        try:
            posted = true_up_charges(
                portfolio_id=portfolio.pk, day=given["date"], note=note, reference=given["reference"],
                actor="the command line", now=venue_now(portfolio.account.feed),
            )  # fmt: skip
        except TradingError as error:
            raise CommandError(f"{error.code}: {error.message}") from error
        self.stdout.write(posted.memo if posted else "The ledger says so already.")
