"""A first start shows something that lives: two people, ten lakh of paper money, and one contract at work."""

import secrets
from collections.abc import Sequence
from decimal import Decimal

from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils import timezone

from accounts.models import BrokerAccount
from accounts.secrets import seal
from execution.brokers.registry import SECRET
from execution.sandbox.universe import ETFS, INDICES, NIFTY50, Listing
from risk.policies import publish_policy
from strategies.contracts.publish import publish_library
from strategies.deploy import deploy
from trading.audit.record import record
from trading.marketdata.listing.universes import UNDATED
from trading.marketdata.models import Feed, Instrument, Universe, UniverseMember
from trading.portfolio.ledger import open_portfolio

SANDBOX_FEED = "SANDBOX"
SANDBOX_APP, SANDBOX_SECRET = "SANDBOX001-100", "sandbox-secret"
OPENING_CASH_PAISE = 10_00_000 * 100


def password() -> str:
    """Long enough not to be guessed, short enough to be typed."""
    return secrets.token_urlsafe(12)


def seed_instruments() -> Universe:
    """The NIFTY 50 names, the indices and the funds that hold them, with the universes that contracts of the house are
    for; ticks and names come again, and dated, from the broker's master."""
    for listing in (*NIFTY50, *INDICES, *ETFS):
        Instrument.objects.get_or_create(
            symbol=listing.symbol,
            defaults={
                "name": listing.name, "isin": listing.isin, "sector": "" if listing.is_index else listing.sector,
                "fy_token": listing.fy_token, "tick_size": Decimal(listing.tick_paise) / 100,
                "instrument_type": "INDEX" if listing.is_index else "ETF" if listing.tracks else "EQ",
                "has_derivatives": not listing.is_derived,
            },
        )  # fmt: skip
    seed_universe("index-etfs", "Funds that hold an index", ETFS)
    return seed_universe("nifty50", "The NIFTY 50 shares", NIFTY50)


def seed_universe(name: str, description: str, listings: Sequence[Listing]) -> Universe:
    """A list of what the sandbox has, from the beginning of all its days."""
    universe, _ = Universe.objects.get_or_create(name=name, defaults={"description": description})
    for listing in listings:
        UniverseMember.objects.get_or_create(
            universe=universe, instrument=Instrument.objects.get(symbol=listing.symbol),
            from_date=UNDATED,
        )  # fmt: skip
    return universe


@transaction.atomic
def seed_demo() -> dict[str, object]:
    """Make the demo once; the passwords in the answer are kept nowhere. Empty when people exist already."""
    User = get_user_model()
    if User.objects.exists():
        return {}
    operator_password, trader_password = password(), password()
    User.objects.create_superuser("operator", "operator@localhost", operator_password)
    trader = User.objects.create_user("trader", "trader@localhost", trader_password)
    Feed.objects.get_or_create(name=SANDBOX_FEED, defaults={"kind": Feed.Kind.SANDBOX})
    universe = seed_instruments()
    account = BrokerAccount(
        owner=trader, name="Sandbox", broker=BrokerAccount.Broker.FYERS,
        environment=BrokerAccount.Environment.SANDBOX, feed=SANDBOX_FEED, app_id=SANDBOX_APP,
        app_secret_sealed=seal(SANDBOX_SECRET, owner_id=trader.pk, purpose=SECRET),
    )  # fmt: skip
    account.save()
    portfolio = open_portfolio(
        owner=trader, name="Paper", account=account, opening_cash_paise=OPENING_CASH_PAISE, now=timezone.now()
    )
    # A session at 60× is over in six minutes: the house's twenty entries a day would leave it standing still.
    publish_policy(portfolio=portfolio, values={"max_trades_per_day": 100}, actor="the desk")
    version = next(one for one in publish_library(actor="the desk") if one.contract.slug == "ema-alignment")
    deploy(portfolio=portfolio, version=version, universe=universe, parameters={}, actor="the desk")
    record("demo.seeded", actor="the desk", owner_id=trader.pk)
    return {
        "users": [
            {"username": "operator", "password": operator_password, "role": "staff"},
            {"username": "trader", "password": trader_password, "role": "trader"},
        ]
    }
