"""Two hundred random pairs of rules and data, trade for trade, against an engine written by others (backtesting.py).

The models coincide where a position is left in one way at a time: by the opposite signal, by levels, by a rule, or by
its time. Prices are on the tick, so both engines see the same numbers; what differs is who wrote the loop.
"""

import warnings
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from strategies.backtest.engine import run
from strategies.backtest.errors import BacktestRefused
from strategies.backtest.files import PENNY
from strategies.backtest.market import DAY_S, OPEN_S, Market, shown
from strategies.backtest.plan import Account, Plan, Sizing, SizingMode, rule_of
from strategies.backtest.result import Result
from strategies.contracts.schema import StopKind, StopSpec, TargetKind, TargetSpec
from strategies.rules.evaluate import Evaluation
from tests.unit.backtest.markets import NICKEL, plan, together, wandering
from trading.domain.money import to_tick
from trading.domain.orders import Side
from trading.indicators.moving import sma

pd = pytest.importorskip("pandas")
backtesting = pytest.importorskip("backtesting")

PAIRS = 200
CASH = Decimal("1000003.37")  # no price divides it: full equity is then the same whole number of units in both engines
RULES = (
    ("crosses_above(sma(close, {a}), sma(close, {b}))", "crosses_below(sma(close, {a}), sma(close, {b}))"),
    ("close > highest(high, {a})[1]", "close < lowest(low, {a})[1]"),
    ("rsi(close, {a}) < 35 and close > open", "rsi(close, {a}) > 65 and close < open"),
    ("roc(close, {a}) > 1.5", "roc(close, {a}) < -1.5"),
    ("crosses_above(close, ema(close, {b}))", "crosses_below(close, ema(close, {b}))"),
)
WAYS = ("reverse", "levels", "rules", "time")


def drawn(seed: int) -> tuple[str, Plan, Market]:
    """A pair: data of 150 to 400 bars, a rule and its mirror image with random lengths, one way out."""
    draw = np.random.default_rng(seed)
    way = WAYS[seed % len(WAYS)]
    rows = wandering(seed, int(draw.integers(150, 400)), spread=float(draw.uniform(0.004, 0.02)))
    a = int(draw.integers(3, 12))
    long, short = (text.format(a=a, b=a + int(draw.integers(3, 15))) for text in RULES[int(draw.integers(len(RULES)))])
    more: dict[str, object] = {"account": Account(cash=CASH), "late_orders": True}
    if way == "reverse":
        more["reverse"] = True
    elif way == "levels":
        more["stop"] = StopSpec(StopKind.PERCENT, Decimal(int(draw.integers(5, 60))) / 10)
        more["target"] = TargetSpec(TargetKind.PERCENT, Decimal(int(draw.integers(5, 90))) / 10)
    elif way == "rules":
        exits = (rule_of(f"close {sign} sma(close, {a})", "exit") for sign in "<>")
        more["long_exit"], more["short_exit"] = exits
    else:
        more["max_bars"] = int(draw.integers(1, 15))
    if draw.random() < 0.3:
        more["sizing"] = Sizing(SizingMode.FIXED, Decimal(int(draw.integers(1, 400))))
    one_sided = draw.random() < 0.3 and way != "reverse"
    tested = plan(long, None if one_sided else short, **more)
    market = together(rows, timeframe=1440)
    if way == "levels":  # a bracket opened with hindsight on the last bar is where the two differ
        while any(rule.evaluate(market.window)[0, -1] for rule in (tested.long_entry, tested.short_entry) if rule):
            rows = rows[:-1]
            market = together(rows, timeframe=1440)
    return way, tested, market


def theirs(tested: Plan, market: Market):
    """The same plan in the other engine."""
    evaluation = Evaluation(market.window)

    def fired(rule):
        return np.zeros(market.bars, bool) if rule is None else rule.evaluate(evaluation)[0]

    long_in, short_in = fired(tested.long_entry), fired(tested.short_entry)
    long_out, short_out = fired(tested.long_exit), fired(tested.short_exit)
    size = {} if tested.sizing.mode is SizingMode.ALL_IN else {"size": int(tested.sizing.value)}

    def levels(side: Side, close: float) -> dict[str, float]:
        if tested.stop is None or tested.target is None:
            return {}
        price = Decimal(str(close))
        stop = to_tick(price * (1 - side.sign * tested.stop.value / 100), tick=NICKEL, side=side)
        target = to_tick(price * (1 + side.sign * tested.target.value / 100), tick=NICKEL, side=side.opposite)
        return {"sl": float(stop), "tp": float(target)}

    class Same(backtesting.Strategy):
        def init(self) -> None:
            pass

        def next(self) -> None:
            bar = len(self.data) - 1
            held = self.position.size
            side = Side.BUY if long_in[bar] else Side.SELL if short_in[bar] else None
            if held:
                over = tested.max_bars and bar - self.trades[0].entry_bar + 1 >= tested.max_bars
                if over or (long_out if held > 0 else short_out)[bar]:
                    self.position.close()
                if not tested.reverse or side is None or side.sign * held > 0:
                    return
                self.position.close()
            elif side is None:
                return
            order = self.buy if side is Side.BUY else self.sell
            order(**size, **levels(side, self.data.Close[-1]))

    prices = market.prices
    frame = pd.DataFrame(
        {name: prices[place][0] for place, name in enumerate(("Open", "High", "Low", "Close"))},
        index=pd.DatetimeIndex([shown(start, 1440) for start in market.starts]),
    )
    frame["Volume"] = 1_000.0
    backtesting.backtesting._tqdm = lambda values, **_: values
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return backtesting.Backtest(frame, Same, cash=float(CASH), finalize_trades=True).run()


