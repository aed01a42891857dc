"""A sweep is many runs: every trade and every figure of a combination is that of the run with its numbers."""

from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from strategies.backtest import kernels as k
from strategies.backtest.engine import arguments_of, fits, ground_of, run
from strategies.backtest.errors import BacktestRefused
from strategies.backtest.market import Market
from strategies.backtest.metrics import figures
from strategies.backtest.openings import Combinations, Opening, plan_with
from strategies.backtest.plan import Account, Costs, IntradayHours, Plan, Sizing, SizingMode, Trailing
from strategies.backtest.sweep import COLUMNS, sweep, trades_of
from strategies.contracts.schema import StopKind, StopSpec, TargetKind, TargetSpec
from strategies.rules.compiled import compile_rule
from strategies.rules.errors import RuleError
from strategies.rules.evaluate import Evaluation
from tests.unit.backtest.markets import intraday, together, wandering
from trading.venue.charges import ChargeBroker

RULES = (
    ("crosses_above(sma(close, fast), sma(close, slow))", "crosses_below(sma(close, fast), sma(close, slow))"),
    ("close > highest(high, fast)[1]", "close < lowest(low, fast)[1] and rsi(close, slow) < 60"),
    ("rsi(close, fast) < 45 and close > open", "not rsi(close, fast) < 55 or close < open"),
    ("crosses_above(close, ema(close, slow)) and roc(close, fast) > 0", "crosses_above(ema(close, slow), close)"),
    ("close > sma(close, fast + 2)", "sma(close, fast) > close and close[2] > close"),
)
BASE = {"fast": 3.0, "slow": 8.0}


def open_plan(long: str | None, short: str | None = None, **more: object) -> Plan:
    def rule(text: object):
        return None if text is None else compile_rule(str(text), BASE, expect="condition")

    exits = {name: rule(more.pop(name, None)) for name in ("long_exit", "short_exit")}
    more.setdefault("account", Account(cash=Decimal(100_000)))
    return Plan(name="open", version="", long_entry=rule(long), short_entry=rule(short), **exits, **more)  # type: ignore[arg-type]


def drawn(seed: int) -> tuple[Plan, Market, Combinations]:
    """A plan of any kind, a market for it, and a dozen combinations."""
    draw = np.random.default_rng(seed)

    def perhaps(share: float = 0.5) -> bool:
        return bool(draw.random() < share)

    bars = int(draw.integers(60, 400))
    daily = perhaps(0.3)
    rows = wandering(seed, bars, spread=float(draw.uniform(0.003, 0.03)))
    market = together(rows, timeframe=1440 if daily else 15)
    if perhaps(0.3):
        market = Market(
            window=market.window, timeframe=market.timeframe, ticks=market.ticks, lots=(int(draw.integers(1, 6)),),
            warm_up=int(draw.integers(1, 30)),
        )  # fmt: skip
    long, short = RULES[int(draw.integers(len(RULES)))]
    more: dict[str, object] = {}
    if perhaps():
        kind = StopKind(draw.choice(["percent", "atr"]))
        more["stop"] = StopSpec(kind, Decimal(int(draw.integers(3, 40))) / 10, 5 if kind is StopKind.ATR else None)
    if perhaps():
        kinds = ["percent", "r_multiple"] if "stop" in more else ["percent"]
        more["target"] = TargetSpec(TargetKind(draw.choice(kinds)), Decimal(int(draw.integers(5, 60))) / 10)
    if perhaps(0.4):
        more["trailing"] = Trailing(Decimal(int(draw.integers(5, 40))) / 10, Decimal(int(draw.integers(0, 20))) / 10)
    if perhaps(0.3):
        more["max_bars"] = int(draw.integers(1, 12))
    if perhaps(0.4):
        more["long_exit"] = "close < sma(close, slow)" if perhaps() else short
        more["short_exit"] = "close > open"
    if not daily and perhaps(0.4):
        more["intraday"] = IntradayHours()
    sizings = [
        Sizing(SizingMode.ALL_IN),
        Sizing(SizingMode.FIXED, Decimal(37)),
        Sizing(SizingMode.PERCENT, Decimal(60)),
    ]
    if "stop" in more:
        sizings.append(Sizing(SizingMode.RISK, Decimal(1)))
    caps: dict[str, Any] = {"position_cap_pct": Decimal(40), "order_cap": Decimal(30_000)} if perhaps(0.2) else {}
    charges = ChargeBroker.FYERS if perhaps(0.7) else None
    plan = open_plan(
        long if perhaps(0.9) else None, short, reverse=perhaps(), sizing=sizings[int(draw.integers(len(sizings)))],
        account=Account(
            cash=Decimal(int(draw.integers(2_000, 500_000))), leverage=Decimal(int(draw.integers(1, 12))), **caps
        ),
        costs=Costs(charges=charges, slippage_bps=Decimal(int(draw.integers(0, 15)))), **more,
    )  # fmt: skip
    axes: dict[str, list[float]] = {"fast": [2, 3, 5, 8], "slow": [4, 9, 20]}
    if "stop" in more and perhaps():
        axes = {"fast": [2, 5], "slow": [9, 20], "exit.stop": [0.5, 1.25, 3]}
    rules = " ".join(rule.text for rule in plan.rules.values())
    return plan, market, Combinations.grid({name: axis for name, axis in axes.items() if name in rules or "." in name})


