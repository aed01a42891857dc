"""How a trade is built up: rungs, their prices and their quantities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import pairwise

from trading.domain.errors import TradingError
from trading.domain.money import to_tick
from trading.domain.orders import Side

MOST_RUNGS = 7
DEFAULT_RUNGS: tuple[dict[str, str], ...] = tuple(
    {"gap_pct": gap, "weight_pct": "20", "take_profit_pct": profit}
    for gap, profit in (("0", "1"), ("-0.5", "0.5"), ("-1.0", "2"), ("-1.5", "1.5"), ("-2.0", "1"))
)
_NAMES = ("gap_pct", "weight_pct", "take_profit_pct")


class LadderError(TradingError):
    """Rungs that make no ladder."""


@dataclass(frozen=True, slots=True)
class Rung:
    """Percent: distance from the pyramid's entry (0 or below), share of its capital, profit asked for."""

    gap_pct: Decimal
    weight_pct: Decimal
    take_profit_pct: Decimal


@dataclass(frozen=True, slots=True)
class PlannedLeg:
    """One order of a ladder: rupees on the tick, whole lots in units (0: the share does not pay for one lot)."""

    index: int
    rung: Rung
    limit_price: Decimal
    quantity: int


def rungs_of(plain: object) -> tuple[Rung, ...]:
    """Rungs from their JSON form. LadderError (LADDER) says what is wrong with which."""
    if not isinstance(plain, list | tuple) or not 1 <= len(plain) <= MOST_RUNGS:
        raise LadderError("LADDER", f"A ladder has 1 to {MOST_RUNGS} rungs.")
    rungs = tuple(_rung(number, one) for number, one in enumerate(plain))
    if rungs[0].gap_pct != 0:
        raise LadderError("LADDER", "The first rung has no gap: it is the entry itself.")
    if any(later.gap_pct >= earlier.gap_pct for earlier, later in pairwise(rungs)):
        raise LadderError("LADDER", "Each rung lies further away than the one before.")
    total = sum(rung.weight_pct for rung in rungs)
    if total != 100:
        raise LadderError("LADDER", f"The weights sum to {total} and not to 100 %.")
    return rungs


def _rung(number: int, plain: object) -> Rung:
    if not isinstance(plain, dict) or set(plain) != set(_NAMES):
        raise LadderError("LADDER", f"Rung {number}: it has {', '.join(_NAMES)}, and nothing else.")
    values = []
    for name in _NAMES:
        try:
            value = Decimal(str(plain[name]))
        except InvalidOperation:
            raise LadderError("LADDER", f"Rung {number}: {name} is no number.") from None
        if not value.is_finite():
            raise LadderError("LADDER", f"Rung {number}: {name} is no number.")
        values.append(value)
    gap, weight, profit = values
    if not -50 <= gap <= 0:
        raise LadderError("LADDER", f"Rung {number}: a gap lies between -50 and 0 %.")
    if not 0 < weight <= 100:
        raise LadderError("LADDER", f"Rung {number}: a weight lies above 0 and up to 100 %.")
    if not 0 < profit <= 1000:
        raise LadderError("LADDER", f"Rung {number}: a take-profit lies above 0 and up to 1000 %.")
    return Rung(gap, weight, profit)


def plan_legs(
    side: Side, entry: Decimal, quantity: int, rungs: Sequence[Rung], *, tick: Decimal, lot: int
) -> tuple[PlannedLeg, ...]:
    """The legs of a pyramid of `quantity` units entered at `entry` (rupees).

    Prices are rounded to the passive side (a buy down), quantities down to the lot; what rounding leaves over goes, in
    whole lots, to the first leg, so that a ladder is never larger than what was asked for and no smaller by a lot.
    """
    lots = quantity // lot
    shares = [int(lots * rung.weight_pct / 100) for rung in rungs]
    shares[0] += lots - sum(shares)
    legs = []
    for index, (rung, share) in enumerate(zip(rungs, shares, strict=True)):
        raw = entry * (1 + side.sign * rung.gap_pct / 100)
        legs.append(PlannedLeg(index, rung, to_tick(raw, tick=tick, side=side), share * lot))
    return tuple(legs)
