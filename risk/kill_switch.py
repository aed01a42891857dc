"""The kill switch: a row that every process asks in the statement that claims an order.

Pulling it raises the level and the epoch. Whatever was approved under an older epoch dies in the queue. If the row
cannot be read nothing is claimed: it fails closed.
"""

from dataclasses import dataclass

from django.db import transaction
from django.db.models import F, Max, Q, Sum
from django.utils import timezone

from risk.models import TradingState
from trading.audit.record import record
from trading.domain.errors import NotAllowed
from trading.portfolio.models import Portfolio

Level = TradingState.Level
GLOBAL = "GLOBAL"


def scope_of(portfolio_id: int | None) -> str:
    return GLOBAL if portfolio_id is None else f"PORTFOLIO:{portfolio_id}"


@dataclass(frozen=True, slots=True)
class KillState:
    """The strictest level over all scopes of a portfolio, and the sum of their epochs."""

    level: int
    epoch: int
    reason: str


def kill_state(portfolio_id: int) -> KillState:
    """What holds for a portfolio now."""
    rows = TradingState.objects.filter(scope__in=[GLOBAL, scope_of(portfolio_id)])
    sums = rows.aggregate(level=Max("level"), epoch=Sum("epoch"))
    worst = rows.order_by("-level").first()
    return KillState(sums["level"] or 0, sums["epoch"] or 0, worst.reason if worst and worst.level else "")


@transaction.atomic
def raise_level(*, portfolio: Portfolio | None, level: int, reason: str, actor: str) -> TradingState:
    """Raise the level of one scope, never lower it, and void what was approved before."""
    if not reason.strip():
        raise NotAllowed("REASON_REQUIRED", "Say why the kill switch is pulled.")
    if level not in Level.values or level == Level.ACTIVE:
        raise NotAllowed("KILL_LEVEL", f"There is no level {level} to pull.")
    scope = scope_of(portfolio.pk if portfolio else None)
    TradingState.objects.get_or_create(scope=scope, defaults={"portfolio": portfolio})
    TradingState.objects.filter(scope=scope).update(
        epoch=F("epoch") + 1, reason=reason.strip()[:200], set_by=actor, set_at=timezone.now()
    )
    TradingState.objects.filter(Q(scope=scope) & Q(level__lt=level)).update(level=level)
    state = TradingState.objects.get(scope=scope)
    record(
        "kill_switch.pulled", actor=actor, owner_id=portfolio.owner_id if portfolio else None, subject=scope,
        level=state.level, epoch=state.epoch, reason=state.reason,
    )  # fmt: skip
    return state


@transaction.atomic
def rearm(*, portfolio: Portfolio | None, reason: str, actor: str) -> TradingState:
    """Back to ACTIVE. What died stays dead: the epoch goes on."""
    if not reason.strip():
        raise NotAllowed("REASON_REQUIRED", "Say why trading may go on.")
    scope = scope_of(portfolio.pk if portfolio else None)
    TradingState.objects.get_or_create(scope=scope, defaults={"portfolio": portfolio})
    TradingState.objects.filter(scope=scope).update(
        level=Level.ACTIVE, epoch=F("epoch") + 1, reason=reason.strip()[:200], set_by=actor, set_at=timezone.now()
    )
    state = TradingState.objects.get(scope=scope)
    owner_id = portfolio.owner_id if portfolio else None
    record("kill_switch.rearmed", actor=actor, owner_id=owner_id, subject=scope, epoch=state.epoch, reason=state.reason)
    return state
