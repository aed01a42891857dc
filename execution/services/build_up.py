"""A trade that is built up: its legs are sent, and what is filled of them gets its take-profit at once."""

from datetime import datetime

from django.db.models import Q
from django.utils import timezone

from execution.engine_settings import settings_of
from execution.lots import lots_of
from execution.models import Fill, Group, Intent, Leg, Order, PartExit
from execution.services.leg_send import leg_send
from execution.services.legs_renew import legs_renew
from execution.services.order_cancel import order_cancel
from execution.services.pyramid_add import MEANT
from execution.services.trade_orders import ask_exit
from strategies.tactics.take_profit import FilledLeg, TakeProfits, WantedExit, take_profits
from trading.domain.crashpoint import crashpoint
from trading.domain.orders import Product, Reason, Side
from trading.realtime.publish import publish

State = PartExit.State


def build_up(group: Group, orders: list[Order], held: int, now: datetime) -> None:
    """Send what of its legs is not at the broker yet; keep its take-profits. The trade is locked and goes on."""
    if held == 0 and _came_to_nothing(orders):
        ask_exit(group, Reason.TIME, "patience")
        return
    _send_legs(group, now)
    if held > 0 and group.product != Product.INTRADAY:
        legs_renew(group, orders, now)
    if held > 0:
        _keep_take_profits(group, orders, now)


def _came_to_nothing(orders: list[Order]) -> bool:
    """The entry itself ended without a fill: what lies below it is not waited for."""
    first = [order for order in orders if order.intent.leg is not None and order.intent.leg.index == 0]
    return bool(first) and all(order.is_final and not order.filled_quantity for order in first)


def _send_legs(group: Group, now: datetime) -> None:
    """Those whose pyramid was let in and that have not been asked for, or may be tried again."""
    wall = timezone.now()
    begun = Leg.objects.filter(
        pyramid__group=group, index=0, intents__state=Intent.State.APPROVED
    ).values("pyramid")  # fmt: skip
    due = (
        Leg.objects.filter(pyramid__in=begun, quantity__gt=0)
        .filter(Q(blocked_code="") | Q(retry_at__lte=wall))
        .exclude(Q(intents__state__in=MEANT) & Q(retry_at=None))
        .select_related("pyramid")
        .order_by("pyramid__index", "index")
        .distinct()
    )
    for leg in due:
        leg_send(leg=leg, group=group, actor="ladder", now=now)


def _keep_take_profits(group: Group, orders: list[Order], now: datetime) -> None:
    settings = settings_of(group.portfolio_id)
    legs = _filled_legs(group, orders)
    wanted = take_profits(
        Side(group.side), legs, settings.take_profit, tick=group.instrument.tick_size,
        aggregate_pct=settings.aggregate_target_pct,
    )  # fmt: skip
    _keep_whole(group, wanted)
    known = {part.key: part for part in PartExit.objects.filter(group=group, key__startswith="tp:")}
    done = {
        part.pk: sum(order.filled_quantity for order in orders if order.intent.part_id == part.pk)
        for part in known.values()
    }
    for exit_ in wanted.parts:
        part = known.pop(exit_.key, None)
        _keep_part(group, part, exit_, done.get(part.pk, 0) if part else 0)
        crashpoint("parts.kept")
    for part in known.values():  # another mode is in force, or its leg was closed by other ways
        if part.state in (State.WAITING, State.ASKED):
            _drop(part, orders, now)


def _filled_legs(group: Group, orders: list[Order]) -> list[FilledLeg]:
    fills = Fill.objects.filter(order__group=group, bust=None, order__intent__leg__isnull=False)
    leg_of = dict(fills.values_list("execution_key", "order__intent__leg"))
    left: dict[int, int] = {}
    for lot in lots_of(group):
        leg_id = leg_of.get(lot.name)
        if leg_id is not None:
            left[leg_id] = left.get(leg_id, 0) + lot.quantity
    legs: dict[int, list[Order]] = {}
    for order in orders:
        if order.intent.leg is not None and order.filled_quantity:
            legs.setdefault(order.intent.leg.pk, []).append(order)
    found = []
    for leg_id, own in legs.items():
        leg = own[0].intent.leg
        assert leg is not None
        found.append(
            FilledLeg(
                key=leg_id, pyramid=leg.pyramid_id, filled=sum(order.filled_quantity for order in own),
                fill_value_paise=sum(order.fill_value_paise for order in own), held=left.get(leg_id, 0),
                take_profit_pct=leg.take_profit_pct,
            )
        )  # fmt: skip
    return found


def _keep_whole(group: Group, wanted: TakeProfits) -> None:
    """Where the whole is closed at once: the average's price, else the signal's own target."""
    own = group.signal.target if group.signal else None
    target = wanted.whole if wanted.whole is not None else own
    if group.target_price != target:
        group.target_price = target
        group.save(update_fields=["target_price"])
        publish(group.portfolio.owner_id, "position", group=str(group.pk))


def _keep_part(group: Group, part: PartExit | None, wanted: WantedExit, done: int) -> None:
    """The take-profit of one leg or pyramid, as large as what of it is held. Where a stop waits at the broker the
    engine watches the price; else the order itself waits there."""
    rests = group.stop_price is None
    wall = timezone.now()
    values = {
        "quantity": done + wanted.quantity, "limit_price": wanted.price, "rests": rests,
        "trigger_price": None if rests else wanted.price,
    }  # fmt: skip
    if part is None:
        PartExit.objects.create(
            group=group, leg_id=wanted.leg, pyramid_id=wanted.pyramid, key=wanted.key, reason=Reason.TARGET,
            actor="take-profit", created_at=wall, asked_at=wall if rests else None,
            state=State.ASKED if rests else State.WAITING, **values,
        )  # fmt: skip
        return
    over = part.state in (State.DONE, State.DROPPED)
    if not over and all(getattr(part, name) == value for name, value in values.items()):
        return
    if over or part.rests != rests:
        values |= {"state": State.ASKED if rests else State.WAITING, "asked_at": wall if rests else None}
        values |= {"done_at": None}
    PartExit.objects.filter(pk=part.pk).update(**values)


def _drop(part: PartExit, orders: list[Order], now: datetime) -> None:
    for order in orders:
        if order.intent.part_id == part.pk and not order.is_final:
            order_cancel(order_id=order.pk, actor="its take-profit is not wanted any more", now=now)
    PartExit.objects.filter(pk=part.pk).update(state=State.DROPPED, done_at=timezone.now())
