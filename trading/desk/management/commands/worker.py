import os
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from trading.celery import app
from trading.desk.children import watch_parent


class Command(BaseCommand):
    help = "Work through the queues (Celery)."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--pool", default="threads", choices=["threads", "prefork", "solo"])
        parser.add_argument("--concurrency", type=int, default=2)
        parser.add_argument("--queues", default=",".join(settings.QUEUES))

    def handle(self, *args: Any, **options: Any) -> None:
        watch_parent()
        app.worker_main(
            [
                "worker",
                f"--pool={options['pool']}",
                f"--concurrency={options['concurrency']}",
                f"--queues={options['queues']}",
                f"--hostname=worker-{os.getpid()}@%h",
                f"--loglevel={settings.LOG_LEVEL}",
                "--without-gossip",  # both cost connections and a wait at the start, and nobody here listens
                "--without-mingle",
            ]
        )
