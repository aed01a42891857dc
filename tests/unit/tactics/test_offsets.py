"""Which loser is given up, and who pays for it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from strategies.tactics.offsets import HeldTrade, OffsetRules, Venue, edge_of_band, look, slippage_pct
from trading.domain.orders import Side
from trading.venue.charges import ChargeBroker, ChargeSegment

NOW = datetime(2026, 7, 1, 5, 30, tzinfo=UTC)
RULES = OffsetRules(pyramids=5, wait_s=900, loss_pct=Decimal(5), min_age_s=0, max_winners=3, min_close_paise=100_000)
VENUE = Venue(ChargeBroker.SANDBOX, ChargeSegment.EQUITY_INTRADAY)


def trade(key, *, cost="100", price="100", quantity=100, side=Side.BUY, **more):
    asked = {
        "key": key, "label": key, "side": side, "quantity": quantity, "cost_paise": int(Decimal(cost) * quantity * 100),
        "price": None if price is None else Decimal(price), "lot": 1, "opened_at": NOW - timedelta(hours=2),
        "pyramids": 5, "timer_at": NOW - timedelta(hours=1), "venue": VENUE,
    } | more  # fmt: skip
    return HeldTrade(**asked)


LOSER = trade("loser", price="90")  # 1,000 rupees, 10 %
WINNER = trade("winner", price="125")  # 2,500 rupees


def said(trades, rules=RULES):
    return look(trades, rules, NOW).code


def sold(trades, rules=RULES):
    plan = look(trades, rules, NOW).plan
    assert plan is not None
    return [(one.trade.key, one.quantity) for one in plan.winners]


def test_a_part_of_the_winner_pays_for_the_loser():
    plan = look([LOSER, WINNER], RULES, NOW).plan
    assert (plan.loser.trade.key, plan.loser.quantity, plan.required_paise) == ("loser", 100, 100_000)
    assert [(one.trade.key, one.quantity, one.profit_paise) for one in plan.winners] == [("winner", 40, 100_000)]
    charges = plan.loser.charges_paise + plan.winners[0].charges_paise
    assert charges > 0 and plan.net_paise == -charges


def test_what_is_sold_is_rounded_up_to_the_lot():
    assert sold([LOSER, replace(WINNER, lot=15)]) == [("winner", 45)]


def test_a_short_pays_and_a_short_is_paid_for():
    short_loser = trade("loser", price="110", side=Side.SELL)
    short_winner = trade("winner", price="75", side=Side.SELL)
    assert sold([short_loser, short_winner]) == [("winner", 40)]


def test_the_deepest_percent_is_given_up_then_the_most_rupees_then_the_oldest():
    def first(*trades):
        return look([*trades, trade("payer", price="400")], RULES, NOW).plan.loser.trade.key

    assert first(trade("a", price="92", quantity=500), trade("b", price="90")) == "b"
    assert first(trade("a", price="90"), trade("b", price="90", quantity=200)) == "b"
    assert first(trade("a", price="90"), trade("b", price="90", opened_at=NOW - timedelta(hours=3))) == "b"


def test_the_best_winners_pay_and_no_more_of_them_than_allowed():
    winners = [trade("small", price="103"), trade("best", price="107"), trade("middle", price="105")]
    assert sold([LOSER, *winners]) == [("best", 100), ("middle", 60)]
    assert said([LOSER, *winners], replace(RULES, max_winners=1)) == "NOT_COVERED"


def test_nothing_at_all_where_the_winners_cannot_pay():
    found = look([LOSER, trade("winner", price="109")], RULES, NOW)
    assert (found.plan, found.code) == (None, "NOT_COVERED")
    assert found.said == "loser lost ₹1000.00; what the winners have earned, ₹900.00, cannot pay."


def test_a_part_is_worth_an_order_and_a_winner_that_is_not_is_passed_over():
    little = trade("loser", price="94.50", quantity=10)  # 55 rupees: three units would do
    assert sold([little, WINNER]) == [("winner", 8)]  # a thousand rupees
    assert sold([little, trade("tiny", price="700", quantity=1), trade("other", price="103")]) == [("other", 19)]


def test_why_a_loser_is_kept():
    def kept(**changes):
        [judged] = look([replace(LOSER, **changes), WINNER], RULES, NOW).losers
        return judged.code

    assert kept() == ""
    assert kept(price=Decimal("95.01")) == "LOSS_SMALL"
    assert kept(price=Decimal(95)) == ""
    assert kept(pyramids=4) == "PYRAMIDS"
    assert kept(timer_at=None) == "TIMER"
    assert kept(timer_at=NOW - timedelta(seconds=899)) == "WAITING"
    assert kept(timer_at=NOW - timedelta(seconds=900)) == ""
    assert kept(blocked="an operator keeps it") == "BLOCKED"
    assert kept(passed_over="skipped once") == "PASSED_OVER"
    assert said([LOSER, WINNER], replace(RULES, min_age_s=7201)) == "NONE_ELIGIBLE"
    assert said([WINNER]) == "NO_LOSER"


def test_one_that_is_passed_over_lets_the_next_have_its_turn():
    next_one = trade("next", price="94")
    plan = look([replace(LOSER, passed_over="skipped once"), next_one, WINNER], RULES, NOW).plan
    assert plan.loser.trade.key == "next"


def test_a_winner_that_must_not_be_touched_or_has_no_price_does_not_pay():
    assert said([LOSER, replace(WINNER, blocked="being closed")]) == "NOT_COVERED"
    assert said([LOSER, replace(WINNER, price=None)]) == "NOT_COVERED"
    assert said([LOSER, replace(WINNER, quantity=0, cost_paise=0)]) == "NOT_COVERED"


def test_the_guard_measures_what_is_worse_and_its_edge_is_inside_the_band():
    tick = Decimal("0.05")
    assert slippage_pct(Side.SELL, Decimal(200), Decimal(199)) == Decimal("0.5")
    assert slippage_pct(Side.BUY, Decimal(200), Decimal(199)) == Decimal("-0.5")
    assert edge_of_band(Side.SELL, Decimal("812.35"), Decimal("0.5"), tick) == Decimal("808.30")  # 808.28825
    assert edge_of_band(Side.BUY, Decimal("812.35"), Decimal("0.5"), tick) == Decimal("816.40")  # 816.41175


TRADES = st.lists(
    st.tuples(
        st.sampled_from(Side), st.integers(0, 400), st.integers(5_000, 500_000),
        st.one_of(st.integers(-120, -40), st.integers(0, 300)),
        st.sampled_from([1, 25, 75]), st.sampled_from([5] * 5 + [4]), st.sampled_from([2_000, 900, 899]),
        st.sampled_from([""] * 7 + ["kept"]), st.sampled_from([""] * 7 + ["skipped"]),
    ),
    min_size=2, max_size=10,
)  # fmt: skip
"""Side, lots, paise a unit, tenths of a percent won or lost, lot, pyramids, seconds waited, two marks."""


@given(
    plain=TRADES, max_winners=st.integers(1, 5), least=st.sampled_from([0, 100_000, 2_000_000]),
    odd=st.integers(0, 99), shuffle=st.randoms(),
)  # fmt: skip
def test_a_plan_covers_the_loss_and_closes_no_more_than_it_must(plain, max_winners, least, odd, shuffle):
    rules = replace(RULES, max_winners=max_winners, min_close_paise=least)
    trades = [
        HeldTrade(
            str(number), f"trade {number}", side, lots * lot, lots * lot * cost + (odd if lots else 0),
            Decimal(cost + side.sign * cost * won // 1000) / 100, lot, NOW - timedelta(hours=2), pyramids,
            NOW - timedelta(seconds=waited), VENUE, blocked, passed,
        )
        for number, (side, lots, cost, won, lot, pyramids, waited, blocked, passed) in enumerate(plain)
    ]  # fmt: skip
    found = look(trades, rules, NOW)
    again = list(trades)
    shuffle.shuffle(again)
    assert look(again, rules, NOW) == found
    assert (found.plan is None) == bool(found.code)
    if found.plan is None:
        if found.code == "NOT_COVERED":  # it is true: not even all of them, as far as they may be sold, would do
            loss = -next(one.trade for one in found.losers if not one.code).profit_paise
            worth = [one for one in found.winners if one.value_paise >= least]
            assert sum(one.profit_paise for one in worth[:max_winners]) < loss
        return
    plan = found.plan
    loser = plan.loser.trade
    # Nothing that is blocked is touched, and the loser is one that counts.
    assert not loser.blocked and not loser.passed_over and loser.pyramids >= rules.pyramids
    assert plan.loser.quantity == loser.quantity and loser.loss_pct >= rules.loss_pct
    assert all(not one.trade.blocked and one.trade.key != loser.key for one in plan.winners)
    assert len({one.trade.key for one in plan.winners}) == len(plan.winners) <= max_winners
    # The loss is covered: before charges the pair loses nothing.
    assert plan.covered_paise >= plan.required_paise == -plan.loser.profit_paise
    assert plan.net_paise >= -plan.loser.charges_paise - sum(one.charges_paise for one in plan.winners)
    for one in plan.winners:
        assert 0 < one.quantity <= one.trade.quantity
        assert one.quantity % one.trade.lot == 0 and one.profit_paise > 0
        assert one.quantity * one.price * 100 >= least
    # And not by more than a lot of the last winner, or than the least that is worth an order.
    *whole, last = plan.winners
    assert all(one.quantity == one.trade.quantity for one in whole)
    missing = plan.required_paise - sum(one.profit_paise for one in whole)
    needed = Fraction(missing * last.trade.quantity, last.trade.profit_paise)
    worth_an_order = ceil(Fraction(least) / Fraction(last.price * 100))
    assert last.quantity < max(needed, worth_an_order) + last.trade.lot
