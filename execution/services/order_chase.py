"""An entry that does not fill follows the market: re-priced to the mid a few times, never beyond what its plan
tolerates, then given up. Each look is a row, so that a restart goes on counting where it was."""

from datetime import datetime, timedelta
from decimal import Decimal

from django.utils import timezone

from execution.engine_settings import settings_of
from execution.kill_scopes import keys_of
from execution.models import ChaseStep, EngineLease, Group, Order, ParentOrder
from execution.services.intent_judge import judge_again
from execution.services.order_cancel import order_cancel
from execution.services.order_room import hold_room
from execution.services.trade_orders import ask_change, market_open
from execution.states import AT_EXCHANGE, PendingOp
from risk.gates import CHASE_GATES
from risk.gates.finding import Outcome
from risk.kill_switch import kill_state
from strategies.models import Signal
from strategies.tactics.chase import ChaseRules, chased_price, mid_price
from trading.domain.crashpoint import crashpoint
from trading.domain.errors import NotAllowed
from trading.domain.money import to_tick
from trading.domain.orders import OrderType, Reason, Side
from trading.marketdata.quotes import Quote, last_quote
from trading.outbox import after_commit

ENTRY_PATIENCE = timedelta(minutes=5)
"""Market time an entry may rest unfilled that follows nothing: the limit of a hand is the limit of a hand."""
FRESH_S = 5


def order_chase(*, order: Order, group: Group, now: datetime) -> bool:
    """Look after an entry that rests: re-price it, leave it, or give it up. Its trade is locked; `now` is venue time.

    True where something was asked of the broker. One change at a time: while one is unconfirmed nothing follows it.
    """
    if order.reason != Reason.ENTRY or order.state not in AT_EXCHANGE or order.pending_op != PendingOp.NONE:
        return False
    parent = order.intent.parent
    if parent is not None and (parent.style == ParentOrder.Style.ICEBERG or not parent.is_live):
        return not parent.is_live and order_cancel(order_id=order.pk, actor="its large order is over", now=now)
    rules = rules_of(order, group)
    steps = list(ChaseStep.objects.filter(order=order)) if rules else []
    patience = ENTRY_PATIENCE
    if rules is not None:
        since = steps[-1].venue_at if steps else order.placed_at
        waited = now - since >= timedelta(seconds=rules.after_s)
        if waited and len(steps) >= rules.times:
            return order_cancel(order_id=order.pk, actor="patience", now=now)
        if waited and (quote := _price_to_follow(group, now)) is not None:
            return _look(order, group, rules, quote, number=len(steps) + 1, now=now)
        patience = max(patience, timedelta(seconds=rules.after_s * (rules.times + 1)))
    return now - order.placed_at > patience and order_cancel(order_id=order.pk, actor="patience", now=now)


def rules_of(order: Order, group: Group) -> ChaseRules | None:
    """How far and how often this order may follow; None: not at all.

    An idea names the price it was tested at, and the settings say how much worse one may be; an alert may say it
    itself. The child of a large order may go as far as that allows, and crosses the spread at its last look. A further
    order of a ladder is meant to wait, and nobody's hand is led.
    """
    parent = order.intent.parent
    if parent is not None:  # a child has its turn and not more
        looks = max(1, settings_of(group.portfolio_id).chase_times)
        return ChaseRules(max(5, int(parent.slice_s) // (looks + 1)), looks, parent.limit_price, crosses=True)
    signal = _signal_of(order, group)
    if order.order_type != OrderType.LIMIT or signal is None or signal.entry is None:
        return None
    settings = settings_of(group.portfolio_id)
    if not settings.chase_times:
        return None
    share = settings.chase_reach_pct if signal.max_slippage_pct is None else signal.max_slippage_pct
    side, tick = Side(order.side), group.instrument.tick_size
    furthest = to_tick(signal.entry * (1 + side.sign * share / 100), tick=tick, side=side)
    return ChaseRules(settings.chase_after_s, settings.chase_times, furthest)


def _signal_of(order: Order, group: Group) -> Signal | None:
    leg = order.intent.leg
    if leg is not None:
        return leg.pyramid.signal
    return group.signal if order.intent.signal_id is not None else None


def _price_to_follow(group: Group, now: datetime) -> Quote | None:
    """The market, while there is one to follow: open, its price fresh, and entries allowed."""
    account = group.portfolio.account
    quote = last_quote(account.feed, group.instrument.symbol)
    if quote is None or quote.age_s >= FRESH_S or quote.is_stale or quote.indicative or not market_open(group, now):
        return None
    if kill_state(keys_of(group.portfolio, group.instrument_id, group.signal)).level > 0:
        return None
    paused = EngineLease.objects.filter(account=account).exclude(paused_by="").exists()
    return None if paused else quote


def _look(order: Order, group: Group, rules: ChaseRules, quote: Quote, *, number: int, now: datetime) -> bool:
    order = Order.objects.lock(order.pk)
    if order.pending_op != PendingOp.NONE or order.is_final or order.limit_price is None:
        return False
    side = Side(order.side)
    mid = mid_price(bid=quote.bid, ask=quote.ask, last=quote.last_price)
    if rules.crosses and number >= rules.times:  # its last look: there is no later turn of its own
        mid = (quote.ask if side is Side.BUY else quote.bid) or quote.last_price
    price = chased_price(
        side, present=order.limit_price, mid=mid, furthest=rules.furthest, tick=group.instrument.tick_size
    )
    step = ChaseStep(
        order=order, number=number, mid_price=mid.quantize(Decimal("0.0001")), old_price=order.limit_price,
        new_price=order.limit_price, quantity=order.quantity, venue_at=now, created_at=timezone.now(),
    )  # fmt: skip
    if price is None:
        step.code, step.said = "NO_BETTER", f"The mid is {mid:f}, and it may go to {rules.furthest:f} at most."
        step.save()
        return False
    try:
        step.quantity = _allowed(order, price, now=now)
    except NotAllowed as held:
        step.code, step.said = held.code[:40], held.message[:240]
        step.save()
        return False
    step.new_price = price
    step.save()
    crashpoint("chase.step_written")
    smaller = step.quantity if step.quantity != order.quantity else None
    if not ask_change(order, quantity=smaller, limit_price=price):
        return True
    after_commit("engine.group", account_id=order.account_id, group_id=str(order.group_id))
    return True


def _allowed(order: Order, price: Decimal, *, now: datetime) -> int:
    """Units of the order, the filled ones included, that risk allows at a price, their room held from now on.

    Dearer means more at risk for each unit: fewer may be left. NotAllowed with the code of the gate that says no.
    """
    judged = judge_again(
        intent=order.intent, quantity=order.remaining_quantity, limit_price=price, gates=CHASE_GATES, now=now
    )
    last = judged.findings[-1]
    if last.outcome is Outcome.REJECT:
        raise NotAllowed(last.gate, last.message)
    order.pending_limit_price = price
    try:
        hold_room(order, caps=judged.caps)
    finally:
        order.pending_limit_price = None
    return order.filled_quantity + last.quantity
