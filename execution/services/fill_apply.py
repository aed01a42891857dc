"""One execution counts once: order, position, ledger and charges in one transaction."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.utils import timezone

from execution.brokers.port import BookOrder
from execution.identity import execution_key
from execution.models import Fill, Group, Order, ParkedFill
from execution.order_charges import HANDED_ON, sheet_of
from execution.services.events import note
from execution.services.fill_reverse import fill_reverse
from execution.services.fill_stand_in import hand_over_lots, key_of, stand_in, stand_in_due, stand_ins_of
from execution.services.group_reopen import group_reopen
from execution.services.order_room import hold_room
from execution.states import LIVE_STATES, OrderState, PendingOp
from risk.reserve import retake, use
from trading.domain.crashpoint import crashpoint
from trading.domain.fills import FillFact
from trading.domain.money import to_paise
from trading.domain.orders import Reason, Side
from trading.monitoring.alerts import Level, raise_alert
from trading.outbox import after_commit
from trading.portfolio.booking import book_fill
from trading.realtime.publish import publish
from trading.statements import insert, run, store
from trading.venue.charges import ChargeSheet

_LIVE = ", ".join(f"'{state}'" for state in sorted(LIVE_STATES))
WAITING = """
SELECT 1 FROM execution_parkedfill
WHERE account_id = %(account)s AND broker_order_id = %(number)s AND drained_at IS NULL LIMIT 1
"""
UNDER_WAY = (PendingOp.MODIFY_SENT, PendingOp.CANCEL_ASKED, PendingOp.CANCEL_SENT)


def fill_apply(*, account_id: int, fact: FillFact, source: str) -> Fill | None:
    """Record one fill and all that follows from it; None if it was known, or waits for its order.

    One fact counts once, however often and in whatever order it arrives. More than was ordered is booked too, because
    it happened; the trade is then quarantined. A fill whose order is not known yet is parked, never dropped.
    """
    fill = _record(account_id, fact, source)
    crashpoint("fills.applied")
    return fill


@transaction.atomic
def _record(account_id: int, fact: FillFact, source: str) -> Fill | None:
    key = execution_key(
        account_id=account_id, broker_order_id=fact.broker_order_id, broker_trade_id=fact.broker_trade_id,
        filled_at=fact.filled_at,
    )  # fmt: skip
    order = _find(account_id, fact)
    if order is None:
        _park(account_id, key, fact)
        return None
    if order.broker_order_id is None:
        order.broker_order_id = fact.broker_order_id
    known = run("SELECT quantity, price FROM execution_fill WHERE execution_key = %s", [key])
    if known:
        if known[0] != (fact.quantity, fact.price):
            _dispute(order, known[0], fact, source)
        return None
    gone = stand_ins_of(order) if order.filled_quantity else []
    if gone:
        return _replace(order, gone, key, fact, source)
    return _apply(order, key, fact, source)


def _replace(order: Order, gone: list[Fill], key: str, fact: FillFact, source: str) -> Fill:
    """A real trade takes the place of what stood in for it; the rest of that is stood in for anew."""
    upto, value = order.filled_quantity, order.fill_value_paise
    for fill in gone:
        fill_reverse(order, fill, reason="its trades came", actor="the trade book", now=fact.filled_at)
        note(order, "fill.replaced", source=source, trade=fill.broker_trade_id, quantity=fill.quantity)
    came = [real := _apply(order, key, fact, source)]
    if order.filled_quantity < upto:
        rest = stand_in(order, upto=upto, value_paise=value, at=fact.filled_at)
        came.append(_apply(order, key_of(order, rest), rest, source, synthetic=True))
    hand_over_lots(order, gone, came)
    crashpoint("fills.replaced")
    return real


def book_sum(order: Order, news: BookOrder, *, source: str, patience_s: float) -> Fill | None:
    """Where the book of orders has long been ahead of the trades, one fill stands in for them. The order is locked."""
    fact = stand_in_due(order, news, source=source, patience_s=patience_s)
    if fact is None:
        return None
    raise_alert(
        "FILL_STANDS_IN", f"{order.instrument.ticker}: {fact.quantity} traded, and the broker shows no trades.",
        owner_id=order.portfolio.owner_id, about=str(order.pk),
        next_step="Nothing to do: it is booked at the order's average, and replaced when they come.",
    )  # fmt: skip
    fill = _apply(order, key_of(order, fact), fact, source, synthetic=True)
    crashpoint("fills.stood_in")
    return fill


def _apply(order: Order, key: str, fact: FillFact, source: str, *, synthetic: bool = False) -> Fill:
    ended = order.is_final
    value = to_paise(fact.price * fact.quantity)
    wall = timezone.now()
    fill = Fill(
        order=order, execution_key=key, broker_trade_id=fact.broker_trade_id, quantity=fact.quantity, price=fact.price,
        value_paise=value, filled_at=fact.filled_at, received_at=wall, source=source, synthetic=synthetic,
    )  # fmt: skip
    insert(fill)
    crashpoint("fills.row_written")
    costs = sheet_of(order, order.filled_quantity + fact.quantity, order.fill_value_paise + value, fact.filled_at)
    costs -= sheet_of(order, order.filled_quantity, order.fill_value_paise, fact.filled_at)
    if source == HANDED_ON:
        costs = ChargeSheet()
    order.filled_quantity += fact.quantity
    order.fill_value_paise += value
    order.charges_paise += costs.total
    order.first_fill_at = order.first_fill_at or wall
    order.acked_at = order.acked_at or wall
    order.unknown_since = order.lease_expires_at = None
    book_fill(
        portfolio_id=order.portfolio_id, instrument_id=order.instrument_id, product=order.product,
        side=Side(order.side), quantity=fact.quantity, value_paise=value, charges=costs, execution_key=key,
        filled_at=fact.filled_at,
    )  # fmt: skip
    crashpoint("fills.booked")
    # A change to a larger size that was sent may have taken effect: then more of it can still trade.
    works_at = max(order.quantity, order.pending_quantity or 0) if order.pending_op in UNDER_WAY else order.quantity
    if order.filled_quantity >= works_at:
        state: str = OrderState.FILLED
        order.pending_op = PendingOp.NONE
        order.forget_change()
    else:
        state = order.state if order.is_final else OrderState.OPEN
        if order.filled_quantity >= order.quantity:
            after_commit("engine.books", account_id=order.account_id)
    note(order, "order.filled", source=source, to_state=state, quantity=fact.quantity, price=fact.price)
    if order.filled_quantity > order.quantity:
        Group.objects.filter(pk=order.group_id).update(quarantined=True)
        raise_alert(
            "OVERFILLED", f"{order.instrument.ticker}: filled {order.filled_quantity} of {order.quantity} ordered.",
            level=Level.SEVERE, owner_id=order.portfolio.owner_id, about=str(order.pk),
            next_step="It is booked. Compare with the broker's book.",
        )  # fmt: skip
    group_reopen(order)
    if order.reason == Reason.ENTRY:
        if ended:
            retake(intent_id=order.intent_id)  # it was given back when the order ended, and it traded all the same
        whole = _whole_of(order)
        use(intent_id=order.intent_id, value_paise=whole.value_paise, remaining=whole.left,
            remaining_before=whole.left + fact.quantity)  # fmt: skip
        if whole.in_parts:
            hold_room(order)  # each of them may have a price of its own
    store(order)
    after_commit("engine.group", account_id=order.account_id, group_id=str(order.group_id))
    publish(order.portfolio.owner_id, "position", group=str(order.group_id), fill=fill.pk)
    return fill


@dataclass(frozen=True, slots=True)
class Whole:
    """All orders of one intent: units that may still fill, what their fills are worth, and whether it is several."""

    left: int
    value_paise: int
    in_parts: bool


OTHERS = f"""
SELECT count(*), coalesce(sum(greatest(quantity - filled_quantity, 0)) FILTER (WHERE state IN ({_LIVE})), 0)::bigint,
       coalesce(sum(fill_value_paise), 0)::bigint
