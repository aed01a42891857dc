"""python manage.py create_api_key USER --name NAME --scope trade --days 90"""

from datetime import timedelta

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from accounts.api_keys import issue
from accounts.models import ApiKey, User


class Command(BaseCommand):
    help = "Issue an API key for a user and print it once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--name", default="command line")
        parser.add_argument("--scope", choices=ApiKey.Scope.values, default=ApiKey.Scope.READ)
        parser.add_argument("--days", type=int, default=None, help="days until it expires; without it, never")

    def handle(self, *, username: str, name: str, scope: str, days: int | None, **options: object) -> None:
        owner = User.objects.filter(username=username).first()
        if owner is None:
            raise CommandError(f"there is no user {username!r}")
        if days is not None and not 1 <= days <= 3650:
            raise CommandError("--days must be between 1 and 3650")
        now = timezone.now()
        expires_at = now + timedelta(days=days) if days else None
        _, token = issue(owner=owner, name=name, scope=scope, expires_at=expires_at, now=now)
        self.stdout.write(token)
