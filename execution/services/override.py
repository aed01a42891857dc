"""A hand on the desk. Works while the engine is paused, and is written into the audit trail."""

from datetime import datetime

from django.db import transaction

from execution.models import Group
from execution.services.group_exit import group_exit
from trading.audit.record import record
from trading.domain.errors import NotFound
from trading.domain.orders import Reason


@transaction.atomic
def close_position(*, group_id, actor: str, now: datetime) -> bool:
    """Ask for the end of a trade by hand. True when newly asked: pressing twice closes once."""
    group = Group.objects.select_related("portfolio", "instrument").filter(pk=group_id).first()
    if group is None:
        raise NotFound("UNKNOWN_POSITION", "There is no such position.")
    asked = group_exit(group_id=group.pk, reason=Reason.MANUAL, actor=actor)
    if asked:
        record(
            "position.close_asked", actor=actor, owner_id=group.portfolio.owner_id, subject=str(group.pk),
            instrument=group.instrument.symbol,
        )  # fmt: skip
    return asked
