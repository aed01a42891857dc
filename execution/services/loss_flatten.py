"""A hard loss, or a halt after a drawdown, closes what is open. The lock is a row, so a restart goes on where the
engine stopped."""

from datetime import datetime

from django.db.models import Q

from execution.models import Group
from execution.services.group_exit import group_exit
from risk.drawdown import DrawdownStep
from risk.models import DrawdownState, LossLock
from risk.policies import active_policy
from trading.domain.orders import Reason
from trading.monitoring.alerts import Level, raise_alert
from trading.venue.sessions import exchange_date


def loss_flatten(*, account_id: int, now: datetime) -> int:
    """Ask for the end of every trade of a portfolio whose loss calls for it. Returns how many are newly asked."""
    today = exchange_date(now)
    locks = LossLock.objects.filter(portfolio__account_id=account_id, session_date=today)
    flatten = set(locks.filter(kind=LossLock.Kind.FLATTEN).values_list("portfolio_id", flat=True))
    for portfolio_id in locks.filter(kind=LossLock.Kind.HARD).values_list("portfolio_id", flat=True):
        if active_policy(portfolio_id).flatten_on_hard:
            flatten.add(portfolio_id)
    halted = DrawdownState.objects.filter(portfolio__account_id=account_id, step=DrawdownStep.HALTED)
    flatten |= set(halted.values_list("portfolio_id", flat=True))
    groups = (
        Group.objects.filter(Q(portfolio__in=flatten), close_reason="")
        .exclude(state=Group.State.CLOSED)
        .select_related("portfolio")
    )
    asked = 0
    for group in groups:
        if group_exit(group_id=group.pk, reason=Reason.KILL, actor="the loss limit"):
            asked += 1
            raise_alert(
                "LOSS_FLATTEN", "A loss limit calls for it: everything is being closed.", level=Level.SEVERE,
                owner_id=group.portfolio.owner_id, about=str(group.portfolio_id),
                next_step="Watch the positions go flat.",
            )  # fmt: skip
    return asked
