"""A finished backtest without its candles: run on a made-up market, stored as a worker stores it."""

from decimal import Decimal

import numpy as np
from django.utils import timezone

from strategies.backtest.engine import run as run_backtest
from strategies.backtest.market import Market, market_of
from strategies.backtest.plan import Account, Plan, Trailing, rule_of
from strategies.backtest.result import Result
from strategies.contracts.schema import StopKind, StopSpec
from strategies.models import BacktestRun, RunResult
from strategies.runs.code_version import code_version
from strategies.runs.packing import pack, squeezed
from strategies.runs.studies import backtest
from tests.unit.backtest.markets import intraday


def small_market(symbol: str = "NSE:SBIN-EQ", *, days: int = 6, seed: int = 7) -> Market:
    found = intraday(75 * days, seed=seed)
    window = found.window
    return market_of(
        symbols=[symbol], starts=np.array(window.starts), open_=window.open, high=window.high, low=window.low,
        close=window.close, volume=window.volume, timeframe=5, ticks=[Decimal("0.05")], lots=[1],
    )  # fmt: skip


def small_result(symbol: str = "NSE:SBIN-EQ", *, days: int = 6, seed: int = 7, fast: int = 5) -> Result:
    entry = f"crosses_above(sma(close, {fast}), sma(close, 15))"
    plan = Plan(
        name="ema-cross@1", version="", long_entry=rule_of(entry, "long"), short_entry=None,
        stop=StopSpec(StopKind.PERCENT, Decimal(1)), trailing=Trailing(Decimal("0.5")), max_bars=20,
        account=Account(cash=Decimal(100_000)),
    )  # fmt: skip
    return run_backtest(plan, small_market(symbol, days=days, seed=seed))


def finished_run(owner, *, title: str = "ema-cross@1 on SBIN", symbol: str = "NSE:SBIN-EQ", **how) -> BacktestRun:
    """A run of this person that is done, with its answer; `how` as `small_result` takes it."""
    now = timezone.now()
    run = BacktestRun.objects.create(
        owner=owner, title=title, state=BacktestRun.State.DONE, created_at=now, started_at=now, finished_at=now,
        request={"contract": "ema-cross@1", "symbols": [symbol], "from": "2022-01-03", "to": "2022-01-10"},
    )  # fmt: skip
    found = backtest.collect(run, [backtest.packed(small_result(symbol, **how))])
    RunResult.objects.create(
        run=run, report=squeezed(found.report), arrays=pack({}, found.arrays), figures=found.figures,
        data_hash=found.data_hash, run_hash=found.run_hash, engine_version=found.engine_version,
        code_version=code_version(), seed=None, stored_at=now,
    )  # fmt: skip
    return run
