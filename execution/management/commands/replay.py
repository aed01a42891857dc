"""Drive a real day through the sandbox and the whole path."""

import json
import sys
from datetime import date
from decimal import Decimal, InvalidOperation

from django.core.management.base import BaseCommand, CommandError, CommandParser

from execution.replay.report import report
from execution.replay.run import Progress, replay_day
from trading.desk.seed import seed_instruments
from trading.domain.clock import IST
from trading.domain.errors import TradingError
from trading.domain.money import to_paise
from trading.marketdata.models import Feed, Instrument


class Command(BaseCommand):
    help = "Replay one day of imported candles through the sandbox exchange and the whole path of a trade."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--date", required=True, help="YYYY-MM-DD")
        parser.add_argument("--symbols", required=True, nargs="+", help="RELIANCE or NSE:RELIANCE-EQ")
        parser.add_argument("--speed", default="max", help="'max', or venue seconds a second")
        parser.add_argument("--contract", default="ema-alignment", help="slug of a shipped contract")
        parser.add_argument("--cash", default="1000000", help="rupees to begin with")
        parser.add_argument("--feed", default="NSE", help="feed that holds the imported candles")
        parser.add_argument("--keep-candles", action="store_true", help="keep the replayed candles in their own feed")
        parser.add_argument("--json", action="store_true", help="print JSON alone")

    def handle(self, *args: object, **options: object) -> None:
        quiet = bool(options["json"])
        try:
            result = replay_day(
                feed=self._feed(str(options["feed"])),
                instruments=self._instruments(options["symbols"]),  # type: ignore[arg-type]
                day=self._date(str(options["date"])),
                cash_paise=self._cash(str(options["cash"])),
                contract=str(options["contract"]),
                speed=self._speed(str(options["speed"])),
                keep_candles=bool(options["keep_candles"]),
                on_progress=(lambda _: None) if quiet else self._show,
            )
        except TradingError as error:
            raise CommandError(str(error), returncode=2) from error
        said = report(result)
        if quiet:
            self.stdout.write(json.dumps(said, indent=2))
        else:
            self._tell(said)

    def _feed(self, name: str) -> Feed:
        feed = Feed.objects.filter(name=name).first()
        if feed is None:
            raise CommandError(
                f"CANDLES_MISSING: there is no feed {name}; import candles first (manage.py import_candles).",
                returncode=2,
            )
        return feed

    def _instruments(self, names: list[str]) -> list[Instrument]:
        seed_instruments()
        found = []
        for name in dict.fromkeys(part for given in names for part in given.split(",") if part):
            symbol = name if ":" in name else f"NSE:{name}-EQ"
            instrument = Instrument.objects.filter(symbol=symbol).first()
            if instrument is None:
                raise CommandError(f"UNKNOWN_SYMBOL: there is no instrument {symbol}.", returncode=2)
            if not instrument.is_tradable:
                raise CommandError(f"NOT_TRADABLE: {symbol} cannot be traded.", returncode=2)
            found.append(instrument)
        return found

    def _date(self, text: str) -> date:
        try:
            return date.fromisoformat(text)
        except ValueError:
            raise CommandError(f"DATE: {text} is not a date; write YYYY-MM-DD.", returncode=2) from None

    def _cash(self, text: str) -> int:
        try:
            cash = Decimal(text)
        except InvalidOperation:
            cash = Decimal(0)
        if not cash.is_finite() or not 1000 <= cash <= 10**10:
            raise CommandError(f"CASH: {text} is no sum between 1,000 and 10,000,000,000 rupees.", returncode=2)
        return to_paise(cash)

    def _speed(self, text: str) -> float | None:
        if text == "max":
            return None
        try:
            speed = float(text)
        except ValueError:
            speed = 0
        if not 1 <= speed <= 100_000:
            raise CommandError(f"SPEED: {text} is neither 'max' nor a number from 1 on.", returncode=2)
        return speed

    def _show(self, progress: Progress) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{progress.venue.astimezone(IST):%H:%M}  {progress.steps} ticks")
            sys.stderr.flush()

    def _tell(self, said: dict) -> None:
        if sys.stderr.isatty():
            sys.stderr.write("\r")
        for trade in said["trades"]:
            self.stdout.write(
                f"{trade['opened_at'][11:16]}–{trade['closed_at'][11:16]} UTC  {trade['side']:<4} "
                f"{trade['quantity']:>6} "
                f"{trade['symbol']:<20} {trade['entry_price']:>10} → {trade['exit_price']:>10}  "
                f"{trade['exit_reason']:<10} net {trade['net']:>10}"
            )
        self.stdout.write(
            f"{len(said['signals'])} signals, {len(said['orders'])} orders, {len(said['fills'])} fills; "
            f"net {said['pnl_net']}, charges {said['charges']}, identity error {said['identity_error']} "
            f"({said['ticks']} ticks in {said['duration_s']} s)"
        )
