"""Research methods against formulas written here a second time, published figures and brute force."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import pairwise, permutations, product
from math import sqrt

import numpy as np
import pytest

from strategies.backtest import blend, charts, search
from strategies.backtest import kernels as k
from strategies.backtest.blend import Weighting
from strategies.backtest.engine import run as run_backtest
from strategies.backtest.errors import BacktestRefused
from strategies.backtest.look_ahead import compared, cuts_of, look_ahead, shortened
from strategies.backtest.monte_carlo import Draw, drawdowns, simulate
from strategies.backtest.regimes import LOOK_BACK, RANGE, TREND_DOWN, TREND_UP, VOLATILE, regimes, regimes_of_days
from strategies.backtest.sharpe import best_by_luck, deflated, probabilistic
from strategies.backtest.stability import heat_map, stability
from strategies.backtest.tear_sheet import TearSheet, distribution
from strategies.backtest.walk_forward import later, verdict, windows_of
from strategies.contracts.schema import StopKind, StopSpec
from strategies.runs.packing import pack, unpack
from strategies.runs.studies.backtest import packed
from tests.unit.backtest.markets import intraday, plan

BOUNDS = {"fast": (Decimal(2), Decimal(50)), "slow": (Decimal(5), Decimal(200))}


# --- what is tried ----------------------------------------------------------------------------------------------------
def test_a_grid_has_every_value_with_every_other():
    axes = search.axes_of({"fast": {"from": "5", "to": "9", "step": "2"}, "slow": {"values": [30, 20]}}, BOUNDS)
    assert axes == {"fast": [5.0, 7.0, 9.0], "slow": [20.0, 30.0]}
    assert search.grid(axes).values.tolist() == [[5, 20], [5, 30], [7, 20], [7, 30], [9, 20], [9, 30]]


def test_a_search_by_lot_tries_each_set_once_and_the_same_ones_again():
    axes = {"fast": [float(one) for one in range(2, 42)], "slow": [float(one) for one in range(50, 150)]}
    first, again, other = search.by_lot(axes, 300, 7), search.by_lot(axes, 300, 7), search.by_lot(axes, 300, 8)
    assert first.values.tolist() == again.values.tolist() != other.values.tolist()
    assert len({tuple(row) for row in first.values.tolist()}) == 300
    assert search.by_lot(axes, 5_000, 7).values.tolist() == search.grid(axes).values.tolist()


@pytest.mark.parametrize(
    ("ranges", "code"),
    [
        (None, "RANGES"),
        ({}, "RANGES"),
        ({"fast": 5}, "RANGES"),
        ({"fast": {"from": "9", "to": "5"}}, "RANGES"),
        ({"fast": {"from": "5", "to": "9", "step": "0"}}, "RANGES"),
        ({"fast": {"from": "5", "to": "50", "step": "0.0001"}}, "RANGES"),
        ({"fast": {"from": "5", "to": "much"}}, "NOT_A_NUMBER"),
        ({"fast": {"from": "1", "to": "9"}}, "OUT_OF_RANGE"),
        ({"fats": {"from": "5", "to": "9"}}, "UNKNOWN_PARAMETER"),
        ({"fast": {"values": []}}, "RANGES"),
    ],
)
def test_ranges_that_are_none(ranges, code):
    with pytest.raises(BacktestRefused, match=code):
        search.axes_of(ranges, BOUNDS)


def test_optuna_learns_where_the_hill_is_and_asks_the_same_again():
    pytest.importorskip("optuna")
    axes = {"fast": [float(one) for one in range(1, 401)], "slow": [50.0]}
    told: list[tuple[dict[str, float], float | None]] = []
    for _ in range(8):
        asked = search.asked_of_optuna(axes, told, count=8, seed=3)
        assert asked == search.asked_of_optuna(axes, told, count=8, seed=3)
        told += [(one, None if one["fast"] < 30 else -((one["fast"] - 300) ** 2)) for one in asked]
    assert all(one["fast"] in axes["fast"] and one["slow"] == 50 for one, _ in told)
    early, late = told[:8], told[-8:]
    assert np.mean([abs(one["fast"] - 300) for one, _ in late]) < np.mean([abs(one["fast"] - 300) for one, _ in early])


def test_optuna_asks_for_no_set_twice_and_for_all_there_are_in_the_end():
    pytest.importorskip("optuna")
    axes = {"fast": [5.0, 7.0, 9.0, 13.0], "slow": [20.0, 30.0, 50.0], "k": [1.5]}
    told: list[tuple[dict[str, float], float | None]] = []
    while asked := search.asked_of_optuna(axes, told, count=5, seed=11):
        told += [(one, one["fast"] - one["slow"]) for one in asked]
        assert len(told) <= 12
    assert sorted((one["fast"], one["slow"], one["k"]) for one, _ in told) == sorted(product(*axes.values()))


def test_without_optuna_a_code_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(BacktestRefused, match=r"OPTUNA_MISSING.*requirements/research\.txt"):
        search.asked_of_optuna({"fast": [1.0, 2.0]}, [], count=1, seed=1)


# --- luck -------------------------------------------------------------------------------------------------------------
def test_the_deflated_ratio_of_the_published_example():
    """Bailey and López de Prado 2014, the numerical example: annual 2.5 over 1,250 days, best of 100 trials with
    variance 1/2, skew -3, kurtosis 10: deflated to 0.9004, from a ratio by luck of 0.1132 a day."""
    daily, variance = 2.5 / sqrt(250), 0.5 / 250
    luck = best_by_luck(100, variance)
    assert luck == pytest.approx(0.1132, abs=5e-5)
    found = probabilistic(daily, days=1_250, skew=-3, kurtosis=10, against=luck)
    assert found == pytest.approx(0.9004, abs=5e-5)


def test_more_trials_make_the_same_ratio_less_believable():
    ratios = np.random.default_rng(1).normal(0, 0.03, 50)
    ratios[17] = 0.12
    few = deflated(ratios, 17, days=250, skew=0.0, kurtosis=3.0)
    many = deflated(ratios, 17, days=250, skew=0.0, kurtosis=3.0, trials=5_000)
    assert few.trials == 50 and many.trials == 5_000 and many.probability < few.probability < 1
    assert deflated(np.array([np.nan, 0.1]), 1, days=250, skew=0.0, kurtosis=3.0) is None
    assert probabilistic(0.1, days=2, skew=0.0, kurtosis=3.0) is None


def test_paths_in_other_orders_end_where_the_trades_did():
    pnl = np.random.default_rng(3).normal(20, 400, 60)
    told: list[int] = []
    found = simulate(pnl, cash=10_000, paths=600, draw=Draw.SHUFFLE, seed=5, advance=told.append)
    assert told == [250, 250, 100]
    assert np.allclose(found.final, 10_000 + pnl.sum()) and found.actual[-1] == pytest.approx(10_000 + pnl.sum())
    assert (np.diff(found.bands, axis=0) >= 0).all() and np.allclose(found.bands[:, 0], 10_000)
    again = simulate(pnl, cash=10_000, paths=600, draw=Draw.SHUFFLE, seed=5)
    assert np.array_equal(again.drawdown_pct, found.drawdown_pct)
    longer = simulate(pnl, cash=10_000, paths=700, draw=Draw.SHUFFLE, seed=5)
    assert np.array_equal(longer.drawdown_pct[:600], found.drawdown_pct)  # more paths are these and further ones


def test_all_orders_of_three_trades_are_drawn_evenly():
    pnl = np.array([500.0, -300.0, -100.0])
    exact = [float(drawdowns(1_000 + np.concatenate(([0.0], np.cumsum(one)))[None, :])[0]) for one in permutations(pnl)]
    found = simulate(pnl, cash=1_000, paths=6_000, draw=Draw.SHUFFLE, seed=2)
    assert found.drawdown_pct.mean() == pytest.approx(np.mean(exact), rel=0.02)
    assert set(np.round(found.drawdown_pct, 9)) == set(np.round(exact, 9))


def test_a_bootstrap_moves_the_end_as_the_sum_of_draws_must():
    pnl = np.random.default_rng(4).normal(10, 100, 50)
    found = simulate(pnl, cash=5_000, paths=5_000, draw=Draw.BOOTSTRAP, seed=1)
    assert found.final.mean() == pytest.approx(5_000 + pnl.sum(), rel=0.01)
    assert found.final.std() == pytest.approx(pnl.std() * sqrt(50), rel=0.05)
    assert found.chance_of_drawdown(0) == 1.0 or found.chance_of_drawdown(0) > 0.9
    assert drawdowns(np.array([[10.0, -50.0, 5.0]])).tolist() == [-100.0]
    with pytest.raises(BacktestRefused, match="TOO_FEW_TRADES"):
        simulate(pnl[:1], cash=1, paths=10, draw=Draw.SHUFFLE, seed=1)


# --- windows, plateaus ------------------------------------------------------------------------------------------------
def test_windows_touch_and_never_overlap():
    found = windows_of(date(2025, 1, 31), date(2025, 8, 20), train_months=3, test_months=1)
    assert (found[0].train_from, found[0].test_from) == (date(2025, 1, 31), date(2025, 4, 30))
    for before, after in pairwise(found):
        assert (after.test_from - before.test_to).days == 1 and (after.test_from - after.train_to).days == 1
    assert found[-1].test_to <= date(2025, 8, 20)
    assert later(date(2024, 1, 31), 1) == date(2024, 2, 29) and later(date(2025, 11, 30), 3) == date(2026, 2, 28)
    with pytest.raises(BacktestRefused, match="TOO_SHORT"):
        windows_of(date(2025, 1, 1), date(2025, 4, 5), train_months=3, test_months=1)
    with pytest.raises(BacktestRefused, match="MONTHS"):
        windows_of(date(2025, 1, 1), date(2026, 1, 1), train_months=0, test_months=1)


@pytest.mark.parametrize(
    ("profits", "passed"), [([1, 1, 1, -1, -1], False), ([1, 1, 1, 1, -1], True), ([1, None, None], False), ([], False)]
)
def test_more_than_three_windows_of_five_must_earn(profits, passed):
    assert verdict(profits).passed is passed


def test_a_needle_is_worth_what_surrounds_it():
    axes = {"a": [1.0, 2.0, 3.0, 4.0, 5.0], "b": [1.0, 2.0, 3.0, 4.0]}
    sets = search.grid(axes)
    scores = np.zeros(len(sets))
    table = {tuple(row): at for at, row in enumerate(sets.values.tolist())}
    scores[table[1, 1]] = 9.0  # alone
    for place in [(3, 3), (4, 3), (5, 3), (3, 4), (4, 4), (5, 4), (3, 2), (4, 2), (5, 2)]:
        scores[table[place]] = 2.0
    found = stability(sets.names, sets.values, scores)
    assert found.best == table[1, 1] and found.plateau == 0 and found.neighbours_of_best == 3
    assert found.robust[table[4, 3]] == 2.0 and sets.values[found.most_robust].tolist()[0] >= 3
    for at, row in enumerate(sets.values.tolist()):  # by brute force
        near = np.abs(sets.values - row).max(axis=1) <= 1
        assert found.robust[at] == np.median(scores[near])
    xs, ys, cells, where = heat_map(sets.names, sets.values, scores, across="a", down="b", at=found.best)
    assert (xs, ys) == (axes["a"], axes["b"]) and cells[0, 0] == 9 and where[2, 3] == table[4, 3]
    assert stability(("a",), np.array([[1.0]]), np.array([np.nan])) is None


# --- no future --------------------------------------------------------------------------------------------------------
CROSS = plan(
    "crosses_above(sma(close, 5), sma(close, 20))",
    cash="1000000",
    stop=StopSpec(StopKind.PERCENT, Decimal(1)),
    max_bars=30,
)


def test_a_plan_of_rules_sees_no_future():
    market = intraday(900, symbols=3)
    done: list[int] = []
    found = look_ahead(
        replace(CROSS, account=replace(CROSS.account, slots=2)), market, cuts=12, seed=1, advance=done.append
    )
    assert len(found) == 12 and sum(done) == 13 and max(one.trades_compared for one in found) > 5
    assert not [one for one in found if one.difference]


def test_a_look_ahead_is_found():
    """A result that knew what came: its trades begin three bars early, or are valued by a later close."""
    market = intraday(900)
    honest = run_backtest(CROSS, market)
    cuts = cuts_of(honest, 10, 3)
    early, valued = honest.trades.copy(), honest.equity.copy()
    early[:, k.T_ENTRY_BAR] -= 3
    valued[:-3] = honest.equity[3:]
    for knowing in (replace(honest, trades=early), replace(honest, equity=valued)):
        findings = [compared(CROSS, knowing, bars) for bars in cuts]
        assert any("another one with the future cut off" in one.difference for one in findings)
    assert not any(compared(CROSS, honest, bars).difference for bars in cuts)


def test_a_shortened_market_is_the_beginning_of_the_whole():
    market = intraday(300, symbols=2)
    less = shortened(market, 120)
    assert less.bars == 120 and less.prices[3].tolist() == market.prices[3][:, :120].tolist()


# --- several together -------------------------------------------------------------------------------------------------
def streams(count: int = 4, days: int = 300, seed: int = 9) -> blend.Streams:
    draw = np.random.default_rng(seed)
    common = draw.normal(0, 0.006, days)
    rows = np.stack([common * at / 2 + draw.normal(0.0004, 0.004 * (at + 1), days) for at in range(count)])
    return blend.Streams(tuple("abcd"[:count]), tuple(date.fromordinal(738_000 + at) for at in range(days)), rows)


def test_correlations_and_covariance_are_those_of_numpy():
    found = streams()
    assert np.allclose(blend.correlations(found.returns), np.corrcoef(found.returns), atol=1e-12)
    assert np.allclose(blend.covariance(found.returns), np.cov(found.returns), atol=1e-15)
    flat = np.vstack((found.returns, np.full(300, 0.001)))
    assert np.isnan(blend.correlations(flat)[-1]).all() and np.isfinite(blend.correlations(flat)[:-1, :-1]).all()


def test_weights_do_what_they_promise():
    found = streams()
    cov = np.cov(found.returns)
    inverse = blend.weights_of(found, Weighting.INVERSE_VOLATILITY)
    spread = found.returns.std(axis=1, ddof=1)
    assert np.allclose(inverse * spread, (inverse * spread)[0]) and inverse.sum() == pytest.approx(1)
    parity = blend.weights_of(found, Weighting.RISK_PARITY)
    assert np.allclose(blend.risk_shares(parity, cov), 0.25, atol=1e-9) and parity.sum() == pytest.approx(1)
    assert (parity > 0).all() and blend.weights_of(found, Weighting.EQUAL).tolist() == [0.25] * 4
    two = blend.risk_parity(np.array([[0.04, 0.018], [0.018, 0.09]]))  # of two, 1/σ whatever their correlation
    assert two == pytest.approx([0.6, 0.4])
    custom = blend.weights_of(found, Weighting.CUSTOM, {"a": 2, "b": 1, "c": 1, "d": 0})
    assert custom.tolist() == [0.5, 0.25, 0.25, 0]
    for wrong in [
        {"a": 1},
        {"a": -1, "b": 1, "c": 1, "d": 1},
        dict.fromkeys("abcd", 0),
        dict.fromkeys("abcd", float("nan")),
    ]:
        with pytest.raises(BacktestRefused, match="CUSTOM_WEIGHTS"):
            blend.weights_of(found, Weighting.CUSTOM, wrong)
    with pytest.raises(BacktestRefused, match="FLAT_STREAM"):
        blend.weights_of(replace(found, returns=np.zeros((4, 300))), Weighting.RISK_PARITY)


def test_a_mixture_is_summed_up_as_a_single_run_is():
    """The engine's figures of a run, from its days alone."""
    market = intraday(75 * 30, seed=5)
    result = run_backtest(CROSS, market)
    sheet = sheet_of(result)
    found = blend.summary(sheet.day_returns)
    assert found.return_pct == pytest.approx(result.figures["return_pct"], abs=1e-9)
    own = blend.summary(sheet.day_returns[1:])  # the engine's days begin with the first close
    assert own.sharpe == pytest.approx(result.figures["sharpe"], rel=1e-9)
    assert own.annual_volatility_pct == pytest.approx(result.figures["annual_volatility_pct"], rel=1e-9)


