"""News of an order whose trade was thought to be over: it belongs to a trade again, so that somebody looks after it."""

from execution.models import Group, Order
from execution.services.events import note
from execution.services.group_state import move_group
from risk.reserve import retake
from trading.domain.orders import Reason
from trading.monitoring.alerts import Level, raise_alert
from trading.outbox import after_commit

State = Group.State


def group_reopen(order: Order) -> None:
    """Give a locked order a trade that is not over; the caller saves the order.

    Its own trade goes on, to be walked out of: its idea is gone. Where another trade holds the instrument by now, the
    order joins that one, because the broker nets them too.
    """
    group = order.group
    if group.state != State.CLOSED:
        return
    running = (
        Group.objects.select_for_update(of=("self",))
        .filter(portfolio=order.portfolio_id, instrument=order.instrument_id, product=order.product)
        .exclude(state=State.CLOSED)
        .first()
    )
    if running is not None:
        note(order, "order.moved", source="ENGINE", applied=False, was=group.pk, now=running.pk)
        order.group = running
        Group.objects.filter(pk=running.pk).update(quarantined=True)
    else:
        move_group(group, State.LIVE)
        group.closed_at = None
        group.close_reason = group.close_reason or Reason.SQUARE_OFF
        group.close_asked_by = group.close_asked_by or "late news"
        group.save(update_fields=["state", "closed_at", "close_reason", "close_asked_by"])
        retake(intent_id=order.intent_id)
    raise_alert(
        "LATE_NEWS", f"{order.instrument.ticker}: news of an order whose trade was over.", level=Level.SEVERE,
        owner_id=order.portfolio.owner_id, about=str(order.pk),
        next_step="It is being closed. Compare with the broker.",
    )  # fmt: skip
    after_commit("engine.group", account_id=order.account_id, group_id=str(order.group_id))
