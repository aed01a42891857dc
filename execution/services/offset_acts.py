"""What a person may do about winners that pay for losers: ask for a look now, pass a loser over once, keep a trade out
of it. Each may be pressed twice, says whether it changed something, and is written into the audit trail."""

from datetime import datetime

from django.db import transaction
from django.utils import timezone

from execution.models import Group, OffsetMark, OffsetPlan, OffsetWatch
from execution.services.offset_run import offset_look
from trading.audit.record import record
from trading.domain.errors import Conflict, NotAllowed, NotFound
from trading.portfolio.models import Portfolio
from trading.realtime.publish import publish

Kind = OffsetMark.Kind


def offset_run_now(*, portfolio_id: int, actor: str, now: datetime) -> OffsetPlan:
    """Look at once, whether or not looks are switched on; the engine carries out the plan that this returns.

    `now` is venue time. Raises NotFound (UNKNOWN_PORTFOLIO); Conflict (OFFSET_LIVE) where a plan is under way; and
    NotAllowed with the code of the look (NO_LOSER, NONE_ELIGIBLE, NOT_COVERED) where there is nothing to be done.
    """
    portfolio = Portfolio.objects.filter(pk=portfolio_id).first()
    if portfolio is None:
        raise NotFound("UNKNOWN_PORTFOLIO", "There is no such portfolio.")
    record("offset.run_asked", actor=actor, owner_id=portfolio.owner_id, subject=str(portfolio.pk))
    plan = offset_look(portfolio_id=portfolio.pk, actor=actor, now=now)
    if plan is None:
        if OffsetPlan.objects.filter(portfolio=portfolio, state__in=OffsetPlan.LIVE).exists():
            raise Conflict("OFFSET_LIVE", "A plan is under way already.")
        watch = OffsetWatch.objects.get(portfolio=portfolio)
        raise NotAllowed(watch.code, watch.said)
    return plan


def offset_skip_once(*, group_id, actor: str) -> bool:
    """Pass a trade over when it would be given up next; then its wait begins anew. True when newly asked."""
    return _mark(group_id, Kind.SKIP_ONCE, actor)


def offset_block(*, group_id, actor: str) -> bool:
    """Keep a trade out of it: it neither pays nor is paid for. True when it was not blocked before.

    A plan under way sells none of it that was not asked for yet, and does not close it.
    """
    return _mark(group_id, Kind.BLOCK, actor)


@transaction.atomic
def offset_unblock(*, group_id, actor: str) -> bool:
    """Let a trade take part again; a skip that waits is taken back, too. True when there was something to take back."""
    group = _group(group_id)
    ended = OffsetMark.objects.filter(group=group, ended_at=None).update(ended_at=timezone.now(), ended_by=actor[:150])
    if ended:
        record("offset.unblocked", actor=actor, owner_id=group.portfolio.owner_id, subject=str(group.pk))
        publish(group.portfolio.owner_id, "position", group=str(group.pk), offset="unblocked")
    return bool(ended)


@transaction.atomic
def _mark(group_id, kind: str, actor: str) -> bool:
    group = _group(group_id)
    if group.state == Group.State.CLOSED:
        raise NotAllowed("NOT_LIVE", "The trade is over.")
    _, made = OffsetMark.objects.get_or_create(
        group=group, kind=kind, ended_at=None, defaults={"actor": actor[:150], "created_at": timezone.now()}
    )
    if made:
        action = "offset.blocked" if kind == Kind.BLOCK else "offset.skip_asked"
        record(action, actor=actor, owner_id=group.portfolio.owner_id, subject=str(group.pk))
        publish(group.portfolio.owner_id, "position", group=str(group.pk), offset=kind)
    return made


def _group(group_id) -> Group:
    group = Group.objects.select_related("portfolio", "instrument").filter(pk=group_id).first()
    if group is None:
        raise NotFound("UNKNOWN_POSITION", "There is no such position.")
    return group
