"""Every name a rule may use, with its meaning: one table for the parser, the editor's help and the reference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, Literal

from trading.indicators.registry import REGISTRY

Group = Literal["price", "session", "pattern", "indicator", "crossing", "counting", "arithmetic", "elsewhere", "logic"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One name of the language: `signature` as it is written, `gives` a number or a condition."""

    name: str
    group: Group
    signature: str
    gives: Literal["number", "condition"]
    doc: str
    example: str


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
    "minutes_to_close": "minutes from the end of the bar to the end of continuous trading",
    "bars_since_open": "bars of the session before this one",
    "day_of_week": "1 on Monday to 5 on Friday",
    "session_open": "first open of the session",
    "session_high": "highest price of the session so far, this bar included",
    "session_low": "lowest price of the session so far, this bar included",
    "session_vwap": "volume-weighted average price of the session so far",
    "session_twap": "plain average of (high + low + close) / 3 over the session so far: for what has no volume",
    "session_volume": "units traded in the session so far",
    "prev_day_open": "first open of the session before",
    "prev_day_high": "highest price of the session before",
    "prev_day_low": "lowest price of the session before",
    "prev_day_close": "last close of the session before",
    "gap_pct": "open of the session against the close before it, percent",
}
SESSION_RANGES: Final = {
    "opening_range_high": "highest price of the session's first minutes, known when they are over",
    "opening_range_low": "lowest price of the session's first minutes, known when they are over",
}
NEED_PREVIOUS_SESSION: Final = frozenset(
    {"prev_day_open", "prev_day_high", "prev_day_low", "prev_day_close", "gap_pct"}
)
NEED_WHOLE_SESSION: Final = frozenset(
    {"bars_since_open", "session_open", "session_high", "session_low", "session_vwap", "session_twap",
     "session_volume", "opening_range_high", "opening_range_low"}
)  # fmt: skip
LONGEST_OPENING_MIN: Final = 375

PATTERNS: Final = {
    "hammer": "small body at the top of the bar, the lower shadow at least twice the body",
    "shooting_star": "small body at the bottom of the bar, the upper shadow at least twice the body",
    "bullish_engulfing": "a rising body that covers the falling body before it",
    "bearish_engulfing": "a falling body that covers the rising body before it",
    "doji": "a body of at most a tenth of the bar's range",
    "inside_bar": "high and low within those of the bar before",
}

CROSSES: Final = {
    "crosses_above": "the first is above the second now, and was not at the bar before",
    "crosses_below": "the first is below the second now, and was not at the bar before",
}
COUNTS: Final = {
    "bars_since": "bars since the condition was last true, 0 if it is now; unknown when it was not within the period",
    "count": "on how many of the last bars of the period the condition was true",
}
SEVERAL: Final = {"min": (2, 8), "max": (2, 8), "abs": (1, 1), "sqrt": (1, 1), "log": (1, 1), "sign": (1, 1)}
_SEVERAL_DOCS: Final = {
    "min": "the smallest of two to eight numbers",
    "max": "the largest of two to eight numbers",
    "abs": "a number without its sign",
    "sqrt": "square root; unknown below 0",
    "log": "natural logarithm; unknown at 0 and below",
    "sign": "1 above 0, -1 below, 0 at 0",
}
CHOICE: Final = "when"
RANK: Final = "rank"
ELSEWHERE: Final = {
    "on": "the same on bars of another timeframe, of which only completed ones are seen",
    "of": "the same of another instrument, an index for example",
}

TIMEFRAME_MINUTES: Final[Mapping[str, int]] = {
    "1m": 1, "3m": 3, "5m": 5, "10m": 10, "15m": 15, "30m": 30, "1h": 60, "1d": 1440,
}  # fmt: skip
TIMEFRAME_NAMES: Final[Mapping[int, str]] = {minutes: name for name, minutes in TIMEFRAME_MINUTES.items()}

KEYWORDS: Final = ("and", "or", "not")
NAMES: Final = frozenset(PRICE_FIELDS) | frozenset(SESSION_TERMS) | frozenset(PATTERNS)
FUNCTIONS: Final = (
    frozenset(REGISTRY) | frozenset(CROSSES) | frozenset(SEVERAL) | frozenset(SESSION_RANGES) | frozenset(COUNTS)
    | frozenset(ELSEWHERE) | {CHOICE, RANK}
)  # fmt: skip
RESERVED: Final = NAMES | FUNCTIONS | {*KEYWORDS, "true", "false"}


