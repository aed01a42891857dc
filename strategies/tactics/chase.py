"""At which price an entry that did not fill is worth another try. Pure: prices in, a price out."""

from dataclasses import dataclass
from decimal import Decimal

from trading.domain.money import to_tick
from trading.domain.orders import Side


@dataclass(frozen=True, slots=True)
class ChaseRules:
    """After how many seconds of market time, how often at most, and never beyond `furthest` (rupees a unit). `crosses`:
    the last look goes to the other side of the book."""

    after_s: int
    times: int
    furthest: Decimal
    crosses: bool = False


def mid_price(*, bid: Decimal | None, ask: Decimal | None, last: Decimal) -> Decimal:
    """Between the best bid and the best ask; the last price where the book is one-sided or crossed."""
    if bid is None or ask is None or not 0 < bid <= ask:
        return last
    return (bid + ask) / 2


def chased_price(
    side: Side, *, present: Decimal, mid: Decimal, furthest: Decimal, tick: Decimal,
    band: tuple[Decimal, Decimal] | None = None,
) -> Decimal | None:  # fmt: skip
    """The mid on the passive side of the tick, no further than `furthest` and inside the day's band; None where that
    is no nearer to the market than the present price."""
    price = to_tick(mid, tick=tick, side=side)
    price = min(price, furthest) if side is Side.BUY else max(price, furthest)
    if band is not None:
        price = min(max(price, band[0]), band[1])
    price = to_tick(price, tick=tick, side=side)
    return price if price > 0 and (price - present) * side.sign > 0 else None
