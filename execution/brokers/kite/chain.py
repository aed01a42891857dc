"""An option chain put together: Kite lists contracts in its dump and quotes them like anything else.

Source: Kite Connect v3, instruments and full quotes. How interest changed since yesterday is not told.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from execution.brokers import fields
from execution.brokers.errors import BusinessError
from execution.brokers.kite.symbols import to_kite
from execution.brokers.port import ChainLine, ListedInstrument
from trading.domain.symbols import contract_root


@dataclass(frozen=True, slots=True)
class ListedChain:
    """The contracts of one expiry near the money, and all expiries that are listed, rising."""

    expiries: tuple[date, ...]
    contracts: tuple[ListedInstrument, ...]


def choose(
    listed: Iterable[ListedInstrument], symbol: str, *, expiry: date | None, spot: Decimal, strikes: int
) -> ListedChain:  # fmt: skip
    """The strikes around `spot`, on each side so many. BusinessError: NO_OPTIONS, UNKNOWN_EXPIRY."""
    root = contract_root(symbol)
    options = [one for one in listed if one.underlying == root and one.option_type and one.strike and one.expiry]
    days = tuple(sorted({one.expiry for one in options if one.expiry is not None}))
    if not days:
        raise BusinessError("NO_OPTIONS", f"The venue lists no options on {symbol[:60]}.")
    day = expiry or days[0]
    if day not in days:
        raise BusinessError("UNKNOWN_EXPIRY", f"{symbol[:60]} has no contracts that end on {day}.")
    of_day = [one for one in options if one.expiry == day]
    prices = sorted({one.strike for one in of_day if one.strike is not None})
    middle = min(range(len(prices)), key=lambda at: abs(prices[at] - spot))
    near = set(prices[max(0, middle - strikes) : middle + strikes + 1])
    return ListedChain(days, tuple(one for one in of_day if one.strike in near))


def keys_of(contracts: Sequence[ListedInstrument]) -> dict[str, ListedInstrument]:
    """By Kite's key for quotes."""
    return {name.key: one for one in contracts if (name := to_kite(one.symbol)) is not None}


def read_lines(asked: dict[str, ListedInstrument], payload: Any) -> list[ChainLine]:
    """One line for each contract that is quoted."""
    data = fields.row(payload, "quotes")
    lines = []
    for key, one in asked.items():
        if key not in data or one.strike is None or one.option_type is None:
            continue
        values = fields.row(data[key], "quote")
        depth = values.get("depth")
        sides = fields.row(depth, "depth") if depth else {}
        lines.append(
            ChainLine(
                symbol=one.symbol,
                strike=one.strike,
                option_type=one.option_type,
                last_price=fields.price_or_none(values, "last_price"),
                bid=_best(sides.get("buy")),
                ask=_best(sides.get("sell")),
                open_interest=fields.quantity(values, "oi", default=0),
                open_interest_change=None,
                volume=fields.quantity(values, "volume", default=0),
            )
        )
    return sorted(lines, key=lambda line: (line.strike, line.option_type))


def _best(levels: Any) -> Decimal | None:
    return fields.price_or_none(fields.rows(levels, "depth")[0], "price") if levels else None