def _entries() -> Iterable[Entry]:
    for name, doc in PRICE_FIELDS.items():
        yield Entry(name, "price", name, "number", doc, f"{name} > {name}[1]")
    for name, doc in SESSION_TERMS.items():
        yield Entry(name, "session", name, "number", doc, _SESSION_EXAMPLES[name])
    for name, doc in SESSION_RANGES.items():
        side = "close >" if name.endswith("high") else "close <"
        yield Entry(name, "session", f"{name}(minutes)", "number", doc, f"{side} {name}(15)")
    for name, doc in PATTERNS.items():
        yield Entry(name, "pattern", name, "condition", doc, f"{name} and volume > sma(volume, 20)")
    for one in REGISTRY.values():
        yield Entry(one.name, "indicator", one.signature, "number", one.doc, _indicator_example(one.name))
    for name, doc in CROSSES.items():
        example = f"{name}(ema(close, 9), ema(close, 21))"
        yield Entry(name, "crossing", f"{name}(series, series)", "condition", doc, example)
    yield Entry("bars_since", "counting", "bars_since(condition, period)", "number", COUNTS["bars_since"],
                "bars_since(crosses_above(close, sma(close, 50)), 20) <= 5")  # fmt: skip
    yield Entry("count", "counting", "count(condition, period)", "number", COUNTS["count"],
                "count(close > close[1], 3) == 3")  # fmt: skip
    for name, (fewest, most) in SEVERAL.items():
        signature = f"{name}(number)" if fewest == most else f"{name}(number, number, …)"
        example = f"{name}(open, close) > sma(close, 20)" if fewest > 1 else f"{name}(close - open) > 1"
        yield Entry(name, "arithmetic", signature, "number", _SEVERAL_DOCS[name], example)
    yield Entry("when", "arithmetic", "when(condition, number, number)", "number",
                "the first number where the condition is true, the second where it is false",
                "close > when(adx(14) > 25, ema(close, 9), ema(close, 21))")  # fmt: skip
    yield Entry("on", "elsewhere", 'on("timeframe", term)', "number", ELSEWHERE["on"],
                'close > on("15m", ema(close, 20))')  # fmt: skip
    yield Entry("of", "elsewhere", 'of("instrument", term)', "number", ELSEWHERE["of"],
                'of("NSE:NIFTY50-INDEX", close > session_open)')  # fmt: skip
    yield Entry("rank", "elsewhere", "rank(number)", "number",
                "place among all instruments of the universe at this bar, 0 for the lowest to 100 for the highest",
                "rank(roc(close, 20)) >= 80")  # fmt: skip
    for name, doc in (("and", "both are true"), ("or", "at least one is true"), ("not", "is known to be false")):
        written = "not condition" if name == "not" else f"condition {name} condition"
        yield Entry(name, "logic", written, "condition", doc, f"close > open {'and' if name == 'not' else name} "
                    f"{'not ' if name == 'not' else ''}close > high[1]")  # fmt: skip


_SESSION_EXAMPLES: Final = {
    "minutes_since_open": "minutes_since_open >= 15",
    "minutes_to_close": "minutes_to_close > 45",
    "bars_since_open": "bars_since_open >= 3",
    "day_of_week": "day_of_week != 5",
    "session_open": "close > session_open",
    "session_high": "high == session_high",
    "session_low": "low == session_low",
    "session_vwap": "close < session_vwap",
    "session_twap": "close < session_twap",
    "session_volume": "session_volume > 100000",
    "prev_day_open": "open > prev_day_open",
    "prev_day_high": "close > prev_day_high",
    "prev_day_low": "close < prev_day_low",
    "prev_day_close": "close > prev_day_close",
    "gap_pct": "abs(gap_pct) > 1",
}


def _indicator_example(name: str) -> str:
    one = REGISTRY[name]
    series = ["close", 'of("NSE:NIFTY50-INDEX", close)'][: one.arity]
    if name == "anchored_vwap":
        return "close > anchored_vwap(when(bars_since_open == 0, 1, 0))"
    needed = [p for p in one.parameters if p.default is None]
    constants = ["0.00001", "0.1", "0.85"] if name == "garch" else ["20"] * len(needed)
    return f"{name}({', '.join([*series, *constants])}) > 0"


CATALOGUE: Final[Mapping[str, Entry]] = {entry.name: entry for entry in _entries()}


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like this one, if any is."""
    matches = get_close_matches(name.lower(), sorted(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def signature_of(function: str) -> str:
    """How a function is written, for messages and help."""
    return CATALOGUE[function].signature
