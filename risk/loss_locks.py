"""A day that lost enough is locked, and stays locked when the loss shrinks again.

The day's loss is realised and unrealised, after charges. By shares of the soft limit: half of it warns, three quarters
halve the size, all of it lets nothing in, a quarter more closes everything if the policy says so. The hard limit locks.
"""

from datetime import date, datetime
from decimal import Decimal

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from risk.models import LossLock, RiskPolicy
from trading.audit.record import record
from trading.domain.errors import NotAllowed, NotFound
from trading.domain.formatting import rupees
from trading.monitoring.alerts import Level, clear_alerts, raise_alert
from trading.portfolio.models import Portfolio
from trading.portfolio.valuation import Valuation
from trading.venue.sessions import exchange_date

Kind = LossLock.Kind
SAID = {
    Kind.WARN: (Level.WARNING, "Half of the day's loss limit is used up.", "Look at the open risk."),
    Kind.HALF: (Level.WARNING, "Three quarters of the day's loss limit are used up: sizes are halved.",
                "Nothing to do: it holds until the session ends."),
    Kind.SOFT: (Level.SEVERE, "The day's soft loss limit is reached: nothing is opened any more.",
                "Exits go on. Release the lock in a later session, with a reason."),
    Kind.FLATTEN: (Level.SEVERE, "The day's loss is well past its limit: everything is being closed.",
                   "Watch the positions go flat."),
    Kind.HARD: (Level.SEVERE, "The day's hard loss limit is reached: the portfolio is locked.",
                "Find out why before you release it, in a later session."),
}  # fmt: skip


def locks_due(*, lost_pct: Decimal, policy: RiskPolicy) -> list[Kind]:
    """What a loss of so many percent of the opening equity calls for. Pure."""
    soft = policy.daily_loss_soft_pct
    due = [
        (Kind.WARN, soft * policy.loss_warn_share_pct / 100), (Kind.HALF, soft * policy.half_size_share_pct / 100),
        (Kind.SOFT, soft), (Kind.HARD, policy.daily_loss_hard_pct),
    ]  # fmt: skip
    if policy.flatten_on_soft:
        due.append((Kind.FLATTEN, soft * policy.flatten_share_pct / 100))
    return [kind for kind, limit in due if lost_pct >= limit]


def latch_losses(*, portfolio: Portfolio, value: Valuation, policy: RiskPolicy, now: datetime) -> list[LossLock]:
    """Latch what this valuation calls for; returns the locks that are new."""
    if value.day_pnl_paise >= 0:
        return []
    opening = value.opening_equity_paise
    lost_pct = Decimal(-value.day_pnl_paise) * 100 / opening if opening > 0 else Decimal(100)
    due = locks_due(lost_pct=lost_pct, policy=policy)
    if not due:
        return []
    day = exchange_date(now)
    known = set(LossLock.objects.filter(portfolio=portfolio, session_date=day).values_list("kind", flat=True))
    latched = []
    for kind in due:
        if kind in known:
            continue
        lock, is_new = LossLock.objects.get_or_create(
            portfolio=portfolio,
            session_date=day,
            kind=kind,
            defaults={"day_pnl_paise": value.day_pnl_paise, "locked_at": now},
        )
        if is_new:
            record(
                "loss_lock.latched", actor="risk", owner_id=portfolio.owner_id, subject=str(lock),
                day_pnl_paise=value.day_pnl_paise, lost_pct=f"{lost_pct:.3f}",
            )  # fmt: skip
            level, words, step = SAID[kind]
            raise_alert(
                "LOSS_LIMIT", f"{portfolio.name}: {words} Day's result {rupees(value.day_pnl_paise)}.", level=level,
                owner_id=portfolio.owner_id, about=f"{portfolio.pk}:{day}", next_step=step,
            )  # fmt: skip
            latched.append(lock)
    return latched


def locks_in_force(portfolio: Portfolio, *, day: date, policy: RiskPolicy) -> list[LossLock]:
    """Today's, and those of earlier days that a person has yet to release."""
    holds = Q(session_date=day)
    if policy.locks_need_release:
        holds |= Q(session_date__lt=day, kind__in=LossLock.LASTING, released_at=None)
    return list(LossLock.objects.filter(holds, portfolio=portfolio).order_by("-session_date", "-locked_at"))


@transaction.atomic
def release_lock(*, portfolio: Portfolio, lock_id: int, reason: str, actor: str, now: datetime) -> bool:
    """A person has understood the loss of an earlier session. False when it was released before.

    NotAllowed: no reason (REASON_REQUIRED), or the session of the loss is not over (LOCK_HOLDS).
    """
    lock = LossLock.objects.select_for_update().filter(portfolio=portfolio, pk=lock_id).first()
    if lock is None:
        raise NotFound("UNKNOWN_LOCK", "There is no such lock.")
    if not reason.strip():
        raise NotAllowed("REASON_REQUIRED", "Say what was learnt from the loss.")
    if lock.released_at is not None:
        return False
    if lock.session_date >= exchange_date(now):
        raise NotAllowed("LOCK_HOLDS", "It holds until the next session; then a person may release it.")
    lock.released_at, lock.released_by, lock.release_reason = timezone.now(), actor[:150], reason.strip()[:200]
    lock.save(update_fields=["released_at", "released_by", "release_reason"])
    record(
        "loss_lock.released", actor=actor, owner_id=portfolio.owner_id, subject=str(lock), reason=lock.release_reason
    )
    clear_alerts("LOSS_LIMIT", owner_id=portfolio.owner_id, about=f"{portfolio.pk}:{lock.session_date}")
    return True
