"""A part of a trade is to be closed, the rest goes on. The asking is a row; `group_advance` carries it out."""

from decimal import Decimal

from django.db import transaction
from django.utils import timezone

from execution.models import Group, Leg, PartExit, Pyramid
from trading.domain.crashpoint import crashpoint
from trading.domain.errors import Conflict, NotAllowed, NotFound
from trading.domain.orders import Reason
from trading.outbox import after_commit
from trading.realtime.publish import publish

State = PartExit.State


@transaction.atomic
def part_exit(
    *, group_id, key: str, quantity: int, reason: Reason, actor: str, limit_price: Decimal | None = None,
    trigger_price: Decimal | None = None, rests: bool = False, leg: Leg | None = None, pyramid: Pyramid | None = None,
) -> PartExit:  # fmt: skip
    """Ask for a part once: a repeat of the key finds the first, and another quantity under it is a Conflict.

    With a trigger it waits until the market trades there. It never closes more than is held when it is carried out.
    NotAllowed (NOT_LIVE) for a trade that is over or on its way out, (QUANTITY) for nothing.
    """
    group = Group.objects.select_for_update(of=("self",)).select_related("portfolio").filter(pk=group_id).first()
    if group is None:
        raise NotFound("UNKNOWN_POSITION", "There is no such position.")
    known = PartExit.objects.filter(group=group, key=key).first()
    if known is not None:
        if known.quantity != quantity or known.reason != reason:
            raise Conflict("IDEMPOTENCY_KEY_REUSED", "This key was used for another part.")
        return known
    if group.state == Group.State.CLOSED or group.close_reason:
        raise NotAllowed("NOT_LIVE", "The trade is over, or on its way out.")
    if quantity < 1 or reason.opens:
        raise NotAllowed("QUANTITY", "A part is at least one unit.")
    part = PartExit.objects.create(
        group=group, leg=leg, pyramid=pyramid, key=key, reason=reason, quantity=quantity, trigger_price=trigger_price,
        limit_price=limit_price, rests=rests, state=State.WAITING if trigger_price is not None else State.ASKED,
        actor=actor[:150], created_at=timezone.now(), asked_at=None if trigger_price is not None else timezone.now(),
    )  # fmt: skip
    _ring(group)
    return part


@transaction.atomic
def part_due(*, part_id: int) -> bool:
    """The market trades where a part waits: ask for it. True when newly asked."""
    group_id = PartExit.objects.values_list("group_id", flat=True).get(pk=part_id)
    group = Group.objects.select_for_update(of=("self",)).select_related("portfolio").get(pk=group_id)
    if group.close_reason or group.state == Group.State.CLOSED:
        return False
    asked = PartExit.objects.filter(pk=part_id, state=State.WAITING).update(state=State.ASKED, asked_at=timezone.now())
    if asked:
        crashpoint("parts.due")
        _ring(group)
    return bool(asked)


def _ring(group: Group) -> None:
    after_commit("engine.group", account_id=group.portfolio.account_id, group_id=str(group.pk))
    publish(group.portfolio.owner_id, "position", group=str(group.pk), part=True)
