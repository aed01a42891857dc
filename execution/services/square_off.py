"""Out of intraday positions before the end of continuous trading, by our own rule and never by the broker's."""

from datetime import datetime

from accounts.models import BrokerAccount
from execution.models import Group
from execution.services.group_exit import group_exit
from risk.policies import policy_asked
from trading.domain.orders import Product, Reason
from trading.marketdata.models import Feed
from trading.marketdata.sessions import session_at, session_of
from trading.statements import together
from trading.venue.sessions import SessionKind, square_off_at


def square_off(*, account_id: int, now: datetime) -> int:
    """Ask for the end of every intraday trade of an account whose time has come. Returns how many are newly asked."""
    asked = 0
    trades = Group.objects.filter(
        portfolio__account_id=account_id, product=Product.INTRADAY, close_reason=""
    ).exclude(state=Group.State.CLOSED)  # fmt: skip
    portfolios = set(trades.values_list("portfolio_id", flat=True))
    if not portfolios:
        return 0
    feed = Feed.objects.get(name__in=BrokerAccount.objects.filter(pk=account_id).values("feed"))
    with together():
        policies_asked = {portfolio_id: policy_asked(portfolio_id) for portfolio_id in portfolios}
    policies = {portfolio_id: policy() for portfolio_id, policy in policies_asked.items()}
    if not _anything_is_due(feed, max(one.square_off_before_close_min for one in policies.values()), now):
        return 0
    groups = list(trades.select_related("instrument"))
    for group in groups:
        session = session_at(feed, group.instrument, now)
        minutes = policies[group.portfolio_id].square_off_before_close_min
        if session is not None and now >= square_off_at(session, minutes):
            asked += group_exit(group_id=group.pk, reason=Reason.SQUARE_OFF, actor="the clock")
    return asked


def _anything_is_due(feed: Feed, minutes: int, now: datetime) -> bool:
    """Whether any session is so far, whoever trades in it: most of the day no trade needs to be looked at."""
    sessions = (session_of(feed, kind, now) for kind in SessionKind)
    return any(one is not None and now >= square_off_at(one, minutes) for one in sessions)
