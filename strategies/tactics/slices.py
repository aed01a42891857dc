"""How much of a large order is let out now. Pure: units and lots in, units out; never more than is left."""


def spread_evenly(left: int, turns_left: int, lot: int) -> int:
    """The share of one turn when `left` units are spread over the turns that are left, in whole lots, rounded up: what
    an earlier turn missed is carried by all of the later ones, and the last carries the rest."""
    if left <= 0:
        return 0
    lots, turns = left // lot, max(1, turns_left)
    return left if turns == 1 else min(left, -(-lots // turns) * lot)


def next_tip(left: int, visible: int, lot: int) -> int:
    """The next visible part of an iceberg, in whole lots but for an odd rest."""
    return min(left, max(lot, visible // lot * lot)) if left > 0 else 0
