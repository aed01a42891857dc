"""Stops and targets as orders would carry them."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.contracts.schema import ContractBody, load_library, parse_contract
from strategies.tactics.stops import stop_and_target
from trading.domain.errors import TradingError
from trading.domain.orders import Side

TICK = Decimal("0.05")


def contract(stop: dict, target: dict) -> ContractBody:
    return parse_contract(load_library()["ema_alignment"].as_mapping() | {"stop": stop, "target": target})


ATR_AND_R = contract({"kind": "atr", "value": 1.5}, {"kind": "r_multiple", "value": 2})


def test_a_long_stop_rounds_down_and_its_target_is_two_of_the_rounded_risk():
    stop, target = stop_and_target(Side.BUY, Decimal("812.35"), 2.017, ATR_AND_R, TICK)
    assert (stop, target) == (Decimal("809.30"), Decimal("818.45"))  # 3.0255 asked, 3.05 risked, 6.10 wanted


def test_a_short_is_the_mirror():
    stop, target = stop_and_target(Side.SELL, Decimal("812.35"), 2.017, ATR_AND_R, TICK)
    assert (stop, target) == (Decimal("815.40"), Decimal("806.25"))


def test_percent_and_atr_distances():
    body = contract({"kind": "percent", "value": 1}, {"kind": "atr", "value": 3})
    assert stop_and_target(Side.BUY, Decimal(1000), 4.0, body, TICK) == (Decimal(990), Decimal(1012))


def test_a_price_stop_takes_the_value_of_its_rule():
    body = contract({"kind": "price", "value": "lowest(low, 5)"}, {"kind": "r_multiple", "value": 1})
    assert body.stop_rule() is not None
    assert stop_and_target(Side.BUY, Decimal(100), None, body, TICK, stop_price=98.03) == (Decimal(98), Decimal(102))
    with pytest.raises(TradingError) as refusal:
        stop_and_target(Side.BUY, Decimal(100), None, body, TICK, stop_price=101.0)
    assert refusal.value.code == "STOP_WRONG_SIDE"
    with pytest.raises(TradingError) as refusal:
        stop_and_target(Side.BUY, Decimal(100), None, body, TICK)
    assert refusal.value.code == "NO_STOP_PRICE"


@pytest.mark.parametrize("atr", [None, float("nan"), 0.0, -1.0])
def test_without_an_average_range_there_is_no_stop(atr):
    with pytest.raises(TradingError) as refusal:
        stop_and_target(Side.BUY, Decimal(100), atr, ATR_AND_R, TICK)
    assert refusal.value.code == "NO_ATR"


def test_a_stop_below_zero_is_refused():
    with pytest.raises(TradingError) as refusal:
        stop_and_target(Side.BUY, Decimal(10), 10.0, ATR_AND_R, TICK)
    assert refusal.value.code == "PRICE_NOT_POSITIVE"


@given(
    side=st.sampled_from(Side),
    ticks=st.integers(2_000, 2_000_000),
    atr=st.floats(0.001, 20),
    tick=st.sampled_from([Decimal("0.01"), Decimal("0.05"), Decimal("0.10"), Decimal("1.00")]),
)
def test_stop_and_target_stand_on_the_tick_and_never_closer_than_asked(side, ticks, atr, tick):
    entry = ticks * tick
    asked = Decimal("1.5") * Decimal(str(atr))
    if (side is Side.BUY and asked >= entry - tick) or (side is Side.SELL and 2 * (asked + tick) >= entry):
        return
    stop, target = stop_and_target(side, entry, atr, ATR_AND_R, tick)
    risk, reward = (entry - stop) * side.sign, (target - entry) * side.sign
    assert stop % tick == 0 and target % tick == 0
    assert asked <= risk < asked + tick
    assert reward == 2 * risk
