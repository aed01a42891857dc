"""Where a trailing stop stands: behind the best price of the bars that are over, and never further away than before."""

from __future__ import annotations

from decimal import Decimal
from math import isfinite

from strategies.contracts.schema import TrailingKind, TrailingSpec
from trading.domain.money import to_tick
from trading.domain.orders import Side


def trailing_stop(
    side: Side, entry: Decimal, best: Decimal, spec: TrailingSpec, *, tick: Decimal, atr: float | None,
    before: Decimal | None,
) -> Decimal | None:  # fmt: skip
    """The stop in rupees on the tick, rounded away from the price; None while the trade has not gained enough.

    `best`: highest price since the entry for a long position, lowest for a short one, of bars that are over. `atr` in
    rupees, of the deciding bar, for a spec that measures by it; unknown, the stop does not move. `before`: where it
    stood.
    """
    if spec.kind is TrailingKind.ATR:
        if atr is None or not isfinite(atr) or atr <= 0:
            return before
        behind = spec.distance * Decimal(str(atr))
    else:
        behind = best * spec.distance / 100
    gained = (best - entry) * side.sign
    if before is None and gained < entry * spec.after / 100:
        return None
    stop = to_tick(best - side.sign * behind, tick=tick, side=side)
    if stop <= 0:
        return before
    if before is None or (stop - before) * side.sign > 0:
        return stop
    return before
