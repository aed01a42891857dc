"""The people, money and contract of one replayed day. Each run has its own, so that runs never touch each other."""

from datetime import date, datetime
from uuid import uuid4

from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils import timezone

from accounts.models import BrokerAccount
from accounts.secrets import seal
from execution.brokers.registry import SECRET
from strategies.contracts.publish import publish_library
from strategies.deploy import deploy
from strategies.models import Deployment
from trading.domain.errors import NotFound
from trading.marketdata.models import Feed, Universe
from trading.portfolio.ledger import open_portfolio
from trading.portfolio.models import Portfolio

OWNER = "replay"
APP_SECRET = "replay-secret"  # noqa: S105 - of a sandbox that lives as long as the command


@transaction.atomic
def replay_desk(
    *, day: date, base_url: str, app_id: str, cash_paise: int, contract: str, now: datetime
) -> tuple[Portfolio, Feed, Deployment]:
    """A portfolio with its cash, a feed of its own, and the newest version of the contract deployed on it."""
    user, is_new = get_user_model().objects.get_or_create(
        username=OWNER, defaults={"email": "replay@localhost", "is_active": False}
    )
    if is_new:
        user.set_unusable_password()
        user.save(update_fields=["password"])
    run = f"{day:%Y%m%d}-{uuid4().hex[:8]}"
    feed = Feed.objects.create(
        name=f"REPLAY-{run}", kind=Feed.Kind.REPLAY, anchored_at=timezone.now(), venue_at=now, speed=0, session_date=day
    )
    account = BrokerAccount.objects.create(
        owner=user, name=f"Replay {run}", broker=BrokerAccount.Broker.FYERS,
        environment=BrokerAccount.Environment.SANDBOX, feed=feed.name, base_url=base_url, app_id=app_id,
        app_secret_sealed=seal(APP_SECRET, owner_id=user.pk, purpose=SECRET),
    )  # fmt: skip
    portfolio = open_portfolio(
        owner=user, name=f"Replay {run}", account=account, opening_cash_paise=cash_paise, now=now
    )
    versions = {version.contract.slug: version for version in publish_library(actor="the desk")}
    if contract not in versions:
        raise NotFound("UNKNOWN_CONTRACT", f"There is no contract {contract}; there is {', '.join(sorted(versions))}.")
    universe = Universe.objects.get(name="nifty50")
    deployment = deploy(
        portfolio=portfolio, version=versions[contract], universe=universe, parameters={}, actor="replay"
    )
    return portfolio, feed, deployment
