"""A person's yes or no to a waiting intent: once, and in time."""

from datetime import datetime

from django.db import transaction
from django.utils import timezone

from execution.kill_scopes import keys_of
from execution.models import Group, Intent, ParentOrder
from execution.services.intent_judge import ask_again
from execution.services.order_queue import order_queue
from risk.kill_switch import kill_state
from risk.reserve import release
from trading.audit.record import record
from trading.domain.crashpoint import crashpoint
from trading.domain.errors import Conflict, NotFound
from trading.marketdata.quotes import last_quote
from trading.realtime.publish import publish


@transaction.atomic
def approval_decide(*, intent_id, approve: bool, actor: str, now: datetime) -> Intent:
    """Approve or refuse. Pressing twice, or two people at once, decides once; too late is a Conflict.

    A yes is worth what the market is now, not what it was when risk was asked: gates that look at the moment are asked
    again, and the intent is REFUSED where one of them says no.
    """
    intent = _lock(intent_id)
    wanted = Intent.State.APPROVED if approve else Intent.State.REFUSED
    if intent.state != Intent.State.WAITING:
        if intent.state == wanted:
            return intent
        raise Conflict("ALREADY_DECIDED", f"It was {intent.state.lower()} before.")
    if intent.decide_by is not None and timezone.now() > intent.decide_by:
        raise Conflict("APPROVAL_EXPIRED", "The time to decide is over.")
    no = _what_speaks_against(intent, now) if approve else ("NOT_APPROVED", f"{actor} said no.")
    if no is None:
        intent.state = wanted
        intent.save(update_fields=["state"])
        quote = last_quote(intent.portfolio.account.feed, intent.instrument.symbol)
        order_queue(
            intent=intent, kill_epoch=kill_state(keys_of(intent.portfolio, intent.instrument_id, intent.signal)).epoch,
            decision_price=quote.last_price if quote else None,
        )  # fmt: skip
    else:
        _refuse(intent, *no)
    record(
        "intent.approved" if no is None else "intent.refused", actor=actor, owner_id=intent.portfolio.owner_id,
        subject=str(intent.pk), code=intent.refusal_code,
    )  # fmt: skip
    crashpoint("intake.approved")
    return intent


@transaction.atomic
def approval_expire(*, intent_id, now: datetime) -> bool:
    """Nobody decided in time: the intent is refused and its room given back."""
    intent = _lock(intent_id)
    if intent.state != Intent.State.WAITING or intent.decide_by is None or timezone.now() <= intent.decide_by:
        return False
    _refuse(intent, "APPROVAL_EXPIRED", "Nobody decided in time.")
    return True


@transaction.atomic
def approval_void(*, intent_id, code: str, message: str) -> bool:
    """Something happened that takes the question away. False when it was decided before."""
    intent = _lock(intent_id)
    if intent.state != Intent.State.WAITING:
        return False
    _refuse(intent, code, message)
    return True


def _lock(intent_id) -> Intent:
    """The intent under a lock, its trade locked before it."""
    intents = Intent.objects.select_related("portfolio__account", "group", "instrument")
    intent = intents.filter(pk=intent_id).first()
    if intent is None:
        raise NotFound("UNKNOWN_INTENT", "There is no such intent.")
    if intent.group_id is not None:
        Group.objects.select_for_update().values_list("pk", flat=True).get(pk=intent.group_id)
    return intents.select_for_update(of=("self",)).get(pk=intent_id)


def _what_speaks_against(intent: Intent, now: datetime) -> tuple[str, str] | None:
    """(code, message) of whatever became true since risk approved; None where nothing did."""
    if intent.group is not None and intent.group.close_reason:
        return "CLOSE_ASKED", "Its end was asked for before it began."
    finding = ask_again(intent=intent, now=now)
    return None if finding is None else (finding.gate, finding.message)


def _refuse(intent: Intent, code: str, message: str) -> None:
    intent.state, intent.refusal_code, intent.refusal = Intent.State.REFUSED, code, message
    intent.save(update_fields=["state", "refusal_code", "refusal"])
    release(intent_id=intent.pk, keep_trades=False)  # the count of the day as well
    _end_trade(intent, code, message)
    if intent.parent_id is not None:
        ParentOrder.objects.filter(pk=intent.parent_id, state=ParentOrder.State.LIVE).update(
            state=ParentOrder.State.REFUSED, code=code[:40], said=message[:240], ended_at=timezone.now()
        )
    publish(intent.portfolio.owner_id, "signal", intent=str(intent.pk))


def _end_trade(intent: Intent, code: str, message: str) -> None:
    """A trade that was to begin with it never was. One that has begun goes on: its orders may be at the broker."""
    begun = Intent.objects.filter(group=intent.group_id).exclude(pk=intent.pk).exclude(state=Intent.State.REFUSED)
    if intent.group_id is None or begun.exists():
        return
    Group.objects.filter(pk=intent.group_id, state__in=Group.BEGINNING).update(
        state=Group.State.CLOSED, failure_code=code[:40], failure=message[:240]
    )
