"""Parts that a contract books while the rest of its trade goes on: real orders, watched by the engine."""

from django.utils import timezone

from execution.models import Group, Order, PartExit
from strategies.scanner.scan_bar import compile_deployment
from strategies.tactics.parts import part_levels
from trading.domain.orders import Reason, Side

State = PartExit.State


def keep_contract_parts(group: Group, orders: list[Order]) -> None:
    """One part a level of the contract, as large as its share of what is bought so far. The trade is locked.

    A part that was asked for, or done, grows no more: its price was reached with what was held then.
    """
    signal = group.signal
    if signal is None or signal.deployment is None or signal.stop is None:
        return
    body = compile_deployment(signal.deployment).body
    if not body.partials:
        return
    bought = sum(order.filled_quantity for order in orders if order.reason == Reason.ENTRY)
    side, instrument = Side(group.side), group.instrument
    levels = part_levels(
        side, signal.entry, signal.stop, signal.features.get("atr"), body.partials, tick=instrument.tick_size
    )
    known = {part.key: part for part in PartExit.objects.filter(group=group, key__startswith="book:")}
    for place, level in enumerate(levels):
        if level is None:
            continue
        key, quantity = f"book:{place}", level.quantity(bought, instrument.lot_size)
        part = known.get(key)
        if part is not None and part.state == State.WAITING and part.quantity != quantity:
            PartExit.objects.filter(pk=part.pk).update(quantity=quantity)
        elif part is None and quantity > 0:
            PartExit.objects.create(
                group=group, key=key, reason=Reason.TARGET, quantity=quantity, trigger_price=level.price,
                limit_price=level.price, state=State.WAITING, actor=str(signal.deployment.version)[:150],
                created_at=timezone.now(),
            )  # fmt: skip
