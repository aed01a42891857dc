"""Pull the kill switch: block in the database, cancel what lives, then flatten if asked. Works with the database alone;
the engine does the rest, and does it again after a crash, because what is left to do is read from the rows."""

from datetime import datetime

from django.db import transaction

from execution.models import Group, Intent, Order
from execution.services.approval_decide import approval_void
from execution.services.group_exit import group_exit
from execution.services.order_cancel import order_cancel
from risk.kill_switch import Level, raise_level, rearm
from risk.models import TradingState
from trading.domain.crashpoint import crashpoint
from trading.domain.orders import Reason
from trading.monitoring.alerts import Level as AlertLevel
from trading.monitoring.alerts import raise_alert
from trading.portfolio.models import Portfolio
from trading.realtime.publish import publish


def kill_switch_pull(
    *, portfolio: Portfolio | None, level: int, reason: str, actor: str, now: datetime
) -> TradingState:
    """Raise the level of one portfolio, or of the whole desk where it is None.

    1 stops entries; 2 cancels them too; 3 cancels every order but protective stops; 4 flattens; 5 lets nothing leave.
    NotAllowed: no reason given, no such level.
    """
    state = _pull(portfolio=portfolio, level=level, reason=reason, actor=actor, now=now)
    crashpoint("kill.pulled")
    return state


@transaction.atomic
def _pull(*, portfolio: Portfolio | None, level: int, reason: str, actor: str, now: datetime) -> TradingState:
    state = raise_level(portfolio=portfolio, level=level, reason=reason, actor=actor)
    crashpoint("kill.level_raised")
    orders = Order.objects.live()
    groups = Group.objects.exclude(state=Group.State.CLOSED)
    if portfolio is not None:
        orders, groups = orders.filter(portfolio=portfolio), groups.filter(portfolio=portfolio)
    # Trades before orders, like everybody else: two who lock in different orders would wait for each other.
    held = list(groups.select_for_update().order_by("pk").values_list("pk", "close_reason"))
    for intent_id in Intent.objects.filter(
        group__in=[pk for pk, _ in held], state=Intent.State.WAITING
    ).values_list("pk", flat=True):  # fmt: skip
        approval_void(intent_id=intent_id, code="KILL_SWITCH", message=f"The kill switch was pulled: {reason}"[:240])
    if level >= Level.CANCEL_ENTRIES:
        doomed = orders.filter(reason=Reason.ENTRY)
        if level >= Level.CANCEL_ALL:
            # A stop protects what is still held: it goes only together with the position.
            doomed = orders.exclude(reason=Reason.STOP)
        for order_id in doomed.order_by("pk").values_list("pk", flat=True):
            order_cancel(order_id=order_id, actor=actor, now=now)
        crashpoint("kill.cancels_asked")
    if level == Level.FLATTEN:
        for group_id, close_reason in held:
            if not close_reason:
                group_exit(group_id=group_id, reason=Reason.KILL, actor=actor)
        crashpoint("kill.exits_asked")
    _tell(portfolio, f"The kill switch was pulled by {actor}: {reason}")
    return state


@transaction.atomic
def kill_switch_rearm(*, portfolio: Portfolio | None, reason: str, actor: str, now: datetime) -> TradingState:
    """Let trading go on. What died stays dead."""
    state = rearm(portfolio=portfolio, reason=reason, actor=actor)
    _tell(portfolio, f"Trading was resumed by {actor}: {reason}")
    return state


def _tell(portfolio: Portfolio | None, message: str) -> None:
    portfolios = [portfolio] if portfolio else list(Portfolio.objects.all())
    for one in portfolios:
        publish(one.owner_id, "kill", portfolio=one.pk)
    owner_id = portfolio.owner_id if portfolio else None
    raise_alert("KILL_SWITCH", message, level=AlertLevel.SEVERE, owner_id=owner_id)
