"""What a trade needs next. Looks at the facts, does one thing, and may be killed and repeated at any line.

Entry fills: a stop at the broker, as large as what is held, at all times. A way out is always: cancel what lives, wait
until the broker says it is gone, size from what is held then, send. So exits never add up to more than the position.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.db import transaction
from django.db.models import prefetch_related_objects
from django.utils import timezone

from execution.models import Group, Order, PartExit
from execution.services.build_up import build_up
from execution.services.contract_parts import keep_contract_parts
from execution.services.group_state import move_group, tell_illegal_move
from execution.services.order_cancel import order_cancel
from execution.services.order_chase import order_chase
from execution.services.order_room import hold_room
from execution.services.outside_share import hand_on
from execution.services.parent_advance import parents_advance
from execution.services.part_send import parts_of, send_parts
from execution.services.trade_orders import (
    FAILED,
    ask_exit,
    band_today,
    bounded,
    market_open,
    move_stop,
    never_left,
    protected_limit,
    protects,
    resize,
    send,
)
from execution.states import AT_EXCHANGE, PendingOp
from risk.reserve import holds_room, release, settle
from trading.domain.crashpoint import crashpoint
from trading.domain.errors import IllegalTransition
from trading.domain.money import to_tick
from trading.domain.orders import OrderType, Product, Reason, Side
from trading.monitoring.alerts import Level, raise_alert
from trading.outbox import after_commit
from trading.portfolio.models import ClosedTrade
from trading.realtime.publish import publish
from trading.statements import Select, run
from trading.venue.sessions import exchange_date

State = Group.State
EXIT_PATIENCE_S = 6
"""Wall seconds an exit may rest unfilled before it is priced anew."""
STOP_BAND = Decimal("0.01")
REFUSED_EXITS = 3
LOCKED = Select(
    Group, "portfolio__account", "instrument", "signal__deployment__version__contract", "ladder",
    where="WHERE t.id = %s FOR UPDATE OF t",
)  # fmt: skip
ITS_ORDERS = Select(
    Order, "instrument", "intent__leg__pyramid", "intent__parent", where="WHERE t.group_id = %s ORDER BY t.id"
)
WAITS = "SELECT 1 FROM execution_intent WHERE group_id = %s AND state = 'WAITING' LIMIT 1"
SEND_AGAIN_AFTER = timedelta(seconds=2)
"""Wall time between two tries of a stop that did not get through."""


def group_advance(*, group_id, now: datetime) -> str:
    """Take the next step of one trade; returns its state. `now` is venue time.

    IllegalTransition, audited, where its facts and its state cannot both be true.
    """
    try:
        return _advance(group_id, now)
    except IllegalTransition as error:
        tell_illegal_move(group_id, error)
        raise


def _advance(group_id, now: datetime) -> str:
    with transaction.atomic():
        group = LOCKED.get([group_id])
        if group.state == State.CLOSED:
            return group.state
        orders = ITS_ORDERS.rows([group_id])
        for order in orders:
            order.group = group
        held = sum(Side(order.side).sign * order.filled_quantity for order in orders) * Side(group.side).sign
        _mark_opened(group, orders, held, now)
        if held < 0 and hand_on(group, orders, -held):
            return group.state
        if held < 0:
            _quarantine(group, held)
        waiting = bool(run(WAITS, [group_id]))
        live = [order for order in orders if not order.is_final]
        follows = parents_advance(group, orders, waiting, now)
        if held and _left_over(group, now):
            return group.state
        if not group.close_reason and (held < 0 or (held == 0 and live and group.state in Group.HELD)):
            # Over: its parts took all of it; or, not by us, it was sold in the broker's app, or by the broker. What
            # still lives of it must go.
            ask_exit(group, *_how_it_ended(orders))
        if held == 0 and not live and not waiting and not follows:
            _close(group, orders, now)
        elif group.close_reason:
            _walk_out(group, live, held, now)
        else:
            _tend(group, orders, live, held, now)
        return group.state


def _how_it_ended(orders: list[Order]) -> tuple[Reason, str]:
    last = next((order for order in reversed(orders) if order.reason != Reason.ENTRY and order.filled_quantity), None)
    if last is not None and last.intent.part_id is not None:
        return Reason(last.reason), "its parts"
    return Reason.SQUARE_OFF, "the broker"


def _mark_opened(group: Group, orders: list[Order], held: int, now: datetime) -> None:
    entries = [order for order in orders if order.reason == Reason.ENTRY]
    stage = _stage(group, entries, held)
    if stage != group.state:
        move_group(group, stage)
        if group.opened_at is None and held > 0:
            prefetch_related_objects(entries, "fills")
            group.opened_at = min((fill.filled_at for order in entries for fill in order.fills.all()), default=now)
        group.save(update_fields=["state", "opened_at"])
        publish(group.portfolio.owner_id, "position", group=str(group.pk), state=group.state)
    for intent_id, children in _by_intent(entries).items():
        live = next((order for order in children if not order.is_final), None)
        if live is not None:
            if len(children) > 1:
                hold_room(live)  # what ended of it without a fill is given back
        elif any(order.filled_quantity for order in children):
            settle(intent_id=intent_id, value_paise=sum(order.fill_value_paise for order in children))
        elif (group.ladder_id is not None or children[0].intent.parent_id is not None) and holds_room(intent_id):
            release(intent_id=intent_id, keep_trades=False)  # its trade goes on without it


def _by_intent(orders: list[Order]) -> dict[UUID, list[Order]]:
    """The orders of each wish: what it holds of the limits it holds for all of them together."""
    children: dict[UUID, list[Order]] = {}
    for order in orders:
        children.setdefault(order.intent_id, []).append(order)
    return children


def _stage(group: Group, entries: list[Order], held: int) -> str:
    """What a trade is by its orders; one that is on its way out stays so, and one that was held is not new again."""
    if group.state not in (State.WAITING, State.LIVE, *Group.HELD):
        return group.state
    works = any(not order.is_final for order in entries)
    if held > 0:
        return State.PARTIAL if works else State.ACTIVE
    left = any(order.sent_at is not None for order in entries)
    return State.LIVE if left and group.state == State.WAITING else group.state


def _tend(group: Group, orders: list[Order], live: list[Order], held: int, now: datetime) -> None:
    """A trade that is to go on: look after an entry that rests, keep the stop as large as the position."""
    for order in live:
        if order.intent.leg is None or order.intent.leg.index == 0:  # a laddered order is meant to wait
            order_chase(order=order, group=group, now=now)
    if not market_open(group, now):
        return
    if group.ladder is not None:
        build_up(group, orders, held, now)
        if group.close_reason:
            return
    if held == 0:
        return
    keep_contract_parts(group, orders)
    parts = parts_of(group, orders)
    protected = max(0, held - parts.working - parts.wanted) if group.stop_price is not None else 0
    _keep_stops(group, orders, live, protected, now)
    send_parts(group, parts, held, now)


def _keep_stops(group: Group, orders: list[Order], live: list[Order], protected: int, now: datetime) -> None:
    """Stops at the broker for exactly `protected` units: all that is held, but for what is being closed by other ways.

    One change at a time, and only where the broker has taken the last: a stop that is larger than we think sells more
    than is held.
    """
    stops = [order for order in live if protects(order)]
    total = sum(order.remaining_quantity for order in stops)
    if not stops and protected:
        last = next((order for order in reversed(orders) if protects(order)), None)
        if last is None or last.state not in FAILED:
            _send_stop(group, protected, now)
        elif not never_left(last):
            # The broker would not take the stop: most likely the price is past it. Then the stop is now.
            ask_exit(group, Reason.STOP, "the stop was refused")
        elif timezone.now() - last.created_at > SEND_AGAIN_AFTER:
            _send_stop(group, protected, now)
        return
    settled = all(order.pending_op == PendingOp.NONE and order.state in AT_EXCHANGE for order in stops)
    if not settled:
        return
    if total == protected:
        _keep_stops_near(group, stops, now)
        return
    if total < protected and group.quarantined:
        protected = total + bounded(group, Side(group.side).opposite, protected - total)
        if total == protected:
            return
    stop = stops[-1]
    others = total - stop.remaining_quantity
    if protected <= others:
        order_cancel(order_id=stop.pk, actor="less is protected by it", now=now)
        return
    freeze = group.instrument.spec.freeze_quantity
    room = protected - others if freeze is None else min(protected - others, freeze - stop.filled_quantity)
    if room > stop.remaining_quantity or protected < total:
        resize(stop, stop.filled_quantity + room)
    else:
        _send_stop(group, protected - total, now)


def _keep_stops_near(group: Group, stops: list[Order], now: datetime) -> None:
    """Move what stands further away than a drawdown has drawn it. One at a time, nearer alone: none is ever widened.
    Of several, one that the broker will not move does not keep the others where they are."""
    if group.resting_stop is None:
        return
    trigger, _ = _stop_prices(group, now)
    side = Side(group.side)
    for stop in stops:
        away = stop.trigger_price is not None and (trigger - stop.trigger_price) * side.sign > 0
        if away and move_stop(stop, trigger):
            return


def _left_over(group: Group, now: datetime) -> bool:
    """An intraday trade of an earlier day, whose end nobody saw: the broker squared it off, at a price unknown to us.

    An order for it would open a position, so none is sent until a person has looked.
    """
    if group.product != Product.INTRADAY or group.opened_at is None:
        return False
    if exchange_date(group.opened_at) >= exchange_date(now):
        return False
    Group.objects.filter(pk=group.pk, quarantined=False).update(quarantined=True)
    raise_alert(
        "INTRADAY_LEFT_OVER", f"{group.instrument.ticker}: an intraday trade of an earlier day was never seen to end.",
        level=Level.SEVERE, owner_id=group.portfolio.owner_id, about=str(group.pk),
        next_step="Compare with the broker's positions and contract note.",
    )  # fmt: skip
    return True


def _walk_out(group: Group, live: list[Order], held: int, now: datetime) -> None:
    """Cancel what lives, wait for the broker's word, then send what closes the rest."""
    if group.state != State.CLOSING:
        move_group(group, State.CLOSING)
        group.save(update_fields=["state"])
        publish(group.portfolio.owner_id, "position", group=str(group.pk), state=group.state)
    # More closed than opened is a position too, and the way out of it leads the other way.
    side = Side(group.side).opposite if held > 0 else Side(group.side)
    exits = [
        order for order in live
        if order.reason != Reason.ENTRY and not protects(order) and order.intent.part_id is None
    ]  # fmt: skip
    others = [order for order in live if order not in exits]
    for order in others:
        order_cancel(order_id=order.pk, actor="exit", now=now)
    too_much = sum(order.remaining_quantity for order in exits) > abs(held)
    for order in exits:
        age = (timezone.now() - (order.acked_at or order.created_at)).total_seconds()
        if too_much or order.side != side:
            order_cancel(order_id=order.pk, actor="less is held", now=now)
        elif order.state in AT_EXCHANGE and age > EXIT_PATIENCE_S:
            order_cancel(order_id=order.pk, actor="a new price", now=now)
    if exits or others:
        crashpoint("exit.cancels_asked")
    if exits or others or held == 0 or not market_open(group, now):
        return
    reason = Reason(group.close_reason)
    sent = [
        one for one in group.orders.filter(intent__part=None).order_by("pk")
        if one.reason != Reason.ENTRY and not protects(one)
    ]  # fmt: skip
    refused = 0
    for order in reversed(sent):
        if order.state not in FAILED:
            break
        refused += 1
    if refused >= REFUSED_EXITS:
        raise_alert(
            "EXIT_REFUSED", f"{group.instrument.ticker}: the broker refused the exit {refused} times.",
            level=Level.SEVERE, owner_id=group.portfolio.owner_id, about=str(group.pk),
            next_step="Close it in the broker's app.",
        )  # fmt: skip
        if timezone.now() - sent[-1].created_at < timedelta(seconds=30):
            return
    limit = protected_limit(group, side, tries=len(sent))
    crashpoint("exit.sized")
    send(
        group, reason=reason, side=side, quantity=abs(held), key=f"exit:{group.pk}",
        order_type=OrderType.LIMIT if limit else OrderType.MARKET, limit_price=limit, now=now,
    )  # fmt: skip


