"""The fields of a request: one list, from which the API, the page, the command and the reader take theirs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from trading.venue.charges import ChargeBroker

CHARGES: Final = (ChargeBroker.FYERS.lower(), ChargeBroker.ZERODHA.lower(), "none")


class Kind(StrEnum):
    """What a field holds."""

    TEXT = "TEXT"
    WHOLE = "WHOLE"  # a whole number
    DAY = "DAY"  # an exchange day
    NAMES = "NAMES"  # a list of names
    BY_NAME = "BY_NAME"  # a value for each name


@dataclass(frozen=True, slots=True)
class RequestField:
    """`usual`: what it is where it is left out, as text; `hint`: what stands in an empty field of the page."""

    name: str
    label: str
    meaning: str
    kind: Kind = Kind.TEXT
    usual: str = ""
    hint: str = ""
    longest: int = 60
    required: bool = False
    choices: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    is_number: bool = False


MONEY: Final = (
    RequestField("cash", "Cash, rupees", "rupees", usual="1000000", longest=30, is_number=True),
    RequestField(
        "sizing", "Sizing", "all_in, fixed:UNITS, rupees:N, percent:N of equity, risk:N percent lost at the stop,"
        " volatility:N percent of equity it may move a year (volatility:N:DAYS)",
        hint="the contract's", longest=30,
        examples=("all_in", "percent:20", "risk:1", "fixed:10", "rupees:50000", "volatility:15"),
    ),
    RequestField("charges", "Charges", "the dated tables of a broker, or none", usual="fyers", choices=CHARGES),
    RequestField(
        "slippage", "Slippage",
        "basis points against every market order; spread:TICKS, half of it paid; volume:BPS for every tenth of the"
        " usual volume above the first; share:PCT of the usual volume at most; joined by +",
        usual="0", longest=60, examples=("2", "spread:2", "volume:10", "2+spread:1+volume:10+share:25"),
    ),
    RequestField(
        "leverage", "Leverage", "how often the money may be spent at once, at most as the product allows; with a"
        " sizing of one's own 1, else all the product allows (5 intraday)",
        hint="the product's", longest=10, is_number=True,
    ),
    RequestField(
        "slots", "Positions at once", "positions at once", Kind.WHOLE, hint="the house's limit", is_number=True
    ),
    RequestField(
        "rank", "Rank (a number rule; the highest first)", "a number rule: the highest is bought first when slots are"
        " few",
        hint="order of the symbols", longest=2000,
    ),
)  # fmt: skip
FIELDS: Final = (
    RequestField(
        "contract", "Contract", "slug, or slug@version: one of yours, or of the house", longest=80, required=True
    ),
    RequestField(
        "symbols", "Symbols, separated by spaces; empty: the contract's universe",
        "NSE:SBIN-EQ or SBIN; none: every share of the contract's universes", Kind.NAMES,
    ),
    RequestField("feed", "Candles of", "whose candles", usual="NSE", longest=40),
    RequestField("from", "From", "first exchange day", Kind.DAY, required=True),
    RequestField("to", "To", "last exchange day, included", Kind.DAY, required=True),
    RequestField("timeframe", "Timeframe", "of the bars; only the contract's own is allowed", longest=4),
    *MONEY,
    RequestField("parameters", "Parameters", "values of the contract's parameters", Kind.BY_NAME, longest=30),
)  # fmt: skip
BY_NAME: Final = {one.name: one for one in FIELDS}


def usual(name: str) -> str:
    """What a field is where it is left out."""
    return BY_NAME[name].usual
