"""What a fill does to a holding. Pure, in whole paise.

Cost is kept as a total, never as a rounded average: with totals cash, cost and profit agree to the paisa for ever.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from trading.domain.orders import Side


@dataclass(frozen=True, slots=True)
class Holding:
    """Signed units and their signed cost; realised profit before charges. Flat means no quantity and no cost."""

    net_quantity: int = 0
    cost_paise: int = 0
    realised_paise: int = 0


def apply_fill(holding: Holding, *, side: Side, quantity: int, value_paise: int) -> Holding:
    """The holding after one fill of `quantity` units worth `value_paise` in all.

    A closing fill takes its share of the cost, rounded down; the last one takes what is left. A fill larger than the
    position closes it and opens the other way, its value split by quantity: it happened, so it is booked.
    """
    if quantity <= 0 or value_paise <= 0:
        raise ValueError(f"a fill has quantity and value, not {quantity} and {value_paise}")
    held = abs(holding.net_quantity)
    opens = holding.net_quantity == 0 or (holding.net_quantity > 0) == (side is Side.BUY)
    if opens:
        return Holding(
            holding.net_quantity + side.sign * quantity,
            holding.cost_paise + side.sign * value_paise,
            holding.realised_paise,
        )
    closing = min(quantity, held)
    closing_value = value_paise if closing == quantity else value_paise * closing // quantity
    released = abs(holding.cost_paise) if closing == held else abs(holding.cost_paise) * closing // held
    # A long earns what it sold for less its cost; a short its proceeds less what it bought back for.
    earned = closing_value - released if side is Side.SELL else released - closing_value
    left = Holding(
        holding.net_quantity + side.sign * closing,
        holding.cost_paise + side.sign * released,
        holding.realised_paise + earned,
    )
    if closing == quantity:
        return left
    return apply_fill(left, side=side, quantity=quantity - closing, value_paise=value_paise - closing_value)


def replay(fills: Iterable[tuple[Side, int, int]]) -> Holding:
    """What these fills make, in their order: side, units, value in paise."""
    holding = Holding()
    for side, quantity, value_paise in fills:
        holding = apply_fill(holding, side=side, quantity=quantity, value_paise=value_paise)
    return holding
