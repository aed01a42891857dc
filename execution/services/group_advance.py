"""What a trade needs next. Looks at the facts, does one thing, and may be killed and repeated at any line.

Entry fills: a stop at the broker, as large as what is held, at all times. A way out is always: cancel what lives, wait
until the broker says it is gone, size from what is held then, send. So exits never add up to more than the position.
"""

from datetime import datetime, timedelta
from decimal import Decimal

from django.db import transaction
from django.utils import timezone

from execution.lots import lots_given_up
from execution.models import Group, Intent, Mismatch, Order
from execution.services.events import note
from execution.services.group_state import move_group, tell_illegal_move
from execution.services.intent_create import Wish, intent_create
from execution.services.order_cancel import order_cancel
from execution.services.order_change import NEVER_LEFT
from execution.states import AT_EXCHANGE, OrderState, PendingOp
from risk.reserve import release, settle
from trading.domain.crashpoint import crashpoint
from trading.domain.errors import IllegalTransition
from trading.domain.money import to_tick
from trading.domain.orders import OrderType, Product, Reason, Side
from trading.marketdata.models import Feed
from trading.marketdata.quotes import last_quote
from trading.marketdata.sessions import session_at
from trading.monitoring.alerts import Level, raise_alert
from trading.outbox import after_commit
from trading.portfolio.models import ClosedTrade
from trading.realtime.publish import publish
from trading.venue.sessions import Phase, exchange_date

State = Group.State
ENTRY_PATIENCE = timedelta(minutes=5)
"""Venue time an entry may rest unfilled."""
MOST_CHANGES = 24
"""Changes of one order; brokers refuse the twenty-sixth."""
EXIT_PATIENCE_S = 6
"""Wall seconds an exit may rest unfilled before it is priced anew."""
EXIT_BAND = Decimal("0.005")
STOP_BAND = Decimal("0.01")
FURTHEST_REACH = 5
REFUSED_EXITS = 3
SEND_AGAIN_AFTER = timedelta(seconds=2)
"""Wall time between two tries of a stop that did not get through."""
HELD_BACK_PAUSE = timedelta(seconds=5)
"""Wall time between two tries of an exit that risk held back."""


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
        group = (
            Group.objects.select_for_update(of=("self",))
            .select_related("portfolio__account", "instrument", "signal__deployment__version__contract")
            .get(pk=group_id)
        )
        if group.state == State.CLOSED:
            return group.state
        orders = list(group.orders.select_related("instrument").prefetch_related("fills").order_by("pk"))
        held = sum(Side(order.side).sign * order.filled_quantity for order in orders) * Side(group.side).sign
        _mark_opened(group, orders, held, now)
        if held < 0:
            _quarantine(group, held)
        waiting = Intent.objects.filter(group=group, state=Intent.State.WAITING).exists()
        live = [order for order in orders if not order.is_final]
        if held and _left_over(group, now):
            return group.state
        if not group.close_reason and (held < 0 or (held == 0 and live and group.state in Group.HELD)):
            # Over, and not by us: sold in the broker's app, or by the broker. What still lives of it must go.
            _ask_exit(group, Reason.SQUARE_OFF, "the broker")
        if held == 0 and not live and not waiting:
            _close(group, orders, now)
        elif group.close_reason:
            _walk_out(group, live, held, now)
        else:
            _tend(group, orders, live, held, now)
        return group.state


