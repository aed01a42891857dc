"""The hard loss limit closes what is open. The lock is a row, so a restart goes on where the engine stopped."""

from datetime import datetime

from execution.models import Group
from execution.services.group_exit import group_exit
from risk.models import LossLock
from trading.domain.orders import Reason
from trading.monitoring.alerts import Level, raise_alert
from trading.venue.sessions import exchange_date


def loss_flatten(*, account_id: int, now: datetime) -> int:
    """Ask for the end of every trade of a portfolio that is locked hard today. Returns how many are newly asked."""
    locked = LossLock.objects.filter(
        portfolio__account_id=account_id, session_date=exchange_date(now), kind=LossLock.Kind.HARD
    ).values("portfolio_id")
    groups = (
        Group.objects.filter(portfolio__in=locked, close_reason="")
        .exclude(state=Group.State.CLOSED)
        .select_related("portfolio")
    )
    asked = 0
    for group in groups:
        if group_exit(group_id=group.pk, reason=Reason.KILL, actor="the loss limit"):
            asked += 1
            raise_alert(
                "LOSS_LIMIT", "The hard daily loss limit is reached: everything is being closed.", level=Level.SEVERE,
                owner_id=group.portfolio.owner_id, about=str(group.portfolio_id),
            )  # fmt: skip
    return asked
