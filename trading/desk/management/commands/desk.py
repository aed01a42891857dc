import os
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from trading.desk.supervisor import Supervisor
from trading.desk.warm import is_made


class Command(BaseCommand):
    help = "Start the whole desk: PostgreSQL, Valkey, sandbox, engine, worker, beat and web. Ctrl-C stops everything."
    requires_system_checks = []  # the supervisor asks itself, and answers in one line

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default=settings.BIND, help="where to listen (TARAZU_BIND, else loopback)")
        parser.add_argument("--port", type=int, default=settings.PORT)
        parser.add_argument("--speed", type=int, default=settings.SANDBOX_SPEED, help="of the sandbox, 1 to 600")

    def handle(self, *args: Any, host: str, port: int, speed: int, **options: Any) -> None:
        if not is_made(Path(os.environ["NUMBA_CACHE_DIR"])):  # an update without `make`: nothing compiles in a request
            subprocess.run([sys.executable, "-m", "trading.desk.warm"], check=True)
        status = Supervisor(host=host, port=port, speed=speed).run()
        if status:
            raise SystemExit(status)