def _stop_prices(group: Group, now: datetime) -> tuple[Decimal, Decimal]:
    """Trigger and limit of the stop at the broker: where the trade began with it, or where a drawdown has drawn it."""
    side = Side(group.side).opposite
    trigger: Decimal = group.resting_stop or group.stop_price  # type: ignore[assignment]
    tick = group.instrument.tick_size
    limit = to_tick(trigger + side.sign * trigger * STOP_BAND, tick=tick, side=side)
    band = band_today(group, now)
    if band is not None:  # where the day's prices end the stop waits a tick before the end: further out is refused
        edge = to_tick(band[0] if side is Side.SELL else band[1], tick=tick, side=side)
        limit = max(limit, edge) if side is Side.SELL else min(limit, edge)
        trigger = max(trigger, edge + tick) if side is Side.SELL else min(trigger, edge - tick)
    return trigger, limit


def _send_stop(group: Group, held: int, now: datetime) -> None:
    crashpoint("protect.stop_wanted")
    trigger, limit = _stop_prices(group, now)
    send(
        group, reason=Reason.STOP, side=Side(group.side).opposite, quantity=held, key=f"stop:{group.pk}",
        order_type=OrderType.STOP_LIMIT, limit_price=limit, trigger_price=trigger, now=now,
    )  # fmt: skip
    crashpoint("protect.stop_queued")


