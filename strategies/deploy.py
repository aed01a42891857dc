"""Put a published contract to work, rest it, and take it up again."""

from collections.abc import Mapping

from django.db import transaction

from strategies.contracts.schema import ContractError
from strategies.models import ContractVersion, Deployment
from trading.audit.record import record
from trading.domain.errors import NotAllowed, NotFound
from trading.marketdata.models import Universe
from trading.portfolio.models import Portfolio

State = Deployment.State


@transaction.atomic
def deploy(
    *, portfolio: Portfolio, version: ContractVersion, universe: Universe, parameters: Mapping[str, float], actor: str
) -> Deployment:
    """A version on a universe with a portfolio's money; the one that is there already, if it is the same.

    NotAllowed: the contract does not know the universe, or a parameter is unknown or out of its range.
    """
    body = version.parsed()
    if body.universes and universe.name not in body.universes:
        raise NotAllowed("UNIVERSE_NOT_ALLOWED", f"{version} is meant for {', '.join(body.universes)}.")
    try:
        body.parameters_with(parameters)
    except ContractError as error:
        raise NotAllowed("PARAMETER_RANGE", str(error)) from error
    deployment, is_new = Deployment.objects.exclude(state=State.RETIRED).get_or_create(
        portfolio=portfolio, version=version, universe=universe, defaults={"parameters": dict(parameters)}
    )
    if is_new:
        record("deployment.started", actor=actor, owner_id=portfolio.owner_id, subject=str(deployment))
    return deployment


def pause_deployment(*, deployment_id: int, actor: str) -> bool:
    """No more signals from it; what is open goes on. True when it was active."""
    return _move(deployment_id, actor, before=State.ACTIVE, after=State.PAUSED, action="deployment.paused")


def resume_deployment(*, deployment_id: int, actor: str) -> bool:
    """Signals again from the next bar on. True when it was paused."""
    return _move(deployment_id, actor, before=State.PAUSED, after=State.ACTIVE, action="deployment.resumed")


@transaction.atomic
def _move(deployment_id: int, actor: str, *, before: str, after: str, action: str) -> bool:
    deployment = Deployment.objects.select_related("portfolio").filter(pk=deployment_id).first()
    if deployment is None:
        raise NotFound("UNKNOWN_DEPLOYMENT", "There is no such deployment.")
    moved = Deployment.objects.filter(pk=deployment_id, state=before).update(state=after)
    if moved:
        record(action, actor=actor, owner_id=deployment.portfolio.owner_id, subject=str(deployment))
    return bool(moved)
