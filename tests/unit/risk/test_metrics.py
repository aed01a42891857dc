"""The numbers of risk against values worked out by hand."""

import numpy as np
import pytest

from risk.metrics import (
    Exposure,
    Held,
    added,
    correlations,
    drawdown_path,
    exposure,
    exposure_by,
    historical_var,
    open_risk,
    utilisation_pct,
    worst_case,
)  # fmt: skip
from strategies.failsafes import Act, Bounds, TrackRecord, expectancy_paise, judge

HELD = [
    Held("SBIN", "Shares", "Banks", "Trend", 1_000, 50), Held("HDFC", "Shares", "Banks", "", -400, -20),
    Held("INFY", "Shares", "IT", "Trend", 600, None),
]  # fmt: skip


def test_exposure_risk_and_worst_case():
    assert exposure(HELD) == Exposure(2_000, 1_200) and exposure([]) == Exposure()
    assert exposure_by(HELD, "sector") == {"Banks": Exposure(1_400, 600), "IT": Exposure(600, 600)}
    assert list(exposure_by(HELD, "strategy")) == ["Trend", ""]
    assert open_risk(HELD) == 50, "a stop that locks a gain in does not pay for another's loss"
    assert worst_case(HELD) == 650, "all of it where there is no stop"
    assert utilisation_pct(500, 2_000) == 25 and utilisation_pct(500, 0) is None
    assert added([{"delta": 1.5}, {"delta": -0.5, "vega": 2}]) == {"delta": 1.0, "vega": 2} and added([]) == {}


def test_var_and_cvar_of_a_hundred_known_days():
    returns = (np.arange(-50, 50) / 1_000)[None, :]  # -5.0 % to +4.9 %
    var, cvar = historical_var(returns, [100_000])
    assert var == 4_600, "the fifth worst of a hundred days" and cvar == 4_800
    hedged = historical_var(np.vstack([returns[0], returns[0]]), [100_000, -100_000])
    assert hedged == (0, 0)
    assert historical_var(returns[:, :19], [100_000]) is None and historical_var(np.empty((0, 0)), []) is None


def test_correlation_matrix():
    first = np.linspace(-0.02, 0.02, 60)
    still, short = np.zeros(60), np.full(60, np.nan)
    matrix = correlations(np.vstack([first, -first, still, short]))
    assert matrix[0][1] == -1.0 == matrix[1][0] and matrix[0][0] == 1.0
    assert matrix[0][2] is None and matrix[0][3] is None


def test_drawdown_and_recovery():
    path = drawdown_path([100, 110, 99, 104.5, 111, 108])
    assert (path.worst_pct, path.longest_days, path.days_below) == (10.0, 2, 1)
    assert round(path.now_pct, 2) == 2.7 and drawdown_path([]).worst_pct == 0


LOSING, WINNING = [-10] * 20, [10] * 20


@pytest.mark.parametrize(
    ("record", "act", "code"),
    [
        (TrackRecord(rejections_in_row=2, results=WINNING), None, None),
        (TrackRecord(rejections_in_row=3), Act.PAUSE, "REJECTION_STREAK"),
        (TrackRecord(results=LOSING), Act.CUT, "NEGATIVE_EXPECTANCY"),
        (TrackRecord(results=LOSING[:19]), None, None),
        (TrackRecord(results=LOSING, results_since_cut=9), None, None),
        (TrackRecord(results=LOSING, results_since_cut=10), Act.PAUSE, "NEGATIVE_EXPECTANCY"),
        (TrackRecord(drawdown_pct=15.0, tested_drawdown_pct=10.0), None, None),
        (TrackRecord(drawdown_pct=15.1, tested_drawdown_pct=10.0), Act.RETIRE, "LIVE_DRAWDOWN"),
        (TrackRecord(drawdown_pct=90.0), None, None),
        (TrackRecord(losing_days_in_row=10, results=WINNING), Act.RETIRE, "LOSING_DAYS"),
    ],
)
def test_fail_safes(record, act, code):
    stop = judge(record, Bounds())
    assert (stop.act, stop.code) == (act, code) if act else stop is None


@pytest.mark.parametrize(
    ("trades", "said"), [(1, "Its last trade lost ₹0.10."), (3, "Its last 3 trades lost ₹0.10 each on average.")]
)
def test_a_fail_safe_counts_in_plain_words(trades, said):
    stop = judge(TrackRecord(results=LOSING), Bounds(trades=trades))
    assert stop is not None and stop.message.startswith(said)


def test_nought_turns_a_fail_safe_off():
    worst = TrackRecord(9, LOSING, None, 99, 99.0, 1.0)
    assert judge(worst, Bounds(rejections=0, trades=0, drawdown_share_pct=0, losing_days=0)) is None
    assert expectancy_paise([], 20) is None and expectancy_paise([1, 2, 3], 2) == 2.5
