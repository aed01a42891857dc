"""Ask risk for one leg of a ladder."""

from datetime import datetime, timedelta
from decimal import Decimal

from django.utils import timezone

from execution.models import Group, Intent, Leg
from execution.services.intent_create import intent_create
from execution.services.intent_judge import Wish
from risk.snapshot import Standing
from trading.domain.crashpoint import crashpoint
from trading.domain.orders import OrderType, Product, Reason, Side

TRY_AGAIN_AFTER = timedelta(seconds=30)
PASSING = frozenset({
    "BROKER_AUTH", "ENGINE_READY", "BROKER_BREAKER", "RECONCILIATION", "UNKNOWN_OUTSTANDING", "QUOTE_AGE",
    "PRICE_COLLAR", "CIRCUIT_BAND", "SELF_TRADE", "MARKET_HOURS", "COOLDOWN", "LOSS_STREAK", "LIQUIDITY_SPREAD",
    "LIQUIDITY_VOLUME", "MARGIN", "CASH_RESERVE",
})  # fmt: skip
"""Refusals that may be another answer a little later: the leg is tried again while its trade lives. That of a pulled
kill switch is not among them: what it kept out does not come in by itself when it is armed again."""


def leg_send(
    *, leg: Leg, group: Group, actor: str, now: datetime, order_type: OrderType = OrderType.LIMIT,
    signal_age_s: float | None = None, needs_approval: bool = False, left: int | None = None,
    standing: Standing | None = None,
) -> Intent | None:  # fmt: skip
    """The intent of a leg of a locked trade; None where it was let in before, or is too small to be an order.

    `left`: units of it that an earlier day did not fill, which are asked for once more. What was refused is written on
    the leg.
    """
    if leg.quantity < 1:
        return None
    asked = list(Intent.objects.filter(leg=leg).values_list("state", flat=True))
    if left is None and any(state != Intent.State.REFUSED for state in asked):
        return None  # it was let in
    begins = leg.index == 0 and leg.pyramid.index == 0
    limit: Decimal | None = leg.limit_price if order_type is OrderType.LIMIT else None
    intent = intent_create(
        portfolio=group.portfolio,
        wish=Wish(
            source=Intent.Source.SIGNAL, reason=Reason.ENTRY, dedupe_key=f"leg:{leg.pk}:{len(asked)}", actor=actor,
            instrument=group.instrument, side=Side(group.side), quantity=left or leg.quantity,
            order_type=order_type, product=Product(group.product), limit_price=limit, stop_price=group.stop_price,
            target_price=None, signal=group.signal if begins else None, group=group, leg=leg, signal_age_s=signal_age_s,
            needs_approval=needs_approval, adds=not begins,
        ),
        now=now,
        standing=standing,
    )  # fmt: skip
    crashpoint("ladder.leg_asked")
    refused = intent.state == Intent.State.REFUSED
    leg.blocked_code, leg.blocked = (intent.refusal_code, intent.refusal) if refused else ("", "")
    passing = refused and intent.refusal_code in PASSING
    leg.retry_at = timezone.now() + TRY_AGAIN_AFTER if passing else None
    leg.save(update_fields=["blocked_code", "blocked", "retry_at"])
    return intent
