from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from trading.celery import app, load_schedule
from trading.desk.children import watch_parent


class Command(BaseCommand):
    help = "Ring the jobs of the trading day on time (Celery beat). Two may run: each job takes its slot only once."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--schedule", type=Path, default=settings.VAR / "beat" / "schedule", help="beat's memory")

    def handle(self, *args: Any, schedule: Path, **options: Any) -> None:
        watch_parent()
        load_schedule()
        schedule.parent.mkdir(parents=True, exist_ok=True)
        app.Beat(schedule=str(schedule), loglevel=settings.LOG_LEVEL, redirect_stdouts=False, quiet=True).run()
