"""Keep a portfolio's highest equity and its step below it; every move is a row and an entry of the audit trail."""

from datetime import datetime

from django.db import transaction

from risk.drawdown import ORDER, DrawdownStep, Steps, drawdown_pct, next_step
from risk.models import DrawdownMove, DrawdownState, RiskPolicy
from trading.audit.record import record
from trading.domain.errors import NotAllowed
from trading.monitoring.alerts import Level, clear_alerts, raise_alert
from trading.portfolio.models import Portfolio
from trading.realtime.publish import publish

SAID = {
    DrawdownStep.NORMAL: "trades at its usual size again.",
    DrawdownStep.CAUTIOUS: "trades at a smaller size.",
    DrawdownStep.DEFENSIVE: "trades at a smaller size with tighter stops.",
    DrawdownStep.HALTED: "is halted: everything is being closed, and a person must review it.",
}


def steps_of(policy: RiskPolicy) -> Steps:
    return Steps(
        cautious=policy.drawdown_cautious_pct, defensive=policy.drawdown_defensive_pct, halt=policy.drawdown_halt_pct,
        hysteresis=policy.drawdown_hysteresis_pct,
    )  # fmt: skip


def watch_drawdown(*, portfolio: Portfolio, equity_paise: int, policy: RiskPolicy, now: datetime) -> DrawdownStep:
    """Look at the equity of this moment; `now` is venue time. Returns the step that holds."""
    state = DrawdownState.objects.filter(portfolio=portfolio).first()
    if state is None:
        state, _ = DrawdownState.objects.get_or_create(
            portfolio=portfolio,
            defaults={"peak_paise": equity_paise, "peak_at": now, "equity_paise": equity_paise, "step_since": now},
        )
    if equity_paise > state.peak_paise:
        DrawdownState.objects.filter(pk=state.pk, peak_paise__lt=equity_paise).update(
            peak_paise=equity_paise, peak_at=now
        )
        state.peak_paise = equity_paise
    deep = drawdown_pct(peak_paise=state.peak_paise, equity_paise=equity_paise)
    step = next_step(DrawdownStep(state.step), deep, steps_of(policy))
    if step != state.step:
        return _move(state, step, equity_paise=equity_paise, actor="risk", reason="", now=now)
    if equity_paise != state.equity_paise:
        DrawdownState.objects.filter(pk=state.pk).update(equity_paise=equity_paise, drawdown_pct=round(deep, 4))
    return DrawdownStep(state.step)


@transaction.atomic
def resume_after_review(*, portfolio: Portfolio, reason: str, actor: str, now: datetime) -> DrawdownStep:
    """A person has reviewed a halt. The loss is accepted: the drawdown is counted from today's equity on.

    NotAllowed: not halted (NOT_HALTED), or no reason given (REASON_REQUIRED).
    """
    state = DrawdownState.objects.select_for_update().filter(portfolio=portfolio).first()
    if state is None or state.step != DrawdownStep.HALTED:
        raise NotAllowed("NOT_HALTED", "The portfolio is not halted.")
    if not reason.strip():
        raise NotAllowed("REASON_REQUIRED", "Say what the review found.")
    DrawdownState.objects.filter(pk=state.pk).update(peak_paise=state.equity_paise, peak_at=now)
    state.peak_paise = state.equity_paise
    return _move(state, DrawdownStep.NORMAL, equity_paise=state.equity_paise, actor=actor, reason=reason, now=now)


@transaction.atomic
def _move(
    state: DrawdownState, step: DrawdownStep, *, equity_paise: int, actor: str, reason: str, now: datetime
) -> DrawdownStep:
    deep = round(drawdown_pct(peak_paise=state.peak_paise, equity_paise=equity_paise), 4)
    moved = DrawdownState.objects.filter(pk=state.pk, step=state.step).update(
        step=step, step_since=now, equity_paise=equity_paise, drawdown_pct=deep
    )
    if not moved:  # somebody else saw it first
        return DrawdownStep(DrawdownState.objects.get(pk=state.pk).step)
    portfolio = state.portfolio
    DrawdownMove.objects.create(
        portfolio=portfolio, from_step=state.step, to_step=step, drawdown_pct=deep, peak_paise=state.peak_paise,
        equity_paise=equity_paise, actor=actor[:150], reason=reason.strip()[:200], at=now,
    )  # fmt: skip
    record(
        "drawdown.moved", actor=actor, owner_id=portfolio.owner_id, subject=str(portfolio), before=state.step,
        after=str(step), drawdown_pct=str(deep), reason=reason,
    )  # fmt: skip
    deeper = ORDER.index(step) > ORDER.index(DrawdownStep(state.step))
    if deeper:
        severe = step in (DrawdownStep.DEFENSIVE, DrawdownStep.HALTED)
        raise_alert(
            "DRAWDOWN", f"{portfolio.name} is {deep:.2f} % below its highest equity and {SAID[step]}",
            level=Level.SEVERE if severe else Level.WARNING, owner_id=portfolio.owner_id, about=str(portfolio.pk),
            next_step="Review it on the risk page." if step is DrawdownStep.HALTED else "Look at the risk page.",
        )  # fmt: skip
    elif step is DrawdownStep.NORMAL:
        clear_alerts("DRAWDOWN", owner_id=portfolio.owner_id, about=str(portfolio.pk))
    publish(portfolio.owner_id, "kill", portfolio=portfolio.pk, drawdown=str(step))
    return step
