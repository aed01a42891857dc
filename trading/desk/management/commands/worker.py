import os
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.checks import Tags
from django.core.management.base import BaseCommand

from trading.celery import app
from trading.desk.children import watch_parent
from trading.domain.heap import loading


class Command(BaseCommand):
    help = "Work through the queues (Celery)."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--pool", default="threads", choices=["threads", "prefork", "solo"])
        parser.add_argument("--concurrency", type=int, help="default 2, or TARAZU_RESEARCH_THREADS for --research")
        parser.add_argument("--queues", default=",".join(settings.QUEUES))
        parser.add_argument(
            "--research", action="store_true", help="backtests and sweeps alone, giving way to every other process"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        watch_parent()
        self.check(tags=[Tags.security])
        # Celery would run all checks, load every page for them, and go on whatever they say.
        os.environ["CELERY_SKIP_CHECKS"] = "1"
        with loading():
            app.loader.import_default_modules()
        queues, threads = options["queues"], options["concurrency"] or 2
        if options["research"]:
            queues, threads = settings.RESEARCH_QUEUE, options["concurrency"] or settings.RESEARCH_THREADS
            os.nice(10)
        app.worker_main(
            [
                "worker",
                f"--pool={options['pool']}",
                f"--concurrency={threads}",
                f"--queues={queues}",
                f"--hostname=worker-{os.getpid()}@%h",
                f"--loglevel={settings.LOG_LEVEL}",
                "--without-gossip",  # both cost connections and a wait at the start, and nobody here listens
                "--without-mingle",
            ]
        )
