"""Evaluate one contract over its universe at one bar close: arrays in, signals out."""

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np
from django.conf import settings
from django.db import transaction

from strategies.contracts.schema import ContractBody, parse_contract
from strategies.models import Deployment, ScanSlot
from strategies.rules.compiled import LONGEST_SESSION_MIN, CompiledRule, RuleSet
from strategies.rules.evaluate import Evaluation
from strategies.rules.explain import explain
from strategies.rules.newest import newest as fires_newest
from strategies.rules.window import DAILY, ORDINARY_DAY_MIN, SeriesKey, Window, window_of
from strategies.scanner.due import scanned_until
from strategies.scanner.emit_signal import emit_signal
from strategies.tactics.stops import stop_and_target
from trading.domain.errors import TradingError
from trading.domain.money import to_tick
from trading.domain.orders import Side
from trading.domain.signals import SignalDraft
from trading.indicators.volatility import atr
from trading.marketdata.models import Feed, Instrument
from trading.marketdata.quality.stored import NOT_TRUSTED, doubts_about
from trading.marketdata.windows import PriceWindow, WindowCache
from trading.venue.sessions import exchange_date

logger = logging.getLogger(__name__)
FEWEST_BARS = 120
VOLATILITY = "volatility_pct"
"""Among the features of a signal whose size goes by it: percent a year."""
cache = WindowCache()


@dataclass(frozen=True, slots=True)
class CompiledContract:
    """The rules of a version with its parameters, ready to run, and how many bars they need to settle."""

    body: ContractBody
    sides: tuple[tuple[Side, CompiledRule], ...]
    stop_rule: CompiledRule | None
    bars: int
    settling: int
    target_rule: CompiledRule | None = None
    score_rule: CompiledRule | None = None
    exits: tuple[tuple[Side, CompiledRule], ...] = ()
    size_rule: CompiledRule | None = None

    @property
    def rules(self) -> RuleSet:
        """All that is evaluated at a bar, and the other bars it looks at."""
        each_side = (rule for _, rule in (*self.sides, *self.exits))
        return RuleSet.of(*each_side, self.stop_rule, self.target_rule, self.score_rule, self.size_rule)


@lru_cache(maxsize=256)
def _compiled(content_hash: str, canonical: str, overrides: tuple[tuple[str, float], ...]) -> CompiledContract:
    """`content_hash` and `canonical` name the same words; hashing the short one is what makes the cache quick."""
    body = parse_contract(json.loads(canonical))
    given = dict(overrides)
    rules = ((side, body.entry_rule(side, given)) for side in body.sides)
    sides = tuple((side, rule) for side, rule in rules if rule is not None)
    exits = ((side, body.exit_rule(side, given)) for side in body.sides)
    return CompiledContract(
        body, sides, body.stop_rule(given), max(FEWEST_BARS, body.bars_needed(given)) + 1,
        max(FEWEST_BARS, body.bars_to_settle(given)) + 1, body.target_rule(given), body.score_rule(given),
        tuple((side, rule) for side, rule in exits if rule is not None), body.size_rule(given),
    )  # fmt: skip


def compile_deployment(deployment: Deployment) -> CompiledContract:
    """Compiled once for each version and set of parameters."""
    version = deployment.version
    overrides = tuple(sorted((name, float(value)) for name, value in deployment.parameters.items()))
    return _compiled(version.content_hash, json.dumps(version.body, sort_keys=True), overrides)


def rule_window(prices: PriceWindow, others: Mapping[SeriesKey, Window] | None = None) -> Window:
    """The window as the rule language wants it: with its sessions counted, and the other bars its rules name."""
    return window_of(
        symbols=prices.symbols, starts=prices.starts, open_=prices.open, high=prices.high, low=prices.low,
        close=prices.close, volume=prices.volume, timeframe=prices.timeframe, others=others,
    )  # fmt: skip


