"""manage.py contract: check, import and export contracts as YAML."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand

from strategies.contracts.fields import ContractError
from strategies.contracts.live import lacks_of
from strategies.contracts.publish import as_yaml, publish_contract, unknown_instruments
from strategies.contracts.schema import parse_contract, read_yaml
from strategies.models import ContractVersion


class Command(BaseCommand):
    help = "Check, import or export a contract as YAML. Exit 0: done; 2: refused, with the field and the character."

    def add_arguments(self, parser: ArgumentParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True)
        check = acts.add_parser("check", help="read a file and say what is wrong with it; nothing is kept")
        check.add_argument("file", help="a YAML file, or - for standard input")
        take = acts.add_parser("import", help="publish a file as the next version of a person's contract")
        take.add_argument("file", help="a YAML file, or - for standard input")
        take.add_argument("--owner", required=True, help="user name")
        take.add_argument("--slug", help="short name of the contract (default: the file's)")
        give = acts.add_parser("export", help="write a version to standard output")
        give.add_argument("contract", help="slug or slug@version (default: the newest)")
        give.add_argument("--owner", help="user name (default: the desk's own contracts)")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, f"_{options['act']}")(options)
        except ContractError as error:
            self.stderr.write(f"{error.code}: {error}")
            sys.exit(2)

    def _check(self, options: dict[str, Any]) -> None:
        body = parse_contract(_read(options["file"]))
        self.stdout.write(f"{body.name}: {body.content_hash}")
        for lack in lacks_of(body):
            self.stdout.write(f"not live yet: {lack.code}: {lack.message}")
        for name in unknown_instruments(body):
            self.stdout.write(f"this desk does not know {name}")

    def _import(self, options: dict[str, Any]) -> None:
        owner = get_user_model().objects.filter(username=options["owner"]).first()
        if owner is None:
            raise ContractError("UNKNOWN_USER", "--owner", f"there is no user {options['owner']}")
        slug = options["slug"] or Path(options["file"]).stem.replace("_", "-").lower()
        version = publish_contract(
            owner=owner, slug=slug, body=_read(options["file"]), actor=f"import by {owner.get_username()}"
        )
        self.stdout.write(f"{version.contract.slug}@{version.number}  {version.content_hash}")

    def _export(self, options: dict[str, Any]) -> None:
        slug, _, number = options["contract"].partition("@")
        versions = ContractVersion.objects.filter(contract__slug=slug).order_by("-number")
        owner = options["owner"]
        versions = versions.filter(contract__owner__username=owner) if owner else versions.filter(contract__owner=None)
        if number:
            versions = versions.filter(number=int(number)) if number.isdecimal() else versions.none()
        version = versions.first()
        if version is None:
            raise ContractError("UNKNOWN_CONTRACT", "", f"there is no contract {options['contract']}")
        self.stdout.write(as_yaml(version), ending="")


def _read(file: str) -> Any:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ContractError("NO_FILE", file, f"cannot be read: {error}") from error
    return read_yaml(text, file)