def _quarantine(group: Group, held: int) -> None:
    if not group.quarantined:
        group.quarantined = True
        group.save(update_fields=["quarantined"])
    raise_alert(
        "OVERCLOSED", f"{group.instrument.ticker}: {-held} units more were closed than opened.", level=Level.SEVERE,
        owner_id=group.portfolio.owner_id, about=str(group.pk), next_step="Compare with the broker's position.",
    )  # fmt: skip


def _close(group: Group, orders: list[Order], now: datetime) -> None:
    """Flat, and nothing of it lives: write the journal's page and give everything back, in one transaction."""
    prefetch_related_objects(orders, "fills")
    fills = [fill for order in orders for fill in order.fills.all()]
    move_group(group, State.CLOSED)
    group.closed_at = max((fill.filled_at for fill in fills), default=None)
    if not fills and orders and not group.failure_code:
        last = orders[-1]
        group.failure_code = last.state
        group.failure = last.broker_message or "Its entry ended without a fill."
    group.save(update_fields=["state", "closed_at", "failure_code", "failure"])
    for intent_id, children in _by_intent([order for order in orders if order.reason == Reason.ENTRY]).items():
        release(intent_id=intent_id, keep_trades=any(order.filled_quantity for order in children))
    PartExit.objects.filter(group=group, state__in=[PartExit.State.WAITING, PartExit.State.ASKED]).update(
        state=PartExit.State.DROPPED, done_at=timezone.now()
    )
    if fills:
        _journal(group, orders)
    crashpoint("house.trade_closed")
    after_commit("engine.queue", account_id=group.portfolio.account_id, portfolio_id=group.portfolio_id)
    publish(group.portfolio.owner_id, "position", group=str(group.pk), state=group.state)


