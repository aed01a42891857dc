import uuid
from datetime import timedelta
from decimal import Decimal

import factory
from django.utils import timezone

from execution.models import Fill, Group, Intent, Order
from execution.states import OrderState
from tests.factories.market import InstrumentFactory
from tests.factories.portfolio import PortfolioFactory
from trading.domain.fills import FillFact
from trading.domain.money import to_paise
from trading.domain.orders import Side


class GroupFactory(factory.django.DjangoModelFactory):
    """A long trade that is being opened, with its stop and its target."""

    class Meta:
        model = Group

    portfolio = factory.SubFactory(PortfolioFactory)
    instrument = factory.SubFactory(InstrumentFactory)
    product = "INTRADAY"
    side = "BUY"
    stop_price = Decimal("98.00")
    target_price = Decimal("104.00")
    created_at = factory.LazyFunction(timezone.now)


class IntentFactory(factory.django.DjangoModelFactory):
    """An approved wish to buy ten at a hundred."""

    class Meta:
        model = Intent

    group = factory.SubFactory(GroupFactory)
    portfolio = factory.SelfAttribute("group.portfolio")
    instrument = factory.SelfAttribute("group.instrument")
    product = factory.SelfAttribute("group.product")
    side = factory.SelfAttribute("group.side")
    source = Intent.Source.API
    reason = "ENTRY"
    dedupe_key = factory.LazyFunction(lambda: uuid.uuid4().hex)
    order_type = "LIMIT"
    limit_price = Decimal("100.00")
    stop_price = factory.SelfAttribute("group.stop_price")
    target_price = factory.SelfAttribute("group.target_price")
    wanted_quantity = 10
    allowed_quantity = factory.SelfAttribute("wanted_quantity")
    state = Intent.State.APPROVED
    actor = factory.LazyAttribute(lambda intent: intent.portfolio.owner.username)
    created_at = factory.LazyFunction(timezone.now)
    venue_at = factory.LazyFunction(timezone.now)


class OrderFactory(factory.django.DjangoModelFactory):
    """An order that rests at the exchange."""

    class Meta:
        model = Order

    intent = factory.SubFactory(IntentFactory)
    group = factory.SelfAttribute("intent.group")
    portfolio = factory.SelfAttribute("intent.portfolio")
    account = factory.SelfAttribute("intent.portfolio.account")
    instrument = factory.SelfAttribute("intent.instrument")
    client_order_id = factory.Sequence(lambda n: f"TP{n:012d}")
    side = factory.SelfAttribute("intent.side")
    product = factory.SelfAttribute("intent.product")
    order_type = factory.SelfAttribute("intent.order_type")
    reason = factory.SelfAttribute("intent.reason")
    quantity = factory.SelfAttribute("intent.allowed_quantity")
    limit_price = factory.SelfAttribute("intent.limit_price")
    state = OrderState.OPEN
    broker_order_id = factory.Sequence(lambda n: f"2602160000{n:05d}")
    valid_until = factory.LazyAttribute(lambda order: order.created_at + timedelta(minutes=5))
    kill_epoch = 0
    placed_at = factory.LazyFunction(timezone.now)
    created_at = factory.LazyFunction(timezone.now)


class FillFactory(factory.django.DjangoModelFactory):
    """The row alone; what a fill does to position and cash is the business of `fill_apply`."""

    class Meta:
        model = Fill

    order = factory.SubFactory(OrderFactory)
    broker_trade_id = factory.Sequence(lambda n: f"T{n:08d}")
    execution_key = factory.LazyAttribute(
        lambda fill: f"{fill.order.account_id}:{fill.order.broker_order_id}:{fill.broker_trade_id}"
    )
    quantity = 10
    price = Decimal("100.00")
    value_paise = factory.LazyAttribute(lambda fill: to_paise(fill.price * fill.quantity))
    filled_at = factory.LazyFunction(timezone.now)
    received_at = factory.LazyFunction(timezone.now)
    source = "SOCKET"


class FillFactFactory(factory.Factory):
    """What a broker says happened."""

    class Meta:
        model = FillFact

    broker_order_id = factory.Sequence(lambda n: f"2602160000{n:05d}")
    broker_trade_id = factory.Sequence(lambda n: f"F{n:08d}")
    symbol = "NSE:SBIN-EQ"
    side = Side.BUY
    quantity = 10
    price = Decimal("812.35")
    filled_at = factory.LazyFunction(timezone.now)
    client_order_id = None
