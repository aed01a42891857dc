"""The broker's money: read with its age, looked at by the gate, held against the day's trades."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from execution.models import Intent, Mismatch, ReconRun
from execution.reconcile.money import BALANCE, REALISED, Flow, Reading, compare_money, counts_profit, day_realised
from execution.services.mismatch_decide import mismatch_decide
from risk.funds import funds_keep, room_taken
from risk.models import Assessment, BrokerFunds, Verdict
from risk.snapshot import standing_of
from tests.factories.market import InstrumentFactory
from tests.factories.world import quote
from trading.domain.orders import Side
from trading.monitoring.models import Alert

OUT, STATE = ReconRun.Outcome, Mismatch.State
SBIN, TCS = ("NSE:SBIN-EQ", "INTRADAY"), ("NSE:TCS-EQ", "INTRADAY")
DELIVERED = ("NSE:SBIN-EQ", "CNC")


# -- pure ----------------------------------------------------------------------------------------------------------


def test_profit_of_the_day_is_what_was_bought_and_sold_at_the_averages():
    flows = [Flow(SBIN, 10, 10_000_00), Flow(SBIN, 10, 10_200_00), Flow(SBIN, -5, 5_300_00), Flow(TCS, -3, 9_000_00)]
    assert day_realised(flows) == 5_300_00 - 5_050_00
    assert day_realised([]) == 0


@pytest.mark.parametrize("counts_profit", [True, False])
def test_profit_explains_the_money_whether_or_not_the_broker_counts_it_into_its_total(counts_profit):
    flows = [Flow(SBIN, 10, 10_000_00), Flow(SBIN, -10, 10_500_00)]
    last = Reading(1_000_000_00 + 500_00 * counts_profit, 500_00)
    assert compare_money(first=Reading(1_000_000_00, 0), last=last, flows=flows, accepted={}) == []


def test_money_that_no_profit_explains_is_a_difference_and_keeps_its_numbers_while_profits_move():
    for profit in (0, 700_00):
        flows = [Flow(SBIN, 10, 10_000_00), Flow(SBIN, -10, 10_000_00 + profit)]
        (one,) = compare_money(
            first=Reading(1_000_000_00, 0), last=Reading(950_000_00 + profit, profit), flows=flows, accepted={},
            profit_in_total=True,
        )  # fmt: skip
        assert (one.kind, one.reference, one.ours, one.theirs) == ("FUNDS", BALANCE, 1_000_000_00, 950_000_00)
    explained = compare_money(
        first=Reading(1_000_000_00, 0), last=Reading(950_000_00, 0), flows=[], accepted={BALANCE: -50_000_00}
    )
    assert explained == []


@pytest.mark.parametrize(
    ("total", "realised", "explained", "known"),
    [(1_000_500_00, 500_00, 0, True), (1_000_000_00, 500_00, 0, False), (1_000_000_00, 0, 0, None),
     (950_500_00, 500_00, -50_000_00, True), (940_000_00, 500_00, 0, None)],
)  # fmt: skip
def test_a_broker_s_way_with_profits_is_learnt_where_one_way_alone_explains_its_total(
    total, realised, explained, known
):  # fmt: skip
    last = Reading(total, realised)
    assert counts_profit(first=Reading(1_000_000_00, 0), last=last, explained=explained) is known


def test_another_profit_than_that_of_the_trades_is_a_difference():
    flows = [Flow(SBIN, 10, 10_000_00), Flow(SBIN, -10, 10_500_00)]
    last = Reading(1_000_450_00, 450_00)
    (one,) = compare_money(first=Reading(1_000_000_00, 0), last=last, flows=flows, accepted={})
    assert (one.reference, one.ours, one.theirs) == (REALISED, 500_00, 450_00)
    within = Reading(1_000_499_50, 499_50)
    assert compare_money(first=Reading(1_000_000_00, 0), last=within, flows=flows, accepted={}) == []


def test_deliveries_are_settled_by_each_broker_in_its_own_way_and_prove_nothing():
    flows = [Flow(DELIVERED, 10, 10_000_00), Flow(DELIVERED, -10, 10_500_00)]
    last = Reading(1_010_500_00, 0)
    assert compare_money(first=Reading(1_000_000_00, 0), last=last, flows=flows, accepted={}) == []


# -- the row -------------------------------------------------------------------------------------------------------


def keep(desk, *, free: int, age_s: float = 0.0, taken: int | None = None, total: int = 1_000_000_00) -> BrokerFunds:
    return funds_keep(
        account_id=desk.account.pk, total_paise=total, utilised_paise=0, available_paise=free, realised_paise=0,
        taken_paise=room_taken(desk.account.pk) if taken is None else taken,
        read_at=timezone.now() - timedelta(seconds=age_s), now=desk.now[0],
    )  # fmt: skip


def test_a_reading_that_arrives_late_does_not_undo_a_newer_one(desk):
    keep(desk, free=5_00)
    keep(desk, free=9_00, age_s=30)
    assert BrokerFunds.objects.get().available_paise == 5_00


def test_the_first_reading_of_a_day_is_kept_beside_the_last(desk):
    keep(desk, free=5_00, total=100_00, age_s=9)
    row = keep(desk, free=5_00, total=90_00)
    assert (row.first_total_paise, row.total_paise) == (100_00, 90_00)
    desk.pass_time(days=1)
    assert keep(desk, free=5_00, total=80_00).first_total_paise == 80_00


def margin_verdict(intent: Intent) -> Verdict:
    (found,) = (one for one in Assessment.objects.get(intent_id=intent.pk).verdicts if one.gate == "MARGIN")
    return found


def test_an_entry_needs_what_the_broker_has_free_and_a_cushion(desk):
    """Ten shares at 812.35 intraday block 1,624.70; with the cushion of 5 % 1,705.94 must be free."""
    keep(desk, free=1_705_00)
    shrunk = desk.ask()
    assert shrunk.allowed_quantity == 9 and "broker" in margin_verdict(shrunk).message


def test_without_free_funds_nothing_is_entered(desk):
    keep(desk, free=100_00)
    refused = desk.ask()
    assert (refused.state, refused.refusal_code) == (Intent.State.REFUSED, "MARGIN")


def test_an_old_reading_says_nothing_about_now(desk):
    keep(desk, free=100_00, age_s=600)
    assert desk.ask().allowed_quantity == 10


def test_room_taken_since_the_reading_is_not_free(desk):
    keep(desk, free=10_000_00)
    assert desk.ask().state == Intent.State.APPROVED  # 8,123.50 of room, of which the broker has not heard
    other = InstrumentFactory(symbol="NSE:TCS-EQ", tick_size=desk.instrument.tick_size)
    quote(desk.world.feed, other)
    second = desk.ask(symbol=other.symbol, quantity=20)
    left = 10_000_00 - 8_123_50
    assert second.allowed_quantity == left // 170_59 == 11


def test_a_reading_costs_an_order_no_question_of_its_own(desk):
    counts = []
    for known in (False, True):
        if known:
            keep(desk, free=10_000_00)
        standing_of(desk.portfolio, desk.instrument, now=desk.now[0])
        with CaptureQueriesContext(connection) as asked:
            standing_of(desk.portfolio, desk.instrument, now=desk.now[0])
        counts.append(len(asked))
    assert counts == [1, 1]


# -- reconciliation ------------------------------------------------------------------------------------------------


def compare(desk, *, times: int = 2) -> ReconRun:
    for number in range(times):
        if number:
            earlier = timezone.now() - timedelta(seconds=6)
            Mismatch.objects.filter(state=STATE.SEEN).update(first_seen_at=earlier)
        run = desk.engine.reconcile(ReconRun.Cause.PERIODIC)
    return run


def test_a_day_of_trades_agrees_with_the_funds_they_make(desk):
    compare(desk, times=1)
    group = desk.enter()
    desk.broker.fill(desk.stop_of(group).broker_order_id, 10, "804.00")
    desk.turn(2)
    assert compare(desk).outcome == OUT.CLEAN
    row = BrokerFunds.objects.get()
    assert row.realised_paise == -83_00 and row.first_realised_paise == 0 and row.profit_in_total is True


def test_money_that_went_holds_all_entries_until_a_person_says_that_it_is_right(desk):
    compare(desk, times=1)
    desk.broker.paid_in = Decimal(-50_000)
    assert compare(desk).outcome == OUT.QUARANTINED
    row = Mismatch.objects.get()
    assert (row.kind, row.reference, row.difference) == ("FUNDS", BALANCE, -50_000_00)
    assert "9,50,000.00" in Alert.objects.get(code="QUARANTINED").message
    refused = desk.ask()
    assert refused.refusal_code == "QUARANTINED" and "9,50,000.00 at the broker" in refused.refusal

    mismatch_decide(mismatch_id=row.pk, decision="accept", actor="me", now=desk.now[0])
    assert compare(desk).outcome == OUT.CLEAN
    assert desk.ask().state == Intent.State.APPROVED


def test_money_that_came_needs_nobody(desk):
    compare(desk, times=1)
    desk.broker.paid_in = Decimal(25_000)
    run = compare(desk)
    assert any("money came in" in action for action in run.actions)
    assert Mismatch.objects.get().state == STATE.ACCEPTED and not Alert.objects.filter(code="QUARANTINED").exists()
    assert compare(desk).outcome == OUT.CLEAN
    assert desk.ask().state == Intent.State.APPROVED


def test_an_open_exit_is_not_held_by_a_doubt_about_the_money(desk):
    group = desk.enter()
    compare(desk, times=1)
    desk.broker.odd_profit = Decimal(-500)
    assert compare(desk).outcome == OUT.QUARANTINED
    assert Mismatch.objects.get().reference == REALISED
    desk.broker.fill(desk.stop_of(group).broker_order_id, 10, "804.00")
    desk.turn(2)
    assert desk.held() == 0


def test_trades_outside_the_desk_explain_their_profit(desk):
    compare(desk, times=1)
    for side, price in ((Side.BUY, "812.00"), (Side.SELL, "815.00")):
        number = desk.broker.outside(desk.instrument.symbol, side, 10)
        desk.broker.fill(number, 10, price)
    assert not compare(desk).differences
