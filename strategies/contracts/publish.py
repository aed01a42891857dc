"""Publish a contract: the same words are the same version, other words are a new one, and none is ever edited."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from strategies.contracts.schema import parse_contract
from strategies.models import ContractVersion, StrategyContract
from trading.audit.record import record

LIBRARY = Path(__file__).parent.parent / "library"


@transaction.atomic
def publish_contract(*, owner, slug: str, body: Mapping[str, Any], actor: str) -> ContractVersion:
    """The version of `owner`'s contract `slug` that says exactly this; `owner` None is the house.

    Raises ContractError where the body is not a contract.
    """
    parsed = parse_contract(body)
    contract, _ = StrategyContract.objects.get_or_create(owner=owner, slug=slug, defaults={"name": parsed.name})
    StrategyContract.objects.select_for_update().get(pk=contract.pk)
    known = contract.versions.filter(content_hash=parsed.content_hash).first()
    if known is not None:
        return known
    number = (contract.versions.aggregate(last=Max("number"))["last"] or 0) + 1
    version = ContractVersion.objects.create(
        contract=contract, number=number, body=dict(body), content_hash=parsed.content_hash,
        published_at=timezone.now(), published_by=actor,
    )  # fmt: skip
    record("contract.published", actor=actor, owner_id=owner.pk if owner else None, subject=str(version))
    return version


def publish_library(*, actor: str) -> list[ContractVersion]:
    """The contracts that come with the desk, from their files."""
    return [
        publish_contract(
            owner=None, slug=path.stem.replace("_", "-"), body=yaml.safe_load(path.read_text()), actor=actor
        )
        for path in sorted(LIBRARY.glob("*.yaml"))
    ]
