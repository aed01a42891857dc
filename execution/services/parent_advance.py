"""The next step of a large order: its children let out in their turn, and its end told. Looks at the rows, does one
thing, and may be killed and repeated at any line: a child and the turn that it took are one transaction."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import transaction
from django.utils import timezone

from execution.kill_scopes import keys_of
from execution.models import EngineLease, Group, Intent, Order, ParentOrder
from execution.services.intent_create import intent_create
from execution.services.intent_judge import Wish
from execution.services.leg_send import PASSING
from execution.services.order_cancel import order_cancel
from execution.states import OrderState
from risk.kill_switch import kill_state
from strategies.tactics.chase import mid_price
from strategies.tactics.slices import next_tip, spread_evenly
from trading.audit.record import record
from trading.domain.crashpoint import crashpoint
from trading.domain.errors import NotFound
from trading.domain.money import to_tick
from trading.domain.orders import OrderType, Product, Reason, Side
from trading.marketdata.quotes import last_quote
from trading.monitoring.alerts import Level, raise_alert
from trading.outbox import after_commit
from trading.realtime.publish import publish

Style, State = ParentOrder.Style, ParentOrder.State
TRY_AGAIN_AFTER = timedelta(seconds=30)
"""Market time between two tries of a child that was held back by what may pass."""
FRESH_S = 5


def parents_advance(group: Group, orders: list[Order], waiting: bool, now: datetime) -> bool:
    """One step of every large order of a locked trade; whether more of them may follow, so that it is not over yet."""
    if orders and not any(order.intent.parent_id for order in orders):
        return False
    parents = ParentOrder.objects.select_for_update(of=("self",)).filter(group=group, state=State.LIVE)
    working = False
    for parent in parents.select_related("portfolio__account", "instrument").order_by("pk"):
        own = [order for order in orders if order.intent.parent_id == parent.pk]
        working |= _step(parent, group, own, waiting=waiting, now=now)
    return working


@transaction.atomic
def parent_withdraw(*, parent_id: int, actor: str, now: datetime) -> bool:
    """Take back what is not filled of a large order. True when newly asked; what is filled stays, and protected."""
    found = ParentOrder.objects.filter(pk=parent_id).first()
    if found is None:
        raise NotFound("UNKNOWN_ORDER", "There is no such order.")
    if found.group_id is None:
        return False  # it was refused
    group = Group.objects.select_for_update(of=("self",)).select_related("portfolio").get(pk=found.group_id)
    parent = ParentOrder.objects.select_for_update(of=("self",)).get(pk=parent_id)
    if not parent.is_live or parent.code:
        return False
    _end(parent, "WITHDRAWN", f"Withdrawn by {actor}.")
    for order in Order.objects.live().filter(intent__parent=parent):
        order_cancel(order_id=order.pk, actor=actor, now=now)
    record("parent_order.withdrawn", actor=actor, owner_id=group.portfolio.owner_id, subject=str(parent.pk))
    after_commit("engine.group", account_id=group.portfolio.account_id, group_id=str(group.pk))
    return True


def _step(parent: ParentOrder, group: Group, own: list[Order], *, waiting: bool, now: datetime) -> bool:
    filled = sum(order.filled_quantity for order in own)
    # A part that was proved absent may turn up all the same: its units are not let out a second time.
    spoken_for = filled + sum(order.remaining_quantity for order in own if order.state == OrderState.NOT_PLACED)
    live = [order for order in own if not order.is_final]
    if not parent.code and filled < parent.quantity:
        why = _why_it_ends(parent, group, now)
        if spoken_for >= parent.quantity:
            why = "NOT_PLACED", "What never showed in the broker's book is not sent a second time."
        if why is not None:
            _end(parent, *why)
    if parent.code:
        for order in live:
            order_cancel(order_id=order.pk, actor=f"large order {parent.pk}: {parent.said}"[:150], now=now)
    if (parent.code or filled >= parent.quantity) and not live:
        _finish(parent, group, filled)
        return False
    if not parent.code and not waiting:
        _let_out(parent, group, live, filled, parent.quantity - spoken_for, now)
    return True


def _why_it_ends(parent: ParentOrder, group: Group, now: datetime) -> tuple[str, str] | None:
    """Code and sentence where no further child may follow; None: it goes on."""
    if group.close_reason:
        return "TRADE_ENDS", f"Its trade is on its way out: {group.close_reason.replace('_', ' ').lower()}."
    if group.quarantined:
        return "QUARANTINED", "Its trade is in quarantine."
    if kill_state(keys_of(parent.portfolio, parent.instrument_id, group.signal)).level > 0:
        return "KILL_SWITCH", "A kill switch was pulled; what it kept out does not come in by itself."
    if now >= parent.ends_at:
        return "TIME", "Its time is over."
    return None


def _let_out(
    parent: ParentOrder, group: Group, live: list[Order], filled: int, left: int, now: datetime
) -> None:  # fmt: skip
    if parent.next_at is not None and now < parent.next_at:
        return
    if live:  # one part at a time: the next tip when the last has filled, the next turn when the last is gone
        for order in live if parent.style == Style.TWAP else ():
            order_cancel(order_id=order.pk, actor="its turn is over", now=now)
        return
    if EngineLease.objects.filter(account_id=parent.portfolio.account_id).exclude(paused_by="").exists():
        _wait(parent, "The engine is paused.", now)
        return
    wish = Wish(
        source=parent.source, reason=Reason.ENTRY, dedupe_key="", actor=parent.actor, instrument=parent.instrument,
        side=Side(parent.side), quantity=left, order_type=OrderType.LIMIT, product=Product(parent.product),
        limit_price=parent.limit_price, stop_price=group.stop_price, target_price=None, group=group, parent=parent,
        adds=filled > 0,  # what came to nothing has given its place among the day's trades back
    )  # fmt: skip
    intent = release(parent, wish, left=left, now=now)
    if intent is not None and intent.state == Intent.State.REFUSED:
        if intent.refusal_code in PASSING:
            _wait(parent, f"{intent.refusal_code}: {intent.refusal}", now)
        else:
            _end(parent, intent.refusal_code, intent.refusal)


def release(parent: ParentOrder, wish: Wish, *, left: int, now: datetime) -> Intent | None:
    """Ask risk for the part of one turn; the exchange's freeze quantity may make several orders of it. None: there is
    no price to set it by, and it waits. `wish` says all but quantity, price and key."""
    quantity, price = _size(parent, left, now), parent.limit_price
    if parent.style == Style.TWAP:
        market = _price_now(parent)
        if market is None:
            _wait(parent, "There is no fresh price to set it by.", now)
            return None
        price = market
    intent = intent_create(
        portfolio=parent.portfolio,
        wish=replace(wish, dedupe_key=f"parent:{parent.pk}:{parent.turns}", quantity=quantity, limit_price=price),
        now=now,
    )
    crashpoint("parent.child_asked")
    parent.turns += 1
    parent.next_at, parent.waits = _next_turn(parent, now), ""
    parent.save(update_fields=["turns", "next_at", "waits"])
    return intent


def _size(parent: ParentOrder, left: int, now: datetime) -> int:
    lot = parent.instrument.lot_size
    if parent.style == Style.ICEBERG:
        return next_tip(left, parent.visible_quantity, lot)
    return spread_evenly(left, parent.slices - _turn(parent, now), lot)


def _turn(parent: ParentOrder, now: datetime) -> int:
    """Which turn of a TWAP it is now, from 0; the last one from its beginning to the end."""
    passed = int((now - parent.starts_at).total_seconds() / parent.slice_s)
    return min(max(0, passed), parent.slices - 1)


def _next_turn(parent: ParentOrder, now: datetime) -> datetime | None:
    if parent.style == Style.ICEBERG:
        return None
    return parent.starts_at + timedelta(seconds=parent.slice_s * (_turn(parent, now) + 1))


def _price_now(parent: ParentOrder) -> Decimal | None:
    """The mid on the passive side of the tick, no further than the parent's limit; None where no price is fresh."""
    quote = last_quote(parent.portfolio.account.feed, parent.instrument.symbol)
    if quote is None or quote.age_s >= FRESH_S or quote.is_stale or quote.indicative:
        return None
    side, tick = Side(parent.side), parent.instrument.tick_size
    price = to_tick(mid_price(bid=quote.bid, ask=quote.ask, last=quote.last_price), tick=tick, side=side)
    return min(price, parent.limit_price) if side is Side.BUY else max(price, parent.limit_price)


