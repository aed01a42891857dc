"""Where a trailing stop stands as a trade goes on."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from strategies.contracts.schema import TrailingKind, TrailingSpec
from strategies.tactics.trailing import trailing_stop
from trading.domain.orders import Side

TICK = Decimal("0.05")
PERCENT = TrailingSpec(TrailingKind.PERCENT, Decimal(1), Decimal(2))
RANGES = TrailingSpec(TrailingKind.ATR, Decimal(2), Decimal("1.5"), 14)


def stop(side, best, spec=PERCENT, *, atr=None, before=None):
    return trailing_stop(side, Decimal(100), Decimal(best), spec, tick=TICK, atr=atr, before=before)


def test_it_begins_when_the_trade_has_gained_enough():
    assert stop(Side.BUY, "101.95") is None
    assert stop(Side.BUY, "102") == Decimal("100.95")  # 100.98 asked, rounded away
    assert stop(Side.SELL, "98") == Decimal("99.00")  # 98.98 asked


def test_it_only_moves_towards_the_price():
    assert stop(Side.BUY, "104", before=Decimal("100.95")) == Decimal("102.95")
    assert stop(Side.BUY, "101", before=Decimal("100.95")) == Decimal("100.95")
    assert stop(Side.SELL, "99", before=Decimal("99.00")) == Decimal("99.00")


def test_by_ranges_it_needs_the_range_and_stays_without_it():
    assert stop(Side.BUY, "101.4", RANGES, atr=1.5) is None
    assert stop(Side.BUY, "103", RANGES, atr=1.5) == Decimal("100.00")
    for unknown in (None, float("nan"), 0.0):
        assert stop(Side.BUY, "110", RANGES, atr=unknown) is None
        assert stop(Side.BUY, "110", RANGES, atr=unknown, before=Decimal(99)) == Decimal(99)


@given(
    side=st.sampled_from(list(Side)), bests=st.lists(st.integers(6_000, 16_000), min_size=2, max_size=8),
    spec=st.sampled_from([PERCENT, RANGES]),
)  # fmt: skip
def test_a_trailing_stop_never_goes_back(side, bests, spec):
    best, before = Decimal(100), None
    for each in bests:
        price = Decimal(each) / 100
        best = max(best, price) if side is Side.BUY else min(best, price)
        now = trailing_stop(side, Decimal(100), best, spec, tick=TICK, atr=1.0, before=before)
        if before is not None:
            assert now is not None and (now - before) * side.sign >= 0
        assert now is None or now % TICK == 0
        before = now