def test_streams_meet_on_common_days():
    days = [date(2026, 1, one) for one in range(1, 9)]
    found = blend.aligned(["a", "b"], [days[:6], days[2:]], [np.arange(6.0), np.arange(6.0)])
    assert found.days == tuple(days[2:6]) and found.returns.tolist() == [[2, 3, 4, 5], [0, 1, 2, 3]]
    with pytest.raises(BacktestRefused, match="TOO_FEW_DAYS"):
        blend.aligned(["a", "b"], [days[:4], days[3:]], [np.arange(4.0), np.arange(5.0)])


# --- what a tear sheet shows ------------------------------------------------------------------------------------------
def sheet_of(result) -> TearSheet:
    plain, arrays = unpack(packed(result))
    import json

    return TearSheet(json.loads(plain["report"]), arrays)


def test_the_parts_of_a_tear_sheet_add_up():
    result = run_backtest(CROSS, intraday(75 * 45, seed=11))
    sheet = sheet_of(result)
    total = sum(one["pnl"] for one in sheet.trades)
    for groups in [sheet.by_hour, sheet.by_weekday, sheet.by_regime, sheet.by_reason, sheet.by_side, sheet.by_symbol]:
        assert sum(one.trades for one in groups) == len(sheet.trades) > 20
        assert sum(one.pnl for one in groups) == pytest.approx(total)
    assert sheet.drawdown.min() == pytest.approx(result.figures["max_drawdown_pct"], abs=1e-9)
    years = np.prod([1 + whole / 100 for _, _, whole in sheet.months])
    assert 100 * (years - 1) == pytest.approx(result.figures["return_pct"], abs=1e-9)
    assert (sheet.mae_pct <= sheet.returns_pct + 1e-9).all() and (sheet.mfe_pct >= sheet.returns_pct - 1e-9).all()
    for bins in (sheet.trade_distribution, sheet.day_distribution):
        assert any(one.low == 0 for one in bins)
    assert sum(one.count for one in sheet.trade_distribution) == len(sheet.trades)
    assert len(sheet.by_regime) > 1


