"""Which lots an exit gives up. Pure, deterministic: the same lots and the same rule give the same answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Relief(StrEnum):
    """FIFO is what Indian tax assumes; the others are for trades whose parts were meant to end apart."""

    FIFO = "FIFO"
    SPECIFIC = "SPECIFIC"
    PRO_RATA = "PRO_RATA"


@dataclass(frozen=True, slots=True)
class Lot:
    """Units of one fill that are still held. `name` is the execution they came from."""

    name: str
    quantity: int


def relieve(lots: Sequence[Lot], quantity: int, method: Relief = Relief.FIFO, *, first: str = "") -> list[Lot]:
    """What of which lot `quantity` units take, oldest first in `lots`. They add up to it.

    SPECIFIC takes the lot called `first` before the others. ValueError for more than is held, or a lot that is not.
    """
    held = sum(lot.quantity for lot in lots)
    if not 0 < quantity <= held:
        raise ValueError(f"{quantity} of the {held} held cannot be given up")
    if method is Relief.SPECIFIC:
        if first not in {lot.name for lot in lots}:
            raise ValueError(f"there is no lot {first}")
        lots = sorted(lots, key=lambda lot: lot.name != first)
    if method is Relief.PRO_RATA:
        return _in_proportion(lots, quantity, held)
    taken = []
    for lot in lots:
        part = min(lot.quantity, quantity)
        if part:
            taken.append(Lot(lot.name, part))
        quantity -= part
    return taken


def _in_proportion(lots: Sequence[Lot], quantity: int, held: int) -> list[Lot]:
    """Whole units; what rounding leaves over goes to the largest remainders, the older first."""
    parts = [lot.quantity * quantity // held for lot in lots]
    order = sorted(range(len(lots)), key=lambda at: (-(lots[at].quantity * quantity % held), at))
    for at in order[: quantity - sum(parts)]:
        parts[at] += 1
    return [Lot(lot.name, part) for lot, part in zip(lots, parts, strict=True) if part]


def held_lots(bought: Sequence[Lot], relieved: Sequence[Sequence[Lot]]) -> list[Lot]:
    """What is left of each lot after the exits that took from it."""
    gone: dict[str, int] = {}
    for taken in relieved:
        for lot in taken:
            gone[lot.name] = gone.get(lot.name, 0) + lot.quantity
    left = [Lot(lot.name, lot.quantity - gone.get(lot.name, 0)) for lot in bought]
    return [lot for lot in left if lot.quantity > 0]
