from datetime import timedelta
from decimal import Decimal

import factory
from django.utils import timezone

from tests.factories.market import InstrumentFactory
from tests.factories.people import BrokerAccountFactory
from trading.domain.money import to_paise
from trading.portfolio.ledger import open_portfolio
from trading.portfolio.models import ClosedTrade, Portfolio, Position

TEN_LAKH = Decimal("1000000")


class PortfolioFactory(factory.django.DjangoModelFactory):
    """Ten lakh rupees, opened in the ledger like every portfolio."""

    class Meta:
        model = Portfolio

    account = factory.SubFactory(BrokerAccountFactory)
    owner = factory.SelfAttribute("account.owner")
    name = factory.Sequence(lambda n: f"Portfolio {n}")
    opening_cash_paise = to_paise(TEN_LAKH)
    approval_mode = Portfolio.ApprovalMode.AUTOMATIC

    @classmethod
    def _create(cls, model_class, *args, **kwargs):
        return open_portfolio(now=timezone.now(), **kwargs)


class PositionFactory(factory.django.DjangoModelFactory):
    """Ten shares bought at a hundred rupees."""

    class Meta:
        model = Position

    portfolio = factory.SubFactory(PortfolioFactory)
    instrument = factory.SubFactory(InstrumentFactory)
    product = "INTRADAY"
    net_quantity = 10
    cost_paise = factory.LazyAttribute(lambda position: position.net_quantity * 100_00)
    opened_at = factory.LazyFunction(timezone.now)
    updated_at = factory.LazyFunction(timezone.now)


class ClosedTradeFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = ClosedTrade

    portfolio = factory.SubFactory(PortfolioFactory)
    instrument = factory.SubFactory(InstrumentFactory)
    side = "BUY"
    quantity = 10
    entry_value_paise = 1_000_00
    exit_value_paise = 1_050_00
    gross_paise = 50_00
    charges_paise = 5_00
    exit_reason = "TARGET"
    explanation = "The fast average crossed the slow one."
    opened_at = factory.LazyFunction(lambda: timezone.now() - timedelta(minutes=30))
    closed_at = factory.LazyFunction(timezone.now)
