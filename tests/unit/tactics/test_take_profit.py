"""Where a trade takes its profit, from what is filled this moment."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.tactics.take_profit import FilledLeg, TakeProfitMode, take_profits
from trading.domain.orders import Side

TICK = Decimal("0.05")
PCT = Decimal("1.5")


def leg(key: int, filled: int, rupees: str, *, held: int | None = None, pyramid: int = 0, pct: str = "1") -> FilledLeg:
    value = int(Decimal(rupees) * filled * 100)
    return FilledLeg(key, pyramid, filled, value, filled if held is None else held, Decimal(pct))


def wanted(legs, mode, side=Side.BUY):
    return take_profits(side, legs, mode, tick=TICK, aggregate_pct=PCT)


def test_each_leg_takes_its_own_profit_on_its_own_fill():
    found = wanted([leg(7, 10, "812.35"), leg(8, 4, "800", pct="0.5"), leg(9, 0, "0")], "LEG")
    assert [(one.key, one.leg, one.quantity, one.price) for one in found.parts] == [
        ("tp:leg:7", 7, 10, Decimal("820.50")),  # 820.4735 asked
        ("tp:leg:8", 8, 4, Decimal("804.00")),
    ]
    assert found.whole is None


def test_a_part_that_is_filled_has_its_take_profit_and_grows_with_it():
    [first] = wanted([leg(7, 3, "100")], "LEG").parts
    [later] = wanted([leg(7, 10, "99.90")], "LEG").parts
    assert first.key == later.key
    assert (first.quantity, first.price) == (3, Decimal("101.00"))
    assert (later.quantity, later.price) == (10, Decimal("100.90"))  # 100.899 asked


def test_a_short_asks_below_its_price():
    [one] = wanted([leg(7, 10, "812.35")], "LEG", Side.SELL).parts
    assert one.price == Decimal("804.20")  # 804.2265 asked


def test_the_whole_at_the_average_of_what_is_held():
    legs = [leg(1, 10, "100", held=5), leg(2, 15, "90")]
    assert wanted(legs, "AGGREGATE").parts == ()
    assert wanted(legs, "AGGREGATE").whole == Decimal("93.90")  # 5 at 100 and 15 at 90: 92.5, 93.8875 asked


def test_both_whichever_comes_first():
    legs = [leg(1, 10, "100"), leg(2, 10, "90", pyramid=1)]
    found = wanted(legs, "HYBRID")
    assert found.parts == wanted(legs, "LEG").parts
    assert found.whole == wanted(legs, "AGGREGATE").whole is not None


def test_each_pyramid_at_its_average():
    found = wanted([leg(1, 10, "100"), leg(2, 10, "90"), leg(3, 8, "80", pyramid=1)], "PYRAMID_AGGREGATE")
    assert [(one.key, one.pyramid, one.quantity, one.price) for one in found.parts] == [
        ("tp:pyramid:0", 0, 20, Decimal("96.45")),  # 96.425 asked
        ("tp:pyramid:1", 1, 8, Decimal("81.20")),
    ]
    assert found.whole is None


@pytest.mark.parametrize("mode", list(TakeProfitMode))
def test_nothing_held_wants_nothing(mode):
    for legs in ([], [leg(1, 10, "100", held=0)], [leg(2, 0, "0")]):
        found = wanted(legs, mode)
        assert found.parts == () and found.whole is None


def test_a_short_cannot_gain_all_of_its_price():
    assert wanted([leg(1, 10, "100", pct="100")], "LEG", Side.SELL).parts == ()


def test_a_mode_that_does_not_exist():
    with pytest.raises(ValueError, match="SOMETIMES"):
        wanted([leg(1, 10, "100")], "SOMETIMES")


LEGS = st.lists(
    st.builds(
        lambda pyramid, filled, price, held, pct: (pyramid, filled, price, min(held, filled), pct),
        st.integers(0, 4), st.integers(1, 5_000), st.integers(5_000, 5_000_000), st.integers(0, 5_000),
        st.decimals("0.01", "40", places=3),
    ),
    min_size=1, max_size=12,
)  # fmt: skip


@given(
    side=st.sampled_from(Side), plain=LEGS, mode=st.sampled_from(TakeProfitMode),
    tick=st.sampled_from([Decimal("0.01"), Decimal("0.05"), Decimal("0.10"), Decimal("1")]),
    extra=st.integers(0, 99), pct=st.decimals("0.01", "40", places=2),
)  # fmt: skip
def test_the_profit_is_never_smaller_than_asked_for_nor_larger_by_a_tick(side, plain, mode, tick, extra, pct):
    # `extra` paise make averages that no decimal number holds.
    legs = [
        FilledLeg(number, pyramid, filled, filled * price + extra, held, own)
        for number, (pyramid, filled, price, held, own) in enumerate(plain)
    ]
    found = take_profits(side, legs, mode, tick=tick, aggregate_pct=pct)

    def exact(of, percent):
        held = sum(one.held for one in of)
        average = sum(Fraction(one.fill_value_paise * one.held, one.filled) for one in of) / held / 100
        return average * Fraction(percent) / 100, average

    def meets(price, of, percent):
        asked, average = exact(of, percent)
        gained = (Fraction(price) - average) * side.sign
        assert price % tick == 0 and price > 0
        assert asked <= gained < asked + Fraction(tick)

    for one in found.parts:
        if one.leg is not None:
            assert one.quantity == legs[one.leg].held > 0
            meets(one.price, [legs[one.leg]], legs[one.leg].take_profit_pct)
        else:
            own = [leg for leg in legs if leg.pyramid == one.pyramid and leg.held]
            assert one.quantity == sum(leg.held for leg in own)
            meets(one.price, own, pct)
    if found.whole is not None:
        meets(found.whole, [leg for leg in legs if leg.held], pct)
    # What is held is asked for, once.
    assert len({one.key for one in found.parts}) == len(found.parts)
    held = sum(leg.held for leg in legs)
    if mode is not TakeProfitMode.AGGREGATE:
        assert sum(one.quantity for one in found.parts) == held
