"""Before the first run: kernels compiled or loaded, so that nobody waits for a compiler."""

from __future__ import annotations

import logging
import time
from datetime import date
from decimal import Decimal

import numpy as np

from strategies.backtest.coded import Bars, CodedStrategy, run_coded
from strategies.backtest.engine import run
from strategies.backtest.market import Market, day_open_s, market_of
from strategies.backtest.openings import Combinations
from strategies.backtest.plan import Account, Costs, Plan, Trailing, rule_of
from strategies.backtest.regimes import regimes_of_days
from strategies.backtest.sweep import sweep
from strategies.contracts.schema import StopKind, StopSpec, TargetKind, TargetSpec
from trading.indicators.registry import warm_cache
from trading.venue.charges import ChargeBroker

logger = logging.getLogger(__name__)


def warm_research() -> None:
    """Run one small backtest with everything in it on a made-up market. Changes no row."""
    began = time.monotonic()
    market = made_up_market()
    for reverse in (False, True):
        result = run(_plan(reverse), market)
        result.as_json()
    run(_plan(False), made_up_market(1))
    run_coded(_Once, _plan(False), market)
    regimes_of_days(market)
    for symbols in (1, 2):  # one symbol alone has kernels of its own, in a run as in a sweep
        sweep(_plan(False), made_up_market(symbols), Combinations.of([{"exit.target": 2.0}, {"exit.target": 3.0}]))
    warm_cache()
    logger.info("research is warm after %.1f s", time.monotonic() - began)


class _Once(CodedStrategy):
    """Buys at the first close and holds."""

    def next(self, bars: Bars) -> None:
        if bars.at == 0:
            bars.buy()


def made_up_market(symbols: int = 2, days: int = 30) -> Market:
    """Symbols that rise and fall over whole sessions of five-minute bars."""
    first = date(2026, 1, 5).toordinal()
    opens = [day_open_s(date.fromordinal(first + at)) for at in range(days)]
    starts = (np.array(opens, np.int64)[:, None] + np.arange(75) * 300).ravel()
    places = np.arange(starts.size)
    close = np.stack([100 + 5 * np.sin(places / (7 + at)) + 3 * np.sin(places / 90) for at in range(symbols)])
    return market_of(
        symbols=[f"MADE UP {at}" for at in range(symbols)], starts=starts, open_=close.copy(), high=close + 0.5,
        low=close - 0.5, close=close, volume=np.full(close.shape, 10_000.0), timeframe=5,
        ticks=[Decimal("0.05")] * symbols, lots=[1] * symbols,
    )  # fmt: skip


def _plan(reverse: bool) -> Plan:
    return Plan(
        name="warm", version="", long_entry=rule_of("crosses_above(ema(close, 5), ema(close, 20))", "long"),
        short_entry=rule_of("crosses_below(ema(close, 5), ema(close, 20))", "short"),
        stop=StopSpec(StopKind.ATR, Decimal(2), 14), target=TargetSpec(TargetKind.PERCENT, Decimal(2)),
        trailing=Trailing(Decimal(1)), max_bars=40, reverse=reverse, account=Account(slots=2),
        costs=Costs(charges=ChargeBroker.FYERS, slippage_bps=Decimal(2)),
    )  # fmt: skip
