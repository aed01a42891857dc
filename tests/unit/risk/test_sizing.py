"""Units by each method, rounded down, never negative, and never more than the budget."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk import sizing

LAKH = 1_00_000_00
D = Decimal


def aimed_at(target_pct, yearly_pct) -> int:
    return sizing.volatility_target(
        equity_paise=10 * LAKH, target_pct=D(target_pct), volatility_pct=yearly_pct, entry=D(100)
    )


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        (sizing.fixed_rupees(rupees=D(10_000), entry=D("812.35")), 12),
        (sizing.fixed_rupees(rupees=D(800), entry=D("812.35")), 0),
        (sizing.percent_equity(equity_paise=10 * LAKH, share_pct=D(5), entry=D("812.35")), 61),
        (sizing.risk_per_trade(equity_paise=10 * LAKH, risk_pct=D(1), entry=D(100), stop=D(98)), 5_000),
        (sizing.risk_per_trade(equity_paise=10 * LAKH, risk_pct=D(1), entry=D(100), stop=D(100)), 0),
        (aimed_at(15, 15.0), 10_000),
        (aimed_at(15, 30.0), 5_000),
        (aimed_at(15, 0.001), 100_000),  # ten times equity, whatever the calm
        (aimed_at(10, 0), 0),
        (aimed_at(10, float("nan")), 0),
        # p 0.6, b 1: Kelly says 0.2, a quarter of it is 5 % of equity at risk.
        (sizing.kelly(equity_paise=10 * LAKH, win_rate=D("0.6"), payoff=D(1), entry=D(100), stop=D(90)), 5_000),
        (sizing.kelly(equity_paise=10 * LAKH, win_rate=D("0.4"), payoff=D(1), entry=D(100), stop=D(90)), 0),
        (sizing.percent_equity(equity_paise=-LAKH, share_pct=D(5), entry=D(100)), 0),
    ],
)  # fmt: skip
def test_units(units, expected):
    assert units == expected


@given(
    equity=st.integers(0, 10**12), pct=st.decimals("0.01", 100, places=2), entry=st.decimals("0.05", 100_000, places=2),
    stop=st.decimals("0.05", 100_000, places=2),
)  # fmt: skip
def test_the_budget_is_never_passed(equity, pct, entry, stop):
    units = sizing.risk_per_trade(equity_paise=equity, risk_pct=pct, entry=entry, stop=stop)
    assert units >= 0 and units * int(abs(entry - stop) * 100) <= equity * pct / 100
    bought = sizing.percent_equity(equity_paise=equity, share_pct=pct, entry=entry)
    assert bought * int(entry * 100) <= equity * pct / 100


@given(p=st.decimals(0, 1, places=3), b=st.decimals("0.01", 50, places=2), part=st.decimals(0, 5, places=2))
def test_kelly_is_capped_at_a_quarter(p, b, part):
    share = sizing.kelly_fraction(win_rate=p, payoff=b, part=part)
    assert 0 <= share <= sizing.KELLY_CAP