@pytest.mark.parametrize("values", [[], [0.0], [1.0, 2.0], [-3.0], [-1e-9, 1e9], [0.5] * 9 + [-0.5]])
def test_a_distribution_counts_every_value_once(values):
    bins = distribution(np.array(values))
    assert sum(one.count for one in bins) == len(values)
    for one in bins:
        assert one.low < one.high and not one.low < 0 < one.high


def test_regimes_are_known_before_their_day():
    draw = np.random.default_rng(2)
    calm = draw.normal(0, 0.002, 60)
    returns = np.concatenate((calm, np.full(30, 0.004), calm, np.full(30, -0.02)))
    found = regimes(returns)
    assert (found[:LOOK_BACK] == 0).all() and set(found[LOOK_BACK:60] % VOLATILE) <= {RANGE, TREND_UP, TREND_DOWN}
    assert found[88] % VOLATILE == TREND_UP and found[-1] % VOLATILE == TREND_DOWN
    for at in (30, 70, 120):
        changed = returns.copy()
        changed[at:] = 0.5
        assert regimes(changed)[: at + 1].tolist() == found[: at + 1].tolist()
    market = intraday(75 * 30, symbols=2)
    assert regimes_of_days(market).size == market.day_ends.size == 30


def test_what_is_packed_comes_back_as_it_was():
    arrays = {
        "whole": np.array([5, -3, 2**62, 0], np.int64), "table": np.arange(6.0).reshape(2, 3), "one": np.array([7]),
        "none": np.zeros(0, np.int64), "small": np.array([1, 2], np.int8), "nan": np.array([np.nan, 1.5]),
    }  # fmt: skip
    plain, found = unpack(pack({"a": ["é", 1.5, None]}, arrays))
    assert plain == {"a": ["é", 1.5, None]}
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype and np.array_equal(
            found[name], array, equal_nan=array.dtype.kind == "f"
        )
    with pytest.raises(ValueError, match="not packed here"):
        unpack(b"something else")


def test_pictures_hold_no_word_that_was_not_escaped():
    evil = '<script>"&'
    line = charts.Line(evil, np.array([1.0, np.nan, 3.0]))
    drawn = charts.curves([line], labels=[evil], words=lambda _: evil, title=evil)
    drawn += charts.bars([1.0, -2.0], names=[evil], tips=[evil, evil], title=evil)
    drawn += charts.dots(
        np.array([1.0, 2.0]), np.array([1.0, -1.0]), tips=[evil, evil], title=evil, across=evil, up=evil
    )
    drawn += charts.candles(
        [[1, 2, 0.5, 1.5]], marks=[(0, "buy", evil)], levels=[(1.2, "stop")], labels=[evil], title=evil
    )
    assert "<script" not in drawn and "style=" not in drawn and drawn.count("<svg") == drawn.count("</svg>")
    assert charts.curves([charts.Line("a", np.array([np.nan]))], labels=[], words=str, title="") == ""
    assert charts.bars([], names=[], tips=[], title="") == ""
