"""Reading one field at a time: tolerant about what may be left out, strict about what is there."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from execution.brokers.errors import UnexpectedReply
from trading.domain.clock import IST

PRICE_STEP = Decimal("0.0001")
PAISA = Decimal("0.01")
_MISSING = object()
_CLOCKS = ("%d-%b-%Y %H:%M:%S", "%d-%m-%Y %H:%M:%S", "%Y-%m-%d %H:%M:%S")

Row = Mapping[str, Any]


def row(value: Any, what: str) -> Row:
    if not isinstance(value, dict):
        raise UnexpectedReply(f"{what}: an object was expected, not {type(value).__name__}.")
    return value


def rows(value: Any, what: str) -> list[Row]:
    if not isinstance(value, list):
        raise UnexpectedReply(f"{what}: a list was expected, not {type(value).__name__}.")
    return [row(item, what) for item in value]


def pick(source: Row, *names: str) -> Any:
    """The first of these fields that is there and not null; UnexpectedReply where there is none."""
    for name in names:
        value = source.get(name, _MISSING)
        if value is not _MISSING and value is not None:
            return value
    raise UnexpectedReply(f"the field {' / '.join(names)} is missing.")


def has(source: Row, *names: str) -> bool:
    return any(source.get(name) is not None for name in names)


def text(source: Row, *names: str, default: str | None = None) -> str:
    """A string; numbers are accepted, because ids come as either."""
    if default is not None and not has(source, *names):
        return default
    value = pick(source, *names)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise UnexpectedReply(f"{names[0]}: a text was expected, not {type(value).__name__}.")
    return str(value)


def identity(source: Row, *names: str) -> str:
    """A text that names something, so it cannot be empty."""
    value = text(source, *names).strip()
    if not value:
        raise UnexpectedReply(f"{names[0]}: empty.")
    return value


def whole(source: Row, *names: str, default: int | None = None) -> int:
    """A whole number; `10.0` counts, `10.5` does not."""
    if default is not None and not has(source, *names):
        return default
    value = pick(source, *names)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, Decimal) and value.is_finite() and abs(value) < 10**18 and value == value.to_integral_value():
        return int(value)
    raise UnexpectedReply(f"{names[0]}: a whole number was expected.")


def quantity(source: Row, *names: str, default: int | None = None) -> int:
    value = whole(source, *names, default=default)
    if value < 0:
        raise UnexpectedReply(f"{names[0]}: a quantity cannot be negative ({value}).")
    return value


def number(source: Row, *names: str) -> Decimal:
    """An exact number, of any sign."""
    return exact(pick(source, *names), names[0])


def exact(value: Any, what: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise UnexpectedReply(f"{what}: a number was expected, not {type(value).__name__}.")
    found = Decimal(value)
    if not found.is_finite() or abs(found) >= 10**15:
        raise UnexpectedReply(f"{what}: not a sensible number.")
    return found


def price(source: Row, *names: str) -> Decimal:
    """Rupees a unit, positive, at most four decimals (the broker's averages carry binary dust)."""
    found = price_or_none(source, *names)
    if found is None:
        raise UnexpectedReply(f"{names[0]}: a price was expected.")
    return found


def price_or_none(source: Row, *names: str) -> Decimal | None:
    """As price(); zero and absence both mean that there is none."""
    if not has(source, *names):
        return None
    found = number(source, *names)
    if found < 0:
        raise UnexpectedReply(f"{names[0]}: a price cannot be negative.")
    return without_dust(found) or None


def without_dust(value: Decimal) -> Decimal:
    if -value.as_tuple().exponent <= 4:  # type: ignore[operator]
        return value
    return value.quantize(PRICE_STEP)


def rupees(source: Row, *names: str) -> Decimal:
    """An amount to the paisa, of any sign."""
    try:
        return number(source, *names).quantize(PAISA)
    except InvalidOperation:
        raise UnexpectedReply(f"{names[0]}: not an amount.") from None


def local_time(value: str) -> datetime:
    """`20-Nov-2025 09:31:07`, `20-11-2025 09:31:07` or `2025-11-20 09:31:07`, all Indian time, as UTC."""
    for pattern in _CLOCKS:
        try:
            return datetime.strptime(value, pattern).replace(tzinfo=IST).astimezone(UTC)
        except (ValueError, OverflowError):
            continue
    raise UnexpectedReply("a time of an unknown form.")


def epoch(value: Any, what: str) -> datetime:
    """Seconds since 1970, as number or digits, as UTC."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
        value = int(value)
    is_number = isinstance(value, int | Decimal) and not isinstance(value, bool) and value == value  # not NaN
    if not is_number or not 0 < value < 2**35:
        raise UnexpectedReply(f"{what}: an instant was expected.")
    return datetime.fromtimestamp(float(value), UTC)