FROM execution_order WHERE intent_id = %(intent)s AND id <> %(order)s
"""  # noqa: S608 - made of constants


def _whole_of(order: Order) -> Whole:
    """This order as it is here, the others as they are stored."""
    ((others, left, value),) = run(OTHERS, {"order": order.pk, "intent": order.intent_id})
    return Whole(left + order.quantity - order.filled_quantity, value + order.fill_value_paise, others > 0)


def _find(account_id: int, fact: FillFact) -> Order | None:
    """By its number, else by our tag where the number is not known yet."""
    order = Order.objects.lock_named(account_id=account_id, number=fact.broker_order_id, tag=fact.client_order_id)
    return order if order is not None and order.broker_order_id in (None, fact.broker_order_id) else None


def _park(account_id: int, key: str, fact: FillFact) -> None:
    """Before the acknowledgement, or of an order placed elsewhere: keep it by the broker's number."""
    plain = {
        "broker_order_id": fact.broker_order_id, "broker_trade_id": fact.broker_trade_id, "symbol": fact.symbol,
        "side": fact.side.value, "quantity": fact.quantity, "price": str(fact.price),
        "filled_at": fact.filled_at.isoformat(), "client_order_id": fact.client_order_id,
    }  # fmt: skip
    ParkedFill.objects.get_or_create(
        execution_key=key,
        defaults={
            "account_id": account_id, "broker_order_id": fact.broker_order_id, "fact": plain,
            "received_at": timezone.now(),
        },
    )  # fmt: skip
    crashpoint("fills.parked")


def drain_parked(order: Order) -> int:
    """Book the fills that waited for this order, which is locked and knows its broker number."""
    if not run(WAITING, {"account": order.account_id, "number": order.broker_order_id}):
        return 0
    waiting = ParkedFill.objects.select_for_update().filter(
        account_id=order.account_id, broker_order_id=order.broker_order_id, drained_at=None
    )
    drained = 0
    for parked in waiting.order_by("pk"):
        plain = parked.fact
        fact = FillFact(
            broker_order_id=plain["broker_order_id"], broker_trade_id=plain["broker_trade_id"], symbol=plain["symbol"],
            side=Side(plain["side"]), quantity=plain["quantity"], price=Decimal(plain["price"]),
            filled_at=datetime.fromisoformat(plain["filled_at"]), client_order_id=plain["client_order_id"],
        )  # fmt: skip
        if not Fill.objects.filter(execution_key=parked.execution_key).exists():
            _apply(order, parked.execution_key, fact, "PARKED")
        parked.drained_at = timezone.now()
        parked.save(update_fields=["drained_at"])
        drained += 1
    return drained


def _dispute(order: Order, known: tuple[int, Decimal], fact: FillFact, source: str) -> None:
    note(order, "fill.disputed", source=source, applied=False, trade=fact.broker_trade_id,
         booked=f"{known[0]} at {known[1]}", now_said=f"{fact.quantity} at {fact.price}")  # fmt: skip
    Group.objects.filter(pk=order.group_id).update(quarantined=True)
    raise_alert(
        "FILL_DISPUTED", f"{order.instrument.ticker}: trade {fact.broker_trade_id} is reported in two versions.",
        level=Level.SEVERE, owner_id=order.portfolio.owner_id, about=f"{order.pk}:{fact.broker_trade_id}",
        next_step="Compare with the broker's trade book.",
    )  # fmt: skip
