"""Make the demo of a first start."""

import json

from django.core.management.base import BaseCommand, CommandParser

from trading.desk.seed import seed_demo


class Command(BaseCommand):
    help = "Make two people, a paper portfolio and one deployed contract, once; prints their passwords, once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print JSON alone")

    def handle(self, *args: object, **options: object) -> None:
        made = seed_demo()
        if options["json"]:
            self.stdout.write(json.dumps(made))
            return
        if not made:
            self.stdout.write("There are people on this desk already; nothing was changed.")
        for user in made.get("users", ()):  # type: ignore[attr-defined]
            self.stdout.write(f"{user['username']}  {user['password']}  ({user['role']})")
