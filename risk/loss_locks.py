"""A day that lost enough is locked, and stays locked when the loss shrinks again."""

from datetime import datetime

from risk.models import LossLock, RiskPolicy
from trading.audit.record import record
from trading.portfolio.models import Portfolio
from trading.portfolio.valuation import Valuation
from trading.venue.sessions import exchange_date


def latch_losses(*, portfolio: Portfolio, value: Valuation, policy: RiskPolicy, now: datetime) -> list[LossLock]:
    """Latch what this valuation calls for; returns the locks that are new."""
    if value.opening_equity_paise <= 0 or value.day_pnl_paise >= 0:
        return []
    lost_pct = -value.day_pnl_paise * 100 / value.opening_equity_paise
    due = [(LossLock.Kind.SOFT, policy.daily_loss_soft_pct), (LossLock.Kind.HARD, policy.daily_loss_hard_pct)]
    latched = []
    for kind, limit in due:
        if lost_pct < limit:
            continue
        lock, is_new = LossLock.objects.get_or_create(
            portfolio=portfolio,
            session_date=exchange_date(now),
            kind=kind,
            defaults={"day_pnl_paise": value.day_pnl_paise, "locked_at": now},
        )
        if is_new:
            record(
                "loss_lock.latched", actor="risk", owner_id=portfolio.owner_id, subject=str(lock),
                day_pnl_paise=value.day_pnl_paise, limit_pct=str(limit),
            )  # fmt: skip
            latched.append(lock)
    return latched
