"""manage.py publish_contracts: the contracts that come with the desk, from their files."""

from typing import Any

from django.core.management.base import BaseCommand

from strategies.contracts.publish import publish_library


class Command(BaseCommand):
    help = "Publish the contracts that come with the desk; those that are published already stay as they are."

    def handle(self, *args: Any, **options: Any) -> None:
        for version in publish_library(actor="publish_contracts"):
            self.stdout.write(
                f"{version.contract.slug}@{version.number}  {version.content_hash[:12]}  {version.contract.name}"
            )