def by_the_loop(plan: Plan, market: Market):
    """Trades, equity and counters of the event loop alone."""
    given = arguments_of(plan, market, Evaluation(market.window))
    count, _ = given.simulate()
    return given.trades[:count], given.equity, given.counters


def by_jumps(plan: Plan, market: Market):
    """The same as `run` makes them, from event to event."""
    given = arguments_of(plan, market, Evaluation(market.window))
    count, cash = given.walk(ground_of(plan, market))
    assert cash == given.equity[-1]
    return given.trades[:count], given.equity, given.counters


def same(ours: float | None, known: float | None) -> bool:
    return ours is known if ours is None or known is None else abs(ours - known) <= 1e-7 * max(1.0, abs(known))


@pytest.mark.parametrize("first", range(0, 120, 20))
def test_every_trade_and_figure_is_that_of_the_run(first):
    traded = 0
    for seed in range(first, first + 20):
        plan, market, tried = drawn(seed)
        assert fits(plan, market)
        found = sweep(plan, market, tried)
        for place in range(len(tried)):
            numbers = tried.one(place)
            trades, equity, counters = by_the_loop(plan_with(plan, numbers, BASE), market)
            mine = trades_of(plan, market, numbers, BASE)
            where = f"seed {seed}, {numbers}"
            assert np.array_equal(mine, trades), where
            walked = by_jumps(plan_with(plan, numbers, BASE), market)
            for one, other in zip(walked, (trades, equity, counters), strict=True):
                assert np.array_equal(one, other), where
            traded += len(trades)
            assert found.column("signals")[place] == counters[k.C_SIGNALS], where
            assert found.column("taken")[place] == counters[k.C_TAKEN], where
            known = figures(
                trades=trades, equity=equity, starts=market.starts, day_ends=market.day_ends, close=market.prices[3],
                first_known=0, cash=int(plan.account.cash * 10_000),
            )  # fmt: skip
            known["trades"] = len(trades)
            ours = found.figures(place)
            for name in COLUMNS:
                if name in known and not name.startswith("annual"):
                    assert same(ours[name], known[name]), f"{where}: {name} {ours[name]}, not {known[name]}"
    assert traded > 1_000


def test_several_symbols_and_holes_go_through_the_loop():
    market = together(*(wandering(seed, 120, holes=0.1) for seed in range(3)), timeframe=1440)
    plan = open_plan("close > sma(close, fast)", account=Account(cash=Decimal(100_000), slots=2), max_bars=4)
    tried = Combinations.grid({"fast": [2, 4, 8]})
    assert not fits(plan, market)
    found = sweep(plan, market, tried, workers=2)
    for place in range(3):
        known = run(plan_with(plan, tried.one(place)), market)
        assert found.figures(place)["final_equity"] == known.figures["final_equity"]
        assert np.array_equal(trades_of(plan, market, tried.one(place)), known.trades)


