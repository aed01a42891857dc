"""Numbers that no exchange can have told, by class. Pure; what adapters and the store both go by."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from trading.marketdata.quality.bars import LARGEST_PRICE, LARGEST_VOLUME, LEAST_PRICE


class Impossible(StrEnum):
    """Why a bar cannot be. The codes are stable; the first that applies is told."""

    NO_TIME = "NO_TIME"  # no instant, or no candle at all: nobody knows which minute it was
    OFF_MINUTE = "OFF_MINUTE"  # it begins between two minutes
    NO_NUMBER = "NO_NUMBER"  # NaN, null, a text, a fraction of a share
    NO_PRICE = "NO_PRICE"  # a price of zero or less
    HIGH_BELOW_LOW = "HIGH_BELOW_LOW"
    NOT_ENCLOSED = "NOT_ENCLOSED"  # open or close lies outside high and low
    NEGATIVE_VOLUME = "NEGATIVE_VOLUME"
    TOO_LARGE = "TOO_LARGE"
    DOUBLED = "DOUBLED"  # told twice, with other numbers


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A bar as a source told it, that cannot be. `started_at`: the minute it stands for, None where it has none."""

    started_at: datetime | None
    why: Impossible
    raw: str


def what_is_wrong(
    open_: Decimal | None,
    high: Decimal | None,
    low: Decimal | None,
    close: Decimal | None,
    volume: Decimal | int | None,
) -> Impossible | None:
    """The class of numbers that cannot be a bar's; None: they can. None among them is no number."""
    if open_ is None or high is None or low is None or close is None or volume is None:
        return Impossible.NO_NUMBER
    prices = (open_, high, low, close)
    # (beyond the largest volume there is no remainder to ask for: decimals refuse to give one)
    if not all(price.is_finite() for price in prices) or volume != volume:
        return Impossible.NO_NUMBER
    if -LARGEST_VOLUME <= volume <= LARGEST_VOLUME and volume % 1 != 0:
        return Impossible.NO_NUMBER
    if min(prices) < LEAST_PRICE:
        return Impossible.NO_PRICE
    if high < low:
        return Impossible.HIGH_BELOW_LOW
    if not low <= min(open_, close) <= max(open_, close) <= high:
        return Impossible.NOT_ENCLOSED
    if volume < 0:
        return Impossible.NEGATIVE_VOLUME
    if high > LARGEST_PRICE or volume > LARGEST_VOLUME:
        return Impossible.TOO_LARGE
    return None
