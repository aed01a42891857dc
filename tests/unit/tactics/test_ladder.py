"""How a trade is built up, as orders would carry it."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.tactics.ladder import DEFAULT_RUNGS, LadderError, plan_legs, rungs_of
from trading.domain.orders import Side

TICK = Decimal("0.05")


def rung(gap="0", weight="100", profit="1"):
    return {"gap_pct": gap, "weight_pct": weight, "take_profit_pct": profit}


def test_the_default_ladder_of_a_long_trade_lies_below_it_and_of_a_short_one_above():
    rungs = rungs_of(DEFAULT_RUNGS)
    long = plan_legs(Side.BUY, Decimal("812.35"), 100, rungs, tick=TICK, lot=1)
    short = plan_legs(Side.SELL, Decimal("812.35"), 100, rungs, tick=TICK, lot=1)
    assert [str(leg.limit_price) for leg in long] == ["812.35", "808.25", "804.20", "800.15", "796.10"]
    assert [str(leg.limit_price) for leg in short] == ["812.35", "816.45", "820.50", "824.55", "828.60"]
    assert [leg.quantity for leg in long] == [20] * 5


def test_what_rounding_leaves_over_goes_to_the_first_leg():
    legs = plan_legs(Side.BUY, Decimal(100), 7 * 75 + 20, rungs_of(DEFAULT_RUNGS), tick=TICK, lot=75)
    assert [leg.quantity for leg in legs] == [225, 75, 75, 75, 75]


def test_less_than_a_lot_is_nothing():
    legs = plan_legs(Side.BUY, Decimal(100), 74, rungs_of(DEFAULT_RUNGS), tick=TICK, lot=75)
    assert [leg.quantity for leg in legs] == [0] * 5


@pytest.mark.parametrize(
    ("plain", "said"),
    [
        ([], "1 to 7"),
        ([rung()] * 8, "1 to 7"),
        ("rungs", "1 to 7"),
        ([rung(gap="-1")], "no gap"),
        ([rung(weight="50"), rung(weight="50")], "further away"),
        ([rung(weight="50"), rung("-1", "49")], "sum to 99"),
        ([rung(weight="x")], "no number"),
        ([rung(weight="NaN")], "no number"),
        ([rung(gap="1")], "between -50 and 0"),
        ([rung(profit="0")], "above 0"),
        ([rung() | {"more": 1}], "nothing else"),
        ([{"gap_pct": "0"}], "nothing else"),
    ],
)
def test_rungs_that_make_no_ladder(plain, said):
    with pytest.raises(LadderError, match=said):
        rungs_of(plain)


@st.composite
def ladders(draw):
    """Rungs with weights that sum to exactly 100, also such as no share of whole lots meets."""
    count = draw(st.integers(1, 7))
    cuts = sorted(draw(st.lists(st.integers(1, 99_999), min_size=count - 1, max_size=count - 1, unique=True)))
    weights = [high - low for low, high in zip([0, *cuts], [*cuts, 100_000], strict=True)]
    gaps = [0, *sorted(draw(st.lists(st.integers(1, 50_000), min_size=count - 1, max_size=count - 1, unique=True)))]
    return rungs_of(
        [rung(str(Decimal(-gap) / 1000), str(Decimal(one) / 1000)) for gap, one in zip(gaps, weights, strict=True)]
    )


@given(
    side=st.sampled_from(Side), ticks=st.integers(2_000, 2_000_000), quantity=st.integers(0, 5_000_000),
    lot=st.sampled_from([1, 15, 75, 1_800]), tick=st.sampled_from([Decimal("0.01"), TICK, Decimal("1")]),
    rungs=ladders(),
)  # fmt: skip
def test_a_ladder_is_what_was_asked_for_in_whole_lots_and_never_more(side, ticks, quantity, lot, tick, rungs):
    entry = ticks * tick
    legs = plan_legs(side, entry, quantity, rungs, tick=tick, lot=lot)
    assert sum(leg.quantity for leg in legs) == quantity - quantity % lot
    for leg in legs:
        share = quantity * leg.rung.weight_pct / 100
        assert leg.quantity % lot == 0
        if leg.index:
            assert share - 2 * lot < leg.quantity <= share  # no later leg is above its share
        else:
            assert share - lot < leg.quantity < share + lot * len(legs)
        asked = entry * (1 + side.sign * leg.rung.gap_pct / 100)
        assert leg.limit_price % tick == 0
        assert 0 <= (asked - leg.limit_price) * side.sign < tick  # never worse than the gap says