def test_threads_and_a_small_pool_change_nothing():
    market = intraday(3_000)
    plan = open_plan(*RULES[0], reverse=True, stop=StopSpec(StopKind.PERCENT, Decimal(1)))
    tried = Combinations.grid({"fast": range(2, 14), "slow": range(15, 40, 3)}, lambda one: one["fast"] < one["slow"])
    once = sweep(plan, market, tried)
    again = sweep(plan, market, tried, workers=3, memory_mb=0)  # room for the rows of one combination
    assert once.table.tobytes() == again.table.tobytes() and once.run_hash == again.run_hash
    assert not np.isnan(once.column("final_equity")).any()


def test_what_never_fires_is_told_from_what_lost():
    market = together(wandering(1, 80), timeframe=1440)
    found = sweep(open_plan("close > sma(close, fast) * 9"), market, Combinations.grid({"fast": [3, 4]}))
    assert found.figures(0)["signals"] == 0 and found.figures(0)["trades"] == 0
    assert found.figures(0)["win_rate_pct"] is None and found.figures(0)["return_pct"] == 0.0
    assert found.best("return_pct") == []


def test_progress_is_told_and_a_cancelled_sweep_keeps_what_is_done():
    market = together(*(wandering(seed, 60) for seed in range(2)), timeframe=1440)
    said: list[tuple[int, int]] = []
    tried = Combinations.grid({"fast": range(2, 30)})
    found = sweep(
        open_plan("close > sma(close, fast)", max_bars=2), market, tried,
        on_progress=lambda done, of: said.append((done, of)), cancelled=lambda: len(said) == 2,
    )  # fmt: skip
    assert said[-1] == (int(found.done.sum()), 28) and found.cancelled
    assert np.isnan(found.table[~found.done]).all() and not np.isnan(found.column("final_equity")[found.done]).any()


@pytest.mark.parametrize(
    "text",
    [
        "sma(close, fast) > sma(close, slow)",
        "sma(close, fast * 2) > close",
        "sma(close, min(fast, slow)) > close",
        "close[fast] > sma(close, slow) and rsi(close, fast) < slow",
        "fast < rsi(close, slow) < 70",
        "close > fast and fast - 2 < slow",
        "sma(close, 5) > fast * 0 + slow",
        "close[slow - fast] > open",
        "10 < fast < min(slow, fast) + close",
    ],
)
def test_numbers_put_into_a_tree_make_the_tree_that_is_parsed(text):
    rule = compile_rule(text, {"fast": 2, "slow": 3})
    tried = Combinations.grid({"fast": [2, 3, 7, 40], "slow": [40, 2, 5, 9]}, lambda one: one["slow"] >= one["fast"])
    made, which = Opening(rule, tried, {}).at(())
    for place in range(len(tried)):
        assert made[which[place]] == compile_rule(text, tried.one(place)).node


def test_bad_combinations_are_refused_in_one_line():
    market = together(wandering(1, 80), timeframe=1440)
    plan = open_plan("close > sma(close, fast)")
    with pytest.raises(BacktestRefused, match="No rule of open mentions fest"):
        sweep(plan, market, Combinations.grid({"fest": [1]}))
    with pytest.raises(BacktestRefused, match="COMBINATIONS"):
        Combinations.grid({"fast": range(2_000), "slow": range(2_000)})
    with pytest.raises(BacktestRefused, match="COMBINATIONS"):
        Combinations.grid({"fast": []})
    with pytest.raises(BacktestRefused, match=r"exit\.stop cannot be 1"):
        sweep(plan, market, Combinations.grid({"fast": [3], "exit.stop": [1]}))
    with pytest.raises(BacktestRefused, match="NOT_A_NUMBER"):
        Combinations.grid({"fast": [float("nan")]})
    with pytest.raises(RuleError, match="whole number"):
        sweep(plan, market, Combinations.grid({"fast": [2.5]}))
    with pytest.raises(BacktestRefused, match="EMPTY_RANGE"):
        sweep(plan, together(wandering(1, 1), timeframe=1440), Combinations.grid({"fast": [2]}))
