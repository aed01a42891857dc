"""Has enough been lost?"""

from datetime import timedelta

from risk.gates.finding import Finding, Limits, Snapshot, passed, plain, rejected
from trading.domain.orders import OrderIntent


def daily_loss(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """Past the soft limit nothing is opened until the next session; the locks are latched elsewhere and hold."""
    lost = -min(0, snapshot.day_pnl_paise)
    pct = lost * 100 / snapshot.opening_equity_paise if snapshot.opening_equity_paise > 0 else 100.0
    shown, limit = f"{pct:.2f} %", f"{plain(limits.daily_loss_soft_pct)} %"
    if snapshot.hard_locked or pct >= limits.daily_loss_hard_pct:
        return rejected("DAILY_LOSS_HARD", value=shown, limit=f"{plain(limits.daily_loss_hard_pct)} %",
                        message="The hard daily loss limit is reached: locked until the next session.")  # fmt: skip
    if snapshot.soft_locked or pct >= limits.daily_loss_soft_pct:
        message = "The soft daily loss limit is reached: no new positions until the next session."
        return rejected("DAILY_LOSS", value=shown, limit=limit, message=message)
    return passed(
        "DAILY_LOSS", intent.quantity, value=shown, limit=limit, message="The day's loss is within its limit."
    )


def cooldown(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """After a stop-out the instrument rests."""
    if snapshot.last_stop_out_at is None or limits.cooldown_min == 0:
        return passed("COOLDOWN", intent.quantity, limit=f"{limits.cooldown_min} min", message="No recent stop-out.")
    since = snapshot.now - snapshot.last_stop_out_at
    minutes = f"{since.total_seconds() / 60:.0f} min"
    if since < timedelta(minutes=limits.cooldown_min):
        message = f"{intent.symbol} was stopped out {minutes} ago."
        return rejected("COOLDOWN", value=minutes, limit=f"{limits.cooldown_min} min", message=message)
    return passed("COOLDOWN", intent.quantity, value=minutes, limit=f"{limits.cooldown_min} min", message="Rested.")
