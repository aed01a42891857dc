"""A small world, built row by row. Everything hangs together: a fill's order has an intent, a group and an owner."""

from tests.factories.execution import FillFactFactory, FillFactory, GroupFactory, IntentFactory, OrderFactory
from tests.factories.market import FeedFactory, InstrumentFactory, UniverseFactory
from tests.factories.people import PASSWORD, BrokerAccountFactory, UserFactory
from tests.factories.portfolio import ClosedTradeFactory, PortfolioFactory, PositionFactory
from tests.factories.strategies import AssessmentFactory, ContractVersionFactory, DeploymentFactory, SignalFactory

__all__ = [
    "PASSWORD",
    "AssessmentFactory",
    "BrokerAccountFactory",
    "ClosedTradeFactory",
    "ContractVersionFactory",
    "DeploymentFactory",
    "FeedFactory",
    "FillFactFactory",
    "FillFactory",
    "GroupFactory",
    "InstrumentFactory",
    "IntentFactory",
    "OrderFactory",
    "PortfolioFactory",
    "PositionFactory",
    "SignalFactory",
    "UniverseFactory",
    "UserFactory",
]
