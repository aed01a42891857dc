"""Kite's envelope, and reading one field of a form: its value, or the refusal that the broker gives for it."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from execution.sandbox.http import ApiError, Reply, json_reply
from execution.sandbox.order_book import MARKET, STOP

MAX_QTY = 100_000_000


class KiteError(ApiError):
    """A refusal in Kite's envelope."""

    def __init__(self, status: int, kind: str, message: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, status, message, headers=headers)
        self.kind = kind

    def body(self) -> dict[str, Any]:
        return {"status": "error", "message": self.message, "error_type": self.kind, "data": None}


def success(data: Any) -> Reply:
    return json_reply(200, {"status": "success", "data": data})


def whole(form: dict[str, str], name: str) -> int:
    written = form.get(name, "")
    if not (written.isascii() and written.isdigit() and 1 <= len(written) <= 9 and 1 <= int(written) <= MAX_QTY):
        raise KiteError(400, "InputException", f"Invalid `{name}`.")
    return int(written)


def word(form: dict[str, str], name: str, allowed: dict[str, Any]) -> Any:
    if form.get(name) not in allowed:
        raise KiteError(400, "InputException", f"Invalid `{name}`.")
    return allowed[form[name]]


def price(form: dict[str, str], name: str) -> int:
    """Whole paise of a price in rupees."""
    try:
        amount = Decimal(form.get(name, "")) * 100
    except InvalidOperation as error:
        raise KiteError(400, "InputException", f"Invalid `{name}`.") from error
    if not amount.is_finite() or not 0 < amount <= 2_000_000_000:
        raise KiteError(400, "InputException", f"Invalid `{name}`.")
    if amount != amount.to_integral_value():
        raise KiteError(400, "InputException", f"`{name}` is not a multiple of the tick size.")
    return int(amount)


def need_protection(form: dict[str, str], type_: int) -> None:
    if type_ not in (MARKET, STOP):
        return
    try:
        protection = Decimal(form.get("market_protection") or 0)
    except InvalidOperation as error:
        raise KiteError(400, "InputException", "Invalid `market_protection`.") from error
    if protection == 0 or not -1 <= protection <= 100:
        raise KiteError(400, "InputException", "Market orders without market protection are not allowed via API.")
