"""Laws of position, cash and charges: exact in paise after every fill, whatever the fills and their order."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from execution.models import Fill, Order
from execution.services.fill_apply import fill_apply
from execution.services.fill_bust import fill_bust
from execution.states import OrderState
from tests.factories import FillFactFactory, IntentFactory, OrderFactory
from tests.factories.portfolio import PortfolioFactory
from trading.domain.orders import Side
from trading.portfolio.booking import charge_segment
from trading.portfolio.ledger import Account, balance, post
from trading.portfolio.models import LedgerEntry, LedgerTransaction, Position
from trading.portfolio.positions import Holding, apply_fill, replay
from trading.portfolio.valuation import value_portfolio
from trading.venue.charges import charges_for_order
from trading.venue.sessions import exchange_date

AT = datetime(2026, 2, 16, 5, 30, tzinfo=UTC)
OPENING = 1_000_000_00

fills = st.lists(
    st.tuples(st.sampled_from(Side), st.integers(1, 5_000), st.integers(5, 9_000_00)), min_size=1, max_size=14
)


@given(fills)
def test_cash_cost_and_profit_agree_to_the_paisa_after_every_fill(steps):
    holding, cash, net = Holding(), OPENING, 0
    for side, quantity, price in steps:
        value = quantity * price
        holding = apply_fill(holding, side=side, quantity=quantity, value_paise=value)
        cash -= side.sign * value
        net += side.sign * quantity
        assert holding.net_quantity == net
        assert cash == OPENING + holding.realised_paise - holding.cost_paise
        assert (holding.net_quantity == 0) == (holding.cost_paise == 0)
        assert holding.net_quantity * holding.cost_paise >= 0, "cost has the sign of the quantity"
        for mark in (0, 1, price, 9_000_00):
            profit = holding.realised_paise + net * mark - holding.cost_paise
            assert cash + net * mark == OPENING + profit, "equity is cash and what is held, at any mark"


@given(fills, st.randoms(use_true_random=False))
def test_what_is_held_and_paid_does_not_depend_on_the_order_of_the_fills(steps, random):
    shuffled = list(steps)
    random.shuffle(shuffled)
    ends = []
    for order in (steps, shuffled):
        holding = Holding()
        for side, quantity, price in order:
            holding = apply_fill(holding, side=side, quantity=quantity, value_paise=quantity * price)
        ends.append((holding.net_quantity, holding.realised_paise - holding.cost_paise))
    assert ends[0] == ends[1]


@given(st.integers(1, 10_000), st.integers(5, 500_000), st.lists(st.integers(1, 3_000), min_size=1, max_size=12))
def test_a_position_that_is_closed_piece_by_piece_leaves_no_paisa_behind(quantity, price, pieces):
    for side in Side:
        holding = apply_fill(Holding(), side=side, quantity=quantity, value_paise=quantity * price + quantity // 3)
        left, proceeds = quantity, 0
        for piece in [*pieces, quantity]:
            piece = min(piece, left)
            if not piece:
                break
            value = piece * (price + 7)
            holding = apply_fill(holding, side=side.opposite, quantity=piece, value_paise=value)
            left, proceeds = left - piece, proceeds + value
        assert (holding.net_quantity, holding.cost_paise) == (0, 0)
        assert holding.realised_paise == side.sign * (proceeds - quantity * price - quantity // 3)


@given(fills, st.data())
def test_a_fill_that_is_taken_back_leaves_what_the_others_make_whatever_its_price(steps, data):
    """Cash comes back to the paisa, and nothing of it stays behind in the split of realised and open profit."""
    valued = [(side, quantity, quantity * price) for side, quantity, price in steps]
    gone = data.draw(st.integers(0, len(valued) - 1))
    before, after = replay(valued), replay([*valued[:gone], *valued[gone + 1 :]])
    side, quantity, value = valued[gone]
    assert after.net_quantity == before.net_quantity - side.sign * quantity
    moved = (after.cost_paise - before.cost_paise) - (after.realised_paise - before.realised_paise)
    assert moved == -side.sign * value, "the ledger's entry balances"


@pytest.mark.parametrize(("quantity", "value"), [(0, 100), (-1, 100), (1, 0), (1, -5)])
def test_what_is_no_fill_is_refused(quantity, value):
    with pytest.raises(ValueError):
        apply_fill(Holding(), side=Side.BUY, quantity=quantity, value_paise=value)


partials = st.lists(st.tuples(st.integers(1, 400), st.integers(500_00, 900_00)), min_size=1, max_size=6)


class BookedFills(TestCase):
    """The same laws in the rows: order, position, ledger and charges of one order after another."""

    def run_order(self, portfolio, instrument, side, parts, *, events):
        """`events`: indices into `parts`, in the order in which the news arrives, repeats included."""
        total = sum(quantity for quantity, _ in parts)
        intent = IntentFactory(
            group__portfolio=portfolio, group__instrument=instrument, group__side=side, wanted_quantity=total,
            group__state="CLOSED",
        )  # fmt: skip
        type(intent.group).objects.filter(pk=intent.group_id).update(state="ACTIVE")
        order = OrderFactory(intent=intent, quantity=total)
        for number in events:
            quantity, paise = parts[number]
            fill_apply(
                account_id=order.account_id, source="BOOK",
                fact=FillFactFactory(
                    broker_order_id=order.broker_order_id, broker_trade_id=f"T{number}", symbol=instrument.symbol,
                    side=side, quantity=quantity, price=Decimal(paise) / 100, filled_at=AT,
                ),
            )  # fmt: skip
            self.check(portfolio, instrument, order)
        type(intent.group).objects.filter(pk=intent.group_id).update(state="CLOSED")
        return Order.objects.get(pk=order.pk)

    def check(self, portfolio, instrument, order):
        order.refresh_from_db()
        position = Position.objects.get(portfolio=portfolio, instrument=instrument)
        booked = list(Fill.objects.filter(order__portfolio=portfolio).select_related("order"))
        signed = [Side(fill.order.side).sign * fill.quantity for fill in booked]
        self.assertEqual(position.net_quantity, sum(signed))
        self.assertEqual(order.filled_quantity, sum(fill.quantity for fill in booked if fill.order_id == order.pk))
        paid = sum(Side(fill.order.side).sign * fill.value_paise for fill in booked)
        charges = sum(Order.objects.filter(portfolio=portfolio).values_list("charges_paise", flat=True))
        cash = balance(portfolio.pk, Account.CASH)
        self.assertEqual(cash, OPENING - paid - charges)
        self.assertEqual(cash, OPENING + position.realised_paise - position.charges_paise - position.cost_paise)
        self.assertEqual(balance(portfolio.pk, Account.POSITIONS), position.cost_paise)
        self.assertEqual(-balance(portfolio.pk, Account.REALISED), position.realised_paise)
        self.assertEqual(sum(balance(portfolio.pk, account) for account in Account.values), 0)
        value = value_portfolio(portfolio, quotes={}, now=AT)
        self.assertEqual((value.cash_paise, value.charges_today_paise), (cash, charges))
        self.assertEqual(value.realised_today_paise, position.realised_paise)
        sheet = charges_for_order(
            broker="SANDBOX", segment=charge_segment(order.product), side=order.side, quantity=order.filled_quantity,
            value_paise=order.fill_value_paise, on_date=exchange_date(AT),
        )  # fmt: skip
        self.assertEqual(order.charges_paise, sheet.total, "charges are those of the order, however many its fills")

    @settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.lists(st.tuples(st.sampled_from(Side), partials), min_size=1, max_size=3), st.randoms(use_true_random=False)
    )
    def test_rows_keep_the_laws_under_shuffled_and_repeated_news(self, orders, random):
        portfolio = PortfolioFactory()
        instrument = IntentFactory().instrument
        for side, parts in orders:
            events = [*range(len(parts)), *random.choices(range(len(parts)), k=3)]
            random.shuffle(events)
            order = self.run_order(portfolio, instrument, side, parts, events=events)
            self.assertEqual((order.state, order.filled_quantity), (OrderState.FILLED, order.quantity))

    @settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.lists(st.tuples(st.sampled_from(Side), partials), min_size=1, max_size=3), st.randoms(use_true_random=False)
    )
    def test_rows_are_as_if_what_was_taken_back_had_never_been(self, orders, random):
        portfolio = PortfolioFactory()
        instrument = IntentFactory().instrument
        for side, parts in orders:
            self.run_order(portfolio, instrument, side, parts, events=range(len(parts)))
        fills = list(Fill.objects.filter(order__portfolio=portfolio).select_related("order"))
        for fill in random.sample(fills, k=random.randint(1, len(fills))):
            fill_bust(fill_id=fill.pk, reason="a mistake", actor="the exchange", now=AT)
            left = Fill.objects.filter(order__portfolio=portfolio, bust=None).select_related("order").order_by("pk")
            holding = replay([(Side(one.order.side), one.quantity, one.value_paise) for one in left])
            position = Position.objects.get(portfolio=portfolio, instrument=instrument)
            self.assertEqual(
                (position.net_quantity, position.cost_paise, position.realised_paise),
                (holding.net_quantity, holding.cost_paise, holding.realised_paise),
            )
            self.assertEqual(balance(portfolio.pk, Account.POSITIONS), holding.cost_paise)
            self.assertEqual(-balance(portfolio.pk, Account.REALISED), holding.realised_paise)
            charges = sum(Order.objects.filter(portfolio=portfolio).values_list("charges_paise", flat=True))
            cash = OPENING + holding.realised_paise - holding.cost_paise - charges
            self.assertEqual(balance(portfolio.pk, Account.CASH), cash)


@pytest.mark.django_db(transaction=True)
class TestTheDatabaseItself:
    def test_debits_equal_credits_at_the_commit(self):
        portfolio = PortfolioFactory()
        with pytest.raises(IntegrityError, match="off by 1 paise"), transaction.atomic():
            posted = LedgerTransaction.objects.create(
                portfolio=portfolio, key="crooked", kind="ADJUSTMENT", memo="", occurred_at=AT
            )
            LedgerEntry.objects.create(transaction=posted, account="CASH", amount_paise=100)
            LedgerEntry.objects.create(transaction=posted, account="CAPITAL", amount_paise=-99)
        assert not LedgerTransaction.objects.filter(key="crooked").exists()

    def test_what_was_posted_stays_posted(self):
        portfolio = PortfolioFactory()
        for wrong in (
            lambda: LedgerEntry.objects.filter(transaction__portfolio=portfolio).update(amount_paise=1),
            lambda: LedgerEntry.objects.filter(transaction__portfolio=portfolio).delete(),
            lambda: LedgerTransaction.objects.filter(portfolio=portfolio).update(memo="other"),
        ):
            with pytest.raises(Exception, match=r"(?i)append|change|stay"):
                wrong()
        assert balance(portfolio.pk, "CASH") == OPENING

    def test_an_event_is_posted_once(self):
        portfolio = PortfolioFactory()
        event = {
            "portfolio_id": portfolio.pk, "key": "once", "kind": "ADJUSTMENT", "memo": "", "occurred_at": AT,
            "amounts": {Account.CASH: 5, Account.CAPITAL: -5},
        }  # fmt: skip
        assert post(**event) is not None and post(**event) is None
        with pytest.raises(ValueError, match="off by 1 paise"):
            post(**event | {"key": "twice", "amounts": {Account.CASH: 5, Account.CAPITAL: -4}})
