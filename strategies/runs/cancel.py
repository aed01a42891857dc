"""Nobody waits for it any more."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import transaction

from strategies.models import BacktestRun, RunChunk
from trading.domain.errors import Conflict
from trading.realtime.publish import publish


@transaction.atomic
def run_cancel(*, run: BacktestRun, actor: str, wall: datetime) -> bool:
    """End a run at once, whoever is at work on it. The worker hears of it at its next beat and lets its chunk go.

    False: it had ended already.
    """
    ended = run_end(run.pk, BacktestRun.State.CANCELLED, wall=wall, ended_by=actor)
    if ended:
        publish(run.owner_id, "backtest", run=str(run.pk), state=BacktestRun.State.CANCELLED)
    return ended


@transaction.atomic
def run_end(run_id: UUID, state: str, *, wall: datetime, code: str = "", error: str = "", ended_by: str = "") -> bool:
    """Move an open run to a last state; its unfinished work goes. Only the first of two callers does."""
    chunks = RunChunk.objects.filter(run=run_id).order_by("pk").select_for_update()
    list(chunks.values_list("pk", flat=True))  # in the order of a claim, chunk before run: neither waits for the other
    moved = BacktestRun.objects.filter(pk=run_id, state__in=BacktestRun.OPEN).update(
        state=state, finished_at=wall, error_code=code[:40], error=error[:400], ended_by=ended_by[:150], holder=None
    )
    if moved:
        BacktestRun.objects.get(pk=run_id).chunks.exclude(state="RUNNING").delete()
    return bool(moved)


@transaction.atomic
def run_delete(*, run: BacktestRun) -> None:
    """Remove a run and its answer. Conflict: it is at work; cancel it first."""
    locked = BacktestRun.objects.select_for_update().filter(pk=run.pk).first()
    if locked is None:
        return
    if locked.is_open:
        raise Conflict("RUN_IS_OPEN", "This run is waiting or at work: cancel it first.")
    locked.delete()
    publish(run.owner_id, "backtest", run=str(run.pk), state="DELETED")
