"""An entry into a trade: its legs are written before the first order of it is asked for."""

from decimal import Decimal

from django.utils import timezone

from execution.models import Group, Intent, Leg, Pyramid
from strategies.models import Signal
from strategies.tactics.ladder import PlannedLeg, Rung, plan_legs
from trading.domain.errors import NotAllowed
from trading.domain.orders import Side
from trading.marketdata.models import Instrument
from trading.statements import run

MEANT = (Intent.State.APPROVED, Intent.State.WAITING)

LET_IN = """
SELECT count(DISTINCT l.pyramid_id) FROM execution_leg l JOIN execution_pyramid p ON p.id = l.pyramid_id
JOIN execution_intent i ON i.leg_id = l.id AND i.state IN ('APPROVED', 'WAITING') WHERE p.group_id = %s
"""


def pyramids_in(group: Group) -> int:
    """How many entries were let into a trade; one whose first leg was refused does not count."""
    return int(run(LET_IN, [group.pk])[0][0])


def pyramid_plan(
    *, side: Side, instrument: Instrument, entry: Decimal, quantity: int, rungs: tuple[Rung, ...],
    min_notional: Decimal,
) -> tuple[PlannedLeg, ...]:  # fmt: skip
    """The legs of an entry. NotAllowed (TOO_SMALL) where not even the first is an order."""
    plan = plan_legs(side, entry, quantity, rungs, tick=instrument.tick_size, lot=instrument.lot_size)
    if plan[0].quantity * entry < min_notional or plan[0].quantity < 1:
        raise NotAllowed("TOO_SMALL", f"Its first leg is worth less than ₹{min_notional:f}.")
    return plan


def pyramid_add(
    *, group: Group, signal: Signal, index: int, entry: Decimal, first_limit: Decimal, legs: tuple[PlannedLeg, ...],
    min_notional: Decimal,
) -> Leg:  # fmt: skip
    """Write a pyramid of a locked trade with its legs; orders follow by `leg_send`. Returns its first leg.

    A leg that lies beyond the trade's stop, or is too small to be worth its charges, is blocked and says so.
    """
    side = Side(group.side)
    pyramid = Pyramid.objects.create(
        group=group, index=index, signal=signal, entry_price=entry,
        quantity=sum(leg.quantity for leg in legs), created_at=timezone.now(),
    )  # fmt: skip
    rows = []
    for leg in legs:
        price = first_limit if leg.index == 0 else leg.limit_price
        blocked = ("", "")
        if leg.quantity < 1 or leg.quantity * price < min_notional:
            blocked = ("TOO_SMALL", f"Worth less than ₹{min_notional:f}.")
        elif group.stop_price is not None and (price - group.stop_price) * side.sign <= 0:
            blocked = ("BEYOND_STOP", f"It lies beyond the stop at {group.stop_price.normalize():f}.")
        rows.append(
            Leg(
                pyramid=pyramid, index=leg.index, gap_pct=leg.rung.gap_pct, weight_pct=leg.rung.weight_pct,
                take_profit_pct=leg.rung.take_profit_pct, limit_price=price, quantity=leg.quantity,
                blocked_code=blocked[0], blocked=blocked[1],
            )
        )  # fmt: skip
    return Leg.objects.bulk_create(rows)[0]
