"""Where rules would have fired on the newest bars of one instrument: candles, marks and the lines they look at."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import numpy as np

from strategies.rules.compiled import CompiledRule, RuleSet, compile_rule
from strategies.rules.evaluate import Evaluation
from strategies.rules.functions import TIMEFRAME_MINUTES
from strategies.rules.nodes import Call, Field, Node, Rank, text_of, walk
from strategies.scanner.scan_bar import other_bars, rule_window
from trading.domain.errors import NotAllowed
from trading.marketdata.models import Feed, Instrument
from trading.marketdata.windows import load_window

SHOWN_BARS: Final = 400
MOST_LINES: Final = 6
MOST_MARKS: Final = 300
_SIDES: Final = {"long_entry": "BUY", "short_entry": "SELL", "long_exit": "SELL", "short_exit": "BUY"}
_WORDS: Final = {"long_entry": "long", "short_entry": "short", "long_exit": "long out", "short_exit": "short out"}
_ON_PRICE: Final = frozenset(
    {"sma", "ema", "wma", "dema", "tema", "kama", "highest", "lowest", "supertrend", "psar", "anchored_vwap",
     "kalman_level", "hp_trend"}
)  # fmt: skip
_PRICE_BANDS: Final = ("bollinger_", "keltner_", "donchian_", "ichimoku_")
_PRICE_FIELDS: Final = frozenset(
    {"session_vwap", "session_twap", "session_open", "session_high", "session_low", "prev_day_open", "prev_day_high",
     "prev_day_low", "prev_day_close"}
)  # fmt: skip


def preview(
    texts: Mapping[str, str], *, parameters: Mapping[str, float], timeframe: str, instrument: Instrument,
    universe: list[Instrument], feed: Feed, until: datetime,
) -> dict[str, Any]:  # fmt: skip
    """A candle chart's JSON. RuleError: a rule that cannot be read. NotAllowed TIMEFRAME, UNKNOWN_INSTRUMENT.

    Of entries the first bar of each run is marked: where a trade would have begun. Prices are adjusted for splits and
    bonuses, as the scanner and a backtest have them.
    """
    minutes = TIMEFRAME_MINUTES.get(timeframe)
    if minutes is None:
        raise NotAllowed("TIMEFRAME", f"{timeframe} is no timeframe: {', '.join(TIMEFRAME_MINUTES)}.")
    rules = {
        name: compile_rule(text, parameters, expect="condition", timeframe=minutes)
        for name, text in texts.items()
        if name in _SIDES and text.strip()
    }
    together = RuleSet.of(*rules.values())
    ranked = any(isinstance(node, Rank) for rule in rules.values() for node in walk(rule.node))
    instruments = [instrument, *(one for one in universe if one.pk != instrument.pk)] if ranked else [instrument]
    bars = SHOWN_BARS + min(together.history(minutes), 5_000)
    prices = load_window(feed, instruments, minutes, bars=bars, until=until, adjusted=True)
    if prices.bars == 0:
        return {"candles": [], "lines": [], "marks": [], "levels": [], "note": f"No {timeframe} candles yet."}
    others = other_bars(together, feed=feed, instruments=instruments, base=minutes, until=until, spare=prices.bars)
    evaluation = Evaluation(rule_window(prices, others))
    first = max(0, prices.bars - SHOWN_BARS)
    known = np.flatnonzero(np.isfinite(prices.close[0]))
    places = known[known >= first]
    candles = [
        [int(prices.starts[at]), *(float(getattr(prices, name)[0, at]) for name in ("open", "high", "low", "close")),
         float(prices.volume[0, at])]
        for at in places
    ]  # fmt: skip
    marks: list[dict[str, Any]] = []
    fired = {}
    for name, rule in rules.items():
        true = evaluation.truth(rule.node)[0]
        begins = true & ~np.concatenate(([False], true[:-1]))
        at_bars = [int(at) for at in np.flatnonzero(begins) if at >= first]
        fired[name] = len(at_bars)
        marks += [
            {"time": int(prices.starts[at]), "side": _SIDES[name], "text": _WORDS[name],
             "price": float(prices.close[0, at])}
            for at in at_bars
            if np.isfinite(prices.close[0, at])
        ]  # fmt: skip
    marks = sorted(marks, key=lambda mark: mark["time"])[-MOST_MARKS:]
    told = ", ".join(f"{_WORDS[name]} {count}×" for name, count in fired.items()) or "no rule yet"
    return {
        "candles": candles, "lines": _lines(rules, evaluation, places, prices.starts), "marks": marks, "levels": [],
        "note": f"Fired in these {len(candles)} bars: {told}.",
    }  # fmt: skip


def _lines(
    rules: Mapping[str, CompiledRule], evaluation: Evaluation, places: np.ndarray, starts: np.ndarray
) -> list[dict[str, Any]]:
    """What the rules look at: prices over the candles, the rest in panes of their own."""
    found: dict[Node, str] = {}
    for rule in rules.values():
        for node in _visible(rule.node):
            found.setdefault(node, _pane(node))
    lines = []
    for node, pane in list(found.items())[:MOST_LINES]:
        values = evaluation.numbers(node)[0]
        lines.append(
            {
                "name": text_of(node), "pane": pane,
                "values": [
                    [int(starts[at]), float(values[at]) if np.isfinite(values[at]) else None] for at in places.tolist()
                ],
            }
        )  # fmt: skip
    return lines


def _visible(node: Node) -> list[Node]:
    from strategies.rules.compiled import local_nodes

    return [
        each for each in local_nodes(node)
        if isinstance(each, Call) or (isinstance(each, Field) and each.name in _PRICE_FIELDS)
    ]  # fmt: skip


def _pane(node: Node) -> str:
    if isinstance(node, Field):
        return "price"
    assert isinstance(node, Call)
    of_price = all(not isinstance(each, Field) or each.name != "volume" for each in node.series)
    if of_price and (node.name in _ON_PRICE or node.name.startswith(_PRICE_BANDS)):
        return "price"
    return node.name if of_price else "volume"
