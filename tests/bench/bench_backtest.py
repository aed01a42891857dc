"""One backtest with everything in it: averages crossing under an RSI, stop, target, slippage, charges, all figures."""

import time
import warnings
from collections.abc import Callable, Iterator
from decimal import Decimal
from statistics import median

import numpy as np

from strategies.backtest.coded import Bars, CodedStrategy, run_coded
from strategies.backtest.engine import run as run_backtest
from strategies.backtest.market import Market
from strategies.backtest.plan import Account, Costs, Plan, rule_of
from strategies.backtest.result import Result
from strategies.contracts.schema import StopKind, StopSpec, TargetKind, TargetSpec
from tests.bench.harness import Figure, Run, Skipped, bench
from tests.unit.backtest.markets import intraday
from trading.indicators import moving, oscillators
from trading.venue.charges import ChargeBroker

ENTRY = "crosses_above(sma(close, 20), sma(close, 50)) and rsi(close, 14) < 70"
EXIT = "crosses_below(sma(close, 20), sma(close, 50))"
PEER = "backtesting.py, the same rule, stop, target and a flat commission"
SYMBOLS, YEAR = 50, 18_750


@bench
def backtest(run: Run) -> Iterator[Figure]:
    """A whole report over 10,000 and 100,000 bars; its own parts; a year of five minutes on fifty symbols."""
    large = 20_000 if run.quick else 100_000
    plan = everything(symbols=1)
    small_market, market = intraday(10_000), intraday(large)
    rounds = run.rounds(20)
    yield Figure("backtest_10k_ms", natural_ms(lambda: report(plan, small_market), rounds), "ms")
    other, trades_of = peer(market)
    ours, theirs = side_by_side(lambda: report(plan, market), other, 3)
    trades = trades_of()
    counted = len(run_backtest(plan, market).trades)
    if not trades or not 0.8 < counted / trades < 1.25:
        raise AssertionError(f"the two do not do the same work: {counted} trades against {trades}")
    yield Figure(f"backtest_{large // 1_000}k_ms", ours, "ms", PEER, theirs)

    result = run_backtest(plan, market)
    if not np.array_equal(run_coded(Crossing, plan, market).trades, result.trades):
        raise AssertionError("the strategy in Python trades otherwise than its rules")
    ours, theirs = side_by_side(lambda: run_coded(Crossing, plan, market).figures, other, 3, own=2)
    yield Figure(f"backtest_{large // 1_000}k_in_python_ms", ours, "ms", PEER, theirs)
    yield Figure(
        f"backtest_{large // 1_000}k_run_only_ms", natural_ms(lambda: run_backtest(plan, market), rounds), "ms"
    )
    yield Figure(f"backtest_{large // 1_000}k_json_ms", natural_ms(result.as_json, 3), "ms")

    year = intraday(1_000 if run.quick else YEAR, symbols=SYMBOLS)
    portfolio = everything(symbols=5)
    yield Figure("backtest_50_symbols_year_ms", natural_ms(lambda: report(portfolio, year), run.rounds(8)), "ms")


class Crossing(CodedStrategy):
    """The rules of `everything`, asked in Python at every close."""

    def start(self, bars: Bars) -> None:
        self.fast, self.slow = bars.rule("sma(close, 20)"), bars.rule("sma(close, 50)")
        self.strength = bars.rule("rsi(close, 14)")

    def next(self, bars: Bars) -> None:
        fast, slow = self.fast(), self.slow()
        if fast > slow:
            if self.fast(1) <= self.slow(1) and self.strength() < 70:
                bars.buy()
        elif fast < slow and self.fast(1) >= self.slow(1):
            bars.leave()


def natural_ms(call: Callable[[], object], rounds: int) -> float:
    """The median round in milliseconds, after one to warm up, the garbage collector running as it does in use: the
    other engine makes a good part of its cost there."""
    call()
    return median(_ms(call) for _ in range(rounds))


def everything(*, symbols: int) -> Plan:
    return Plan(
        name="bench", version="", long_entry=rule_of(ENTRY, "entry"), short_entry=None, long_exit=rule_of(EXIT, "exit"),
        stop=StopSpec(StopKind.PERCENT, Decimal(1)), target=TargetSpec(TargetKind.PERCENT, Decimal(2)),
        account=Account(cash=Decimal(1_000_000_000), slots=symbols),
        costs=Costs(charges=ChargeBroker.FYERS, slippage_bps=Decimal(2)),
    )  # fmt: skip


def report(plan: Plan, market: Market) -> Result:
    """What is measured: rules, event loop and every figure, from bars in memory."""
    result = run_backtest(plan, market)
    if result.figures["final_equity"] is None:
        raise AssertionError("no result")
    return result


def side_by_side(
    ours: Callable[[], object], theirs: Callable[[], object], rounds: int, own: int = 9
) -> tuple[float, float]:
    """Median milliseconds of both, taken in turns: what else the machine does then weighs on both alike."""
    mine, other = [], []
    ours()
    for _ in range(rounds):
        other.append(_ms(theirs))
        mine += [_ms(ours) for _ in range(own)]
    return median(mine), median(other)


def _ms(call: Callable[[], object]) -> float:
    """Time of the processor: nothing here waits for anything but its turn, and its turn is not what is measured."""
    began = time.process_time()
    call()
    return (time.process_time() - began) * 1_000


def peer(market: Market) -> tuple[Callable[[], None], Callable[[], int]]:
    """The other engine on the same bars, written as its manual does it: what runs it, and what counts its trades."""
    try:
        import backtesting
        import pandas as pd
        from backtesting.lib import crossover
    except ImportError as error:
        raise Skipped(f"{error.name} is not installed") from error

    def average(values: np.ndarray, length: int) -> np.ndarray:
        return moving.sma(values[None, :], length)[0]

    def strength(values: np.ndarray, length: int) -> np.ndarray:
        return oscillators.rsi(values[None, :], length)[0]

    class Same(backtesting.Strategy):
        def init(self) -> None:
            close = np.ascontiguousarray(self.data.Close)
            self.fast, self.slow = self.I(average, close, 20), self.I(average, close, 50)
            self.strength = self.I(strength, close, 14)

        def next(self) -> None:
            if crossover(self.fast, self.slow):
                if not self.position and self.strength[-1] < 70:
                    price = self.data.Close[-1]
                    self.buy(sl=price * 0.99, tp=price * 1.02)
            elif self.position and crossover(self.slow, self.fast):
                self.position.close()

    columns = {name: values[0] for name, values in zip(("Open", "High", "Low", "Close"), market.prices, strict=True)}
    frame = pd.DataFrame(columns | {"Volume": 1.0}, index=pd.to_datetime(np.array(market.starts), unit="s"))
    backtesting.backtesting._tqdm = lambda values, **_: values
    test = backtesting.Backtest(frame, Same, cash=1e9, commission=0.0005, spread=0.0002, finalize_trades=True)
    found: list = []

    def once() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found.append(test.run())

    return once, lambda: int(found[-1]["# Trades"])
