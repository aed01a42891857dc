import os
import sys
from argparse import REMAINDER, ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Run the sandbox exchange. What follows is given to it: manage.py sandbox -- --stepped --seed 7"
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=settings.SANDBOX_PORT)
        parser.add_argument("--speed", type=int, default=settings.SANDBOX_SPEED)
        parser.add_argument("rest", nargs=REMAINDER)

    def handle(self, *args: Any, port: int, speed: int, rest: list[str], **options: Any) -> None:
        settings.FOLDERS.sandbox.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable, "-m", "execution.sandbox", "--port", str(port), "--speed", str(speed),
            "--state-dir", str(settings.FOLDERS.sandbox), "--calls-a-minute", "2000",
            *[word for word in rest if word != "--"],
        ]  # fmt: skip
        os.execv(sys.executable, command)  # noqa: S606 another program: nothing of Django stays in it
