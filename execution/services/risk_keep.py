"""Once a minute of the session the numbers of a portfolio's risk are written down; after it, the report of the day."""

from collections import Counter
from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import Count, Max, Min
from django.utils import timezone

from execution.models import Fill, Group, Intent
from execution.quality import Scope, quality_of_all
from execution.risk_numbers import RiskNumbers, risk_numbers
from risk.gates.finding import Outcome
from risk.models import Assessment, DrawdownMove, LossLock, RiskPoint, RiskReport
from trading.audit.models import AuditEntry
from trading.domain.clock import IST
from trading.marketdata.models import Feed
from trading.marketdata.quotes import last_quotes
from trading.portfolio.models import ClosedTrade, Portfolio, Position, TradingDay
from trading.portfolio.valuation import value_portfolio
from trading.realtime.publish import publish_now
from trading.venue.sessions import Phase, exchange_date, session_on


def risk_keep(*, portfolio: Portfolio, now: datetime) -> RiskPoint | None:
    """The point of this minute of venue time; None out of session, or when it was kept before."""
    feed = Feed.objects.get(name=portfolio.account.feed)
    session = session_on(exchange_date(now), assume_weekdays=feed.kind != Feed.Kind.EXCHANGE)
    if session is None or session.phase_at(now) is not Phase.CONTINUOUS:
        return None
    minute = now.replace(second=0, microsecond=0)
    if RiskPoint.objects.filter(portfolio=portfolio, at=minute).exists():
        return None
    numbers = numbers_now(portfolio, now=now)
    point, is_new = RiskPoint.objects.get_or_create(
        portfolio=portfolio, at=minute,
        defaults={
            "stored_at": timezone.now(), "session_date": exchange_date(now), "equity_paise": numbers.value.equity_paise,
            "gross_paise": numbers.total.gross, "net_paise": numbers.total.net,
            "open_risk_paise": numbers.open_risk_paise, "worst_case_paise": numbers.worst_case_paise,
            "var_paise": numbers.var_paise, "cvar_paise": numbers.cvar_paise,
            "drawdown_pct": round(numbers.drawdown_pct, 4), "utilisation_pct": numbers.utilisation_pct,
        },
    )  # fmt: skip
    if is_new:
        publish_now(portfolio.owner_id, "risk", {"portfolio": portfolio.pk})
    return point if is_new else None


def numbers_now(portfolio: Portfolio, *, now: datetime) -> RiskNumbers:
    """The portfolio's risk at the last known prices."""
    held = Position.objects.filter(portfolio=portfolio).exclude(net_quantity=0)
    quotes = last_quotes(portfolio.account.feed, list(held.values_list("instrument__symbol", flat=True)))
    return risk_numbers(portfolio, value_portfolio(portfolio, quotes=quotes, now=now), now=now)


def risk_report(*, portfolio: Portfolio, day: date) -> RiskReport:
    """The report of one session: written once, and then always the same."""
    known = RiskReport.objects.filter(portfolio=portfolio, session_date=day).first()
    if known is not None:
        return known
    report, _ = RiskReport.objects.get_or_create(
        portfolio=portfolio, session_date=day, defaults={"body": report_body(portfolio, day)}
    )
    return report


def reports_due(portfolio: Portfolio, *, now: datetime) -> list[date]:
    """Sessions of this portfolio that are over and have no report."""
    feed = Feed.objects.get(name=portfolio.account.feed)
    days = TradingDay.objects.filter(portfolio=portfolio).exclude(
        session_date__in=RiskReport.objects.filter(portfolio=portfolio).values("session_date")
    )
    due = []
    for day in days.order_by("session_date").values_list("session_date", flat=True):
        session = session_on(day, assume_weekdays=feed.kind != Feed.Kind.EXCHANGE)
        if session is None or now > session.closes_at + timedelta(minutes=15):
            due.append(day)
    return due


