"""Option prices and sensitivities against worked examples in print, and by the laws that tie them together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.indicators.greeks import implied_volatilities, option_greeks, option_price

CALL, PUT = np.array([True]), np.array([False])


def one(*numbers):
    return [np.array([number]) for number in numbers]


def test_hulls_worked_prices():
    """Hull, Options, Futures and Other Derivatives, example 15.6: 4.76 and 0.81; example 17.1 (index with a yield)."""
    spot, strike, years, vol = one(42.0, 40.0, 0.5, 0.2)
    assert option_price(spot, strike, years, vol, CALL, rate=0.1)[0] == pytest.approx(4.7594, abs=1e-4)
    assert option_price(spot, strike, years, vol, PUT, rate=0.1)[0] == pytest.approx(0.8086, abs=1e-4)
    spot, strike, years, vol = one(930.0, 900.0, 2 / 12, 0.2)
    assert option_price(spot, strike, years, vol, CALL, rate=0.08, dividend=0.03)[0] == pytest.approx(51.83, abs=5e-3)


def test_hulls_worked_sensitivities():
    """Hull, chapter 19: a call at 49 on a strike of 50, 20 weeks, 20 %, 5 %."""
    spot, strike, years, vol = one(49.0, 50.0, 20 / 52, 0.2)
    delta, gamma, theta, vega, rho = option_greeks(spot, strike, years, vol, CALL, rate=0.05)[:, 0]
    assert delta == pytest.approx(0.522, abs=5e-4)
    assert gamma == pytest.approx(0.066, abs=5e-4)
    assert theta * 365 == pytest.approx(-4.31, abs=5e-3)
    assert vega * 100 == pytest.approx(12.1, abs=5e-2)
    assert rho * 100 == pytest.approx(8.91, abs=5e-3)


def test_hulls_worked_implied_volatilities():
    """Hull, section 15.11: 1.875 for a call at 21 on 20, three months, 10 %: 23.5 %."""
    price, spot, strike, years = one(1.875, 21.0, 20.0, 0.25)
    assert implied_volatilities(price, spot, strike, years, CALL, rate=0.1)[0] == pytest.approx(0.2345, abs=5e-4)


def test_what_cannot_be_is_no_number():
    spot, strike, years = one(100.0, 90.0, 0.1)
    for price in (0.0, 5.0, 101.0, np.nan):  # below the value without movement, or above the share itself
        assert np.isnan(implied_volatilities(np.array([price]), spot, strike, years, CALL)[0])
    assert np.isnan(option_greeks(spot, strike, np.array([0.0]), np.array([0.2]), CALL)).all()
    assert np.isnan(option_price(spot, strike, years, np.array([np.nan]), CALL)[0])
    assert option_price(spot, strike, np.array([0.0]), np.array([0.2]), CALL)[0] == 10.0


options = {
    "spot": st.floats(50, 50_000), "moneyness": st.floats(0.7, 1.4), "years": st.floats(0.003, 2.0),
    "vol": st.floats(0.05, 1.5), "rate": st.floats(0.0, 0.12),
}  # fmt: skip


@given(**options)
def test_a_call_less_a_put_is_the_forward(spot, moneyness, years, vol, rate):
    numbers = one(spot, spot * moneyness, years, vol)
    call = option_price(*numbers, CALL, rate=rate)[0]
    put = option_price(*numbers, PUT, rate=rate)[0]
    assert call - put == pytest.approx(spot - spot * moneyness * np.exp(-rate * years), abs=1e-9 * spot)


@given(**options)
def test_sensitivities_are_the_slopes_of_the_price(spot, moneyness, years, vol, rate):
    strike = spot * moneyness
    for call in (CALL, PUT):
        delta, gamma, _, vega, _ = option_greeks(*one(spot, strike, years, vol), call, rate=rate)[:, 0]

        def value(s, v, call=call):
            return option_price(*one(s, strike, years, v), call, rate=rate)[0]

        step = spot * 1e-4
        slope = (value(spot + step, vol) - value(spot - step, vol)) / (2 * step)
        assert delta == pytest.approx(slope, abs=2e-3)
        assert vega * 100 == pytest.approx((value(spot, vol + 1e-4) - value(spot, vol - 1e-4)) / 2e-4, abs=1e-4 * spot)
        assert gamma >= 0 and vega >= 0


@given(**options)
def test_the_implied_volatility_of_a_price_is_the_one_it_was_made_with(spot, moneyness, years, vol, rate):
    strike = spot * moneyness
    call = np.array([moneyness >= 1])  # the side out of the money: there the price says something
    numbers = one(spot, strike, years, vol)
    price = option_price(*numbers, call, rate=rate)
    if price[0] < 1e-6 * spot:
        return  # too far away: the price does not tell one volatility from another
    found = implied_volatilities(price, *numbers[:3], call, rate=rate)
    assert found[0] == pytest.approx(vol, rel=1e-6)
