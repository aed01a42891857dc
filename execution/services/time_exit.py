"""A contract may say how many bars a trade lasts at most."""

from datetime import datetime, timedelta

from execution.models import Group
from execution.services.group_exit import group_exit
from trading.domain.orders import Reason


def time_exit(*, account_id: int, now: datetime) -> int:
    """Ask for the end of every trade that has had its bars. Returns how many are newly asked."""
    groups = (
        Group.objects.filter(
            portfolio__account_id=account_id, state=Group.State.OPEN, close_reason="", signal__isnull=False,
            opened_at__isnull=False,
        )
        .select_related("signal__deployment__version")
    )  # fmt: skip
    asked = 0
    for group in groups:
        if group.signal is None or group.opened_at is None:
            continue
        body = group.signal.deployment.version.parsed()
        if body.max_bars is None:
            continue
        if now >= group.opened_at + timedelta(minutes=body.max_bars * body.timeframe_minutes):
            asked += group_exit(group_id=group.pk, reason=Reason.TIME, actor="the clock")
    return asked
