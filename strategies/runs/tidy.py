"""Old runs go, by the rule that `limits` states: answers after half a year, the rest sooner, the oldest first."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db.models import Count

from strategies.models import BacktestRun
from strategies.runs import limits

BATCH = 200


def tidy_runs(*, wall: datetime) -> int:
    """Delete runs that are over and older than their time, and those beyond what a person may keep."""
    over = BacktestRun.objects.exclude(state__in=BacktestRun.OPEN)
    without = over.exclude(state=BacktestRun.State.DONE).filter(finished_at__lt=wall - limits.FAILED_KEPT_FOR)
    gone = _delete(list(without.values_list("pk", flat=True)[:BATCH]))
    old = over.filter(finished_at__lt=wall - limits.KEPT_FOR)
    gone += _delete(list(old.values_list("pk", flat=True)[:BATCH]))
    owners = over.order_by().values("owner").annotate(n=Count("pk")).filter(n__gt=limits.KEPT_RUNS)
    for owner in owners:
        newest_first = over.filter(owner=owner["owner"]).order_by("-created_at", "-pk")
        gone += _delete(list(newest_first.values_list("pk", flat=True)[limits.KEPT_RUNS :][:BATCH]))
    return gone


def _delete(ids: list[UUID]) -> int:
    BacktestRun.objects.filter(pk__in=ids).exclude(state__in=BacktestRun.OPEN).delete()
    return len(ids)
