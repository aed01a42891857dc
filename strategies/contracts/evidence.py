"""The figures a version is judged by: its newest out-of-sample backtest, and its trades on paper."""

from collections import defaultdict
from datetime import date
from typing import Any

from django.utils import timezone

from accounts.models import BrokerAccount
from strategies.contracts.gates import BacktestFigures, PaperFigures, drawdown_of, losing_streak
from strategies.models import BacktestRun, ContractVersion, Deployment
from trading.domain.clock import IST
from trading.portfolio.models import ClosedTrade


def backtest_figures(version: ContractVersion) -> BacktestFigures | None:
    """The newest finished backtest of a version whose days no sweep of its contract had seen; None: there is none.

    Numbers chosen on some days prove nothing on the same days. A walk-forward keeps the two apart by itself.
    """
    runs = BacktestRun.objects.filter(version=version, state=BacktestRun.State.DONE, result__isnull=False)
    if version.contract.owner_id is not None:
        runs = runs.filter(owner=version.contract.owner_id)
    seen = [
        _days(request)
        for request in BacktestRun.objects.filter(
            version__contract=version.contract_id, kind=BacktestRun.Kind.SWEEP
        ).values_list("request", flat=True)
    ]
    tests = runs.filter(kind__in=[BacktestRun.Kind.BACKTEST, BacktestRun.Kind.WALK_FORWARD])
    for run in tests.select_related("result").order_by("-finished_at")[:100]:
        figures = run.result.figures
        if any(figures.get(name) is None for name in ("max_drawdown_pct", "win_rate_pct", "trades")):
            continue
        days = _days(run.request)
        if run.kind == BacktestRun.Kind.BACKTEST and any(_overlap(days, other) for other in seen):
            continue
        return BacktestFigures(
            source=f"{run.get_kind_display()} of {days[0]} to {days[1]}" if days else str(run),
            max_drawdown_pct=max(0.0, -float(figures["max_drawdown_pct"])),  # a report counts down from the peak
            sharpe=None if figures.get("sharpe") is None else float(figures["sharpe"]),
            win_rate_pct=float(figures["win_rate_pct"]),
            trades=int(figures["trades"]),
        )
    return None


def paper_figures(version: ContractVersion) -> PaperFigures | None:
    """What a version has done on accounts where no money is at stake, net of charges; None: it was never deployed."""
    deployments = Deployment.objects.filter(version=version).exclude(
        portfolio__account__environment=BrokerAccount.Environment.LIVE
    )
    if version.contract.owner_id is not None:
        deployments = deployments.filter(portfolio__owner=version.contract.owner_id)
    first = deployments.order_by("created_at").values_list("created_at", flat=True).first()
    if first is None:
        return None
    trades = ClosedTrade.objects.filter(
        portfolio__in=deployments.values("portfolio"), contract_ref=str(version)[:80]
    ).order_by("closed_at", "pk")
    by_portfolio: dict[int, list[float]] = defaultdict(list)
    by_day: dict[date, float] = defaultdict(float)
    opening: dict[int, float] = {}
    for trade in trades.select_related("portfolio"):
        by_portfolio[trade.portfolio_id].append(trade.net_paise)
        by_day[trade.closed_at.astimezone(IST).date()] += trade.net_paise
        opening[trade.portfolio_id] = float(trade.portfolio.opening_cash_paise)
    return PaperFigures(
        days=(timezone.now() - first).days,
        trades=sum(map(len, by_portfolio.values())),
        max_drawdown_pct=max(
            (drawdown_of(opening[key], changes) for key, changes in by_portfolio.items()), default=0.0
        ),
        losing_days=losing_streak(dict(sorted(by_day.items()))),
    )


def _days(request: dict[str, Any]) -> tuple[str, str] | None:
    first, last = request.get("from"), request.get("to")
    return (str(first), str(last)) if first and last else None


def _overlap(one: tuple[str, str] | None, other: tuple[str, str] | None) -> bool:
    return one is not None and other is not None and one[0] <= other[1] and other[0] <= one[1]
