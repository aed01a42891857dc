"""manage.py corporate_action: enter what was announced, look at what it would change, withdraw it, list."""

import json
from argparse import ArgumentParser
from dataclasses import asdict
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from execution.action_touch import touched_by
from trading.domain.errors import TradingError
from trading.marketdata.listing.announcements import Form, Terms, announce_action, preview_action, withdraw_action
from trading.marketdata.listing.identities import instrument_named
from trading.marketdata.models import CorporateAction, Instrument


class Command(BaseCommand):
    help = (
        "corporate_action announce NSE:X-EQ --ex-date 2026-09-01 --bonus 1:2 --source CIRCULAR [--dry-run];"
        " corporate_action withdraw NSE:X-EQ --ex-date 2026-09-01 --note WHY; corporate_action list [NSE:X-EQ]"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("act", choices=("announce", "withdraw", "list"))
        parser.add_argument("symbol", nargs="?", default="", help="any name the instrument has or had")
        parser.add_argument("--ex-date", type=date.fromisoformat, help="first day that trades without it")
        terms = parser.add_mutually_exclusive_group()
        terms.add_argument("--split", metavar="OLD:NEW", help="1:5 for one share that becomes five")
        terms.add_argument("--bonus", metavar="NEW:OLD", help="1:2 for one more for two held")
        terms.add_argument("--dividend", metavar="RUPEES", help="a share")
        terms.add_argument("--rights", metavar="NEW:OLD@RUPEES", help="1:15@1257")
        terms.add_argument("--demerger", metavar="PERCENT", help="of the price that stays")
        terms.add_argument("--merger", metavar="OLD:NEW", help="25:42 for 42 of the other for 25 of this")
        terms.add_argument("--factor", help="where the exchange publishes it")
        parser.add_argument("--source", default="", help="the notice or circular")
        parser.add_argument("--note", default="")
        parser.add_argument("--dry-run", action="store_true", help="only tell what would change")
        parser.add_argument("--json", action="store_true")

    def handle(self, *_: Any, **given: Any) -> None:
        if given["act"] == "list":
            self._list(given)
            return
        if not given["symbol"] or given["ex_date"] is None:
            raise CommandError("name the instrument and --ex-date", returncode=2)
        share, day = _share(given["symbol"]), given["ex_date"]
        try:
            if given["act"] == "withdraw":
                row = CorporateAction.objects.filter(instrument=share, ex_date=day).first()
                if row is None:
                    raise CommandError(f"{share.symbol} has no action of {day}", returncode=2)
                row = withdraw_action(
                    action_id=row.pk, actor="corporate_action", note=given["note"], now=timezone.now()
                )
                self.stdout.write(f"{row.instrument.symbol} {row.ex_date}: {row.get_state_display().lower()}")
                return
            terms = _terms(given)
            seen, touched = preview_action(instrument=share, ex_date=day, terms=terms), touched_by(share, on=day)
            if not given["dry_run"]:
                announce_action(
                    instrument=share, ex_date=day, terms=terms, source=given["source"], note=given["note"],
                    actor="corporate_action", now=timezone.now(),
                )  # fmt: skip
        except TradingError as error:
            raise CommandError(f"{error.message} ({error.code})", returncode=2) from None
        if given["json"]:
            told = {**asdict(seen), "terms": seen.terms.as_dict(), "touched": [asdict(one) for one in touched]}
            self.stdout.write(json.dumps(told, indent=2, default=str))
            return
        factor = f"factor {seen.factor.normalize():f}" if seen.factor else f"waits for the close of {seen.waits_for}"
        self.stdout.write(f"{seen.symbol}, {seen.ex_date}: {seen.terms.words()}, {factor}")
        for feed, minutes, bars in seen.bars:
            self.stdout.write(f"  {bars:,} bars of {minutes} min of {feed} before it")
        for one in touched:
            self.stdout.write(f"  touches {one.what.lower()}: {one.told}")
        for warning in seen.warnings:
            self.stderr.write(f"  {warning}")
        if given["dry_run"]:
            self.stdout.write("nothing was changed")
        elif not seen.is_new:
            self.stdout.write("it was entered already")

    def _list(self, given: dict[str, Any]) -> None:
        rows = CorporateAction.objects.select_related("instrument").order_by("-ex_date")
        if given["symbol"]:
            rows = rows.filter(instrument=_share(given["symbol"]))
        for row in rows[:500]:
            factor = row.known_factor or "not known yet"
            self.stdout.write(f"{row.ex_date} {row.instrument.symbol} {factor} {row.state} {row.told} ({row.source})")


def _share(symbol: str) -> Instrument:
    found = instrument_named(symbol.strip().upper())
    if found is None:
        raise CommandError(f"no instrument has or had the symbol {symbol}", returncode=2)
    return found


def _terms(given: dict[str, Any]) -> Terms:
    try:
        for name in ("split", "bonus", "merger", "rights"):
            if text := given[name]:
                ratio, _, price = text.partition("@")
                left, right = (int(part) for part in ratio.split(":"))
                new, old = (left, right) if name in ("bonus", "rights") else (right, left)
                return Terms(Form(name.upper()), new, old, Decimal(price) if price else None)
        if given["dividend"]:
            return Terms(Form.DIVIDEND, amount=Decimal(given["dividend"]))
        if given["demerger"]:
            return Terms(Form.DEMERGER, kept_pct=Decimal(given["demerger"]))
        if given["factor"]:
            return Terms(Form.FACTOR, factor=Decimal(given["factor"]))
    except (ValueError, InvalidOperation):
        raise CommandError("these terms cannot be read: see --help", returncode=2) from None
    raise CommandError("say what: --split, --bonus, --dividend, --rights, --demerger, --merger, --factor", returncode=2)
