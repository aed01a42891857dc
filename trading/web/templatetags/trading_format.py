"""The desk's way of writing numbers, for templates. The rules themselves are in `trading.domain.formatting`."""

from datetime import UTC, date, datetime
from decimal import Decimal

from django import template

from trading.domain import formatting

register = template.Library()

register.filter("percent", formatting.percent)
register.filter("quantity", formatting.quantity)
register.filter("duration", formatting.duration)
register.filter("bps", formatting.basis_points)
register.filter("ms", formatting.latency)
register.filter("share", formatting.share)


@register.filter
def rupees(paise: int | None) -> str:
    """Paise as `1,21,852.50`, for cells."""
    return formatting.rupees(paise)


@register.filter
def rupees_full(paise: int | None) -> str:
    """Paise as `₹1,21,852.50`, for headings."""
    return formatting.rupees(paise, symbol=True)


@register.filter
def rupees_round(paise: int | None) -> str:
    """Paise as `₹1,21,853`, for sentences."""
    return formatting.rupees(paise, symbol=True, decimals=0)


@register.filter
def signed_rupees(paise: int | None) -> str:
    return formatting.signed_rupees(paise)


@register.filter
def signed_full(paise: int | None) -> str:
    return formatting.signed_rupees(paise, symbol=True)


@register.filter
def price(value: Decimal | None, tick: Decimal | None = None) -> str:
    """Rupees a unit; the argument is the tick size, an instrument's or none for two decimals."""
    return formatting.price(value, tick)


@register.filter
def tone(value: Decimal | int | None) -> str:
    """The CSS class of a profit or a loss. The sign in the text says the same."""
    return {1: "up", -1: "down"}.get(formatting.sign_of(value), "flat")


@register.filter
def tone_of_cost(value: Decimal | int | None) -> str:
    """The same of what was paid: above zero is a loss."""
    return tone(None if value is None else -value)


@register.filter
def ist_time(at: datetime | None, today: date | None = None) -> str:
    return formatting.ist_time(at, today)


@register.filter
def utc_exact(at: datetime | None) -> str:
    """The exact instant, for titles."""
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3] + " UTC"


@register.filter
def phase(name: str) -> str:
    """The exchange's phase, as the page's own clock writes it."""
    return str(name).replace("_", " ")


@register.filter
def age(at: datetime, wall: datetime) -> str:
    """How long ago on the wall, for what has no market time."""
    return formatting.duration((wall - at).total_seconds())


@register.filter
def words(code: str) -> str:
    """A stored code as words: `SQUARE_OFF` → `Square off`, `order.filled` → `Order filled`."""
    return str(code).replace("_", " ").replace(".", " ").capitalize()


@register.filter
def timeframe(minutes: int) -> str:
    return formatting.timeframe(minutes)
