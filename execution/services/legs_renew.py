"""What a ladder left unfilled when its day ended is asked for again on the next."""

from datetime import datetime, timedelta

from django.utils import timezone

from execution.models import Group, Leg, Order
from execution.services.leg_send import leg_send
from execution.states import OrderState
from trading.domain.orders import Side
from trading.marketdata.models import CorporateAction, Feed
from trading.marketdata.quotes import last_quote
from trading.marketdata.sessions import session_at
from trading.monitoring.alerts import Level, raise_alert
from trading.venue.sessions import exchange_date

STAMPED_WHEN_PLACED = timedelta(minutes=1)


def legs_renew(group: Group, orders: list[Order], now: datetime) -> None:
    """Orders are good for a day: what rested below and did not fill rests again on the next, at the price it had.

    Not before a price is known, and not where the market opened beyond the stop: the stop goes first. Where the share
    was split or the like since the trade was opened, the plan's prices are those of another paper: its legs are over.
    """
    today, wall = exchange_date(now), timezone.now()
    for leg, own in _ended(group, orders):
        if exchange_date(own[-1].placed_at) >= today or (leg.retry_at is not None and leg.retry_at > wall):
            continue
        if leg.blocked_code and leg.retry_at is None:
            continue
        quote = last_quote(group.portfolio.account.feed, group.instrument.symbol)
        if quote is None or exchange_date(quote.traded_at) != today:
            return
        side = Side(group.side)
        if group.stop_price is not None and (quote.last_price - group.stop_price) * side.sign <= 0:
            return
        step = _step_since(group, now)
        if step is not None:
            _end_legs(group, step)
            return
        leg_send(leg=leg, group=group, actor="ladder", now=now, left=leg.quantity - _filled(own))


def _ended(group: Group, orders: list[Order]) -> list[tuple[Leg, list[Order]]]:
    """Legs that rested, with their orders, whose day ended before all of it was filled."""
    legs: dict[int, list[Order]] = {}
    for order in orders:
        if order.intent.leg is not None and order.intent.leg.index > 0:
            legs.setdefault(order.intent.leg.pk, []).append(order)
    found = []
    for own in legs.values():
        leg, last = own[-1].intent.leg, own[-1].intent_id
        assert leg is not None
        expired = any(_ended_with_its_day(group, order) for order in own if order.intent_id == last)
        if expired and all(order.is_final for order in own) and _filled(own) < leg.quantity:
            found.append((leg, own))
    return found


def _ended_with_its_day(group: Group, order: Order) -> bool:
    """Some brokers say EXPIRED of what a day's end took away, others CANCELLED. Cancelled by us, or by a person in the
    broker's app while the market was open, it was not wanted any more."""
    if order.state != OrderState.CANCELLED or order.cancel_asked_at is not None:
        return order.state == OrderState.EXPIRED
    feed = Feed.objects.get(name=group.portfolio.account.feed)
    session, ended_at = session_at(feed, group.instrument, order.placed_at), _ended_at(order, feed)
    return session is not None and ended_at is not None and ended_at >= session.closes_at


def _ended_at(order: Order, feed: Feed) -> datetime | None:
    """When it was cancelled: by the broker's stamp, unless that is the one of its placing; else, in the real market,
    when we heard of it. None: nobody knows."""
    stamp = order.broker_updated_at
    if stamp is not None and stamp - order.placed_at > STAMPED_WHEN_PLACED:
        return stamp
    return order.done_at if feed.kind == Feed.Kind.EXCHANGE else None


def _filled(own: list[Order]) -> int:
    return sum(order.filled_quantity for order in own)


def _step_since(group: Group, now: datetime) -> CorporateAction | None:
    """A split or the like between the trade's first day and today, dismissed ones apart."""
    began = exchange_date(group.opened_at or group.created_at)
    found = CorporateAction.objects.filter(
        instrument=group.instrument_id, ex_date__gt=began, ex_date__lte=exchange_date(now)
    )
    return found.exclude(state=CorporateAction.State.DISMISSED).order_by("-ex_date").first()


def _end_legs(group: Group, step: CorporateAction) -> None:
    said = f"{step.get_kind_display().capitalize()} on {step.ex_date}: its price is that of the paper before."
    Leg.objects.filter(pyramid__group=group, index__gt=0).exclude(blocked_code="CORPORATE_ACTION").update(
        blocked_code="CORPORATE_ACTION", blocked=said[:240], retry_at=None
    )
    raise_alert(
        "LADDER_CUT", f"{group.instrument.ticker}: {step.get_kind_display()} on {step.ex_date}, so its ladder ends.",
        level=Level.WARNING, owner_id=group.portfolio.owner_id, about=str(group.pk),
        next_step="Look at its stop and its targets: they are prices of the paper before.",
    )  # fmt: skip