def _mark_opened(group: Group, orders: list[Order], held: int, now: datetime) -> None:
    entries = [order for order in orders if order.reason == Reason.ENTRY]
    stage = _stage(group, entries, held)
    if stage != group.state:
        move_group(group, stage)
        if group.opened_at is None and held > 0:
            group.opened_at = min((fill.filled_at for order in entries for fill in order.fills.all()), default=now)
        group.save(update_fields=["state", "opened_at"])
        publish(group.portfolio.owner_id, "position", group=str(group.pk), state=group.state)
    if entries and all(order.is_final for order in entries):
        for order in entries:
            settle(intent_id=order.intent_id, value_paise=order.fill_value_paise)


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
    """A trade that is to go on: give up on a stale entry, keep the stop as large as the position."""
    for order in live:
        if order.reason == Reason.ENTRY and order.state in AT_EXCHANGE and now - order.placed_at > ENTRY_PATIENCE:
            order_cancel(order_id=order.pk, actor="patience", now=now)
    if held == 0 or group.stop_price is None or not _market_open(group, now):
        return
    stops = [order for order in live if _protects(order)]
    failed = [order for order in orders if _protects(order) and order.state in _FAILED]
    if not stops:
        if failed and orders[-1] is failed[-1] and _never_left(orders[-1]):
            if timezone.now() - orders[-1].created_at > SEND_AGAIN_AFTER:
                _send_stop(group, held, now)
        elif failed and orders[-1] is failed[-1]:
            # The broker would not take the stop: most likely the price is past it. Then the stop is now.
            _ask_exit(group, Reason.STOP, "the stop was refused")
        else:
            _send_stop(group, held, now)
        return
    stop = stops[0]
    settled = stop.pending_op == PendingOp.NONE and stop.state in AT_EXCHANGE
    if settled and stop.quantity - stop.filled_quantity != held:
        _resize(stop, stop.filled_quantity + held)


def _protects(order: Order) -> bool:
    """A stop that waits at the broker, unlike an exit that is sent because a stop was passed."""
    return order.reason == Reason.STOP and order.trigger_price is not None


_FAILED = frozenset({OrderState.REJECTED, OrderState.NOT_PLACED})


def _never_left(order: Order) -> bool:
    """Refused on the way, without a word about the order itself."""
    return order.state == OrderState.REJECTED and order.broker_message.startswith(NEVER_LEFT)


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
    exits = [order for order in live if order.reason != Reason.ENTRY and not _protects(order)]
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
    if exits or others or held == 0 or not _market_open(group, now):
        return
    reason = Reason(group.close_reason)
    sent = [one for one in group.orders.order_by("pk") if one.reason != Reason.ENTRY and not _protects(one)]
    refused = 0
    for order in reversed(sent):
        if order.state not in _FAILED:
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
    quote = last_quote(group.portfolio.account.feed, group.instrument.symbol)
    limit = None
    if quote is not None and quote.age_s < 5:
        reach = quote.last_price * EXIT_BAND * (1 + min(len(sent), FURTHEST_REACH))
        # A protected limit: it trades now, and not at any price. It reaches further with every try, within reason.
        limit = to_tick(quote.last_price + side.sign * reach, tick=group.instrument.tick_size, side=side)
    crashpoint("exit.sized")
    _send(
        group, reason=reason, side=side, quantity=abs(held), key=f"exit:{group.pk}",
        order_type=OrderType.LIMIT if limit else OrderType.MARKET, limit_price=limit, now=now,
    )  # fmt: skip


def _send_stop(group: Group, held: int, now: datetime) -> None:
    crashpoint("protect.stop_wanted")
    side = Side(group.side).opposite
    trigger: Decimal = group.stop_price  # type: ignore[assignment]
    limit = to_tick(trigger + side.sign * trigger * STOP_BAND, tick=group.instrument.tick_size, side=side)
    _send(
        group, reason=Reason.STOP, side=side, quantity=held, key=f"stop:{group.pk}",
        order_type=OrderType.STOP_LIMIT, limit_price=limit, trigger_price=trigger, now=now,
    )  # fmt: skip
    crashpoint("protect.stop_queued")


