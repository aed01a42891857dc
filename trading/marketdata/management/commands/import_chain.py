"""manage.py import_chain FILE --lot 75: recorded option chains, with a report of what is wrong with them."""

import json
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from trading.marketdata.files.chains import import_chains
from trading.marketdata.files.tables import TableRefused


class Command(BaseCommand):
    help = "Store recorded option chains (CSV or Parquet, one row a strike). The same file again stores nothing new."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file")
        parser.add_argument("--lot", type=int, required=True, help="units of a lot then: open interest is told in lots")
        parser.add_argument("--source", default="IMPORT", help="whose chains these are")
        parser.add_argument("--exchange", default="NSE")
        parser.add_argument("--json", action="store_true", help="the report as JSON")

    def handle(self, *_: Any, **given: Any) -> None:
        if given["lot"] < 1:
            raise CommandError("BAD_LOT: a lot has at least one unit", returncode=2)
        began = time.monotonic()
        try:
            report = import_chains(
                Path(given["file"]), lot_size=given["lot"], source=given["source"][:24], actor="import_chain",
                exchange=given["exchange"],
            )  # fmt: skip
        except TableRefused as error:
            raise CommandError(str(error), returncode=2) from None
        if given["json"]:
            self.stdout.write(json.dumps(report.as_dict(), indent=2))
        else:
            self.stdout.write(
                f"{report.path}: {report.chains:,} chains, {report.stored:,} stored, {report.repeated:,} unchanged"
                + "".join(f", {count} refused ({code})" for code, count in report.refused.items())
            )
            for found in report.checked.findings.met.values():
                self.stdout.write(f"    {found.defect.value}: {found.count:,} ({'; '.join(found.examples)})")
        self.stderr.write(f"{time.monotonic() - began:.1f} s")
