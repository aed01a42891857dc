"""Parts of a trade on their way out: what of them works at the broker, what is wanted beside it, and the sending.

A part is sent when the stop at the broker has become smaller by as much, and not before: all exits that work, of
whatever kind, never exceed what is held.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from execution.models import Fill, Group, Order, PartExit
from execution.services.order_cancel import order_cancel
from execution.services.trade_orders import FAILED, band_today, never_left, protected_limit, protects, send
from execution.states import AT_EXCHANGE
from trading.domain.crashpoint import crashpoint
from trading.domain.orders import OrderType, Reason, Side
from trading.monitoring.alerts import Level, raise_alert

State = PartExit.State
PATIENCE_S = 6
"""Wall seconds a part may rest unfilled before it is priced anew; one that is meant to rest has no such limit."""
WATCHED_PATIENCE_S = 15
"""The same for a take-profit that was watched: then it waits for its price again."""
AGAIN_AFTER_REFUSALS = timedelta(seconds=30)
REFUSED = 3


@dataclass(frozen=True, slots=True)
class PartWork:
    """One part that was asked for: units closed so far, its orders that work, and units still to be sent."""

    part: PartExit
    orders: tuple[Order, ...]
    done: int
    works: int
    wanted: int


@dataclass(frozen=True, slots=True)
class Parts:
    work: tuple[PartWork, ...]
    stops: int  # units that stops at the broker may sell, as large as each of them may be
    working: int  # units of exits that work and are no stops
    wanted: int  # units that are still to be sent


def parts_of(group: Group, orders: list[Order]) -> Parts:
    """What is closed early of a locked trade, by its rows and orders."""
    asked = list(PartExit.objects.filter(group=group, state=State.ASKED).select_related("leg", "pyramid"))
    work = []
    # A take-profit that rests makes room for what must go: it comes last, and as large as what is left.
    for part in sorted(asked, key=_rests):
        own = tuple(order for order in orders if order.intent.part_id == part.pk)
        done = sum(order.filled_quantity for order in own)
        works = sum(order.remaining_quantity for order in own if not order.is_final)
        wanted = 0 if _waits_again(part, own) else max(0, part.quantity - done - works)
        work.append(PartWork(part, own, done, works, wanted))
    exits = [order for order in orders if not order.is_final and order.reason != Reason.ENTRY]
    stops = sum(
        max(order.quantity, order.pending_quantity or 0) - order.filled_quantity for order in exits if protects(order)
    )
    working = sum(order.remaining_quantity for order in exits if not protects(order))
    return Parts(tuple(work), stops, working, sum(one.wanted for one in work))


def _waits_again(part: PartExit, own: tuple[Order, ...]) -> bool:
    """A watched part whose order of this asking has ended: the price decides anew."""
    if part.trigger_price is None or part.asked_at is None or not own or not all(order.is_final for order in own):
        return False
    return own[-1].created_at >= part.asked_at


def send_parts(group: Group, parts: Parts, held: int, now: datetime) -> None:
    """One step of every part that was asked for."""
    free = held - parts.working - parts.stops
    _make_room(parts, free, now)
    for one in parts.work:
        part = one.part
        if one.done >= part.quantity and not one.works:
            _end(part, State.DONE)
        elif _waits_again(part, one.orders):
            PartExit.objects.filter(pk=part.pk, state=State.ASKED).update(state=State.WAITING)
        else:
            _look_after(one, now)
            quantity = min(one.wanted, free)
            # All of it or, where less is held than was asked for, all that is held: never piece by piece.
            whole = quantity == one.wanted or parts.stops == 0
            if quantity > 0 and whole and _may_send(group, one) and _can_rest(group, part, now):
                _send(group, one, quantity, now)
                free -= quantity


def _make_room(parts: Parts, free: int, now: datetime) -> None:
    """What rests for a profit goes where it leaves no room for a part that is to be closed now."""
    asked = sum(one.wanted for one in parts.work if not _rests(one.part))
    going = 0
    for one in reversed(parts.work):
        for order in one.orders:
            if not _rests(one.part) or order.is_final:
                continue
            if free + going >= asked:
                return
            if order.state in AT_EXCHANGE:
                order_cancel(order_id=order.pk, actor="room for another part", now=now)
                going += order.remaining_quantity


def _rests(part: PartExit) -> bool:
    return part.rests and part.reason == Reason.TARGET


def _look_after(one: PartWork, now: datetime) -> None:
    """Cancel what is too much, at another price than is asked for by now, or has rested too long."""
    part = one.part
    too_much = one.done + one.works > part.quantity
    for order in one.orders:
        if order.is_final or order.state not in AT_EXCHANGE:
            continue
        age = (timezone.now() - (order.acked_at or order.created_at)).total_seconds()
        if too_much:
            order_cancel(order_id=order.pk, actor="less is to be closed", now=now)
        elif part.limit_price is not None and order.limit_price != part.limit_price:
            order_cancel(order_id=order.pk, actor="another price", now=now)
        elif not part.rests and age > (PATIENCE_S if part.trigger_price is None else WATCHED_PATIENCE_S):
            order_cancel(order_id=order.pk, actor="a new price", now=now)


def _may_send(group: Group, one: PartWork) -> bool:
    refused = 0
    for order in reversed(one.orders):
        if order.state not in FAILED:
            break
        refused += 1
    if not refused:
        return True
    if never_left(one.orders[-1]):
        return timezone.now() - one.orders[-1].created_at > timedelta(seconds=2)
    if refused < REFUSED:
        return True
    raise_alert(
        "PART_REFUSED", f"{group.instrument.ticker}: the broker refused to close a part {refused} times.",
        level=Level.SEVERE, owner_id=group.portfolio.owner_id, about=str(one.part.pk),
        next_step="Close it by hand, or in the broker's app.",
    )  # fmt: skip
    return timezone.now() - one.orders[-1].created_at > AGAIN_AFTER_REFUSALS


def _can_rest(group: Group, part: PartExit, now: datetime) -> bool:
    """Beyond the day's band no order may wait: such a take-profit is sent on the day, or at the hour, whose band
    reaches it. Until then the market cannot trade there either."""
    if not part.rests or part.limit_price is None:
        return True
    band = band_today(group, now)
    return band is None or band[0] <= part.limit_price <= band[1]


def _send(group: Group, one: PartWork, quantity: int, now: datetime) -> None:
    part, side = one.part, Side(group.side).opposite
    limit = part.limit_price
    if limit is None:
        limit = protected_limit(group, side, tries=len(one.orders))
    crashpoint("parts.sized")
    send(
        group, reason=Reason(part.reason), side=side, quantity=quantity, key=f"part:{part.pk}",
        order_type=OrderType.LIMIT if limit else OrderType.MARKET, limit_price=limit, now=now, part=part,
        lots=_lots_of(part),
    )  # fmt: skip
    crashpoint("parts.queued")


def _lots_of(part: PartExit) -> set[str]:
    """The fills of its own leg or pyramid, which it gives up before others."""
    fills = Fill.objects.filter(order__group=part.group_id, bust=None)
    if part.leg_id is not None:
        fills = fills.filter(order__intent__leg=part.leg_id)
    elif part.pyramid_id is not None:
        fills = fills.filter(order__intent__leg__pyramid=part.pyramid_id)
    else:
        return set()
    return set(fills.values_list("execution_key", flat=True))


def _end(part: PartExit, state: str) -> None:
    PartExit.objects.filter(pk=part.pk).exclude(state=state).update(state=state, done_at=timezone.now())
