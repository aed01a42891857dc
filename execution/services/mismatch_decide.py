"""What a person decides about a difference between the desk and its broker: once, and written down."""

from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.utils import timezone

from execution.identity import OF_THE_DESK, client_order_id
from execution.models import Fill, Group, Intent, Mismatch, Order
from execution.services.events import note
from execution.services.fill_apply import fill_apply
from execution.services.fill_bust import fill_bust
from execution.states import OrderState
from trading.audit.record import record
from trading.domain.errors import Conflict, NotAllowed, NotFound
from trading.domain.fills import FillFact
from trading.domain.orders import Reason, Side
from trading.monitoring.alerts import clear_alerts
from trading.outbox import after_commit
from trading.realtime.publish import publish

State, Kind = Mismatch.State, Mismatch.Kind
DECISIONS = {
    "accept": "It is right: placed or closed outside the desk, not to be managed here",
    "closed_outside": "What is missing was closed outside the desk, at the price given",
    "reverse": "The exchange took the fill back",
    "dispute": "Taken up with the broker; stays in quarantine",
    "release": "Out of quarantine; if it still differs it is found again",
}


@transaction.atomic
def mismatch_decide(
    *, mismatch_id: int, decision: str, actor: str, now: datetime, price: Decimal | None = None, remark: str = ""
) -> Mismatch:
    """Carry out one of DECISIONS. Deciding the same twice changes nothing; a price is never made up.

    NotAllowed: no such decision for this kind of difference, or no price. Conflict: decided otherwise before.
    """
    row = Mismatch.objects.select_for_update(of=("self",)).select_related("account").filter(pk=mismatch_id).first()
    if row is None:
        raise NotFound("UNKNOWN_MISMATCH", "There is no such difference.")
    wanted = {"accept": State.ACCEPTED, "dispute": State.DISPUTED}.get(decision, State.RESOLVED)
    if row.state in (State.ACCEPTED, State.RESOLVED) or (row.state == wanted == State.DISPUTED):
        if row.state == wanted:
            return row
        raise Conflict("ALREADY_DECIDED", f"It was {row.state.lower()} before.")
    match decision, row.kind:
        case (("dispute" | "release" | "accept"), _):
            pass
        case "closed_outside", Kind.POSITION:
            _close_outside(row, price, actor, now)
        case "reverse", Kind.FILL_GONE:
            _reverse(row, actor, now)
        case _:
            raise NotAllowed("NO_SUCH_DECISION", f"A difference of this kind cannot be decided with {decision}.")
    row.state, row.decided_at, row.decided_by, row.note = wanted, timezone.now(), actor[:150], remark[:240]
    row.save()
    if not row.is_held_back:
        _release(row)
    record(
        "mismatch.decided", actor=actor, owner_id=row.account.owner_id, subject=str(row.pk), decision=decision,
        symbol=row.symbol, ours=row.ours, theirs=row.theirs, price=str(price or ""),
    )  # fmt: skip
    publish(row.account.owner_id, "position", mismatch=row.pk)
    after_commit("engine.reconcile", account_id=row.account_id)
    return row


def _close_outside(row: Mismatch, price: Decimal | None, actor: str, now: datetime) -> None:
    """Book what is gone against the trades that held it, oldest first, at the price a person gives."""
    missing = abs(row.ours) - abs(row.theirs)
    if row.ours * row.theirs < 0 or missing <= 0:
        raise NotAllowed(
            "NOTHING_MISSING", "The broker holds more than the desk, or the other way: accept or dispute it."
        )
    if price is None or not price.is_finite() or price <= 0:
        raise NotAllowed("PRICE", "At which price was it closed? The broker's contract note or app says so.")
    side = Side.of(row.ours).opposite
    groups = Group.objects.filter(
        portfolio__account=row.account, instrument__symbol=row.symbol, product=row.product
    ).exclude(state=Group.State.CLOSED).select_related("portfolio__account", "instrument")  # fmt: skip
    for group in groups.order_by("created_at", "pk"):
        held = sum(Side(order.side).sign * order.filled_quantity for order in group.orders.all())
        quantity = min(missing, max(0, -held * side.sign))
        if quantity:
            _book(row, group, side, quantity, price, actor, now)
            missing -= quantity
    if missing:
        raise NotAllowed("NO_TRADE_HOLDS_IT", f"No open trade holds {missing} of it.")


def _book(
    row: Mismatch, group: Group, side: Side, quantity: int, price: Decimal, actor: str, now: datetime
) -> None:  # fmt: skip
    wall, number = timezone.now(), f"{OF_THE_DESK}{row.pk}-{group.pk.hex[:8]}"
    intent = Intent.objects.create(
        portfolio=group.portfolio, group=group, source=Intent.Source.PAGE, reason=Reason.SQUARE_OFF,
        dedupe_key=f"mismatch:{row.pk}:{group.pk}", instrument=group.instrument, product=group.product, side=side,
        order_type="MARKET", wanted_quantity=quantity, allowed_quantity=quantity, state=Intent.State.APPROVED,
        actor=actor[:150], created_at=wall, venue_at=now,
    )  # fmt: skip
    account = group.portfolio.account
    order = Order.objects.create(
        client_order_id=client_order_id(account_id=account.pk, intent_id=intent.pk, live=account.is_live),
        intent=intent, group=group, portfolio=group.portfolio, account=account, instrument=group.instrument, side=side,
        product=group.product, order_type="MARKET", reason=Reason.SQUARE_OFF, quantity=quantity,
        state=OrderState.ACKED, broker_order_id=number, broker_message="Closed outside the desk, booked by hand.",
        valid_until=wall, kill_epoch=0, placed_at=now, created_at=wall, acked_at=wall,
    )  # fmt: skip
    note(order, "order.booked_by_hand", source="USER", by=actor, price=price)
    order.save()
    fact = FillFact(number, "1", group.instrument.symbol, side, quantity, price, now, None)
    fill_apply(account_id=account.pk, fact=fact, source="USER")


def _reverse(row: Mismatch, actor: str, now: datetime) -> None:
    order_id, _, trade_id = row.reference.partition(":")
    fill = Fill.objects.filter(
        order__account=row.account, order__broker_order_id=order_id, broker_trade_id=trade_id, bust=None
    ).first()  # fmt: skip
    if fill is None:
        raise NotFound("UNKNOWN_FILL", "The fill was reversed before.")
    fill_bust(fill_id=fill.pk, reason="not in the broker's trade book", actor=actor, now=now)


def _release(row: Mismatch) -> None:
    """Trades of the instrument are no longer in doubt, unless something else of it is."""
    clear_alerts("QUARANTINED", owner_id=row.account.owner_id, about=str(row.pk))
    if Mismatch.objects.holding_back(row.account_id, row.symbol).exists():
        return
    Group.objects.filter(
        portfolio__account=row.account, instrument__symbol=row.symbol, product=row.product
    ).update(quarantined=False)  # fmt: skip
