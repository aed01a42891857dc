"""The desk beside its broker: what is missing is taken over, what nobody can explain waits for a person."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from execution.brokers.errors import TransientError
from execution.brokers.port import BrokerStatus
from execution.holdings import open_holdings
from execution.models import Fill, FillBust, Group, Intent, Mismatch, Order, OrderEvent, ParkedFill, ReconRun
from execution.services.fill_bust import fill_bust
from execution.services.mismatch_decide import mismatch_decide
from execution.services.override import close_position
from trading.domain.errors import Conflict, NotAllowed
from trading.domain.orders import Side
from trading.monitoring.models import Alert
from trading.portfolio.models import LedgerEntry, Position
from trading.portfolio.valuation import value_portfolio

CAUSE, OUT, STATE = ReconRun.Cause.PERIODIC, ReconRun.Outcome, Mismatch.State


def compare(desk, *, times: int = 1) -> ReconRun:
    """Compare, the second look six seconds after the first."""
    for number in range(times):
        if number:
            earlier = timezone.now() - timedelta(seconds=6)
            Mismatch.objects.filter(state=STATE.SEEN).update(first_seen_at=earlier)
        run = desk.engine.reconcile(CAUSE)
    return run


def rows() -> tuple[int, ...]:
    models = (Order, OrderEvent, Fill, Intent, LedgerEntry, Position, Group, Mismatch, Alert)
    return tuple(model.objects.count() for model in models)


def decide(row: Mismatch, decision: str, desk, **how) -> Mismatch:
    return mismatch_decide(mismatch_id=row.pk, decision=decision, actor="me", now=desk.now[0], **how)


def test_where_both_sides_agree_nothing_is_written_but_the_run(desk):
    desk.enter()
    first = compare(desk)
    before = rows()
    second = compare(desk)
    assert (first.outcome, second.outcome, second.inputs_hash) == (OUT.CLEAN, OUT.CLEAN, first.inputs_hash)
    assert rows() == before and not second.actions and not second.differences


def test_fills_and_states_that_were_missed_are_taken_over_and_told(desk):
    group = desk.enter(filled=4)
    entry = group.orders.get(reason="ENTRY")
    desk.broker.fill(entry.broker_order_id, 6, "812.30")
    run = compare(desk)
    assert run.outcome == OUT.HEALED and desk.held() == 10
    assert f"order {entry.pk}: order.filled" in run.actions
    before = rows()
    assert compare(desk).outcome == OUT.CLEAN and rows() == before


@pytest.mark.parametrize("spoil", ["empty", "short", "trades", "error", "moving"])
def test_fault_19_books_that_cannot_be_believed_change_nothing(desk, spoil, monkeypatch):
    desk.enter()
    stop = desk.broker.newest()
    broker, orders = desk.broker, desk.broker.orders
    if spoil == "empty":
        broker.orders = list
    elif spoil == "short":
        broker.hidden.add(stop)
    elif spoil == "trades":
        broker.facts.clear()
    elif spoil == "error":

        def down():
            raise TransientError("BROKER_UNAVAILABLE", "HTTP 503.")

        broker.trades = down
    else:
        turns = iter(range(99))
        broker.orders = lambda: orders()[: 1 + next(turns) % 2]
    before = rows()[:-1]
    run = compare(desk)
    assert run.outcome == OUT.INVALID and run.trouble
    assert rows()[:-1] == before, "but for the alert"


def test_a_book_that_has_lost_an_order_proves_the_absence_of_none(desk):
    from tests.small_broker import VANISHED

    desk.enter()
    stop = desk.broker.newest()
    desk.broker.answers.extend(["as asked", VANISHED])  # the cancel of the stop, then the exit
    close_position(group_id=Group.objects.get().pk, actor="me", now=desk.now[0])
    desk.turn(2)
    lost = Order.objects.latest("pk")
    assert lost.state == "UNKNOWN"
    desk.broker.hidden.add(stop)
    for _ in range(7):
        desk.engine.read_books()
    lost.refresh_from_db()
    assert lost.absent_books <= 2
    desk.broker.hidden.clear()
    for _ in range(7):
        desk.engine.read_books()
    lost.refresh_from_db()
    assert lost.absent_books >= 6


def test_a_difference_is_looked_at_twice_before_it_is_held_back(desk):
    group = desk.enter()
    desk.broker.surplus = -4
    assert compare(desk).outcome == OUT.WAITING
    assert compare(desk).outcome == OUT.WAITING, "seconds apart, not at once"
    assert compare(desk, times=2).outcome == OUT.QUARANTINED
    row = Mismatch.objects.get()
    assert (row.kind, row.ours, row.theirs, row.state) == ("POSITION", 10, 6, STATE.OPEN)
    group.refresh_from_db()
    assert group.quarantined and Alert.objects.filter(code="QUARANTINED").exists()


def test_a_difference_that_goes_away_is_over(desk):
    desk.enter()
    desk.broker.surplus = 5
    compare(desk, times=2)
    desk.broker.surplus = 0
    assert compare(desk).outcome == OUT.CLEAN
    assert Mismatch.objects.get().state == STATE.RESOLVED
    assert not Alert.objects.filter(code="QUARANTINED", acknowledged_at=None).exists()


def test_nothing_is_entered_in_quarantine_and_exits_are_capped_at_what_the_broker_has(desk):
    group = desk.enter()
    desk.broker.surplus = -4
    compare(desk, times=2)
    close_position(group_id=group.pk, actor="me", now=desk.now[0])
    desk.turn(4)
    exit_order = Order.objects.get(reason="MANUAL")
    assert exit_order.quantity == 6
    desk.broker.fill(exit_order.broker_order_id, 6, "812.00")
    desk.turn(2)
    refused = desk.ask()
    assert refused.refusal_code in ("QUARANTINED", "RECONCILIATION", "ALREADY_POSITIONED")


def test_an_entry_in_a_symbol_in_quarantine_names_both_figures(desk):
    desk.enter()
    desk.broker.surplus = 3
    compare(desk, times=2)
    Group.objects.update(state=Group.State.CLOSED)
    Position.objects.update(net_quantity=0, cost_paise=0)
    Order.objects.update(state="CANCELLED")
    from risk.models import RiskBucket

    RiskBucket.objects.update(reserved=0, used=0)
    intent = desk.ask()
    assert (intent.refusal_code, "13 at the broker" in intent.refusal) == ("QUARANTINED", True), intent.refusal


def test_accepted_is_right_until_it_changes(desk):
    desk.enter()
    desk.broker.surplus = 5
    compare(desk, times=2)
    row = decide(Mismatch.objects.get(), "accept", desk)
    assert decide(row, "accept", desk).state == STATE.ACCEPTED
    with pytest.raises(Conflict):
        decide(row, "dispute", desk)
    assert compare(desk).outcome == OUT.CLEAN and not Group.objects.get().quarantined
    desk.broker.surplus = 6
    assert compare(desk).outcome == OUT.WAITING


def test_what_was_closed_outside_is_booked_at_the_price_that_a_person_gives(desk):
    group = desk.enter()
    desk.broker.surplus = -10
    compare(desk, times=2)
    row = Mismatch.objects.get()
    with pytest.raises(NotAllowed, match="At which price"):
        decide(row, "closed_outside", desk)
    decide(row, "closed_outside", desk, price=Decimal("815.00"))
    assert desk.held() == 0
    fill = Fill.objects.get(source="USER")
    assert (fill.quantity, fill.price, fill.order.group_id) == (10, Decimal("815.00"), group.pk)
    assert compare(desk).outcome == OUT.CLEAN


def test_fault_31_a_fill_that_the_exchange_took_back_is_reversed_beside_it(desk):
    group = desk.enter(filled=4)
    entry = group.orders.get(reason="ENTRY")
    gone = desk.broker.facts.pop()
    desk.broker._put(desk.broker.book[entry.broker_order_id], filled_quantity=0, remaining_quantity=10)
    run = compare(desk, times=2)
    assert {one["kind"] for one in run.differences} == {"FILL_GONE", "POSITION"}
    row = Mismatch.objects.get(kind="FILL_GONE")
    assert row.reference == f"{gone.broker_order_id}:{gone.broker_trade_id}"
    decide(row, "reverse", desk)
    assert desk.held() == 0 and FillBust.objects.count() == 1 == Fill.objects.count()
    entry.refresh_from_db()
    assert (entry.filled_quantity, entry.fill_value_paise, entry.charges_paise) == (0, 0, 0)
    assert sum(LedgerEntry.objects.filter(account="CASH").values_list("amount_paise", flat=True)) == 1_000_000_00
    assert compare(desk).outcome == OUT.CLEAN
    assert {one.state for one in Mismatch.objects.all()} == {STATE.RESOLVED}


def test_an_order_with_our_tag_that_no_row_knows_is_held_back(desk):
    group = desk.enter(filled=0)
    entry = group.orders.get()
    other = desk.broker.outside(desk.instrument.symbol, Side.BUY, 5)
    tag = entry.client_order_id
    from execution.identity import client_order_id

    stranger = client_order_id(account_id=desk.account.pk, intent_id=desk.portfolio.pk, live=False)
    desk.broker._put(desk.broker.book[other], client_order_id=stranger, status=BrokerStatus.CANCELLED)
    assert tag != stranger
    compare(desk, times=2)
    assert Mismatch.objects.get().kind == "UNKNOWN_TAG"
    decide(Mismatch.objects.get(), "accept", desk)
    with pytest.raises(NotAllowed):
        decide(Mismatch.objects.create(
            account=desk.account, kind="UNKNOWN_TAG", symbol="X", reference="y", session_date=desk.now[0].date(),
            ours=0, theirs=1, first_seen_at=timezone.now(), last_seen_at=timezone.now(),
        ), "reverse", desk)  # fmt: skip


def test_a_manual_trade_that_reduces_is_given_to_its_trade_and_explains_itself(desk):
    desk.enter()
    sold = desk.broker.outside(desk.instrument.symbol, Side.SELL, 4)
    desk.broker.fill(sold, 4, "812.00")
    compare(desk)
    assert desk.held() == 6
    assert compare(desk).outcome == OUT.CLEAN and not Mismatch.objects.exists()


def test_a_trade_whose_fills_were_taken_back_holds_nothing_that_a_manual_trade_could_reduce(desk):
    """The exchange took the purchase back; what its owner then sells is a trade of his own."""
    group = desk.enter()
    for fill in Fill.objects.filter(order__group=group):
        fill_bust(fill_id=fill.pk, reason="a mistake", actor="the exchange", now=desk.now[0])
    sold = desk.broker.outside(desk.instrument.symbol, Side.SELL, 4)
    desk.broker.fill(sold, 4, "812.00")
    compare(desk)
    assert not Order.objects.filter(broker_order_id=sold).exists() and desk.held() == 0
    assert ParkedFill.objects.filter(broker_order_id=sold, drained_at=None).exists()


def test_a_manual_trade_that_opens_something_is_nobodys_here_and_no_mismatch(desk):
    bought = desk.broker.outside(desk.instrument.symbol, Side.BUY, 7)
    desk.broker.fill(bought, 7, "812.00")
    assert compare(desk, times=2).outcome == OUT.CLEAN
    assert desk.held() == 0 and not Order.objects.exists()


# -- deliveries: a position today, a holding from the next day on ----------------------------------------------------


def delivered(desk) -> Group:
    """Ten shares bought for delivery on the day before."""
    group = desk.enter(product="CNC")
    assert compare(desk).outcome == OUT.CLEAN
    desk.pass_time(days=1)
    desk.broker.facts.clear()  # a new day has a new trade book
    desk.broker.book.clear()
    return group


def test_a_delivery_is_found_among_the_holdings_of_the_next_day(desk):
    delivered(desk)
    desk.broker.demat["NSE:SBIN-EQ"] = 10
    assert compare(desk, times=2).outcome == OUT.CLEAN
    desk.broker.demat["NSE:SBIN-EQ"] = 25  # the owner has shares of their own
    assert compare(desk, times=2).outcome == OUT.CLEAN


def test_a_delivery_that_did_not_come_is_held_back_with_both_numbers(desk):
    delivered(desk)
    desk.broker.demat["NSE:SBIN-EQ"] = 6
    run = compare(desk, times=2)
    assert run.outcome == OUT.QUARANTINED
    row = Mismatch.objects.get()
    assert (row.product, row.ours, row.theirs) == ("CNC", 10, 6)
    assert Mismatch.objects.most_to_close(desk.account.pk, "NSE:SBIN-EQ", "CNC", 1) == 6
    desk.broker.demat["NSE:SBIN-EQ"] = 10  # it came late
    assert compare(desk).outcome == OUT.CLEAN


def test_holdings_are_not_asked_for_where_nothing_was_bought_for_delivery(desk):
    desk.enter()
    desk.pass_time(days=1)
    desk.broker.facts.clear()
    desk.broker.book.clear()
    desk.broker.holdings = None  # whoever calls it fails
    assert compare(desk).outcome in (OUT.CLEAN, OUT.WAITING)


def test_the_page_says_that_a_delivery_is_on_its_way_until_the_next_session(desk):
    group = desk.enter(product="CNC")
    client = Client()
    client.force_login(desk.world.user)
    shown = client.get(reverse("web:part", args=["positions"])).content.decode()
    assert "among the broker’s holdings from 17 Feb on" in shown
    (held,) = open_holdings(desk.portfolio, value_portfolio(desk.portfolio, quotes={}, now=desk.now[0]))
    assert held.group == group and held.arrives_on == date(2026, 2, 17)
