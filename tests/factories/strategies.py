import uuid
from datetime import timedelta
from decimal import Decimal

import factory
from django.utils import timezone

from risk.models import Assessment
from strategies.contracts.publish import publish_library
from strategies.models import ContractVersion, Deployment, Signal, StrategyContract
from tests.factories.market import InstrumentFactory, UniverseFactory
from tests.factories.portfolio import PortfolioFactory


class ContractFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = StrategyContract

    owner = None
    slug = factory.Sequence(lambda n: f"ema-cross-{n}")
    name = factory.Sequence(lambda n: f"EMA cross {n}")


class ContractVersionFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = ContractVersion

    contract = factory.SubFactory(ContractFactory)
    number = 1
    body = factory.LazyFunction(dict)
    content_hash = factory.LazyFunction(lambda: uuid.uuid4().hex * 2)
    published_at = factory.LazyFunction(timezone.now)
    published_by = "the desk"


class DeploymentFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Deployment

    portfolio = factory.SubFactory(PortfolioFactory)
    version = factory.SubFactory(ContractVersionFactory)
    universe = factory.SubFactory(UniverseFactory)


class SignalFactory(factory.django.DjangoModelFactory):
    """A buy at 100 with its stop at 98 and its target at 104."""

    class Meta:
        model = Signal

    portfolio = factory.SubFactory(PortfolioFactory)
    deployment = factory.SubFactory(DeploymentFactory, portfolio=factory.SelfAttribute("..portfolio"))
    instrument = factory.SubFactory(InstrumentFactory)
    side = "BUY"
    entry = Decimal("100.00")
    stop = Decimal("98.00")
    target = Decimal("104.00")
    explanation = "EMA 9 rose above EMA 21 with RSI at 58."
    bar_at = factory.LazyFunction(timezone.now)
    created_at = factory.LazyFunction(timezone.now)
    expires_at = factory.LazyAttribute(lambda signal: signal.created_at + timedelta(minutes=2))
    dedupe_key = factory.LazyFunction(lambda: uuid.uuid4().hex)


class AssessmentFactory(factory.django.DjangoModelFactory):
    """What one gate said, unless `said` names more."""

    class Meta:
        model = Assessment

    class Params:
        gate = "position_size"
        message = "12.00 % of equity in one instrument, 20.00 % allowed."

    portfolio = factory.SubFactory(PortfolioFactory)
    intent_id = factory.LazyFunction(uuid.uuid4)
    policy_id = 1
    policy = "House v1"
    said = factory.LazyAttribute(lambda one: [[one.gate, "PASS", 10, "12.00 %", "20.00 %", one.message]])
    intent = factory.LazyFunction(dict)
    snapshot = factory.LazyFunction(dict)
    allowed_quantity = 10
    at = factory.LazyFunction(timezone.now)
    stored_at = factory.LazyFunction(timezone.now)


def house_version(slug: str = "ema-alignment") -> ContractVersion:
    """One of the contracts that come with the desk, published."""
    return next(one for one in publish_library(actor="the desk") if one.contract.slug == slug)
