"""Strategies that must stop are stopped: smaller, paused or retired, each with an alert and an audit entry.

What a person has seen does not count twice: after a pause, evidence is collected anew from when it was paused.
"""

from collections import defaultdict
from datetime import date

from django.utils import timezone

from execution.models import Order
from execution.states import OrderState
from risk.policies import active_policy
from strategies.contracts.evidence import backtest_figures
from strategies.contracts.gates import drawdown_of
from strategies.deploy import pause_deployment, stop_deployment
from strategies.failsafes import Act, Bounds, Stop, TrackRecord, judge
from strategies.models import Deployment
from trading.audit.record import record
from trading.domain.clock import IST
from trading.monitoring.alerts import Level, raise_alert
from trading.portfolio.models import ClosedTrade
from trading.realtime.publish import publish

CUT_TO_PCT = 50
LOOK_BACK = 500
DONE = {Act.CUT: "cut to half its size", Act.PAUSE: "paused", Act.RETIRE: "retired, to be reviewed"}
STEPS = {
    Act.CUT: "Look at its trades before it loses more.",
    Act.PAUSE: "Find out why, then resume it on its page.",
    Act.RETIRE: "Review it; to trade it again, deploy it anew.",
}


def failsafe_watch() -> list[tuple[Deployment, Stop]]:
    """Look at every deployment at work; returns what was stopped."""
    stopped = []
    for deployment in Deployment.objects.at_work().select_related("portfolio", "version__contract"):
        policy = active_policy(deployment.portfolio_id)
        bounds = Bounds(
            rejections=policy.failsafe_rejections, trades=policy.failsafe_trades,
            drawdown_share_pct=float(policy.failsafe_drawdown_pct), losing_days=policy.failsafe_losing_days,
        )  # fmt: skip
        stop = judge(record_of(deployment), bounds)
        if stop is not None and _carry_out(deployment, stop):
            stopped.append((deployment, stop))
    return stopped


def record_of(deployment: Deployment) -> TrackRecord:
    """What it did since `watched_from`; its drawdown and losing days since it was deployed."""
    trades = list(
        ClosedTrade.objects.filter(portfolio=deployment.portfolio, contract_ref=str(deployment.version)[:80])
        .filter(closed_at__isnull=False).order_by("-closed_at", "-id")[:LOOK_BACK]
    )  # fmt: skip
    trades.reverse()
    by_day: dict[date, int] = defaultdict(int)
    for trade in trades:
        by_day[trade.closed_at.astimezone(IST).date()] += trade.net_paise
    run = 0
    for net in by_day.values():
        run = run + 1 if net < 0 else 0
    known = deployment.trades_seen
    fresh = [trade.net_paise for trade in trades][min(known, len(trades)) :]
    figures = backtest_figures(deployment.version)
    since_cut = None if deployment.trades_at_cut is None else max(0, len(trades) - deployment.trades_at_cut)
    return TrackRecord(
        rejections_in_row=_rejections(deployment), results=fresh, results_since_cut=since_cut, losing_days_in_row=run,
        drawdown_pct=drawdown_of(
            float(deployment.portfolio.opening_cash_paise), [float(trade.net_paise) for trade in trades]
        ),
        tested_drawdown_pct=figures.max_drawdown_pct if figures else None,
    )  # fmt: skip


def _rejections(deployment: Deployment) -> int:
    """Its newest entries that left, refused one after the other; an entry counts once, however many orders it is."""
    orders = Order.objects.filter(
        group__signal__deployment=deployment, reason="ENTRY", sent_at__isnull=False
    ).order_by("-id")  # fmt: skip
    if deployment.watched_from is not None:
        orders = orders.filter(created_at__gt=deployment.watched_from)
    refused = set()
    for state, intent_id in orders.values_list("state", "intent")[:50]:
        if state != OrderState.REJECTED:
            break
        refused.add(intent_id)
    return len(refused)


def _carry_out(deployment: Deployment, stop: Stop) -> bool:
    """False where somebody else was faster."""
    seen = ClosedTrade.objects.filter(
        portfolio=deployment.portfolio, contract_ref=str(deployment.version)[:80]
    ).count()  # fmt: skip
    rows = Deployment.objects.filter(pk=deployment.pk)
    if stop.act is Act.CUT:
        done = bool(
            rows.filter(trades_at_cut=None).update(
                allocation_pct=deployment.allocation_pct * CUT_TO_PCT // 100, trades_at_cut=seen
            )
        )
    else:
        move = pause_deployment if stop.act is Act.PAUSE else stop_deployment
        done = move(deployment_id=deployment.pk, actor="fail-safe")
        if done:
            rows.update(watched_from=timezone.now(), trades_seen=seen, trades_at_cut=None)
    if not done:
        return False
    owner_id = deployment.portfolio.owner_id
    record(
        "strategy.stopped_itself", actor="fail-safe", owner_id=owner_id, subject=str(deployment), act=str(stop.act),
        code=stop.code, why=stop.message,
    )  # fmt: skip
    raise_alert(
        f"FAILSAFE_{stop.code}", f"{deployment} was {DONE[stop.act]}: {stop.message}",
        level=Level.WARNING if stop.act is Act.CUT else Level.SEVERE, owner_id=owner_id, about=str(deployment.pk),
        next_step=STEPS[stop.act],
    )  # fmt: skip
    publish(owner_id, "signal", deployment=deployment.pk, stopped=str(stop.act))
    return True
