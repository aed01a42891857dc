import signal
import threading
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from execution.engine.runner import run_engine
from trading.desk.children import watch_parent


class Command(BaseCommand):
    help = "Hold the broker sockets and the way of an order to the wire, for every account with a portfolio."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--account", type=int, action="append", help="only this account (repeatable)")

    def handle(self, *args: Any, **options: Any) -> None:
        watch_parent()
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        run_engine(stop, account_ids=options["account"])
