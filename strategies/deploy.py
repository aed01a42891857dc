"""Put a published contract to work, rest it, take it up again, and end it."""

from collections.abc import Mapping

from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import User
from strategies.contracts.lifecycle import standing_of_version
from strategies.contracts.live import lacks_of
from strategies.contracts.publish import unknown_instruments
from strategies.contracts.schema import ContractBody, ContractError
from strategies.models import ContractVersion, Deployment, Stage
from trading.audit.record import record
from trading.domain.errors import Conflict, NotAllowed, NotFound
from trading.marketdata.models import Universe
from trading.portfolio.models import Portfolio

State = Deployment.State


@transaction.atomic
def deploy(
    *, portfolio: Portfolio, version: ContractVersion, universe: Universe, parameters: Mapping[str, object], actor: str
) -> Deployment:
    """A version on a universe with a portfolio's money; the one that is there already, if it is the same.

    NotAllowed: the version has not come that far (STAGE), the contract does not know the universe
    (UNIVERSE_NOT_ALLOWED), a parameter is unknown or out of its range (PARAMETER_RANGE), it names an instrument the
    desk does not have (UNKNOWN_INSTRUMENT), or it asks for what is not done live (see `live.lacks_of`). Conflict
    DEPLOYED_OTHERWISE: it is at work there with other parameters.
    """
    body = version.parsed()
    _check_stage(portfolio, version)
    if universe.name not in body.universes:
        raise NotAllowed("UNIVERSE_NOT_ALLOWED", f"{version} is meant for {', '.join(body.universes)}.")
    values = _parameters(body, parameters)
    for lack in lacks_of(body):
        raise NotAllowed(lack.code, lack.message, path=lack.path)
    missing = unknown_instruments(body)
    if missing:
        raise NotAllowed("UNKNOWN_INSTRUMENT", f"Its rules name {', '.join(missing)}, which this desk does not know.")
    try:
        with transaction.atomic():
            deployment, is_new = Deployment.objects.exclude(state=State.RETIRED).get_or_create(
                portfolio=portfolio, version=version, universe=universe,
                defaults={"parameters": values, "created_by": actor},
            )  # fmt: skip
    except IntegrityError:
        raise Conflict("DEPLOYED_TWICE", "Somebody deployed it there a moment ago.") from None
    if not is_new and deployment.parameters != values:
        raise Conflict("DEPLOYED_OTHERWISE", "It is at work there with other parameters: stop that one first.")
    if is_new:
        record("deployment.started", actor=actor, owner_id=portfolio.owner_id, subject=str(deployment))
    return deployment


def deploy_for(
    *, user: User, portfolio_id: int, version_id: int, universe_name: str, parameters: Mapping[str, object]
) -> Deployment:
    """What a person asks for: their own portfolio, a contract of theirs or of the house, by name."""
    portfolio = Portfolio.objects.for_user(user).filter(pk=portfolio_id).select_related("account").first()
    version = ContractVersion.objects.for_user(user).filter(pk=version_id).select_related("contract").first()
    universe = Universe.objects.filter(name=universe_name).first()
    if portfolio is None or portfolio.owner_id != user.pk:
        raise NotFound("UNKNOWN_PORTFOLIO", "There is no such portfolio.")
    if version is None:
        raise NotFound("UNKNOWN_VERSION", "There is no such version.")
    if universe is None:
        raise NotFound("UNKNOWN_UNIVERSE", f"There is no universe {universe_name}.")
    return deploy(
        portfolio=portfolio, version=version, universe=universe, parameters=parameters, actor=user.get_username()
    )


def pause_deployment(*, deployment_id: int, actor: str, user: User | None = None) -> bool:
    """No more signals from it; what is open goes on. True when it was active. `user`: whose it must be."""
    return _move(deployment_id, actor, user, before=(State.ACTIVE,), after=State.PAUSED, action="deployment.paused")


def resume_deployment(*, deployment_id: int, actor: str, user: User | None = None) -> bool:
    """Signals again from the next bar on. True when it was paused.

    NotAllowed STAGE: its version was paused or retired meanwhile.
    """
    deployment = _found(deployment_id, user)
    if deployment.state == State.PAUSED:
        _check_stage(deployment.portfolio, deployment.version)
    return _move(deployment_id, actor, user, before=(State.PAUSED,), after=State.ACTIVE, action="deployment.resumed")


def stop_deployment(*, deployment_id: int, actor: str, user: User | None = None) -> bool:
    """It never gives a signal again; what is open keeps its stop and its exits. True when it was not stopped before."""
    before = (State.ACTIVE, State.PAUSED)
    return _move(deployment_id, actor, user, before=before, after=State.RETIRED, action="deployment.stopped")


def _check_stage(portfolio: Portfolio, version: ContractVersion) -> None:
    stage = Stage(standing_of_version(version).stage)
    wanted = (Stage.LIVE,) if portfolio.account.is_live else (Stage.PAPER, Stage.LIVE)
    if stage not in wanted:
        raise NotAllowed(
            "STAGE",
            f"{version} is at {stage}; {'real money' if portfolio.account.is_live else 'paper money'} needs "
            f"{' or '.join(wanted)}.",
            stage=stage,
        )  # fmt: skip


def _parameters(body: ContractBody, given: Mapping[str, object]) -> dict[str, float]:
    """The deployment's own numbers, checked, in the order of their names."""
    try:
        values = body.parameters_with(given)
        body.compiled(given)
    except ContractError as error:
        raise NotAllowed("PARAMETER_RANGE", str(error), path=error.path) from error
    return {name: values[name] for name in sorted(given)}


def _found(deployment_id: int, user: User | None) -> Deployment:
    deployments = Deployment.objects.all() if user is None else Deployment.objects.for_user(user)
    found = deployments.select_related("portfolio__account", "version__contract").filter(pk=deployment_id).first()
    if found is None:
        raise NotFound("UNKNOWN_DEPLOYMENT", "There is no such deployment.")
    return found


@transaction.atomic
def _move(
    deployment_id: int, actor: str, user: User | None, *, before: tuple[str, ...], after: str, action: str
) -> bool:
    deployment = _found(deployment_id, user)
    changes: dict[str, object] = {"state": after}
    if after == State.RETIRED:
        changes["stopped_at"] = timezone.now()
    moved = Deployment.objects.filter(pk=deployment_id, state__in=before).update(**changes)
    if moved:
        record(action, actor=actor, owner_id=deployment.portfolio.owner_id, subject=str(deployment))
    return bool(moved)
