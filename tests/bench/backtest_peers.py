"""Other engines on bars given in a file, run by a Python that has them: `python backtest_peers.py WORK BARS.npz`.

Prints one line of JSON: seconds of the middle round, trades, and megabytes added to the process. It imports nothing of
the desk. Each engine is used as its manual does it; they model less than the desk, and what they leave out is to their
advantage: no charges by date, no ticks, no lots.
"""

import json
import resource
import sys
import time
import warnings

warnings.filterwarnings("ignore")
import numpy as np  # noqa: E402

FAST, SLOW = range(5, 55, 2), range(60, 260, 5)
STOP, TARGET, COST = 0.01, 0.02, 0.0005


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024


def rounds(call, count: int) -> float:
    seconds = []
    for _ in range(count):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return sorted(seconds)[len(seconds) // 2]


def vectorbt_stats(bars):
    """Averages crossing under an RSI, stop, target, fees; `stats()` is its full report."""
    import pandas as pd
    import vectorbt as vbt

    vbt.settings.caching["enabled"] = False
    at = pd.date_range("2000-01-01", periods=bars.shape[1], freq="5min")
    o, h, low, c = (pd.Series(row, at) for row in bars)
    found = []

    def once() -> None:
        fast, slow = vbt.MA.run(c, 20, engine="rust"), vbt.MA.run(c, 50, engine="rust")
        strength = vbt.RSI.run(c, 27, ewm=True, engine="rust").rsi
        portfolio = vbt.Portfolio.from_signals(
            c, fast.ma_crossed_above(slow) & (strength < 70), fast.ma_crossed_below(slow), open=o, high=h, low=low,
            sl_stop=STOP, tp_stop=TARGET, fees=COST, freq="5min", init_cash=1e6, engine="rust",
        )  # fmt: skip
        portfolio.stats()
        found.append(portfolio)

    once()
    before = peak_mb()
    seconds = rounds(once, 3 if bars.shape[1] <= 200_000 else 1)
    return seconds, int(found[-1].trades.count()), peak_mb() - before


def vectorbt_sweep(bars, metrics: bool):
    """A thousand pairs of averages in chunks of a hundred, as one would to stay in memory."""
    import pandas as pd
    import vectorbt as vbt

    vbt.settings.caching["enabled"] = False
    at = pd.date_range("2000-01-01", periods=bars.shape[1], freq="5min")
    o, h, low, c = (pd.Series(row, at) for row in bars)
    fast, slow = np.tile(FAST, len(SLOW)), np.repeat(SLOW, len(FAST))

    def chunk(first: int, after: int) -> int:
        a = vbt.MA.run(c, fast[first:after], run_unique=True, engine="rust", short_name="fast")
        b = vbt.MA.run(c, slow[first:after], run_unique=True, engine="rust", short_name="slow")
        portfolio = vbt.Portfolio.from_signals(
            c, a.ma_crossed_above(b.ma.values), a.ma_crossed_below(b.ma.values), open=o, high=h, low=low,
            sl_stop=STOP, tp_stop=TARGET, fees=COST, freq="5min", engine="rust",
        )  # fmt: skip
        counted = portfolio.trades.count()
        portfolio.total_return()
        if metrics:
            portfolio.max_drawdown()
            portfolio.sharpe_ratio()
        return int(counted.sum())

    chunk(0, 4)
    before = peak_mb()
    trades = []
    # A part of the pairs where drawdown and Sharpe make it slow: the cost is the same for every chunk.
    count = 200 if metrics else fast.size
    seconds = rounds(lambda: trades.append(sum(chunk(at, at + 100) for at in range(0, count, 100))), 1)
    return seconds * fast.size / count, trades[-1], peak_mb() - before


def nautilus(bars):
    """The same strategy on its bars, brackets as orders; building the bars is not counted."""
    from decimal import Decimal

    import pandas as pd
    from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
    from nautilus_trader.config import LoggingConfig, RiskEngineConfig
    from nautilus_trader.indicators import MovingAverageType, RelativeStrengthIndex, SimpleMovingAverage
    from nautilus_trader.model.currencies import USD
    from nautilus_trader.model.data import Bar, BarType
    from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
    from nautilus_trader.model.identifiers import Venue
    from nautilus_trader.model.objects import Money
    from nautilus_trader.persistence.wranglers import BarDataWrangler
    from nautilus_trader.test_kit.providers import TestInstrumentProvider
    from nautilus_trader.trading.strategy import Strategy

    instrument = TestInstrumentProvider.equity("AAPL", "SIM")
    kind = BarType.from_str(f"{instrument.id}-5-MINUTE-LAST-EXTERNAL")

    class Same(Strategy):
        def on_start(self) -> None:
            self.fast, self.slow = SimpleMovingAverage(20), SimpleMovingAverage(50)
            self.strength = RelativeStrengthIndex(14, MovingAverageType.WILDER)
            for one in (self.fast, self.slow, self.strength):
                self.register_indicator_for_bars(kind, one)
            self.subscribe_bars(kind)
            self.was = None

        def on_bar(self, bar: Bar) -> None:
            if not self.slow.initialized:
                return
            above = self.fast.value > self.slow.value
            if self.was is not None and above != self.was:
                flat = self.portfolio.is_flat(instrument.id)
                if above and flat and self.strength.value * 100 < 70:
                    price = float(bar.close)
                    orders = self.order_factory.bracket(
                        instrument_id=instrument.id, order_side=OrderSide.BUY, quantity=instrument.make_qty(100),
                        sl_trigger_price=instrument.make_price(price * (1 - STOP)),
                        tp_price=instrument.make_price(price * (1 + TARGET)), tp_post_only=False,
                    )  # fmt: skip
                    self.submit_order_list(orders)
                elif not above and not flat:
                    self.cancel_all_orders(instrument.id)
                    self.close_all_positions(instrument.id)
            self.was = above

    at = pd.date_range("2000-01-01", periods=bars.shape[1], freq="5min", tz="UTC")
    frame = pd.DataFrame(dict(zip(("open", "high", "low", "close"), bars, strict=True)), index=at)
    frame["volume"] = 1_000.0
    engine = BacktestEngine(
        BacktestEngineConfig(
            logging=LoggingConfig(bypass_logging=True), run_analysis=False, risk_engine=RiskEngineConfig(bypass=True)
        )
    )
    engine.add_venue(
        Venue("SIM"), oms_type=OmsType.HEDGING, account_type=AccountType.MARGIN, base_currency=USD,
        starting_balances=[Money(100_000_000, USD)], default_leverage=Decimal(10),
    )  # fmt: skip
    engine.add_instrument(instrument)
    engine.add_data(BarDataWrangler(kind, instrument).process(frame))
    engine.add_strategy(Same())
    before = peak_mb()
    seconds = rounds(engine.run, 1)
    return seconds, len(engine.cache.positions()) + len(engine.cache.position_snapshots()), peak_mb() - before


WORKS = {
    "vectorbt_stats": vectorbt_stats,
    "vectorbt_sweep": lambda bars: vectorbt_sweep(bars, False),
    "vectorbt_sweep_metrics": lambda bars: vectorbt_sweep(bars, True),
    "nautilus": nautilus,
}

if __name__ == "__main__":
    seconds, trades, added_mb = WORKS[sys.argv[1]](np.load(sys.argv[2])["bars"])
    print("RESULT " + json.dumps({"seconds": seconds, "trades": trades, "added_mb": added_mb}))
