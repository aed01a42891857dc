"""Where a contract books parts of a position: prices of the exchange, and how much of it each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite

from strategies.contracts.exits import PartKind, PartSpec
from trading.domain.money import to_tick
from trading.domain.orders import Side


@dataclass(frozen=True, slots=True)
class PartLevel:
    """`share_pct` of what was bought is closed at `price` (rupees, on the tick) or better."""

    share_pct: Decimal
    price: Decimal

    def quantity(self, bought: int, lot: int) -> int:
        """Units in whole lots, 0 where the share does not make one."""
        return int(bought * self.share_pct / 100) // lot * lot


def part_levels(
    side: Side, entry: Decimal, stop: Decimal, atr: float | None, parts: Sequence[PartSpec], *, tick: Decimal
) -> tuple[PartLevel | None, ...]:
    """One level a part, in the contract's order, rounded away from the entry as its target is.

    None for a part measured by an average true range that is not known, or whose price is not above zero.
    """
    found: list[PartLevel | None] = []
    for part in parts:
        if part.kind is PartKind.PERCENT:
            distance = entry * part.value / 100
        elif part.kind is PartKind.R_MULTIPLE:
            distance = abs(entry - stop) * part.value
        elif atr is not None and isfinite(atr) and atr > 0:
            distance = part.value * Decimal(str(atr))
        else:
            found.append(None)
            continue
        price = to_tick(entry + side.sign * distance, tick=tick, side=side.opposite)
        found.append(PartLevel(part.share_pct, price) if price > 0 else None)
    return tuple(found)