def scan(
    contract: CompiledContract, *, prices: PriceWindow, instruments: list[Instrument], key: str, bar_at: datetime,
    others: Mapping[SeriesKey, Window] | None = None,
) -> list[SignalDraft]:  # fmt: skip
    """What the contract thinks of the last bar of the window. Pure but for the clock it does not read.

    An instrument without a candle for that bar is not judged.
    """
    if prices.bars == 0:
        return []
    window = rule_window(prices, others)
    if not any(fires_newest(rule, window, threads=settings.SCAN_THREADS).any() for _, rule in contract.sides):
        return []  # as nearly always, and for a fraction of the work
    evaluation = Evaluation(window)
    body = contract.body
    newest = prices.bars - 1
    ranges = stops = targets = scores = moves = np.full(len(instruments), np.nan)
    if body.atr_period is not None:
        ranges = atr(window.high, window.low, window.close, body.atr_period)[:, -1]
    if contract.stop_rule is not None:
        stops = contract.stop_rule.evaluate(evaluation)[:, -1]
    if contract.target_rule is not None:
        targets = contract.target_rule.evaluate(evaluation)[:, -1]
    if contract.score_rule is not None:
        scores = contract.score_rule.evaluate(evaluation)[:, -1]
    if contract.size_rule is not None:
        moves = contract.size_rule.evaluate(evaluation)[:, -1]
    drafts: list[SignalDraft] = []
    for side, rule in contract.sides:
        fired = rule.evaluate(evaluation)[:, -1]
        for row in np.flatnonzero(fired & np.isfinite(window.close[:, -1])):
            instrument = instruments[row]
            entry = to_tick(round(float(window.close[row, -1]), 4), tick=instrument.tick_size, side=side)
            average_range = float(ranges[row])
            try:
                stop, target = stop_and_target(
                    side, entry, average_range, body, instrument.tick_size, stop_price=float(stops[row]),
                    target_price=float(targets[row]),
                )  # fmt: skip
            except TradingError as error:
                logger.info("no signal on %s: %s", instrument.symbol, error)
                continue
            terms = rule.terms_at(evaluation, int(row), newest)
            measured = {"atr": average_range, VOLATILITY: float(moves[row])}
            features = terms | {name: value for name, value in measured.items() if np.isfinite(value)}
            drafts.append(
                SignalDraft(
                    instrument_id=instrument.pk, side=side, entry=entry, stop=stop, target=target, bar_at=bar_at,
                    dedupe_key=f"{key}:{instrument.pk}:{int(bar_at.timestamp())}",
                    explanation=explain(rule, terms), features=features,
                    score=float(scores[row]) if np.isfinite(scores[row]) else 0.0,
                )
            )  # fmt: skip
    # Whoever accepts them takes them in this order: the best first, as a backtest fills its slots.
    return sorted(drafts, key=lambda draft: -draft.score)


def other_bars(
    rules: RuleSet, *, feed: Feed, instruments: list[Instrument], base: int, until: datetime, spare: int = FEWEST_BARS
) -> dict[SeriesKey, Window]:
    """The bars of other timeframes and reference instruments that rules on `base` minutes look at, up to `until`.

    `spare`: bars of the window itself, over which the others must reach besides what each rule needs.
    TradingError UNKNOWN_INSTRUMENT: the desk has no instrument of a name they use.
    """
    others: dict[SeriesKey, Window] = {}
    for need in rules.needs:
        timeframe, symbol = need.key(base)
        named = [Instrument.objects.filter(symbol=symbol).first()] if symbol else instruments
        wanted = [one for one in named if one is not None]
        if not wanted:
            raise TradingError("UNKNOWN_INSTRUMENT", f"The rules name {symbol}, which this desk does not know.")
        days = 1 + -(-spare * base // ORDINARY_DAY_MIN)
        a_day = 1 if timeframe >= DAILY else -(-LONGEST_SESSION_MIN // timeframe)
        bars = need.bars + min(days * a_day, spare + a_day)
        others[timeframe, symbol] = rule_window(
            cache.window(feed, wanted, timeframe, bars=bars, until=until, adjusted=True)
        )
    return others


def without_doubtful(
    drafts: list[SignalDraft], *, feed: Feed, instruments: list[Instrument], prices: PriceWindow, bar_at: datetime
) -> tuple[list[SignalDraft], str]:
    """The drafts without those on data that is not trusted, and a note that says of which instruments and why."""
    if not drafts and not np.isnan(prices.close[:, -1]).any():
        return drafts, ""
    since = datetime.fromtimestamp(int(prices.starts[0]), UTC)
    doubts = doubts_about(feed, instruments, prices.timeframe, bar_at=bar_at, since=since)
    names = {one.pk: one.ticker for one in instruments}
    told = "; ".join(f"{names[pk]}: {why}" for pk, why in sorted(doubts.items()))
    kept = [draft for draft in drafts if draft.instrument_id not in doubts]
    return kept, f"{NOT_TRUSTED}: {told}"[:200] if doubts else ""


def scan_slot(slot: ScanSlot, *, feed: Feed, instruments: list[Instrument]) -> int:
    """Scan a claimed bar and store its signals with the slot, in one transaction. Returns how many there are."""
    started = time.perf_counter()
    deployment = slot.deployment
    contract = compile_deployment(deployment)
    minutes = contract.body.timeframe_minutes
    until = scanned_until(feed, timeframe=minutes, bar_at=slot.bar_at)
    prices = cache.window(feed, instruments, minutes, bars=contract.bars, until=until, adjusted=True)
    drafts: list[SignalDraft] = []
    note = ""
    if prices.bars < contract.settling // 2:
        note = f"only {prices.bars} bars of {contract.settling}: not judged"
    elif minutes >= DAILY and exchange_date(prices.last_start or until) != exchange_date(slot.bar_at):
        note = f"no daily candle of {exchange_date(slot.bar_at)}: not judged"
    else:
        others = other_bars(contract.rules, feed=feed, instruments=instruments, base=minutes, until=until)
        drafts = scan(
            contract, prices=prices, instruments=instruments, key=f"d{deployment.pk}", bar_at=slot.bar_at, others=others
        )
        drafts, note = without_doubtful(drafts, feed=feed, instruments=instruments, prices=prices, bar_at=slot.bar_at)
    with transaction.atomic():
        for draft in drafts:
            emit_signal(deployment=deployment, draft=draft)
        slot.state = ScanSlot.State.DONE
        slot.duration_ms = (time.perf_counter() - started) * 1000
        slot.instruments, slot.signals, slot.note = len(instruments), len(drafts), note
        slot.save()
    return len(drafts)
