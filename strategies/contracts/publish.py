"""Publish a contract: the same words are the same version, other words are a new one, and none is ever edited."""

import re
from collections.abc import Mapping
from typing import Any, Final

import yaml
from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from strategies.contracts.schema import LIBRARY, ContractBody, ContractError, parse_contract, read_yaml
from strategies.models import ContractVersion, Stage, StageMove, Standing, StrategyContract
from strategies.rules.functions import nearest
from trading.audit.record import record
from trading.marketdata.models import Instrument

_SLUG: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")
MOST_CONTRACTS: Final = 500
MOST_VERSIONS: Final = 500


@transaction.atomic
def publish_contract(*, owner, slug: str, body: Mapping[str, Any], actor: str) -> ContractVersion:
    """The version of `owner`'s contract `slug` that says exactly this; `owner` None is the house.

    Raises ContractError where the body is not a contract, or the name is none.
    """
    if not _SLUG.fullmatch(slug):
        raise ContractError("SLUG", "slug", "a short name of small letters, digits and hyphens")
    parsed = parse_contract(body)
    _check_room(owner, slug)
    contract, _ = StrategyContract.objects.get_or_create(owner=owner, slug=slug, defaults={"name": parsed.name})
    contract = StrategyContract.objects.select_for_update().get(pk=contract.pk)
    known = contract.versions.filter(content_hash=parsed.content_hash).first()
    if known is not None:
        return known
    if contract.versions.count() >= MOST_VERSIONS:
        raise ContractError("TOO_MANY", "slug", f"a contract has at most {MOST_VERSIONS} versions")
    number = (contract.versions.aggregate(last=Max("number"))["last"] or 0) + 1
    version = ContractVersion.objects.create(
        contract=contract, number=number, body=parsed.as_mapping(), content_hash=parsed.content_hash,
        published_at=timezone.now(), published_by=actor,
    )  # fmt: skip
    Standing.objects.create(version=version, changed_at=version.published_at)
    record("contract.published", actor=actor, owner_id=owner.pk if owner else None, subject=str(version))
    return version


def publish_library(*, actor: str) -> list[ContractVersion]:
    """The contracts that come with the desk, from their files. They may be tried on paper at once."""
    versions = []
    for path in sorted(LIBRARY.glob("*.yaml")):
        body = read_yaml(path.read_text(encoding="utf-8"), path.name)
        version = publish_contract(owner=None, slug=path.stem.replace("_", "-"), body=body, actor=actor)
        _to_paper(version, actor)
        versions.append(version)
    return versions


@transaction.atomic
def _to_paper(version: ContractVersion, actor: str) -> None:
    """What comes with the desk has been tested by those who made it, not by this desk: that is written down."""
    standing, _ = Standing.objects.select_for_update().get_or_create(
        version=version, defaults={"changed_at": version.published_at}
    )
    if standing.stage != Stage.RESEARCH or version.moves.exists():
        return
    wall = timezone.now()
    StageMove.objects.create(
        version=version, from_stage=Stage.RESEARCH, to_stage=Stage.PAPER, actor=actor, waived=True, at=wall,
        reason="Comes with the desk, to be tried on paper.",
    )  # fmt: skip
    standing.stage, standing.changed_at = Stage.PAPER, wall
    standing.save(update_fields=["stage", "changed_at"])


def unknown_instruments(body: ContractBody) -> list[str]:
    """Reference instruments of the rules that this desk does not know, each with the nearest name there is."""
    names = body.rule_set().symbols
    known = known_symbols(set(names))
    missing = [name for name in names if name not in known]
    if not missing:
        return []
    all_known = {symbol.lower(): symbol for symbol in Instrument.objects.values_list("symbol", flat=True)}
    hints = {name: nearest(name, all_known) for name in missing}
    return [f"{name} (did you mean {all_known[hint]}?)" if (hint := hints[name]) else name for name in missing]


def known_symbols(names: set[str] | None) -> set[str]:
    """Those of the names that the desk has instruments of; None: every one it has."""
    instruments = Instrument.objects.all() if names is None else Instrument.objects.filter(symbol__in=names)
    return set(instruments.values_list("symbol", flat=True)) if names is None or names else set()


def as_yaml(version: ContractVersion) -> str:
    """A version as a file that publishes the same version again."""
    body = version.parsed().as_mapping()
    return yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=100)


def slug_of(name: str) -> str:
    """A short name made of a long one."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60].strip("-")


def _check_room(owner, slug: str) -> None:
    if owner is None or StrategyContract.objects.filter(owner=owner, slug=slug).exists():
        return
    if StrategyContract.objects.filter(owner=owner).count() >= MOST_CONTRACTS:
        raise ContractError("TOO_MANY", "slug", f"one person has at most {MOST_CONTRACTS} contracts")
