"""What one order gets of a stretch of the market: the rules of `matching`, told in rupees.

A backtest looks at bars, a paper account at whatever it heard since it last looked: a tick, an answer to a question, a
minute of history that it slept through. Both are a stretch, and both ask here or in the same kernels. Where the market
shows a bid and an ask, an order at the market pays them; then the slippage, then the tick.
"""

from dataclasses import dataclass
from decimal import Decimal

from trading.domain.orders import OrderType, Side
from trading.venue.matching import (
    UNITS_PER_RUPEE,
    market_fill,
    most_of_volume,
    stop_is_hit,
    stop_price,
    target_is_hit,
    target_price,
)

_STOPS = (OrderType.STOP, OrderType.STOP_LIMIT)
_BPS = 100  # hundredths of a basis point
_PERCENT = 10_000  # millionths


@dataclass(frozen=True, slots=True)
class Stretch:
    """Prices in rupees. `opens`: it begins with an open, which may be better than the limit of what rests; else what
    rests trades at its own price. `bid` and `ask` as they stand now, None where nobody shows them. `volume`: units
    traded in it, None where nobody counted."""

    first: Decimal
    high: Decimal
    low: Decimal
    opens: bool = False
    bid: Decimal | None = None
    ask: Decimal | None = None
    volume: int | None = None


@dataclass(frozen=True, slots=True)
class Friction:
    """What stands between a price and a fill. `volume_share_pct` None: an order is filled at once."""

    slippage_bps: Decimal = Decimal(0)
    volume_share_pct: Decimal | None = None

    def room(self, stretch: Stretch) -> int | None:
        """The most units that a stretch lets one side have; None: as many as it wants."""
        if self.volume_share_pct is None:
            return None
        return int(most_of_volume(float(stretch.volume or 0), int(self.volume_share_pct * _PERCENT)))


@dataclass(frozen=True, slots=True)
class Outcome:
    """`price` rupees a unit, None: not filled. `triggered`: a stop's price was reached, now or before."""

    price: Decimal | None
    triggered: bool


def outcome_of(
    *, side: Side, order_type: OrderType, limit: Decimal | None, trigger: Decimal | None, triggered: bool,
    stretch: Stretch, tick: Decimal, friction: Friction,
) -> Outcome:  # fmt: skip
    """Whether an order trades in a stretch, and at which price. Prices have at most four decimals."""
    sign = side.sign
    first, high, low = (_units(price) for price in (stretch.first, stretch.high, stretch.low))
    shown = stretch.ask if side is Side.BUY else stretch.bid
    opposite = None if shown is None else _units(shown)
    slippage = int(friction.slippage_bps * _BPS)

    def at_market(price: int) -> Outcome:
        return Outcome(_rupees(market_fill(price, sign, slippage, _units(tick))), True)

    if order_type in _STOPS and not triggered:
        assert trigger is not None
        if not stop_is_hit(_units(trigger), sign, high, low):
            return Outcome(None, False)
        price = int(stop_price(_units(trigger), sign, first))
        if opposite is not None:
            price = max(price, opposite) if sign > 0 else min(price, opposite)
        if order_type is OrderType.STOP:
            return at_market(price)
        assert limit is not None
        within = (_units(limit) - price) * sign >= 0
        return Outcome(_rupees(price) if within else None, True)
    if order_type in (OrderType.MARKET, OrderType.STOP):
        return at_market(first if opposite is None else opposite)
    assert limit is not None
    wanted = _units(limit)
    if opposite is not None and target_is_hit(wanted, sign, opposite, opposite):
        return Outcome(_rupees(target_price(wanted, sign, opposite)), triggered)
    if opposite is not None and stretch.opens:
        return Outcome(None, triggered)  # the last trade was before it came; whoever is shown asks for more
    if target_is_hit(wanted, sign, high, low):
        return Outcome(_rupees(target_price(wanted, sign, first if stretch.opens else wanted)), triggered)
    return Outcome(None, triggered)


def _units(price: Decimal) -> int:
    return int(price * UNITS_PER_RUPEE)


def _rupees(units: int) -> Decimal:
    return Decimal(int(units)) / UNITS_PER_RUPEE
