"""manage.py import_universe FILE --name nifty50 --as-of 2025-09-30: members and sectors of an index from a day on."""

import json
from argparse import ArgumentParser
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from trading.marketdata.listing.index_lists import ListRefused, import_list


class Command(BaseCommand):
    help = (
        "Set the members of a universe from a day on, by the exchange's list (Company Name,Industry,Symbol,Series,…)."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file")
        parser.add_argument("--name", required=True, help="name of the universe, such as nifty50")
        parser.add_argument("--as-of", required=True, type=date.fromisoformat, help="first day of the list, YYYY-MM-DD")
        parser.add_argument("--source", default="", help="where the list is from, for the record")
        parser.add_argument("--json", action="store_true", help="the report as JSON")

    def handle(self, *_: Any, **given: Any) -> None:
        try:
            report = import_list(
                Path(given["file"]), universe=given["name"], day=given["as_of"], actor="import_universe",
                source=given["source"],
            )  # fmt: skip
        except ListRefused as error:
            raise CommandError(str(error), returncode=2) from None
        if given["json"]:
            self.stdout.write(json.dumps(asdict(report), indent=2))
            return
        self.stdout.write(
            f"{report.universe}: {report.listed} listed, {len(report.joined)} joined, {len(report.left)} left,"
            f" {len(report.sectors)} sectors changed"
        )
        if report.unknown:
            self.stdout.write(f"not known to any master: {', '.join(report.unknown)}")