def _journal(group: Group, orders: list[Order]) -> None:
    entries = [order for order in orders if order.side == group.side and order.filled_quantity]
    exits = [order for order in orders if order.side != group.side and order.filled_quantity]
    paid_in = sum(order.fill_value_paise for order in entries)
    paid_out = sum(order.fill_value_paise for order in exits)
    last = max(exits, key=lambda order: max(fill.filled_at for fill in order.fills.all()), default=None)
    version = group.signal.deployment.version if group.signal and group.signal.deployment else None
    ClosedTrade.objects.update_or_create(  # a trade that was reopened by late news has its page written anew
        group_ref=group.pk,
        defaults={
            "portfolio": group.portfolio, "instrument": group.instrument, "side": group.side,
            "contract_ref": str(version)[:80] if version else "", "quantity": sum(o.filled_quantity for o in entries),
            "entry_value_paise": paid_in, "exit_value_paise": paid_out,
            "gross_paise": Side(group.side).sign * (paid_out - paid_in),
            "charges_paise": sum(order.charges_paise for order in orders),
            "exit_reason": last.reason if last else "", "explanation": group.signal.explanation if group.signal else "",
            "opened_at": group.opened_at or group.closed_at, "closed_at": group.closed_at,
        },  # type: ignore[misc]
    )  # fmt: skip
