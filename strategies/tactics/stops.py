"""Where a position ends: the loss it accepts and the gain it asks for, as prices of the exchange."""

from __future__ import annotations

from decimal import Decimal
from math import isfinite

from strategies.contracts.schema import ContractBody, StopKind, TargetKind
from trading.domain.errors import TradingError
from trading.domain.money import to_tick
from trading.domain.orders import Side


def stop_and_target(
    side: Side,
    entry: Decimal,
    atr: float | None,
    body: ContractBody,
    tick: Decimal,
    *,
    stop_price: float | None = None,
) -> tuple[Decimal, Decimal]:
    """Stop and target of a position opened on `side` at `entry`, in rupees on the tick.

    Both are rounded away from the entry: a stop is never tighter than the contract says, and a target never smaller.
    R is the distance to the rounded stop, so what is sized and what is asked for agree with the orders that stand.
    `atr` in rupees, needed where the contract measures by it; `stop_price` is the value of a `price` stop's rule.
    TradingError with the numbers: NO_ATR, NO_STOP_PRICE, STOP_WRONG_SIDE, PRICE_NOT_POSITIVE.
    """
    # to_tick rounds a buy down: away from the entry for the stop of a long position, and for the target of a short one.
    raw_stop = _stop_price(stop_price) if body.stop.kind is StopKind.PRICE else None
    if raw_stop is None:
        raw_stop = entry - side.sign * _distance(body.stop.kind, body.stop.value, entry, atr)
    stop = to_tick(raw_stop, tick=tick, side=side)
    risk = (entry - stop) * side.sign
    if risk <= 0:
        raise TradingError("STOP_WRONG_SIDE", "The stop is not on the losing side of the entry", entry=entry, stop=stop)
    if body.target.kind is TargetKind.R_MULTIPLE:
        reward = risk * body.target.value
    else:
        reward = _distance(body.target.kind, body.target.value, entry, atr)
    target = to_tick(entry + side.sign * reward, tick=tick, side=side.opposite)
    if stop <= 0 or target <= 0:
        raise TradingError("PRICE_NOT_POSITIVE", "Stop and target must be above zero", stop=stop, target=target)
    return stop, target


def _distance(kind: StopKind | TargetKind, value: Decimal | None, entry: Decimal, atr: float | None) -> Decimal:
    multiple = value if value is not None else Decimal(0)
    if kind in (StopKind.PERCENT, TargetKind.PERCENT):
        return entry * multiple / 100
    if atr is None or not isfinite(atr) or atr <= 0:
        raise TradingError("NO_ATR", "The average true range is not known yet", atr=atr)
    return multiple * Decimal(str(atr))


def _stop_price(value: float | None) -> Decimal:
    if value is None or not isfinite(value):
        raise TradingError("NO_STOP_PRICE", "The price of the stop is not known yet", stop=value)
    return Decimal(str(value))
