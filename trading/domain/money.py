"""Prices that can be traded and money that adds up. Exact on this side of the kernels' door."""

from decimal import ROUND_HALF_EVEN, Decimal
from math import ceil, floor

from trading.domain.orders import Side

PAISE = Decimal("0.01")


def to_tick(price: float | Decimal, *, tick: Decimal, side: Side) -> Decimal:
    """Tradable price on the passive side: a buy rounds down, a sell up. NaN is no price: ValueError."""
    ticks = Decimal(str(price)) / tick
    return (floor(ticks) if side is Side.BUY else ceil(ticks)) * tick


def to_paise(rupees: Decimal) -> int:
    """Whole paise, half to even. Raises decimal.InvalidOperation for NaN and infinity."""
    return int((rupees * 100).to_integral_value(rounding=ROUND_HALF_EVEN))


def to_rupees(paise: int) -> Decimal:
    """Rupees with two decimals."""
    return (Decimal(paise) / 100).quantize(PAISE)