def _send(
    group: Group, *, reason: Reason, side: Side, quantity: int, key: str, order_type: OrderType,
    limit_price: Decimal | None, now: datetime, trigger_price: Decimal | None = None,
) -> None:  # fmt: skip
    """Every try is an intent of its own; one that was held back is not repeated at once. The trade is locked."""
    tries = Intent.objects.filter(group=group, dedupe_key__startswith=f"{key}:")
    last = tries.order_by("created_at").last()
    if last is not None and last.state == Intent.State.REFUSED and timezone.now() - last.created_at < HELD_BACK_PAUSE:
        return
    most = Mismatch.objects.most_to_close(
        group.portfolio.account_id, group.instrument.symbol, group.product, side.opposite.sign
    )
    if most is not None and most < quantity:
        # Who has less cannot sell more: the broker's own figure binds while the two are compared by a person.
        raise_alert(
            "EXIT_CAPPED", f"{group.instrument.ticker}: {quantity} are held here, {most} at the broker.",
            level=Level.SEVERE, owner_id=group.portfolio.owner_id, about=str(group.pk),
            next_step="Decide on the reconciliation page.",
        )  # fmt: skip
        quantity = most
    if quantity == 0:
        return
    intent = intent_create(
        portfolio=group.portfolio,
        wish=Wish(
            source=Intent.Source.SYSTEM, reason=reason, dedupe_key=f"{key}:{len(tries)}",
            actor=group.close_asked_by or "protection", instrument=group.instrument, side=side, quantity=quantity,
            order_type=order_type, product=Product(group.product), limit_price=limit_price,
            trigger_price=trigger_price, group=group,
        ),
        now=now,
    )  # fmt: skip
    if intent.state == Intent.State.REFUSED:
        raise_alert(
            "EXIT_HELD_BACK", f"{group.instrument.ticker}: {intent.refusal}", level=Level.SEVERE,
            owner_id=group.portfolio.owner_id, about=str(group.pk), next_step="Read the verdicts of the intent.",
        )  # fmt: skip
    elif side != group.side:
        Order.objects.filter(intent=intent).update(lot_relief=lots_given_up(group, quantity))


def _resize(stop: Order, quantity: int) -> None:
    order = Order.objects.lock(stop.pk)
    if order.pending_op != PendingOp.NONE or order.is_final:
        return
    if order.events.filter(kind="change.asked").count() >= MOST_CHANGES:
        # The broker would refuse the next: this one goes, and a new one is sent once it is gone.
        order_cancel(order_id=order.pk, actor="changed as often as the broker allows", now=order.placed_at)
        return
    note(order, "change.asked", source="ENGINE", quantity=quantity)
    order.pending_op, order.pending_quantity, order.next_probe_at = PendingOp.MODIFY_ASKED, quantity, None
    order.save()
    crashpoint("protect.resize_asked")
    after_commit("engine.order", account_id=order.account_id, order_id=order.pk)


def _ask_exit(group: Group, reason: Reason, actor: str) -> None:
    group.close_reason, group.close_asked_by = reason, actor
    group.save(update_fields=["close_reason", "close_asked_by"])
    after_commit("engine.group", account_id=group.portfolio.account_id, group_id=str(group.pk))


def _market_open(group: Group, now: datetime) -> bool:
    feed = Feed.objects.get(name=group.portfolio.account.feed)
    session = session_at(feed, group.instrument, now)
    return session is not None and session.phase_at(now) is Phase.CONTINUOUS


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
    fills = [fill for order in orders for fill in order.fills.all()]
    move_group(group, State.CLOSED)
    group.closed_at = max((fill.filled_at for fill in fills), default=None)
    if not fills and orders and not group.failure_code:
        last = orders[-1]
        group.failure_code = last.state
        group.failure = last.broker_message or "Its entry ended without a fill."
    group.save(update_fields=["state", "closed_at", "failure_code", "failure"])
    for order in orders:
        if order.reason == Reason.ENTRY:
            release(intent_id=order.intent_id, keep_trades=order.filled_quantity > 0)
    if fills:
        _journal(group, orders)
    crashpoint("house.trade_closed")
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
