"""Winners pay for a loser: look, at intervals and after fills, and write down what is to be done.

The plan is a row, and each of its steps is found again by whoever comes next (`offset_advance`). Looks of one
portfolio are taken one after the other under its row, and the database allows one live plan.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from execution.engine_settings import settings_asked, settings_of
from execution.models import EngineSettings, Fill, OffsetLine, OffsetMark, OffsetPlan, OffsetWatch
from execution.offset_facts import SKIP_USED, rules_of, trades_of
from execution.services.offset_advance import offset_advance
from strategies.tactics.offsets import HeldTrade, Look, Offset, PlannedClose, look
from trading.audit.record import record
from trading.domain.crashpoint import crashpoint
from trading.portfolio.models import Portfolio
from trading.realtime.publish import publish
from trading.statements import together

CLOCK, FILL = "the clock", "a fill"


def offset_run(*, account_id: int, now: datetime) -> int:
    """Take every live plan of an account a step on, and look anew where a look is due. Returns how many moved."""
    moved = 0
    live = dict(
        OffsetPlan.objects.filter(portfolio__account=account_id, state__in=OffsetPlan.LIVE).values_list(
            "portfolio", "pk"
        )
    )
    mine = list(Portfolio.objects.filter(account=account_id).select_related("account", "owner").order_by("pk"))
    with together():
        asked = {portfolio.pk: settings_asked(portfolio.pk) for portfolio in mine}
    in_force = {portfolio_id: settings() for portfolio_id, settings in asked.items()}
    for portfolio in mine:
        plan_id = live.get(portfolio.pk)
        if plan_id is None:
            settings = in_force[portfolio.pk]
            if settings.offset_enabled:
                plan = _look_if_due(portfolio, settings, now)
                plan_id = plan.pk if plan is not None else None
        if plan_id is not None:
            moved += offset_advance(plan_id=plan_id, now=now)
    return moved


def _look_if_due(portfolio: Portfolio, settings: EngineSettings, now: datetime) -> OffsetPlan | None:
    """A look where its time has come or something traded since the last; the first of several processes has it."""
    wall = timezone.now()
    watch = OffsetWatch.objects.filter(portfolio=portfolio).first()
    if watch is None:
        watch, _ = OffsetWatch.objects.get_or_create(portfolio=portfolio)
    late = watch.looked_at is None or watch.looked_at + timedelta(seconds=settings.offset_every_s) <= wall
    traded = not late and Fill.objects.filter(pk__gt=watch.fill_seen, order__portfolio=portfolio).exists()
    if not late and not traded:
        return None
    mine = OffsetWatch.objects.filter(pk=watch.pk, looked_at=watch.looked_at, fill_seen=watch.fill_seen).update(
        looked_at=wall, fill_seen=_newest_fill()
    )
    return offset_look(portfolio_id=portfolio.pk, actor=FILL if traded else CLOCK, now=now) if mine else None


def offset_look(*, portfolio_id: int, actor: str, now: datetime) -> OffsetPlan | None:
    """Look at all trades of a portfolio and write down the plan; None where there is none to be made, or one lives.

    Why there is none is kept on its watch. `now` is venue time.
    """
    plan = _look(portfolio_id, actor, now)
    if plan is not None:
        crashpoint("offset.planned")
    return plan


@transaction.atomic
def _look(portfolio_id: int, actor: str, now: datetime) -> OffsetPlan | None:
    OffsetWatch.objects.get_or_create(portfolio_id=portfolio_id)
    watch = OffsetWatch.objects.select_for_update().get(portfolio=portfolio_id)
    if OffsetPlan.objects.filter(portfolio=portfolio_id, state__in=OffsetPlan.LIVE).exists():
        return None
    portfolio = Portfolio.objects.select_related("account", "owner").get(pk=portfolio_id)
    settings = settings_of(portfolio_id)
    trades, wall = trades_of(portfolio, settings, now), timezone.now()
    found = look(trades, rules_of(settings), wall)
    _use_skip(found, trades, settings, wall)
    watch.looked_at, watch.fill_seen, watch.code, watch.said = wall, _newest_fill(), found.code, found.said[:240]
    watch.save()
    if found.plan is None:
        return None
    plan = _store(portfolio, settings, found.plan, actor=actor, fills_before=watch.fill_seen, now=now, wall=wall)
    record(
        "offset.planned", actor=actor, owner_id=portfolio.owner_id, subject=str(plan.pk),
        loser=found.plan.loser.trade.label, required_paise=plan.required_paise, projected_paise=plan.projected_paise,
        winners={one.trade.label: one.quantity for one in found.plan.winners},
    )  # fmt: skip
    publish(portfolio.owner_id, "position", offset=plan.pk, state=plan.state)
    return plan


def _use_skip(found: Look, trades: list[HeldTrade], settings: EngineSettings, wall: datetime) -> None:
    """Its turn has come, and is passed over: the mark is used, and its wait begins anew."""
    first = next((one.trade for one in found.losers if one.code in ("", "PASSED_OVER")), None)
    if first is None or not first.passed_over:
        return
    unmarked = [replace(one, passed_over="") if one.key == first.key else one for one in trades]
    would_be = look(unmarked, rules_of(settings), wall).plan
    if would_be is not None and would_be.loser.trade.key == first.key:
        OffsetMark.objects.filter(group=UUID(first.key), kind=OffsetMark.Kind.SKIP_ONCE, ended_at=None).update(
            ended_at=wall, ended_by=SKIP_USED
        )


def _store(
    portfolio: Portfolio, settings: EngineSettings, offset: Offset, *, actor: str, fills_before: int, now: datetime,
    wall: datetime,
) -> OffsetPlan:  # fmt: skip
    plan = OffsetPlan.objects.create(
        portfolio=portfolio, loser_id=offset.loser.trade.key, settings=settings, actor=actor[:150],
        loss_pct=offset.loser.trade.loss_pct.quantize(Decimal("0.0001")), required_paise=offset.required_paise,
        covered_paise=offset.covered_paise, projected_paise=offset.net_paise, fills_before=fills_before, venue_at=now,
        created_at=wall, step_at=wall,
    )  # fmt: skip
    Role = OffsetLine.Role
    closes = [(Role.LOSER, offset.loser), *((Role.WINNER, one) for one in offset.winners)]
    OffsetLine.objects.bulk_create([_line(plan, rank, role, one) for rank, (role, one) in enumerate(closes)])
    return plan


def _line(plan: OffsetPlan, rank: int, role: str, close: PlannedClose) -> OffsetLine:
    trade = close.trade
    return OffsetLine(
        plan=plan, rank=rank, role=role, group_id=trade.key, quantity=close.quantity,
        cost_paise=trade.cost_paise * close.quantity // trade.quantity, planned_price=close.price,
        projected_paise=close.net_paise,
    )  # fmt: skip


def _newest_fill() -> int:
    return Fill.objects.aggregate(newest=Max("pk"))["newest"] or 0
