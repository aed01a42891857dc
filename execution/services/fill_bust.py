"""A trade that the exchange took back, or corrected: reversed beside the fill, which stays what it was."""

from datetime import datetime

from django.db import transaction

from execution.models import Fill, FillBust, Order
from execution.services.events import note
from execution.services.fill_apply import fill_apply
from execution.services.fill_reverse import fill_reverse
from execution.services.group_reopen import group_reopen
from trading.audit.record import record
from trading.domain.errors import NotFound
from trading.domain.fills import FillFact
from trading.monitoring.alerts import Level, raise_alert
from trading.outbox import after_commit


@transaction.atomic
def fill_bust(*, fill_id: int, reason: str, actor: str, now: datetime) -> FillBust | None:
    """Take one fill back: order, position, ledger and charges as if it had not happened. None if it was taken back
    before.

    What is left of its trade is looked after again: more may have been sold than was ever bought.
    """
    order_id = Fill.objects.filter(pk=fill_id).values_list("order_id", flat=True).first()
    if order_id is None:
        raise NotFound("UNKNOWN_FILL", "There is no such fill.")
    order = Order.objects.lock(order_id)
    fill = order.fills.get(pk=fill_id)
    if FillBust.objects.filter(fill=fill).exists():
        return None
    bust = fill_reverse(order, fill, reason=reason, actor=actor, now=now)
    note(order, "fill.busted", source="USER", quantity=fill.quantity, price=fill.price, trade=fill.broker_trade_id)
    group_reopen(order)
    order.save()
    record(
        "fill.busted", actor=actor, owner_id=order.portfolio.owner_id, subject=str(order.pk),
        trade=fill.broker_trade_id, reason=reason,
    )  # fmt: skip
    raise_alert(
        "FILL_BUSTED", f"{order.instrument.ticker}: {fill.quantity} at {fill.price} were taken back.",
        level=Level.SEVERE, owner_id=order.portfolio.owner_id, about=str(fill.pk), next_step="Compare the position.",
    )  # fmt: skip
    after_commit("engine.group", account_id=order.account_id, group_id=str(order.group_id))
    return bust


@transaction.atomic
def fill_correct(*, fill_id: int, corrected: FillFact, actor: str, now: datetime) -> Fill | None:
    """The exchange corrected a trade: the old one is reversed and the new one booked, under its own number.

    None where it was corrected before.
    """
    fill = Fill.objects.select_related("order").filter(pk=fill_id).first()
    if fill is None:
        raise NotFound("UNKNOWN_FILL", "There is no such fill.")
    if fill_bust(fill_id=fill_id, reason="corrected by the exchange", actor=actor, now=now) is None:
        return None
    return fill_apply(account_id=fill.order.account_id, fact=corrected, source="USER")
