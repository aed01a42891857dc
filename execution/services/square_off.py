"""Out of intraday positions before the end of continuous trading, by our own rule and never by the broker's."""

from datetime import datetime

from accounts.models import BrokerAccount
from execution.models import Group
from execution.services.group_exit import group_exit
from risk.policies import active_policy
from trading.domain.orders import Product, Reason
from trading.marketdata.models import Feed
from trading.marketdata.sessions import session_at
from trading.venue.sessions import square_off_at


def square_off(*, account_id: int, now: datetime) -> int:
    """Ask for the end of every intraday trade of an account whose time has come. Returns how many are newly asked."""
    asked = 0
    groups = list(
        Group.objects.filter(portfolio__account_id=account_id, product=Product.INTRADAY, close_reason="")
        .exclude(state=Group.State.CLOSED)
        .select_related("instrument")
    )
    if not groups:
        return 0
    feed = Feed.objects.get(name__in=BrokerAccount.objects.filter(pk=account_id).values("feed"))
    policies = {portfolio_id: active_policy(portfolio_id) for portfolio_id in {one.portfolio_id for one in groups}}
    for group in groups:
        session = session_at(feed, group.instrument, now)
        minutes = policies[group.portfolio_id].square_off_before_close_min
        if session is not None and now >= square_off_at(session, minutes):
            asked += group_exit(group_id=group.pk, reason=Reason.SQUARE_OFF, actor="the clock")
    return asked
