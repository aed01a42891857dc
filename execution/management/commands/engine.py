"""The engine: sockets, fast path and lease of every account."""

import signal
import threading

from django.core.management.base import BaseCommand, CommandParser

from execution.engine.runner import run_engine


class Command(BaseCommand):
    help = "Run the engine: broker sockets and the way of an order to the wire, for every account with a portfolio."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--account", type=int, action="append", help="only this account (repeatable)")

    def handle(self, *args: object, **options: object) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        run_engine(stop, account_ids=options["account"])  # type: ignore[arg-type]
