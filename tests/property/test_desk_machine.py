"""The laws of positions, ledger and orders, checked after every step of a desk that is pushed about at random.

Real services on PostgreSQL; the broker and the market are the machine's. The numbers are those of the list of laws.
"""

from collections import Counter
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from execution.brokers.port import BookOrder
from execution.engine.books import read_books
from execution.facts import facts_of
from execution.models import Fill, Group, Order, ReconRun
from execution.services.fill_apply import fill_apply
from execution.services.fill_bust import fill_bust
from execution.services.order_cancel import order_cancel
from execution.services.override import close_position
from execution.states import OrderState
from risk.models import Reservation, RiskBucket
from tests.prove.trial import grow_older
from tests.small_broker import LOST, NOT_SENT
from tests.small_desk import SmallDesk, small_desk
from trading.domain.orders import Side
from trading.portfolio.ledger import Account, balance
from trading.portfolio.models import LedgerEntry, Position
from trading.portfolio.rebuild import drift
from trading.portfolio.valuation import value_portfolio

PRICES = st.sampled_from(["811.90", "812.05", "812.30", "812.35"])


class DeskMachine(RuleBasedStateMachine):
    """One trader, one share, whatever happens."""

    @initialize()
    def begin(self) -> None:
        self.inner = transaction.atomic()
        self.inner._from_testcase = True  # type: ignore[attr-defined]  # the next example finds nothing of this one
        self.inner.__enter__()
        self.desk: SmallDesk = small_desk()
        self.busted = 0

    def teardown(self) -> None:
        if hasattr(self, "inner"):
            transaction.set_rollback(True)
            self.inner.__exit__(None, None, None)

    # -- what happens

    def groups(self) -> QuerySet[Group]:
        return Group.objects.filter(portfolio=self.desk.portfolio).exclude(state="CLOSED")

    def fills(self) -> QuerySet[Fill]:
        return Fill.objects.filter(order__portfolio=self.desk.portfolio, bust=None, synthetic=False)

    @precondition(lambda self: not self.groups().exists())
    @rule(quantity=st.integers(1, 20))
    def ask(self, quantity: int) -> None:
        self.desk.ask(quantity=quantity)

    @rule(doubt=st.sampled_from([LOST, NOT_SENT]))
    def next_word_is_lost(self, doubt: str) -> None:
        if len(self.desk.broker.answers) < 2:
            self.desk.broker.answers.append(doubt)

    @rule(times=st.integers(1, 2))
    def turn(self, times: int) -> None:
        self.desk.turn(times)

    def at_work(self, *, stops: bool) -> list[BookOrder]:
        """Orders at the broker that may trade now."""
        return [
            order for order in self.desk.broker.book.values()
            if not order.status.is_final and order.remaining_quantity and (stops or order.trigger_price is None)
        ]  # fmt: skip

    @rule(price=PRICES, part=st.integers(1, 4), stops=st.booleans())
    def trade(self, price: str, part: int, stops: bool) -> None:
        for order in self.at_work(stops=stops):
            quantity = max(1, order.remaining_quantity // part)
            self.desk.broker.fill(order.broker_order_id, quantity, self.traded_at(order, price))

    def traded_at(self, order: BookOrder, price: str) -> str:
        """Even an exchange that gives a worse price than was asked for is booked as it says."""
        return price

    @rule(data=st.data())
    def news_again_in_any_order(self, data: st.DataObject) -> None:
        facts = self.desk.broker.facts
        for fact in data.draw(st.lists(st.sampled_from(facts), max_size=4)) if facts else ():
            fill_apply(account_id=self.desk.account.pk, fact=fact, source="SOCKET")

    @rule(price=PRICES)
    def trades_that_only_the_order_book_counts(self, price: str) -> None:
        """They stay out of the trade book until `the_trades_come`; meanwhile one fill of each order stands in."""
        broker = self.desk.broker
        for order in self.at_work(stops=False):
            quantity = max(1, order.remaining_quantity // 2)
            fact = broker.fill(order.broker_order_id, quantity, self.traded_at(order, price))
            broker.untold.add(fact.broker_trade_id)
        for _ in range(2):
            read_books(account=self.desk.account, gateway=broker, now=self.desk.now[0], stand_in_after_s=0)

    @rule()
    def the_trades_come(self) -> None:
        self.desk.broker.untold.clear()
        self.desk.engine.read_books()

    @rule()
    def cancel_what_rests(self) -> None:
        for pk in (
            Order.objects.live().filter(portfolio=self.desk.portfolio, reason="ENTRY").values_list("pk", flat=True)
        ):
            order_cancel(order_id=pk, actor="me", now=self.desk.now[0])

    @rule()
    def close(self) -> None:
        for pk in self.groups().values_list("pk", flat=True):
            close_position(group_id=pk, actor="me", now=self.desk.now[0])

    @rule(seconds=st.sampled_from([3, 20, 90]))
    def wait(self, seconds: int) -> None:
        grow_older(self.desk.account.pk, seconds)

    @rule()
    def compare(self) -> None:
        self.desk.engine.reconcile(ReconRun.Cause.ASKED)

    @precondition(lambda self: self.busted == 0 and self.fills().filter(order__reason="ENTRY").count() > 1)
    @rule()
    def the_exchange_takes_back(self) -> None:
        """The newest trade, at the broker and here. Once: what it leaves behind is bought back or sold by the desk."""
        fill = self.fills().filter(order__reason="ENTRY").latest("pk")
        broker = self.desk.broker
        broker.facts = [fact for fact in broker.facts if fact.broker_trade_id != fill.broker_trade_id]
        self.busted += fill.quantity
        fill_bust(fill_id=fill.pk, reason="a mistake", actor="the exchange", now=self.desk.now[0])

    # -- what always holds

    @invariant()
    def laws(self) -> None:
        if not hasattr(self, "desk"):
            return
        portfolio = self.desk.portfolio
        orders = list(Order.objects.filter(portfolio=portfolio).prefetch_related("fills__bust", "events"))
        booked = [fill for order in orders for fill in order.fills.all() if not hasattr(fill, "bust")]
        signed = Counter[object]()
        for order in orders:
            filled = sum(fill.quantity for fill in order.fills.all() if not hasattr(fill, "bust"))
            assert order.filled_quantity == filled, "1: an order is the sum of its fills"
            assert order.filled_quantity >= 0, "5"
            assert order.filled_quantity <= order.quantity or order.group.quarantined, "5: ordered and over-filled"
            signed[order.group_id] += Side(order.side).sign * filled
        held = sum(Position.objects.filter(portfolio=portfolio).values_list("net_quantity", flat=True))
        assert held == sum(signed.values()), "1: a position is the sum of its fills"
        assert drift(portfolio, facts_of(portfolio)) == [], "2, 14, 15: cash, debits and credits, rebuild"
        cost = sum(Position.objects.filter(portfolio=portfolio).values_list("cost_paise", flat=True))
        assert (held == 0) == (cost == 0), "4: flat costs nothing"
        assert balance(portfolio.pk, Account.POSITIONS) == cost
        entries = LedgerEntry.objects.filter(transaction__portfolio=portfolio)
        assert sum(entries.values_list("amount_paise", flat=True)) == 0, "14"
        value = value_portfolio(portfolio, quotes={}, now=self.desk.now[0])
        assert value.cash_paise == balance(portfolio.pk, Account.CASH), "3: equity is cash and what is held"
        assert len({fill.execution_key for fill in booked}) == len(booked), "7: one fact counts once"
        if not self.busted:
            self.exits_fit_the_position(signed)
        for order in orders:
            tags = [one for one in self.desk.broker.book.values() if one.client_order_id == order.client_order_id]
            assert len(tags) <= 1, "one order at the broker for an intent"
            if order.is_final and order.state != OrderState.FILLED:
                assert order.pending_op == "NONE"
        alive = Group.objects.filter(portfolio=portfolio).exclude(state="CLOSED").count()
        for bucket in RiskBucket.objects.filter(portfolio=portfolio):
            active = Reservation.objects.filter(bucket=bucket, released_at=None)
            assert bucket.reserved == sum(active.values_list("amount", flat=True)), (
                "13: buckets are recomputed exposure"
            )
            assert bucket.used == sum(active.values_list("used", flat=True)), "13"
            if bucket.kind == RiskBucket.Kind.SLOTS:
                self.slots_agree(bucket.taken, alive)
        for group in Group.objects.filter(portfolio=portfolio):
            ahead = Side(group.side).sign
            live = [o for o in orders if o.group_id == group.pk and not o.is_final and o.reason != "ENTRY"]
            if not self.busted:
                held_by_group = max(0, signed[group.pk] * ahead)
                claimed = [o for o in live if o.state != OrderState.QUEUED]
                assert len(claimed) <= 1 or sum(o.remaining_quantity for o in claimed) <= held_by_group, "8, 16"

    def exits_fit_the_position(self, signed: Counter[object]) -> None:
        assert self.desk.working() <= max(0, self.desk.net_at_broker()), "8, 9: exits never exceed the position"
        assert all(total >= 0 for total in signed.values()), "10: a trade never changes its sign"

    def slots_agree(self, taken: int, alive: int) -> None:
        assert taken == alive, "11: a slot is held while a trade is not over"


STEPS = settings(
    max_examples=5, stateful_step_count=20, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


@pytest.mark.django_db
def test_the_laws_hold_whatever_happens(valkey):
    run_state_machine_as_test(DeskMachine, settings=STEPS)


@pytest.mark.django_db
def test_no_price_that_is_no_number_enters_a_row(valkey):
    """18: the database itself refuses."""
    desk = small_desk()
    desk.enter()
    fill = Fill.objects.get()
    for price in (Decimal("NaN"), Decimal(0), Decimal(-1)):
        with pytest.raises((IntegrityError, ValidationError)), transaction.atomic():
            Fill.objects.create(
                order=fill.order, execution_key=f"x{price}", broker_trade_id="x", quantity=1, price=price,
                value_paise=1, filled_at=desk.now[0], received_at=timezone.now(), source="TEST",
            )  # fmt: skip
