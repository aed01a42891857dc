"""A strategy in Python is a rule by other means: the same decisions make the same trades."""

from decimal import Decimal

import numpy as np
import pytest

from strategies.backtest.coded import Bars, CodedStrategy, run_coded
from strategies.backtest.engine import run
from strategies.backtest.errors import BacktestRefused
from strategies.backtest.plan import Account, Costs
from strategies.contracts.schema import StopKind, StopSpec
from tests.unit.backtest.markets import plan, together, wandering
from trading.venue.charges import ChargeBroker

LONG, SHORT = "close > highest(high, 3)[1]", "close < lowest(low, 3)[1]"
LEAVE = "close < sma(close, 4)"


class Breakout(CodedStrategy):
    def start(self, bars: Bars) -> None:
        self.top, self.bottom = bars.rule("highest(high, 3)"), bars.rule("lowest(low, 3)")
        self.mean = bars.rule("sma(close, 4)")

    def next(self, bars: Bars) -> None:
        for symbol in range(len(bars.symbols)):
            close = bars.close(symbol=symbol)
            if close > self.top(1, symbol):
                bars.buy(symbol)
            if close < self.bottom(1, symbol):
                bars.sell(symbol)
            if close < self.mean(0, symbol):
                bars.leave(symbol)


@pytest.mark.parametrize("seed", range(12))
def test_a_strategy_in_python_trades_as_the_same_rules(seed):
    draw = np.random.default_rng(seed)
    market = together(*(wandering(seed + at, 200, spread=0.01) for at in range(1 + seed % 3)), timeframe=15)
    from strategies.backtest.plan import rule_of

    tested = plan(
        LONG, SHORT, long_exit=rule_of(LEAVE, "exit"), short_exit=rule_of(LEAVE, "exit"), reverse=bool(seed % 2),
        stop=StopSpec(StopKind.PERCENT, Decimal(int(draw.integers(5, 30))) / 10),
        account=Account(cash=Decimal(300_000), slots=2), costs=Costs(charges=ChargeBroker.FYERS),
    )  # fmt: skip
    by_rules, by_code = run(tested, market), run_coded(Breakout, tested, market)
    assert len(by_rules.trades) > 5
    assert np.array_equal(by_rules.trades, by_code.trades) and np.array_equal(by_rules.equity, by_code.equity)
    assert by_rules.cash == by_code.cash and by_code.as_json() == run_coded(Breakout, tested, market).as_json()


def test_a_strategy_knows_what_it_holds():
    class Once(CodedStrategy):
        def next(self, bars: Bars) -> None:
            if bars.at == 3:
                bars.buy()
            if bars.position() and bars.close() > (bars.entry_price() or 0):
                bars.leave()

    result = run_coded(Once, plan("close > open"), together(wandering(4, 60, spread=0.01), timeframe=1440))
    (trade,) = result.trade_list()
    assert trade["entry_bar"] == 4 and result.plan.as_mapping()["coded"] == "Once"


def test_the_future_cannot_be_asked_for():
    class Peeks(CodedStrategy):
        def next(self, bars: Bars) -> None:
            bars.close(-1)

    with pytest.raises(BacktestRefused, match="LOOK_AHEAD"):
        run_coded(Peeks, plan("close > open"), together(wandering(4, 60)))


def test_a_strategy_that_fails_says_where_in_one_line():
    class Fails(CodedStrategy):
        def next(self, bars: Bars) -> None:
            1 / (bars.at - 7)

    with pytest.raises(BacktestRefused, match="Fails failed on bar 7: ZeroDivisionError"):
        run_coded(Fails, plan("close > open"), together(wandering(4, 60)))

    class Idle(CodedStrategy):
        def next(self, bars: Bars) -> None:
            return None

    with pytest.raises(BacktestRefused, match="NEVER_FIRED"):
        run_coded(Idle, plan("close > open"), together(wandering(4, 60)))
