"""A deployment's own choice for its large entries: read at each entry; a change is a new version with its author."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts.models import User
from execution.models import DeploymentWork, EngineSettings
from strategies.models import Deployment
from trading.audit.record import record
from trading.domain.errors import NotAllowed, NotFound
from trading.realtime.publish import publish
from trading.statements import Select

FIELDS = ("style", "from_rupees", "minutes", "slices", "visible_pct")
IN_FORCE = Select(DeploymentWork, where="WHERE t.deployment_id = %(deployment)s AND t.active")


@dataclass(frozen=True, slots=True)
class Work:
    """How a large entry is let out now; `style` as EngineSettings.Work has it."""

    style: str
    from_rupees: Decimal
    minutes: int
    slices: int
    visible_pct: Decimal


def work_of(deployment_id: int | None, settings: EngineSettings) -> Work:
    """The deployment's own choice, else what the settings of its portfolio say."""
    own = choice_of(deployment_id) if deployment_id is not None else None
    if own is None or own.style == DeploymentWork.Style.FOLLOW:
        return Work(
            settings.work_style, settings.work_from_rupees, settings.work_minutes, settings.work_slices,
            settings.work_visible_pct,
        )  # fmt: skip
    return Work(own.style, own.from_rupees, own.minutes, own.slices, own.visible_pct)


def choice_of(deployment_id: int) -> DeploymentWork | None:
    """Its version in force; None: it never chose."""
    return IN_FORCE.first({"deployment": deployment_id})


@transaction.atomic
def choose_work(*, deployment_id: int, values: Mapping[str, object], user: User, actor: str) -> DeploymentWork:
    """Put a choice in force, from the next entry on; values left out keep what they were. What changes nothing makes
    no version.

    NotFound (UNKNOWN_DEPLOYMENT) for one that is not the user's; NotAllowed (WORK_INVALID) with `fields`, or
    (DEPLOYMENT_STOPPED) for one that never enters again.
    """
    unknown = sorted(set(values) - set(FIELDS))
    if unknown:
        raise _invalid({name: ["There is no such setting."] for name in unknown})
    rows = Deployment.objects.for_user(user).select_for_update(of=("self",)).select_related("portfolio")
    deployment = rows.filter(pk=deployment_id).first()
    if deployment is None:
        raise NotFound("UNKNOWN_DEPLOYMENT", "There is no such deployment.")
    if deployment.state == Deployment.State.RETIRED:
        raise NotAllowed("DEPLOYMENT_STOPPED", "It is stopped, and enters nothing any more.")
    before = choice_of(deployment_id)
    kept = {name: getattr(before, name) for name in FIELDS} if before else {"style": DeploymentWork.Style.FOLLOW}
    new = DeploymentWork(
        deployment=deployment, version=before.version + 1 if before else 1, created_by=actor[:150],
        **kept | dict(values),
    )  # fmt: skip
    try:
        new.full_clean(validate_constraints=False, validate_unique=False)
    except ValidationError as error:
        raise _invalid(error.message_dict) from error
    if before is not None and all(getattr(before, name) == getattr(new, name) for name in FIELDS):
        return before
    DeploymentWork.objects.filter(deployment=deployment, active=True).update(active=False)
    new.save()
    record(
        "deployment.work", actor=actor, owner_id=deployment.portfolio.owner_id, subject=str(deployment),
        version=new.version, was=_words(before), now=_words(new),
    )  # fmt: skip
    publish(deployment.portfolio.owner_id, "engine", deployment=deployment.pk)
    return new


def _words(work: DeploymentWork | None) -> dict[str, str]:
    return {name: str(getattr(work, name)) for name in FIELDS} if work else {}


def _invalid(fields: Mapping[str, list[str]]) -> NotAllowed:
    first = next(iter(fields.values()))[0]
    return NotAllowed("WORK_INVALID", f"It cannot be let out like that: {first}", fields=dict(fields))
