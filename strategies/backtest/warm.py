"""Compile the event loop and the sweep, so that nobody's first backtest waits for it."""

from datetime import date
from decimal import Decimal

import numpy as np

from strategies.backtest.engine import run
from strategies.backtest.market import DAY_S, day_open_s, market_of
from strategies.backtest.openings import Combinations
from strategies.backtest.plan import Account, Costs, Plan, rule_of
from strategies.backtest.sweep import sweep
from strategies.contracts.schema import StopKind, StopSpec
from trading.venue.charges import ChargeBroker


def warm() -> None:
    """Run both on a few bars."""
    close = 100.0 + np.arange(60.0)[None, :] % 7
    market = market_of(
        symbols=("NSE:WARM-EQ",), starts=day_open_s(date(2026, 2, 16)) + np.arange(60) * DAY_S, open_=close.copy(),
        high=close + 1, low=close - 1, close=close, volume=np.full(close.shape, 1_000.0), timeframe=1_440,
        ticks=(Decimal("0.05"),), lots=(1,),
    )  # fmt: skip
    plan = Plan(
        name="warm", version="", long_entry=rule_of("close > sma(close, 3)", "warm"), short_entry=None,
        stop=StopSpec(StopKind.PERCENT, Decimal(1)), account=Account(), costs=Costs(charges=ChargeBroker.FYERS),
    )  # fmt: skip
    assert run(plan, market).as_json()
    sweep(plan, market, Combinations.grid({"exit.stop": [1, 2]}))
