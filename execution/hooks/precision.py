"""Sizes in units and prices on the tick. `auto` rounds to what can be traded, `strict` refuses what is not exact."""

from decimal import Decimal

from execution.hooks.refusal import FieldError, Refused
from trading.api.serializers import MAX_UNITS
from trading.domain.instruments import InstrumentSpec
from trading.domain.money import to_tick
from trading.domain.orders import Side


def units_of(
    size: Decimal, size_type: str, *, spec: InstrumentSpec, price: Decimal | None, strict: bool, shown: str
) -> int:
    """Units of a size in UNITS, LOTS or RUPEES, in whole lots. Refused (422) where none is left or exactness fails."""
    if size_type == "RUPEES":
        if not price:
            raise _refused(shown, "PRICE_MISSING", "A size in rupees needs a price, and none is known.")
        wanted = size / price
    else:
        wanted = size * spec.lot_size if size_type == "LOTS" else size
    units = spec.whole_lots(wanted)
    if strict and size_type != "RUPEES" and units != wanted:
        lot = f"in lots of {spec.lot_size}" if spec.lot_size > 1 else "in whole units"
        raise _refused(shown, "NOT_PRECISE", f"{wanted.normalize():f} of {spec.symbol}: it trades {lot}.")
    if units < 1:
        raise _refused(shown, "TOO_SMALL", f"{size.normalize():f} is less than one lot of {spec.symbol}.")
    if units > MAX_UNITS:
        raise _refused(shown, "OUT_OF_RANGE", f"{units} units are more than {MAX_UNITS}.")
    return units


def on_tick(price: Decimal | None, *, spec: InstrumentSpec, side: Side, strict: bool, shown: str) -> Decimal | None:
    """The price at which an order of `side` can rest, on its passive side. Refused (422) where strict and not exact."""
    if price is None or spec.on_tick(price):
        return price
    if strict:
        raise _refused(
            shown, "NOT_PRECISE", f"{price.normalize():f} is not on the tick of {spec.tick_size.normalize():f}."
        )
    rounded = to_tick(price, tick=spec.tick_size, side=side)
    if rounded <= 0:
        raise _refused(
            shown, "OUT_OF_RANGE", f"{price.normalize():f} is less than one tick of {spec.tick_size.normalize():f}."
        )
    return rounded


def _refused(path: str, code: str, message: str) -> Refused:
    return Refused(422, code, message, [FieldError(path, code, message)])
