"""A pulled switch is carried out until nothing is left: what a crash cut short, and what came in late."""

from datetime import datetime

from execution.services.kill_switch_pull import carry_out
from risk.kill_switch import Level, Scope
from risk.models import TradingState
from trading.statements import Select

# Switches that were pulled far enough to ask for something, of scopes that this account has a part in. Others may have
# pulled thousands.
OF_THE_ACCOUNT = f"""
WHERE t.level >= {Level.CANCEL_ENTRIES.value} AND EXISTS (
    SELECT 1 FROM portfolio_portfolio p WHERE p.account_id = %s AND (
        t.scope IN ('GLOBAL', 'USER:' || p.owner_id, 'ACCOUNT:' || p.account_id, 'PORTFOLIO:' || p.id)
        OR ((t.scope LIKE 'SYMBOL:%%' OR t.scope LIKE 'STRATEGY:%%')
            AND (t.owner_id IS NULL OR t.owner_id = p.owner_id))))
"""  # noqa: S608 - made of constants
PULLED = Select(TradingState, where=f"{OF_THE_ACCOUNT} ORDER BY t.id")


def kill_resume(*, account_id: int, now: datetime) -> int:
    """Ask again for whatever a pulled switch calls for in this account; returns how much was newly asked."""
    asked = 0
    for state in PULLED.rows([account_id]):
        asked += carry_out(scope=Scope.read(state.scope, state.owner_id), state=state, now=now)
    return asked
