"""Why a contract gave no signal at a bar: its conditions, one by one, with what they saw. Writes nothing."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from strategies.models import Deployment, ScanSlot, Signal
from strategies.rules.compiled import CompiledRule
from strategies.rules.evaluate import Evaluation
from strategies.rules.nodes import Logic, Node, text_of
from strategies.scanner.due import scanned_until
from strategies.scanner.scan_bar import cache, compile_deployment, other_bars, rule_window
from trading.domain.errors import TradingError
from trading.marketdata.listing.universes import members
from trading.marketdata.models import Feed, Instrument
from trading.venue.sessions import exchange_date


@dataclass(frozen=True, slots=True)
class Condition:
    """One part of a rule: True, False, or None where what it needs is not known."""

    side: str
    text: str
    held: bool | None


@dataclass(frozen=True, slots=True)
class WhyNot:
    """`sentence` says it; `conditions` and `terms` (what the rule saw) show it."""

    sentence: str
    code: str
    conditions: tuple[Condition, ...] = ()
    terms: tuple[tuple[str, float], ...] = ()
    signal: Signal | None = None


def why_not(deployment: Deployment, instrument: Instrument, *, bar_at: datetime) -> WhyNot:
    """Look at one bar close again (venue time) as the scanner did."""
    signal = Signal.objects.filter(deployment=deployment, instrument=instrument, bar_at=bar_at).first()
    if signal is not None:
        return WhyNot("There was a signal.", "SIGNAL", signal=signal)
    if instrument not in members(deployment.universe, exchange_date(bar_at)):
        return WhyNot(f"{instrument.ticker} was not in {deployment.universe} that day.", "NOT_IN_UNIVERSE")
    slot = ScanSlot.objects.filter(deployment=deployment, bar_at=bar_at).first()
    if slot is None:
        return WhyNot(
            "This bar close was not scanned: the deployment was not at work, or it is no bar close.", "NO_SCAN"
        )
    if slot.state != ScanSlot.State.DONE:
        return WhyNot(f"The scan of this bar was {slot.state.lower()}. {slot.note}".strip(), f"SCAN_{slot.state}")
    feed = Feed.objects.get(name=deployment.portfolio.account.feed)
    contract = compile_deployment(deployment)
    minutes = contract.body.timeframe_minutes
    until = scanned_until(feed, timeframe=minutes, bar_at=bar_at)
    prices = cache.window(feed, [instrument], minutes, bars=contract.bars, until=until, adjusted=True)
    if prices.bars == 0 or not np.isfinite(prices.close[0, -1]):
        return WhyNot(f"{instrument.ticker} had no candle for this bar.", "NO_CANDLE")
    if prices.bars < contract.bars // 2:
        return WhyNot(f"Only {prices.bars} of {contract.bars} bars were known: it was not judged.", "TOO_FEW_BARS")
    try:
        others = other_bars(contract.rules, feed=feed, instruments=[instrument], base=minutes, until=until)
    except TradingError as error:
        return WhyNot(error.message, error.code)
    evaluation = Evaluation(rule_window(prices, others))
    conditions: list[Condition] = []
    terms: dict[str, float] = {}
    for side, rule in contract.sides:
        conditions += _parts(rule, evaluation, side=side.value)
        terms |= rule.terms_at(evaluation, 0, prices.bars - 1)
    missing = [one for one in conditions if one.held is not True]
    words = "; ".join(f"{one.text} was {'false' if one.held is False else 'not known'}" for one in missing[:3])
    sentence = f"No entry: {words}." if missing else "Every condition held, and yet no stop could be placed for it."
    return WhyNot(sentence, "RULE_FALSE" if missing else "NO_STOP", tuple(conditions), tuple(terms.items()))


def _parts(rule: CompiledRule, evaluation: Evaluation, *, side: str) -> list[Condition]:
    """The parts that must all hold, each with whether it did at the last bar of the only symbol."""
    found = []
    for node in _all_of(rule.node):
        is_true, is_false = evaluation.condition(node)
        held = True if is_true[0, -1] else False if is_false[0, -1] else None
        found.append(Condition(side, text_of(node), held))
    return found


def _all_of(node: Node) -> list[Node]:
    if isinstance(node, Logic) and node.operator == "and":
        return [part for one in node.parts for part in _all_of(one)]
    return [node]
