"""Ask for the end of a trade. The asking is a row; the way out is walked by group_advance, step by step."""

from django.db import transaction

from execution.models import Group
from trading.domain.orders import Reason
from trading.outbox import after_commit
from trading.realtime.publish import publish

State = Group.State


@transaction.atomic
def group_exit(*, group_id, reason: Reason, actor: str) -> bool:
    """True when newly asked. The first reason stays; asking again changes nothing."""
    group = Group.objects.select_for_update(of=("self",)).select_related("portfolio").get(pk=group_id)
    if group.state == State.CLOSED or group.close_reason:
        return False
    group.close_reason = reason
    group.close_asked_by = actor[:150]
    group.save(update_fields=["close_reason", "close_asked_by"])
    after_commit("engine.group", account_id=group.portfolio.account_id, group_id=str(group.pk))
    publish(group.portfolio.owner_id, "position", group=str(group.pk), asked=reason.value)
    return True
