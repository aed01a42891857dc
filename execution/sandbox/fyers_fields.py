"""Reading one field of a FYERS request: its value, or the refusal that the broker gives for it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from execution.sandbox.http import ApiError
from execution.sandbox.market import Market
from execution.sandbox.universe import Listing


def tradable(market: Market, symbol: Any) -> Listing:
    """The listing of what may be traded."""
    listing = market.listings.get(symbol) if isinstance(symbol, str) else None
    if listing is None:
        raise ApiError(400, -300, "Invalid symbol")
    if listing.is_index:
        raise ApiError(400, -300, "an index cannot be traded")
    return listing


def row_of(body: dict[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    if not isinstance(value, dict):
        raise ApiError(400, -50, f"{name} must be an object")
    return value


def side_of(body: dict[str, Any]) -> int:
    return one_of(body, "side", (1, -1))


def whole(body: dict[str, Any], name: str, *, low: int, high: int) -> int:
    value = body.get(name, 0 if low == 0 else None)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ApiError(400, -50, f"{name} must be a whole number from {low} to {high}")
    return value


def one_of(body: dict[str, Any], name: str, allowed: tuple[int, ...]) -> int:
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value not in allowed:
        raise ApiError(400, -50, f"{name} must be one of {', '.join(map(str, allowed))}")
    return value


def price(body: dict[str, Any], name: str) -> int:
    """Whole paise of a price in rupees; 0 if absent."""
    value = body.get(name)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise ApiError(400, -50, f"{name} must be a number")
    amount = Decimal(value) * 100
    if not 0 <= amount <= 2_000_000_000:
        raise ApiError(400, -50, f"{name} is out of range")
    if amount != amount.to_integral_value():
        raise ApiError(400, -50, f"{name} is not a multiple of the tick size")
    return int(amount)


def order_id(body: dict[str, Any]) -> str:
    number = body.get("id")
    if not isinstance(number, str) or not number:
        raise ApiError(400, -51, "invalid order id")
    return number
