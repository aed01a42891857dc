"""manage.py daily: the end of the exchange day, once: quality, archive, masters where they are due."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from execution.tasks import end_the_day
from trading.marketdata.day_end import KEPT_MONTHS


class Command(BaseCommand):
    help = "Close the exchange day that ended last: judge what is stored, archive what is old, ask for new masters."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--again", action="store_true", help="even if that day was closed already")
        parser.add_argument("--months", type=int, default=KEPT_MONTHS, help="of candles kept in the database")

    def handle(self, *_: Any, **given: Any) -> None:
        told = end_the_day(months=given["months"], again=given["again"])
        if told is None:
            self.stdout.write("that day is closed already")
            return
        for name, found in told.steps.items():
            self.stdout.write(f"{name}: {json.dumps(found, ensure_ascii=False)}")
        self.stdout.write(f"{told.day} is closed")