def report_body(portfolio: Portfolio, day: date) -> dict[str, Any]:
    """What the report says, in plain values; paise and percent."""
    start = datetime.combine(day, datetime.min.time(), tzinfo=IST)
    end = start + timedelta(days=1)
    points = RiskPoint.objects.filter(portfolio=portfolio, session_date=day)
    last = points.order_by("at").last()
    spans = points.aggregate(
        gross=Max("gross_paise"), risk=Max("open_risk_paise"), worst=Max("worst_case_paise"), var=Max("var_paise"),
        cvar=Max("cvar_paise"), deep=Max("drawdown_pct"), used=Max("utilisation_pct"), low=Min("equity_paise"),
        high=Max("equity_paise"), minutes=Count("id"),
    )  # fmt: skip
    began, ended = _wall_of(portfolio, day)
    opening = TradingDay.objects.filter(portfolio=portfolio, session_date=day).first()
    judged = Assessment.objects.filter(portfolio=portfolio, at__gte=start, at__lt=end)
    refused = Counter(judged.exclude(refused_by="").values_list("refused_by", flat=True))
    shrunk = Counter(
        gate
        for said in judged.filter(said__contains=[[Outcome.SHRINK]]).values_list("said", flat=True)
        for gate, outcome, *_ in said
        if outcome == Outcome.SHRINK
    )
    trades = ClosedTrade.objects.filter(portfolio=portfolio, closed_at__gte=start, closed_at__lt=end)
    results = [trade.net_paise for trade in trades]
    moves = DrawdownMove.objects.filter(portfolio=portfolio, at__gte=start, at__lt=end).order_by("id")
    locks = LossLock.objects.filter(portfolio=portfolio, session_date=day).order_by("locked_at")
    incidents = AuditEntry.objects.filter(
        owner_id=portfolio.owner_id, at__gte=began, at__lt=ended,
        action__in=["kill_switch.pulled", "kill_switch.rearmed", "breaker.open", "room.drift", "strategy.paused"],
    ).order_by("id")  # fmt: skip
    opening_paise = opening.opening_equity_paise if opening else None
    closing_paise = last.equity_paise if last else None
    return {
        "opening_equity_paise": opening_paise,
        "closing_equity_paise": closing_paise,
        "day_pnl_paise": closing_paise - opening_paise if opening_paise is not None and closing_paise is not None
        else None,
        "lowest_equity_paise": spans["low"], "highest_equity_paise": spans["high"],
        "highest_exposure_paise": spans["gross"], "highest_open_risk_paise": spans["risk"],
        "highest_worst_case_paise": spans["worst"], "highest_var_paise": spans["var"],
        "highest_cvar_paise": spans["cvar"], "closing_var_paise": last.var_paise if last else None,
        "deepest_drawdown_pct": _plain(spans["deep"]), "highest_utilisation_pct": _plain(spans["used"]),
        "minutes": spans["minutes"], "trades": len(results), "winners": sum(1 for one in results if one > 0),
        "net_result_paise": sum(results), "worst_trade_paise": min(results, default=None),
        "wishes": Intent.objects.filter(portfolio=portfolio, venue_at__gte=start, venue_at__lt=end).count(),
        "fills": Fill.objects.filter(order__portfolio=portfolio, filled_at__gte=start, filled_at__lt=end).count(),
        "refused_by": _most_first(refused),
        "shrunk_by": _most_first(shrunk),
        "locks": [[lock.kind, lock.locked_at.isoformat(), lock.day_pnl_paise] for lock in locks],
        "drawdown_moves": [
            [move.from_step, move.to_step, str(move.drawdown_pct), move.at.isoformat(), move.actor] for move in moves
        ],
        "incidents": [[one.action, one.actor, one.subject, one.at.isoformat()] for one in incidents],
        "execution": _execution(portfolio, day),
        "left_open": Group.objects.filter(portfolio=portfolio, opened_at__gte=start, opened_at__lt=end)
        .exclude(state=Group.State.CLOSED).count(),
    }  # fmt: skip


def _most_first(gates: Counter[str]) -> list[list[Any]]:
    return [[gate, times] for gate, times in sorted(gates.items(), key=lambda one: (-one[1], one[0]))]


def _execution(portfolio: Portfolio, day: date) -> dict[str, Any] | None:
    """How well the day's orders were carried out, in one line; None: none left the desk."""
    found = quality_of_all(Scope((portfolio.pk,), day, day))
    if found is None:
        return None
    return {
        "orders": found.orders, "filled_orders": found.filled_orders, "fill_ratio": found.fill_ratio,
        "cost_paise": found.cost_paise, "slippage_bps_p50": found.arrival_bps.p50,
        "slippage_bps_p95": found.arrival_bps.p95, "measured": found.arrival_bps.n, "wire_ms_p95": found.wire_ms.p95,
        "ack_ms_p95": found.ack_ms.p95,
    }  # fmt: skip


def _wall_of(portfolio: Portfolio, day: date) -> tuple[datetime, datetime]:
    """Between which instants of the wall it was this day at the venue: of a simulated one by when its minutes were
    kept."""
    begin = datetime.combine(day, datetime.min.time(), tzinfo=IST)
    feed = Feed.objects.get(name=portfolio.account.feed)
    if feed.kind == Feed.Kind.EXCHANGE:
        return begin, begin + timedelta(days=1)
    points = RiskPoint.objects.filter(portfolio=portfolio, stored_at__isnull=False)
    first = points.filter(session_date=day).aggregate(at=Min("stored_at"))["at"]
    if first is None:
        return begin, begin + timedelta(days=1)
    next_day = points.filter(session_date__gt=day, stored_at__gt=first).aggregate(at=Min("stored_at"))["at"]
    return first, next_day or timezone.now() + timedelta(seconds=1)


def _plain(value: Any) -> str | None:
    return None if value is None else str(value)
