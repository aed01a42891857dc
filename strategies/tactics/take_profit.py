"""Where a trade that is built up takes its profit: by its legs, by its pyramids, or as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from math import ceil, floor

from trading.domain.orders import Side


class TakeProfitMode(StrEnum):
    LEG = "LEG"
    AGGREGATE = "AGGREGATE"
    HYBRID = "HYBRID"
    PYRAMID_AGGREGATE = "PYRAMID_AGGREGATE"


@dataclass(frozen=True, slots=True)
class FilledLeg:
    """What a leg has bought (or sold short) so far. Units; paise of all of `filled`; `held`: not closed again yet.

    `key` and `pyramid` name the leg and the entry it belongs to; `take_profit_pct` is its own, in percent.
    """

    key: int
    pyramid: int
    filled: int
    fill_value_paise: int
    held: int
    take_profit_pct: Decimal


@dataclass(frozen=True, slots=True)
class WantedExit:
    """A part that is to be closed at `price` (rupees, on the tick) or better. `quantity`: units that are held now.

    The key is the same for the same leg or pyramid whatever else changes, so that a repeat is known for one; exactly
    one of `leg` and `pyramid` says whose it is.
    """

    key: str
    leg: int | None
    pyramid: int | None
    quantity: int
    price: Decimal


@dataclass(frozen=True, slots=True)
class TakeProfits:
    """All that is wanted now. `whole`: the price at which everything is closed at once, None where there is none."""

    parts: tuple[WantedExit, ...] = ()
    whole: Decimal | None = None


def take_profits(
    side: Side, legs: Sequence[FilledLeg], mode: str, *, tick: Decimal, aggregate_pct: Decimal
) -> TakeProfits:
    """Where the profit of a trade of `side` is taken, from what is filled this moment, however little that is.

    A leg asks for its own percent of its own average price; a pyramid, and the whole, for `aggregate_pct` of the
    average of what they still hold. Prices are rounded away from the entry, with exact fractions, so that the profit
    (before charges) is never smaller than what was asked for. A profit that no price above zero can give, 100 % of a
    short, is not wanted. ValueError for a mode that does not exist.
    """
    mode = TakeProfitMode(mode)
    held = [leg for leg in legs if leg.held > 0 and leg.filled > 0]

    def price(of: Iterable[FilledLeg], pct: Decimal) -> Decimal | None:
        return _target(side, _average(of), pct, tick)

    parts: list[WantedExit] = []
    if mode in (TakeProfitMode.LEG, TakeProfitMode.HYBRID):
        parts = _by_leg(held, price)
    elif mode is TakeProfitMode.PYRAMID_AGGREGATE:
        parts = _by_pyramid(held, aggregate_pct, price)
    takes_whole = mode in (TakeProfitMode.AGGREGATE, TakeProfitMode.HYBRID) and bool(held)
    return TakeProfits(tuple(parts), price(held, aggregate_pct) if takes_whole else None)


Price = Callable[[Iterable[FilledLeg], Decimal], Decimal | None]


def _by_leg(held: Iterable[FilledLeg], price: Price) -> list[WantedExit]:
    wanted = []
    for leg in held:
        at = price([leg], leg.take_profit_pct)
        if at is not None:
            wanted.append(WantedExit(f"tp:leg:{leg.key}", leg.key, None, leg.held, at))
    return wanted


def _by_pyramid(held: Sequence[FilledLeg], pct: Decimal, price: Price) -> list[WantedExit]:
    wanted = []
    for pyramid in sorted({leg.pyramid for leg in held}):
        own = [leg for leg in held if leg.pyramid == pyramid]
        at = price(own, pct)
        if at is not None:
            wanted.append(WantedExit(f"tp:pyramid:{pyramid}", None, pyramid, sum(leg.held for leg in own), at))
    return wanted


def _average(legs: Iterable[FilledLeg]) -> Fraction:
    """Rupees per unit of what is held, exact: a leg that is partly closed keeps the average it was filled at."""
    own = list(legs)
    paise = sum((Fraction(leg.fill_value_paise * leg.held, leg.filled) for leg in own), Fraction(0))
    return paise / (100 * sum(leg.held for leg in own))


def _target(side: Side, average: Fraction, pct: Decimal, tick: Decimal) -> Decimal | None:
    ticks = average * (1 + side.sign * Fraction(pct) / 100) / Fraction(tick)
    price = (ceil(ticks) if side is Side.BUY else floor(ticks)) * tick
    return price if price > 0 else None
