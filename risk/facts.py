"""What the gates saw, as JSON and back: an intent can be judged again by other limits, exactly as it stood then."""

from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from risk.gates.finding import Snapshot
from trading.domain.orders import OrderIntent, Product, Reason, Side

T = TypeVar("T", OrderIntent, Snapshot)
_WORDS = {"side": Side, "product": Product, "reason": Reason}


def fields_of(seen: OrderIntent | Snapshot) -> dict[str, Any]:
    """By name. Decimals and instants become text in the JSON, so that nothing is rounded."""
    return {name: getattr(seen, name) for name in seen.__slots__}


def intent_from(stored: dict[str, Any]) -> OrderIntent:
    return OrderIntent(**_values(OrderIntent, stored))


def snapshot_from(stored: dict[str, Any]) -> Snapshot:
    return Snapshot(**_values(Snapshot, stored))


def _values(kind: type[T], stored: dict[str, Any]) -> dict[str, Any]:
    """Fields this version knows; what was not kept then has its default, what is no longer asked is left out."""
    return {
        field.name: _value(field.name, str(field.type), stored[field.name])
        for field in fields(kind)
        if field.name in stored
    }


def _value(name: str, kind: str, raw: Any) -> Any:
    if raw is None:
        return None
    if name in _WORDS:
        return _WORDS[name](raw)
    if "Decimal" in kind:
        return Decimal(raw)
    if "datetime" in kind:
        return datetime.fromisoformat(raw)
    if name == "correlations":
        return tuple((symbol, float(rho)) for symbol, rho in raw)
    return raw
