"""The names a rule may use, beside its own parameters."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

from trading.indicators.registry import REGISTRY

PRICE_FIELDS: Final = {
    "open": "open of the bar",
    "high": "high of the bar",
    "low": "low of the bar",
    "close": "close of the bar",
    "volume": "units traded in the bar",
    "hl2": "(high + low) / 2",
    "hlc3": "(high + low + close) / 3",
    "ohlc4": "(open + high + low + close) / 4",
}

# Unknown, hence never true, where the window does not reach back far enough to tell.
SESSION_TERMS: Final = {
    "minutes_since_open": "minutes from the open of the session to the start of the bar",
    "bars_since_open": "bars of the session before this one",
    "prev_day_close": "last close of the session before",
    "gap_pct": "open of the session against the close before it, percent",
    "session_vwap": "volume-weighted average price of the session so far",
}
NEED_PREVIOUS_SESSION: Final = frozenset({"prev_day_close", "gap_pct"})
NEED_WHOLE_SESSION: Final = frozenset({"bars_since_open", "session_vwap"})

CROSSES: Final = ("crosses_above", "crosses_below")
SEVERAL: Final = {"min": (2, 8), "max": (2, 8), "abs": (1, 1)}  # how many arguments

NAMES: Final = frozenset(PRICE_FIELDS) | frozenset(SESSION_TERMS)
FUNCTIONS: Final = frozenset(REGISTRY) | frozenset(CROSSES) | frozenset(SEVERAL)
RESERVED: Final = NAMES | FUNCTIONS | {"and", "or", "not", "true", "false"}


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like this one, if any is."""
    matches = get_close_matches(name.lower(), sorted(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def signature_of(function: str) -> str:
    """How a function is written, for messages and help."""
    if function in CROSSES:
        return f"{function}(series, series)"
    if function in SEVERAL:
        return f"{function}(number)" if function == "abs" else f"{function}(number, number, …)"
    return REGISTRY[function].signature
