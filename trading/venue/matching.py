"""How an order is filled inside a bar, when the bar is all that is known.

Prices are whole ten-thousandths of a rupee (int64), `sign` is 1 for a purchase and -1 for a sale. Four rules, chosen so
that a simulation is never luckier than the market:

- a market order fills at the open, moved against it by the slippage and then to the next tick;
- a stop fills at its price, or at the open where the bar opened beyond it (a gap), with the same slippage;
- a target is a limit order: it fills at its price, or at a better open, without slippage;
- where a bar touches both stop and target, the stop was first.

Compiled; the caches of callers in other files do not see a change of this one: delete them after editing here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numba import njit

UNITS_PER_RUPEE: Final = 10_000
UNITS_PER_PAISA: Final = 100
SLIPPAGE_SCALE: Final = 1_000_000  # slippage is given in hundredths of a basis point

_compiled: Callable[..., Any] = njit

kernel: Callable[..., Any] = _compiled(nogil=True, cache=True, error_model="numpy")
# For kernels that only kernels call and that make no arrays: arrays they are given are not counted as held, which
# would cost more than the work. A phase is one of them that becomes part of its caller.
bare: Callable[..., Any] = _compiled(nogil=True, cache=True, error_model="numpy", _nrt=False)
phase: Callable[..., Any] = _compiled(nogil=True, error_model="numpy", forceinline=True, _nrt=False)


@kernel
def units(price):
    """A float price in rupees as whole ten-thousandths, to the nearest."""
    return np.int64(np.floor(price * 10_000.0 + 0.5))


@kernel
def down_to(price, tick):
    """The tick at or below a price."""
    return price // tick * tick


@kernel
def up_to(price, tick):
    """The tick at or above a price."""
    return -(-price // tick) * tick


@kernel
def market_fill(price, sign, slippage, tick):
    """What an order at the market pays or gets around `price`. Without slippage the price itself.

    A sale gets at least a tick: nothing is sold for nothing.
    """
    if slippage == 0:
        return price
    if sign > 0:
        return up_to(price + -(-price * slippage // 1_000_000), tick)
    return max(min(price, tick), down_to(price - -(-price * slippage // 1_000_000), tick))


@kernel
def stop_is_hit(stop, sign, high, low):
    """Whether a bar reaches a stop. `sign` is that of the stop order: -1 protects what was bought."""
    return low <= stop if sign < 0 else high >= stop


@kernel
def stop_price(stop, sign, open_):
    """Where a stop that is hit fills, before slippage: at its price, or at an open that is beyond it."""
    return min(stop, open_) if sign < 0 else max(stop, open_)


@kernel
def target_is_hit(target, sign, high, low):
    """Whether a bar reaches a limit order that takes a profit; `sign` is that of the order."""
    return high >= target if sign < 0 else low <= target


@kernel
def target_price(target, sign, open_):
    """Where such a limit order fills: at its price or at an open that is better."""
    return max(target, open_) if sign < 0 else min(target, open_)


@bare
def most_of_volume(usual, share):
    """Units that are `share` millionths of a volume, usual or counted; none where it is not known."""
    if not np.isfinite(usual) or usual <= 0.0:
        return np.int64(0)
    return np.int64(np.floor(usual * share / 1_000_000.0))