def difference(ours: Result, stats) -> str:
    """Where the two part, or nothing."""
    listed = sorted(ours.trade_list(), key=lambda trade: (trade["entry_bar"], trade["exit_bar"]))
    other = stats["_trades"].sort_values(["EntryBar", "ExitBar"])
    if len(listed) != len(other):
        return f"{len(listed)} trades, not {len(other)}"
    for mine, (_, row) in zip(listed, other.iterrows(), strict=True):
        side = 1 if mine["side"] == "BUY" else -1
        pair = (
            (mine["entry_bar"], mine["exit_bar"], side * mine["quantity"], mine["entry_price"], mine["exit_price"]),
            (row.EntryBar, row.ExitBar, row.Size, row.EntryPrice, row.ExitPrice),
        )
        if pair[0] != pair[1] or abs(mine["pnl"] - row.PnL) > 0.005:
            return f"{pair[0]} against {pair[1]}"
    for name, key in (("final_equity", "Equity Final [$]"), ("max_drawdown_pct", "Max. Drawdown [%]"),
                      ("win_rate_pct", "Win Rate [%]"), ("sharpe", "Sharpe Ratio"), ("sortino", "Sortino Ratio"),
                      ("cagr_pct", "CAGR [%]"), ("sqn", "SQN"), ("profit_factor", "Profit Factor"),
                      ("best_trade_pct", "Best Trade [%]"), ("exposure_pct", "Exposure Time [%]")):  # fmt: skip
        mine, known = ours.figures[name], float(stats[key])
        if mine is not None and np.isfinite(known) and abs(mine - known) > 1e-6 * max(1.0, abs(known)):
            return f"{name} {mine}, not {known}"
    return ""


@pytest.mark.slow
def test_two_hundred_pairs_trade_for_trade():
    differ, trades, compared, ways = [], 0, 0, dict.fromkeys(WAYS, 0)
    seed = 0
    while compared < PAIRS and seed < 2 * PAIRS:
        way, tested, market = drawn(seed)
        seed += 1
        try:
            ours = run(tested, market)
        except BacktestRefused as silent:
            assert silent.code == "NEVER_FIRED"
            continue
        if not len(ours.trades):
            continue
        compared += 1
        ways[way] += 1
        trades += len(ours.trades)
        where = difference(ours, theirs(tested, market))
        if where:
            differ.append(f"seed {seed - 1}, {way}: {where}")
    assert not differ, f"{len(differ)} of {compared} differ:\n" + "\n".join(differ[:20])
    assert compared == PAIRS
    assert min(ways.values()) >= 30 and trades > 2_000, (ways, trades)


def test_the_published_result_of_its_manual():
    """SMA 10/30, close and reverse, on the sample that comes with the engine: what its own tests assert."""
    from backtesting.test import GOOG

    rows = GOOG[["Open", "High", "Low", "Close"]].to_numpy()
    market = together(rows, timeframe=1440)
    days = GOOG.index.to_numpy().astype("datetime64[D]").astype(np.int64)
    market = replace(
        market, window=replace(market.window, starts=days * DAY_S + OPEN_S, session_index=days), ticks=(PENNY,)
    )
    crossing = ("crosses_above(sma(close, 10), sma(close, 30))", "crosses_below(sma(close, 10), sma(close, 30))")
    result = run(plan(*crossing, cash="10000", reverse=True), market)
    assert len(result.trades) == 66
    assert result.figures["final_equity"] == 51_422.99
    published = {
        "return_pct": 414.2298999999996, "buy_and_hold_pct": 522.0601851851852, "max_drawdown_pct": -47.98012705007589,
        "win_rate_pct": 46.96969696969697, "best_trade_pct": 53.59595229490424, "worst_trade_pct": -18.39887353835481,
        "profit_factor": 2.167945974262033, "sqn": 1.0766187356697705, "exposure_pct": 96.74115456238361,
        "sharpe": 0.5806232244, "sortino": 1.0853434352, "calmar": 0.441664092, "cagr_pct": 21.160245706,
    }  # fmt: skip
    for name, figure in published.items():
        assert result.figures[name] == pytest.approx(figure, abs=1e-6), name


@pytest.mark.parametrize("length", [1, 2, 5, 10, 30, 200])
def test_simple_averages_are_the_bits_of_pandas(length):
    """Where two averages meet exactly, the last bit decides on which bar they cross: it must be the usual one."""
    close = wandering(length, 5_000, spread=0.003)[:, 3]
    close[700:960] = close[700]
    ours = sma(np.ascontiguousarray(close[None, :]), length)[0]
    assert np.array_equal(ours, pd.Series(close).rolling(length).mean().to_numpy(), equal_nan=True)
