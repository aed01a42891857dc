"""Both sides of an account laid side by side when everything has come to rest: what does not agree, in words."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from django.db.models import Sum

from execution.models import (
    Fill,
    FillBust,
    Group,
    Intent,
    Leg,
    OffsetLine,
    OffsetPlan,
    Order,
    OrderEvent,
    ParentOrder,
    ParkedFill,
    PartExit,
)
from risk.models import Reservation, RiskBucket
from risk.reserve import OF_THE_DAY
from strategies.models import Signal
from trading.domain.orders import Reason, Side
from trading.portfolio.ledger import Account, balance
from trading.portfolio.models import ClosedTrade, LedgerTransaction, Portfolio, Position


def disagreements(portfolio: Portfolio, truth: Mapping[str, Any], *, by_hand: bool = False) -> list[str]:
    """Nothing where no order was doubled, no fill lost, nothing is stuck, and every sum is the same on both sides."""
    orders = list(Order.objects.filter(portfolio=portfolio).select_related("intent__leg__pyramid", "intent__part"))
    fills = list(Fill.objects.filter(order__portfolio=portfolio, bust=None).select_related("order"))
    found = [*_doubled(orders, truth), *_lost(fills, truth), *_stuck(portfolio, orders)]
    found += [*_sums(portfolio, orders, fills, truth), *_room(portfolio)]
    if truth["most_sold_beyond"] and not by_hand:
        found.append(f"on sale beyond what was held: {truth['most_sold_beyond']}")
    return found


def _doubled(orders: list[Order], truth: Mapping[str, Any]) -> list[str]:
    """At most one order at the broker for an intent: an intent has one row, and a row one tag."""
    placed = Counter(request.client_order_id for request in truth["requests"])
    known = {order.client_order_id for order in orders}
    found = [f"{count} broker orders carry the tag {tag}" for tag, count in placed.items() if count > 1]
    found += [f"a broker order carries the tag {tag}, which no row knows" for tag in placed.keys() - known]
    entries = [order for order in orders if order.reason == "ENTRY"]
    single = {
        order.intent_id: order.instrument_id for order in entries
        if order.intent.leg is None and order.intent.parent_id is None
    }  # fmt: skip
    for parent in ParentOrder.objects.filter(pk__in={order.intent.parent_id for order in entries}):
        filled = sum(order.filled_quantity for order in entries if order.intent.parent_id == parent.pk)
        if filled > parent.quantity:
            found.append(f"{filled} filled of a large order of {parent.quantity}")
    if len(single) > len(set(single.values())):
        found.append(f"{len(single)} entries of one wish")
    whole = Counter[Intent]()
    for order in orders:
        if order.trigger_price is None:  # a stop is made as large as what is held
            whole[order.intent] += order.quantity
    found += [f"{sent} units of {intent} were sent, {intent.allowed_quantity} allowed" for intent, sent in whole.items()
              if sent > intent.allowed_quantity]  # fmt: skip
    legs = Counter[Leg]()
    for order in entries:
        if order.intent.leg is not None:
            legs[order.intent.leg] += order.quantity
    found += [f"{sent} units of {leg} were sent, {leg.quantity} were meant" for leg, sent in legs.items()
              if sent > leg.quantity]  # fmt: skip
    parts, raced = Counter[PartExit](), _filled_when_taken_back(orders)
    for order in orders:
        # What was taken back may trade all the same, before the cancel comes: it is no part of what was meant after
        # that. Parts of a plan are measured by its lines.
        if order.intent.part is not None and order.intent.part.reason != Reason.OFFSET:
            parts[order.intent.part] += order.filled_quantity - raced[order.pk]
    found += [f"{closed} units of {part} were closed, {part.quantity} were meant" for part, closed in parts.items()
              if closed > part.quantity]  # fmt: skip
    return found


def _filled_when_taken_back(orders: list[Order]) -> Counter[int]:
    """Of each order the units that were told to have traded after its cancel was asked for."""
    found, asked = Counter[int](), set[int]()
    told = OrderEvent.objects.filter(order__in=orders, kind__in=["cancel.asked", "order.filled"], applied=True)
    for order_id, kind, detail in told.order_by("order", "seq").values_list("order_id", "kind", "detail"):
        if kind == "cancel.asked":
            asked.add(order_id)
        elif order_id in asked:
            found[order_id] += int(detail["quantity"])
    return found


def _lost(fills: list[Fill], truth: Mapping[str, Any]) -> list[str]:
    said = Counter((f.broker_order_id, f.broker_trade_id, f.quantity, f.price) for f in truth["facts"])
    booked = Counter((f.order.broker_order_id, f.broker_trade_id, f.quantity, f.price) for f in fills)
    found = [f"fill {key} was lost" for key in said - booked]
    found += [f"fill {key} was booked and never happened, or twice" for key in booked - said]
    return found


def _stuck(portfolio: Portfolio, orders: list[Order]) -> list[str]:
    found = [f"order {order.pk} is stuck in {order.state}" for order in orders if not order.is_final]
    found += [
        f"order {order.pk} is still asked to {order.pending_op}" for order in orders if order.pending_op != "NONE"
    ]
    for group in Group.objects.filter(portfolio=portfolio).exclude(state=Group.State.CLOSED):
        found.append(f"trade {group.pk} is stuck in {group.state}")
    for plan in OffsetPlan.objects.filter(portfolio=portfolio, state__in=OffsetPlan.LIVE):
        found.append(f"{plan} is stuck")
    for signal in Signal.objects.filter(portfolio=portfolio, state__in=[Signal.State.NEW, Signal.State.QUEUED]):
        found.append(f"signal {signal.pk} was never decided")
    for intent in Intent.objects.filter(portfolio=portfolio, state=Intent.State.WAITING):
        found.append(f"intent {intent.pk} waits for nobody")
    for fill in Fill.objects.filter(order__portfolio=portfolio, bust=None, synthetic=True):
        found.append(f"{fill} still stands in for trades that were told")
    for parked in ParkedFill.objects.filter(account=portfolio.account, drained_at=None):
        found.append(f"fill {parked.execution_key} is parked")
    return found + _paid(portfolio)


def _paid(portfolio: Portfolio) -> list[str]:
    """Of every plan in which winners pay, no more was sold than was planned, and its loser went after they had paid."""
    found = []
    for line in OffsetLine.objects.filter(plan__portfolio=portfolio).select_related("plan", "part"):
        sold = Fill.objects.filter(order__intent__part=line.part_id).aggregate(sold=Sum("quantity"))["sold"] or 0
        if line.part_id is not None and sold > line.quantity:
            found.append(f"{sold} of {line} were sold")
    for plan in OffsetPlan.objects.filter(portfolio=portfolio, state=OffsetPlan.State.DONE):
        if plan.lines.exclude(state__in=[OffsetLine.State.DONE, OffsetLine.State.ELSEWISE]).exists():
            found.append(f"{plan}, and not all of it was closed")
    return found


def _sums(portfolio: Portfolio, orders: list[Order], fills: list[Fill], truth: Mapping[str, Any]) -> list[str]:
    found = []
    held = sum(Position.objects.filter(portfolio=portfolio).values_list("net_quantity", flat=True))
    booked = sum(Side(fill.order.side).sign * fill.quantity for fill in fills)
    if not held == booked == truth["net"]:
        found.append(f"held {held}, sum of fills {booked}, broker {truth['net']}")
    if truth["net"]:
        found.append(f"not flat at the broker: {truth['net']}")
    for order in orders:
        own = [fill for fill in fills if fill.order_id == order.pk]
        quantity, value = sum(fill.quantity for fill in own), sum(fill.value_paise for fill in own)
        if (order.filled_quantity, order.fill_value_paise) != (quantity, value):
            found.append(f"order {order.pk} says {order.filled_quantity} filled, its fills {quantity}")
        if order.filled_quantity > order.quantity:
            found.append(f"order {order.pk} is filled beyond its size")
    paid = sum(Side(fill.order.side).sign * fill.value_paise for fill in fills)
    charges = sum(order.charges_paise for order in orders)
    cash = balance(portfolio.pk, Account.CASH)
    if cash != portfolio.opening_cash_paise - paid - charges:
        found.append(f"cash is off by {cash - portfolio.opening_cash_paise + paid + charges} paise")
    if total := sum(balance(portfolio.pk, account) for account in Account.values):
        found.append(f"the ledger is off by {total} paise")
    posted = LedgerTransaction.objects.filter(portfolio=portfolio, kind="FILL").count()
    reversed_ = FillBust.objects.filter(fill__order__portfolio=portfolio).count()
    if posted != len(fills) + 2 * reversed_:  # what stood in was posted, and posted back
        found.append(f"{posted} fills posted, {len(fills)} booked, {reversed_} reversed")
    traded = {order.group_id for order in orders if order.filled_quantity}
    pages = set(ClosedTrade.objects.filter(portfolio=portfolio).values_list("group_ref", flat=True))
    if traded != pages:
        found.append(f"{len(traded)} trades traded, {len(pages)} are in the journal")
    return found


def _room(portfolio: Portfolio) -> list[str]:
    """Buckets equal what is reserved and used, and at rest nothing but what the day counts is left in them."""
    found = []
    of_the_day = Counter[str]()
    for bucket in RiskBucket.objects.filter(portfolio=portfolio):
        active = Reservation.objects.filter(bucket=bucket, released_at=None)
        sums = active.aggregate(amount=Sum("amount"), used=Sum("used"))
        held = (sums["amount"] or 0, sums["used"] or 0)
        if (bucket.reserved, bucket.used) != held:
            found.append(f"{bucket.key} says {bucket.reserved} and {bucket.used}, its reservations {held}")
        if bucket.kind in OF_THE_DAY:
            of_the_day[bucket.kind] += bucket.taken
        elif bucket.taken:
            found.append(f"{bucket.key} still holds {bucket.taken}")
    entered = list(Order.objects.filter(portfolio=portfolio, reason="ENTRY", filled_quantity__gt=0).select_related(
        "intent__leg__pyramid"))  # fmt: skip
    begun = {o.intent.parent_id or o.intent_id for o in entered if o.intent.leg is None
             or (o.intent.leg.index, o.intent.leg.pyramid.index) == (0, 0)}  # fmt: skip
    traded = (len(begun), sum(order.fill_value_paise for order in entered))
    if (counted := (of_the_day[RiskBucket.Kind.TRADES], of_the_day[RiskBucket.Kind.DAY])) != traded:
        found.append(f"the day counts {counted} entries and paise, {traded} traded")
    return found
