"""Signs of a program that has lost its mind: too many orders for a trade, for a fill, too many refusals, too fast a
loss. Each is a number against a number; any of them pulls the kill switch. Pure."""

from dataclasses import dataclass
from decimal import Decimal

LEAST_ORDERS = 30
"""Below so many orders their number says nothing."""


@dataclass(frozen=True, slots=True)
class Activity:
    """What one portfolio did of late. Paise.

    `busiest_trade`: entries and exits of the trade that had most of them for its plan. `planned`: how many entries that
    plan has (the legs of a ladder, the parts of a large order), 1 where it is a single one.
    """

    busiest_trade: int = 0
    orders: int = 0
    fills: int = 0
    rejections_in_row: int = 0
    equity_high_paise: int = 0
    equity_paise: int = 0
    planned: int = 1


@dataclass(frozen=True, slots=True)
class Bounds:
    orders_per_intent: int
    orders_per_fill: int
    rejections: int
    loss_pct: Decimal


@dataclass(frozen=True, slots=True)
class Runaway:
    code: str
    message: str


def signs_of(activity: Activity, bounds: Bounds) -> list[Runaway]:
    """What of it is out of bounds, worst first."""
    found = []
    lost = activity.equity_high_paise - activity.equity_paise
    if activity.equity_high_paise > 0 and lost * 100 >= bounds.loss_pct * activity.equity_high_paise > 0:
        share = Decimal(lost) * 100 / activity.equity_high_paise
        found.append(Runaway("LOSS_VELOCITY", f"{share:.2f} % of equity were lost within minutes."))
    if activity.busiest_trade > bounds.orders_per_intent * activity.planned:
        plan = f" for the {activity.planned} entries of its plan" if activity.planned > 1 else ""
        found.append(Runaway("ORDERS_PER_TRADE", f"One trade has sent {activity.busiest_trade} orders{plan}."))
    if activity.orders >= LEAST_ORDERS and activity.orders > bounds.orders_per_fill * max(1, activity.fills):
        found.append(
            Runaway("ORDERS_PER_FILL", f"{activity.orders} orders brought {activity.fills} fills within minutes.")
        )
    if activity.rejections_in_row >= bounds.rejections > 0:
        found.append(Runaway("REJECTIONS", f"The broker refused {activity.rejections_in_row} orders in a row."))
    return found
