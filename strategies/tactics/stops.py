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
    target_price: float | None = None,
) -> tuple[Decimal, Decimal | None]:
    """Stop and target (None: the contract has none) of a position opened on `side` at `entry`, in rupees on the tick.

    Both are rounded away from the entry: a stop is never tighter than the contract says, and a target never smaller.
    R is the distance to the rounded stop, so what is sized and what is asked for agree with the orders that stand.
    `atr` in rupees, needed where the contract measures by it; `stop_price` and `target_price` are the
    values of `price` rules. TradingError with the numbers: NO_ATR, NO_STOP_PRICE, NO_TARGET_PRICE, STOP_WRONG_SIDE,
    TARGET_WRONG_SIDE, PRICE_NOT_POSITIVE.
    """
    # to_tick rounds a buy down: away from the entry for the stop of a long position, and for the target of a short one.
    if body.stop.kind is StopKind.PRICE:
        raw_stop = _price(stop_price, "NO_STOP_PRICE", "The price of the stop is not known yet")
    else:
        raw_stop = entry - side.sign * _distance(body.stop.kind, body.stop.value, entry, atr)
    stop = to_tick(raw_stop, tick=tick, side=side)
    risk = (entry - stop) * side.sign
    if risk <= 0:
        raise TradingError("STOP_WRONG_SIDE", "The stop is not on the losing side of the entry", entry=entry, stop=stop)
    target = _target(side, entry, risk, atr, body, tick, target_price)
    if stop <= 0 or (target is not None and target <= 0):
        raise TradingError("PRICE_NOT_POSITIVE", "Stop and target must be above zero", stop=stop, target=target)
    return stop, target


def _target(
    side: Side, entry: Decimal, risk: Decimal, atr: float | None, body: ContractBody, tick: Decimal,
    target_price: float | None,
) -> Decimal | None:  # fmt: skip
    spec = body.target
    if spec is None:
        return None
    if spec.kind is TargetKind.PRICE:
        raw = _price(target_price, "NO_TARGET_PRICE", "The price of the target is not known yet")
    elif spec.kind is TargetKind.R_MULTIPLE:
        raw = entry + side.sign * risk * (spec.value or Decimal(0))
    else:
        raw = entry + side.sign * _distance(spec.kind, spec.value, entry, atr)
    target = to_tick(raw, tick=tick, side=side.opposite)
    if (target - entry) * side.sign <= 0:
        raise TradingError(
            "TARGET_WRONG_SIDE", "The target is not on the winning side of the entry", entry=entry, target=target
        )
    return target


def _distance(kind: StopKind | TargetKind, value: Decimal | None, entry: Decimal, atr: float | None) -> Decimal:
    multiple = value if value is not None else Decimal(0)
    if kind in (StopKind.PERCENT, TargetKind.PERCENT):
        return entry * multiple / 100
    if atr is None or not isfinite(atr) or atr <= 0:
        raise TradingError("NO_ATR", "The average true range is not known yet", atr=atr)
    return multiple * Decimal(str(atr))


def _price(value: float | None, code: str, message: str) -> Decimal:
    if value is None or not isfinite(value):
        raise TradingError(code, message, price=value)
    return Decimal(str(value))
