"""A pulled switch is carried out until nothing is left: what a crash cut short, and what came in late."""

from datetime import datetime

from execution.kill_scopes import portfolios_in
from execution.services.kill_switch_pull import carry_out
from risk.kill_switch import Level, Scope
from risk.models import TradingState


def kill_resume(*, account_id: int, now: datetime) -> int:
    """Ask again for whatever a pulled switch calls for in this account; returns how much was newly asked."""
    asked = 0
    for state in TradingState.objects.filter(level__gte=Level.CANCEL_ENTRIES):
        scope = Scope.read(state.scope, state.owner_id)
        if portfolios_in(scope).filter(account_id=account_id).exists():
            asked += carry_out(scope=scope, state=state, now=now)
    return asked
