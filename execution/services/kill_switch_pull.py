"""Pull the kill switch: block in the database, cancel what lives, then flatten if asked. Works with the database alone;
the engine does the rest, and does it again after a crash, because what is left to do is read from the rows."""

from datetime import datetime

from django.db import transaction

from accounts.second_factor import FreshFactor
from execution.kill_report import unclean
from execution.kill_scopes import live_orders_in, open_groups_in, portfolios_in
from execution.models import Intent
from execution.services.approval_decide import approval_void
from execution.services.group_exit import group_exit
from execution.services.order_cancel import order_cancel
from risk.kill_switch import Level, Scope, raise_level, rearm
from risk.models import TradingState
from trading.domain.crashpoint import crashpoint
from trading.domain.errors import NotAllowed
from trading.domain.orders import Reason
from trading.monitoring.alerts import Level as AlertLevel
from trading.monitoring.alerts import clear_alerts, raise_alert
from trading.realtime.publish import publish


def kill_switch_pull(*, scope: Scope, level: int, reason: str, actor: str, now: datetime) -> TradingState:
    """Raise the level of a scope, and do at once what can be done without the broker.

    The level is committed first and alone: from then on nothing is claimed, however long the cancelling takes. Killed
    in between, the rest is done by `kill_resume`.

    1 stops entries; 2 cancels them too; 3 cancels every order but protective stops; 4 flattens; 5 lets nothing leave.
    NotAllowed: no reason given, no such level.
    """
    state = raise_level(scope=scope, level=level, reason=reason, actor=actor)
    crashpoint("kill.level_raised")
    carry_out(scope=scope, state=state, now=now)
    _tell(scope, f"The kill switch was pulled by {actor}: {reason}")
    crashpoint("kill.pulled")
    return state


def carry_out(*, scope: Scope, state: TradingState, now: datetime) -> int:
    """Ask for all that a pulled switch calls for and nobody has asked for yet; returns how much that was.

    Safe to repeat: of the orders that are no entries, only those from before the pull are cancelled, so that a position
    may be closed at any level below lockdown.
    """
    asked, level, reason, actor = 0, state.level, state.reason, state.set_by
    with transaction.atomic():
        # Trades before orders, like everybody else: two who lock in different orders would wait for each other.
        held = list(
            open_groups_in(scope).select_for_update(of=("self",)).order_by("pk").values_list("pk", "close_reason")
        )
        for intent_id in Intent.objects.filter(
            group__in=[pk for pk, _ in held], state=Intent.State.WAITING
        ).values_list("pk", flat=True):  # fmt: skip
            words = f"The kill switch was pulled: {reason}"[:240]
            asked += approval_void(intent_id=intent_id, code="KILL_SWITCH", message=words)
        if level >= Level.CANCEL_ENTRIES:
            orders = live_orders_in(scope)
            doomed = orders.filter(reason=Reason.ENTRY)
            if level >= Level.CANCEL_ALL:
                # A stop protects what is still held: it goes only together with the position.
                before = orders.exclude(reason=Reason.STOP).filter(created_at__lte=state.set_at)
                doomed = doomed | before
            for order_id in doomed.order_by("pk").values_list("pk", flat=True):
                asked += order_cancel(order_id=order_id, actor=actor, now=now)
            crashpoint("kill.cancels_asked")
        if level == Level.FLATTEN:
            for group_id, close_reason in held:
                if not close_reason:
                    asked += group_exit(group_id=group_id, reason=Reason.KILL, actor=actor)
            crashpoint("kill.exits_asked")
    return asked


@transaction.atomic
def kill_switch_rearm(*, scope: Scope, reason: str, actor: str, factor: FreshFactor, now: datetime) -> TradingState:
    """Let trading go on. What died stays dead.

    `factor` is a second factor given within five minutes. NotAllowed: it is older (SECOND_FACTOR_STALE), or the books
    leave a doubt (REARM_NOT_CLEAN).
    """
    if not factor.is_fresh():
        raise NotAllowed("SECOND_FACTOR_STALE", "The second factor was given more than five minutes ago.")
    refuse_unless_clean(scope)
    state = rearm(scope=scope, reason=reason, actor=actor)
    clear_alerts("KILL_SWITCH", owner_id=scope.owner_id, about=scope.key)
    for portfolio in portfolios_in(scope):
        publish(portfolio.owner_id, "kill", portfolio=portfolio.pk)
    return state


def refuse_unless_clean(scope: Scope) -> None:
    """NotAllowed (REARM_NOT_CLEAN) while something about the scope is in doubt. Asked before a code is used up."""
    causes = unclean(scope)
    if causes:
        raise NotAllowed(
            "REARM_NOT_CLEAN", f"Not yet: {'; '.join(causes)}.",
            next_step="Wait until the broker's books agree, then try again.",
        )  # fmt: skip


def _tell(scope: Scope, message: str) -> None:
    for one in portfolios_in(scope):
        publish(one.owner_id, "kill", portfolio=one.pk)
    raise_alert("KILL_SWITCH", message, level=AlertLevel.SEVERE, owner_id=scope.owner_id, about=scope.key)
