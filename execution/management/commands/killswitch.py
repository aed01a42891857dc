"""The kill switch from a terminal: it needs the database and the broker, and nothing else of the desk.

Exit status: 0 done, 1 refused, 2 something is left (it is named).
"""

import getpass
import sys
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounts.models import BrokerAccount, User
from accounts.second_factor import give_factor
from execution.brokers.errors import BrokerError
from execution.brokers.registry import gateway_of
from execution.engine.account_engine import AccountEngine
from execution.engine.lease import acquire, give_up, renew, this_process
from execution.kill_choices import any_scope
from execution.kill_report import KillReport, kill_report
from execution.kill_scopes import live_orders_in, open_groups_in, portfolios_in
from execution.services.kill_switch_pull import kill_switch_pull, kill_switch_rearm, refuse_unless_clean
from risk.kill_switch import Scope, ScopeKind
from risk.models import TradingState
from trading.domain.errors import TradingError
from trading.marketdata.clocks import venue_now
from trading.marketdata.models import Feed, Instrument
from trading.portfolio.models import Portfolio

LOOK_EVERY_S = 0.5
BOOKS_EVERY_S = 2.0


class Command(BaseCommand):
    help = "Pull, watch or re-arm the kill switch. Works with Redis, the worker, the engine or the web server down."

    def add_arguments(self, parser: ArgumentParser) -> None:
        act = parser.add_mutually_exclusive_group()
        act.add_argument("--level", type=int, choices=range(1, 6), help="1 no entries … 4 flatten, 5 lockdown")
        act.add_argument("--rearm", action="store_true", help="let a scope trade again; asks for a second factor")
        parser.add_argument("--reason", default="", help="written into the audit trail")
        parser.add_argument("--scope", default="GLOBAL", help="GLOBAL, KIND:ID, PORTFOLIO:name or SYMBOL:NSE:SBIN-EQ")
        parser.add_argument("--user", help="who re-arms: an operator of the desk")
        parser.add_argument("--code", help="their authenticator code; asked for when left out")
        parser.add_argument("--timeout", type=float, default=60, help="seconds to work at it before the rest is named")

    def handle(self, *args: Any, **options: Any) -> None:
        actor = f"terminal ({getpass.getuser()})"
        try:
            scope = any_scope(_key_of(options["scope"]))
            if options["rearm"]:
                self._rearm(scope, options)
                return
            if options["level"]:
                kill_switch_pull(
                    scope=scope, level=options["level"], reason=options["reason"], actor=actor, now=_venue_time(scope)
                )
                self.stdout.write(f"Pulled for {scope.label}: nothing that was approved before will leave.")
                self._work(scope, options["timeout"])
        except TradingError as error:
            raise CommandError(f"{error.message} ({error.code})", returncode=1) from error
        report = kill_report(scope)
        self._say(report)
        if options["level"] and not report.done:
            sys.exit(2)

    def _rearm(self, scope: Scope, options: dict[str, Any]) -> None:
        user = User.objects.filter(username=options["user"] or "", is_staff=True, is_active=True).first()
        if user is None:
            raise CommandError("Say which operator of the desk re-arms: --user NAME", returncode=1)
        refuse_unless_clean(scope)
        code = options["code"] or getpass.getpass("Authenticator code: ")
        kill_switch_rearm(
            scope=scope, reason=options["reason"], actor=user.get_username(), factor=give_factor(user, code),
            now=_venue_time(scope),
        )  # fmt: skip
        self.stdout.write(f"{scope.label}: trading may go on. What died stays dead.")

    def _work(self, scope: Scope, timeout_s: float) -> None:
        """Where an engine is at work, wait for it; where none is, take the account's lease and do its part."""
        end = time.monotonic() + timeout_s
        leases: dict[int, tuple[int, AccountEngine | None]] = {}
        read_at: dict[int, float] = {}
        try:
            while not kill_report(scope).done and time.monotonic() < end:
                for account in _accounts_at_work(scope):
                    fence, engine = leases.get(account.pk, (0, None))
                    if engine is None:
                        leases[account.pk] = fence, engine = self._take_over(account)
                    if engine is not None and renew(account.pk, fence):
                        self._turn(engine, read_at)
                time.sleep(LOOK_EVERY_S)
        finally:
            for account_id, (fence, engine) in leases.items():
                if engine is not None:
                    engine.gateway.close()
                    give_up(account_id, fence)

    def _take_over(self, account: BrokerAccount) -> tuple[int, AccountEngine | None]:
        fence = acquire(account.pk, this_process())
        if fence is None:
            return 0, None
        try:
            gateway = gateway_of(account)
        except TradingError as error:
            give_up(account.pk, fence)
            self.stderr.write(f"{account}: {error.message} Close it in the broker's own terminal.")
            return 0, None
        self.stdout.write(f"{account}: no engine is at work, so this command speaks to the broker.")
        return fence, AccountEngine(
            account=account, feed=Feed.objects.get(name=account.feed), gateway=gateway, fence=fence,
            now=lambda: venue_now(account.feed), paced=True,
        )  # fmt: skip

    def _turn(self, engine: AccountEngine, read_at: dict[int, float]) -> None:
        try:
            if time.monotonic() - read_at.get(engine.account.pk, -BOOKS_EVERY_S) >= BOOKS_EVERY_S:
                read_at[engine.account.pk] = time.monotonic()
                engine.read_books()
            engine.sweep()
        except BrokerError as error:
            self.stderr.write(f"{engine.account}: {error.message} ({error.code})")

    def _say(self, report: KillReport) -> None:
        level = TradingState.Level(report.level)
        self.stdout.write(f"{report.scope}: level {level.value}, {level.label.lower()}")
        for step in report.steps:
            self.stdout.write(
                f"  {'done' if step.done else '....'}  {step.words}{'' if step.done else f': {step.left}'}"
            )
        for line in report.residue:
            self.stdout.write(f"  LEFT  {line}")


def _key_of(given: str) -> str:
    """A scope as people write it: a portfolio by its name, an instrument by its symbol."""
    kind, _, name = given.partition(":")
    kind = kind.upper()
    if kind == ScopeKind.PORTFOLIO and not name.isdecimal():
        found = list(Portfolio.objects.filter(name=name).values_list("pk", flat=True)[:2])
        if len(found) != 1:
            raise CommandError(f"There is not one portfolio called {name}: say PORTFOLIO:ID.", returncode=1)
        return f"{kind}:{found[0]}"
    if kind == ScopeKind.SYMBOL and ":" in name:
        pk = Instrument.objects.filter(symbol=name).values_list("pk", flat=True).first()
        if pk is None:
            raise CommandError(f"There is no instrument {name}.", returncode=1)
        return f"{kind}:{pk}"
    return f"{kind}:{name}" if name else kind


def _venue_time(scope: Scope) -> Any:
    portfolio = portfolios_in(scope).first()
    return venue_now(portfolio.account.feed) if portfolio else timezone.now()


def _accounts_at_work(scope: Scope) -> list[BrokerAccount]:
    ids = set(live_orders_in(scope).values_list("account_id", flat=True))
    ids |= set(open_groups_in(scope).values_list("portfolio__account_id", flat=True))
    return list(BrokerAccount.objects.filter(pk__in=ids).order_by("pk"))
