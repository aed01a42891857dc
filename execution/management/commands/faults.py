"""`manage.py faults`: a bad day at the sandbox exchange, switched on and off by hand."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import BrokerAccount
from execution.brokers.control import SandboxControl
from execution.brokers.errors import NotSent
from execution.brokers.registry import control_url_of
from trading.domain.errors import TradingError


class Command(BaseCommand):
    help = "Play a fault plan at the sandbox exchange, switch one fault on, or let something happen there."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--plan", help="a plan by its name, for example bad-day")
        parser.add_argument("--seed", type=int, help="of the plan, instead of its own")
        parser.add_argument("--fault", help="one fault, for example drop_reply")
        parser.add_argument("--act", help="something that happens at the exchange, for example square_off")
        parser.add_argument("--with", dest="how", default="{}", help='more of it as JSON: {"count": 3, "on": "place"}')
        parser.add_argument("--off", action="store_true", help="a good day again")
        parser.add_argument("--account", type=int, help="the sandbox of this broker account (the first one)")

    def handle(self, *args: Any, **given: Any) -> None:
        try:
            how = json.loads(given["how"])
        except ValueError as error:
            raise CommandError(f"--with is not JSON: {error}") from error
        accounts = BrokerAccount.objects.filter(environment=BrokerAccount.Environment.SANDBOX).order_by("pk")
        account = accounts.filter(pk=given["account"]).first() if given["account"] else accounts.first()
        if account is None:
            raise CommandError("There is no account at a sandbox.")
        address = control_url_of(account)
        control = SandboxControl(control_url=address)
        try:
            if given["off"]:
                control.good_day()
            if given["plan"]:
                control.plan(given["plan"], seed=given["seed"])
            if given["fault"]:
                control.faults(kind=given["fault"], **how)
            if given["act"]:
                self.stdout.write(f"order {control.act(given['act'], **how)}")
            self.stdout.write(json.dumps(control.faults_done(), indent=2, default=str))
        except NotSent as error:
            raise CommandError(
                f"{error.code}: no sandbox answers at {address} ({account.name}). Where it runs on another port, say "
                "so as for the desk: TARAZU_SANDBOX_PORT=7501 manage.py faults …"
            ) from error
        except TradingError as error:
            raise CommandError(f"{error.code}: {error.message}") from error
        finally:
            control.close()
