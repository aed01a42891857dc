"""Has enough been lost?"""

from datetime import timedelta
from decimal import Decimal

from risk.gates.finding import Finding, Limits, Snapshot, passed, plain, rejected, to_share
from trading.domain.clock import IST
from trading.domain.orders import OrderIntent

HALTED = "HALTED"
SMALLER = frozenset({"CAUTIOUS", "DEFENSIVE"})
HALF = Decimal(50)


def daily_loss(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """At three quarters of the soft limit half the size, past it nothing; the locks are latched elsewhere and hold."""
    lost = -min(0, snapshot.day_pnl_paise)
    opening = snapshot.opening_equity_paise
    pct = Decimal(lost) * 100 / opening if opening > 0 else Decimal(100)
    shown, limit = f"{pct:.2f} %", f"{plain(limits.daily_loss_soft_pct)} %"
    if snapshot.hard_locked or pct >= limits.daily_loss_hard_pct:
        return rejected("DAILY_LOSS_HARD", value=shown, limit=f"{plain(limits.daily_loss_hard_pct)} %",
                        message="The hard daily loss limit is reached: locked until it is released.")  # fmt: skip
    if snapshot.soft_locked or pct >= limits.daily_loss_soft_pct:
        message = "The soft daily loss limit is reached: no new positions until the next session."
        return rejected("DAILY_LOSS", value=shown, limit=limit, message=message)
    half_at = limits.daily_loss_soft_pct * limits.half_size_share_pct / 100
    if snapshot.half_size or (lost and pct >= half_at):
        because = f"{plain(limits.half_size_share_pct)} % of the day's soft limit were lost: half the size."
        return to_share("DAILY_LOSS", HALF, intent, value=shown, limit=f"{plain(half_at)} %", because=because)
    return passed(
        "DAILY_LOSS", intent.quantity, value=shown, limit=limit, message="The day's loss is within its limit."
    )


def drawdown(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """Far below the highest equity the size shrinks, and at last nothing is opened: see `risk.drawdown`."""
    shown = f"{snapshot.drawdown_pct:.2f} %"
    state = snapshot.drawdown_state
    if state == HALTED:
        message = f"Halted after a drawdown of {shown}: a person must review it before anything is opened."
        return rejected("DRAWDOWN_HALTED", value=shown, limit=state, message=message)
    if state in SMALLER:
        because = f"{state.capitalize()} after a drawdown of {shown}."
        return to_share("DRAWDOWN", limits.drawdown_size_pct, intent, value=shown, limit=state, because=because)
    return passed("DRAWDOWN", intent.quantity, value=shown, limit=state, message="No drawdown that matters.")


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


def loss_streak(intent: OrderIntent, snapshot: Snapshot, limits: Limits) -> Finding:
    """After a row of losses everybody rests a while."""
    limit = f"{limits.loss_streak} in a row"
    if not limits.loss_streak or snapshot.losses_in_row < limits.loss_streak or snapshot.last_loss_at is None:
        return passed("LOSS_STREAK", intent.quantity, value=snapshot.losses_in_row, limit=limit, message="No streak.")
    rests_until = snapshot.last_loss_at + timedelta(minutes=limits.loss_streak_pause_min)
    if snapshot.now < rests_until:
        message = f"{snapshot.losses_in_row} losses in a row: entries rest until {rests_until.astimezone(IST):%H:%M}."
        return rejected("LOSS_STREAK", value=snapshot.losses_in_row, limit=limit, message=message)
    return passed("LOSS_STREAK", intent.quantity, value=snapshot.losses_in_row, limit=limit, message="Rested since.")
