"""The drawdown's steps on the desk and in the event loop: one curve of equity, step by step the same."""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from risk.drawdown import ORDER, DrawdownStep, Steps, drawdown_pct, next_step
from risk.sizing import percent_equity, risk_per_trade
from strategies.backtest import gating
from strategies.backtest import kernels as k
from strategies.backtest.engine import terms_of
from strategies.backtest.plan import Account, HouseGates
from tests.unit.backtest.markets import plan

STEPS = Steps()
GATES = HouseGates(
    drawdown_cautious_pct=STEPS.cautious, drawdown_defensive_pct=STEPS.defensive, drawdown_halt_pct=STEPS.halt,
    drawdown_hysteresis_pct=STEPS.hysteresis,
)  # fmt: skip


@given(st.lists(st.integers(7_000, 12_000), min_size=1, max_size=40))
@settings(max_examples=300, deadline=None)
def test_one_curve_takes_the_same_steps_in_both(curve):
    terms = terms_of(plan("close > open", account=Account(cash=Decimal(1_000_000)), gates=GATES))
    step, state, peak = DrawdownStep.NORMAL, 0, curve[0]
    for equity in curve:
        peak = max(peak, equity)
        step = next_step(step, drawdown_pct(peak_paise=peak, equity_paise=equity), STEPS)
        state = gating.drawdown_state(terms, state, (peak - equity) * 10_000, peak * 10_000)
        assert ORDER[int(state)] is step, (equity, peak)


@given(equity=st.integers(1_000_00, 10**11), pct=st.integers(1, 1_000), ticks=st.integers(20, 100_000))
@settings(max_examples=200, deadline=None)
def test_sizes_are_the_same_in_both(equity, pct, ticks):
    """Hundredths of a percent and prices on a tick of five paise, which both write without rounding."""
    entry = Decimal(ticks) * Decimal("0.05")
    share = Decimal(pct) / 100
    bought = percent_equity(equity_paise=equity, share_pct=share, entry=entry)
    assert bought == equity * pct // (10_000 * ticks * 5)
    assert risk_per_trade(equity_paise=equity, risk_pct=share, entry=entry, stop=entry * 2) == bought
    assert k.share_of(equity, pct * 100) == equity * pct // 10_000
