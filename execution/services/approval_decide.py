"""A person's yes or no to a waiting intent: once, and in time."""

from datetime import datetime

from django.db import transaction
from django.utils import timezone

from execution.models import Group, Intent
from execution.services.intent_create import last_price, queue_order, withdraw_reservation
from risk.kill_switch import kill_state
from trading.audit.record import record
from trading.domain.errors import Conflict, NotFound
from trading.realtime.publish import publish


@transaction.atomic
def approval_decide(*, intent_id, approve: bool, actor: str, now: datetime) -> Intent:
    """Approve or refuse. Pressing twice, or two people at once, decides once; too late is a Conflict."""
    intent = (
        Intent.objects.select_for_update(of=("self",))
        .select_related("portfolio__account", "group", "instrument")
        .filter(pk=intent_id)
        .first()
    )
    if intent is None:
        raise NotFound("UNKNOWN_INTENT", "There is no such intent.")
    wanted = Intent.State.APPROVED if approve else Intent.State.REFUSED
    if intent.state != Intent.State.WAITING:
        if intent.state == wanted:
            return intent
        raise Conflict("ALREADY_DECIDED", f"It was {intent.state.lower()} before.")
    if intent.decide_by is not None and timezone.now() > intent.decide_by:
        raise Conflict("APPROVAL_EXPIRED", "The time to decide is over.")
    if approve:
        intent.state = wanted
        intent.save(update_fields=["state"])
        queue_order(
            intent=intent, kill_epoch=kill_state(intent.portfolio_id).epoch,
            decision_price=last_price(intent.portfolio, intent.instrument),
        )  # fmt: skip
    else:
        _refuse(intent, "NOT_APPROVED", f"{actor} said no.")
    record(
        "intent.approved" if approve else "intent.refused", actor=actor, owner_id=intent.portfolio.owner_id,
        subject=str(intent.pk),
    )  # fmt: skip
    return intent


@transaction.atomic
def approval_expire(*, intent_id, now: datetime) -> bool:
    """Nobody decided in time: the intent is refused and its room given back."""
    intent = Intent.objects.select_for_update(of=("self",)).select_related("portfolio", "group").get(pk=intent_id)
    if intent.state != Intent.State.WAITING or intent.decide_by is None or timezone.now() <= intent.decide_by:
        return False
    _refuse(intent, "APPROVAL_EXPIRED", "Nobody decided in time.")
    return True


def _refuse(intent: Intent, code: str, message: str) -> None:
    intent.state, intent.refusal_code, intent.refusal = Intent.State.REFUSED, code, message
    intent.save(update_fields=["state", "refusal_code", "refusal"])
    withdraw_reservation(intent)
    Group.objects.filter(pk=intent.group_id, state=Group.State.OPENING).update(state=Group.State.CLOSED)
    publish(intent.portfolio.owner_id, "signal", intent=str(intent.pk))
