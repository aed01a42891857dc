"""A market that is open, an engine that runs, a price that is fresh: what an order needs to be let through."""

import time
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.utils import timezone

from accounts.models import BrokerAccount, User
from execution.models import EngineLease, EngineSettings, LadderPlan
from risk.models import RiskPolicy
from strategies.tactics.ladder import DEFAULT_RUNGS
from tests.factories.market import FeedFactory, InstrumentFactory
from tests.factories.portfolio import PortfolioFactory
from trading.domain.clock import IST
from trading.marketdata import clocks
from trading.marketdata.models import Feed, Instrument
from trading.marketdata.quotes import Quote, store_quotes
from trading.portfolio.models import Portfolio

ELEVEN = datetime(2026, 2, 16, 11, 0, tzinfo=IST)


def open_feed(*, at: datetime = ELEVEN, name: str = "sandbox") -> Feed:
    """A sandbox feed whose clock stands still at `at`, in continuous trading."""
    feed = FeedFactory(name=name)
    clocks.anchor(
        feed, wall=timezone.now(), venue=at, speed=0.0, phase="CONTINUOUS", session_date=at.astimezone(IST).date()
    )
    return feed


def quote(feed: Feed, instrument: Instrument, price: str = "812.35") -> None:
    """A price that has just arrived."""
    last = Decimal(price)
    store_quotes(
        feed.name, [Quote(instrument.symbol, last, last, last, last, 1000, clocks.venue_now(feed.name), time.time())]
    )


def running_engine(account: BrokerAccount) -> EngineLease:
    now = timezone.now()
    lease, _ = EngineLease.objects.update_or_create(
        account=account, defaults={"state": EngineLease.State.RUNNING, "beat_at": now, "holder": "test", "token": 1}
    )
    return lease


def house_policy() -> RiskPolicy:
    """The house's limits, which a test that truncates the tables has taken away."""
    policy, made = RiskPolicy.objects.get_or_create(
        portfolio=None, active=True, defaults={"version": 1, "created_by": "the house"}
    )
    if made:
        policy.refresh_from_db()  # its defaults are words until the database has read them as numbers
    house_settings()
    return policy


def house_settings() -> EngineSettings:
    """How the house's signal engine behaves, with its ladders, as the migration made them."""
    rungs = [{"gap_pct": "0", "weight_pct": "100", "take_profit_pct": "1"}]
    asked = {"stop_pct": Decimal(1), "created_by": "the house"}
    LadderPlan.objects.get_or_create(portfolio=None, name="One entry", defaults={"rungs": rungs, **asked})
    ladder, _ = LadderPlan.objects.get_or_create(
        portfolio=None, name="Five steps", defaults={"rungs": list(DEFAULT_RUNGS), **asked}
    )
    settings, made = EngineSettings.objects.get_or_create(
        portfolio=None, active=True, defaults={"version": 1, "ladder": ladder, "created_by": "the house"}
    )
    if made:
        settings.refresh_from_db()
    return settings


@dataclass
class World:
    user: User
    portfolio: Portfolio
    instrument: Instrument
    feed: Feed

    def still_running(self) -> None:
        """The engine beats and the price arrives again."""
        running_engine(self.portfolio.account)
        quote(self.feed, self.instrument)


def open_market(*, symbol: str = "NSE:SBIN-EQ", **portfolio: object) -> World:
    """One trader with ten lakh, one share at 812.35, at eleven in the morning. Needs Valkey."""
    house_policy()
    feed = open_feed()
    instrument = InstrumentFactory(symbol=symbol)
    owned = PortfolioFactory(**portfolio)
    world = World(owned.owner, owned, instrument, feed)
    world.still_running()
    return world