def _wait(parent: ParentOrder, why: str, now: datetime) -> None:
    parent.waits, parent.next_at = why[:240], now + TRY_AGAIN_AFTER
    parent.save(update_fields=["waits", "next_at"])


def _end(parent: ParentOrder, code: str, said: str) -> None:
    parent.code, parent.said, parent.waits = code[:40], said[:240], ""
    parent.save(update_fields=["code", "said", "waits"])


def _finish(parent: ParentOrder, group: Group, filled: int) -> None:
    """Nothing of it works any more: what it came to, and what is missing told to its owner."""
    whole = filled >= parent.quantity
    parent.state, parent.ended_at = (State.DONE if whole else State.SHORT), timezone.now()
    if whole:
        parent.code = parent.said = ""
    parent.next_at, parent.waits = None, ""
    parent.save()
    publish(parent.portfolio.owner_id, "order", parent=parent.pk)
    if not whole:
        raise_alert(
            "LARGE_ORDER_SHORT",
            f"{parent.instrument.ticker}: {filled} of {parent.quantity} filled, the rest was not bought or sold."
            f" {parent.said}"[:240],
            level=Level.WARNING, owner_id=parent.portfolio.owner_id, about=f"parent {parent.pk}",
            next_step="Read the large order: what is filled is protected like any position.",
        )  # fmt: skip


def filled_by_parent(parents: Iterable[ParentOrder]) -> dict[int, tuple[int, int, int]]:
    """Of each: units filled, units at work, and what was paid in paise. One query."""
    found: dict[int, tuple[int, int, int]] = {}
    for order in Order.objects.filter(intent__parent__in=[one.pk for one in parents]).select_related("intent"):
        filled, works, paid = found.get(order.intent.parent_id or 0, (0, 0, 0))
        works += 0 if order.is_final else order.remaining_quantity
        found[order.intent.parent_id or 0] = (filled + order.filled_quantity, works, paid + order.fill_value_paise)
    return found
