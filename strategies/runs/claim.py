"""Which piece of work is next. Taken by one statement under a lock that others skip: never by two workers at once."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import Count, Exists, F, IntegerField, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce

from strategies.models import BacktestRun, RunChunk

LEASE: Final = timedelta(seconds=15)
FINISH_LEASE: Final = timedelta(seconds=120)
MOST_ATTEMPTS: Final = 2

_RUNNING, _QUEUED = RunChunk.State.RUNNING, RunChunk.State.QUEUED


def _free(wall: datetime) -> Q:
    return Q(state=_QUEUED) | Q(state=_RUNNING, leased_until__lt=wall)


@transaction.atomic
def claim_chunk(*, holder: uuid.UUID, wall: datetime) -> RunChunk | None:
    """The next chunk, now ours: of whoever has the least at work, their oldest run first. None: nothing waits.

    A chunk whose worker fell silent is taken over. `attempts` says how often it was taken, this time included.
    """
    busy = (
        RunChunk.objects.filter(run__owner=OuterRef("run__owner"), state=_RUNNING, leased_until__gte=wall)
        .order_by()
        .values("run__owner")
        .annotate(n=Count("pk"))
        .values("n")
    )
    chunk = (
        RunChunk.objects.filter(_free(wall), run__state__in=BacktestRun.OPEN)
        .annotate(busy=Coalesce(Subquery(busy, output_field=IntegerField()), 0))
        .order_by("busy", "run__created_at", "number")
        .select_for_update(skip_locked=True, of=("self",))
        .first()
    )
    if chunk is None:
        return None
    chunk.state, chunk.holder, chunk.leased_until = _RUNNING, holder, wall + LEASE
    chunk.attempts += 1
    chunk.done = 0
    chunk.save(update_fields=["state", "holder", "leased_until", "attempts", "done"])
    BacktestRun.objects.filter(pk=chunk.run_id, state=BacktestRun.State.QUEUED).update(
        state=BacktestRun.State.RUNNING, started_at=wall
    )
    return chunk


def keep_chunk(chunk_id: int, *, holder: uuid.UUID, done: int, wall: datetime) -> bool:
    """Say that we are still at it. False: the run has ended, or somebody else has the chunk."""
    mine = RunChunk.objects.filter(pk=chunk_id, holder=holder, state=_RUNNING, run__state=BacktestRun.State.RUNNING)
    return bool(mine.update(done=done, leased_until=wall + LEASE))


def store_chunk(chunk_id: int, *, holder: uuid.UUID, done: int, result: bytes) -> bool:
    """Hand in a chunk. False: it is not ours any more, and what we found counts for nothing."""
    mine = RunChunk.objects.filter(pk=chunk_id, holder=holder, state=_RUNNING, run__state=BacktestRun.State.RUNNING)
    return bool(mine.update(state=RunChunk.State.DONE, done=done, result=result, holder=None, leased_until=None))


def release_chunk(chunk_id: int, *, holder: uuid.UUID) -> None:
    """Give a chunk back untouched, as when the process is told to stop: that is no attempt."""
    RunChunk.objects.filter(pk=chunk_id, holder=holder, state=_RUNNING).update(
        state=_QUEUED, holder=None, leased_until=None, attempts=F("attempts") - 1
    )


def claim_finish(*, holder: uuid.UUID, wall: datetime, run_id: uuid.UUID | None = None) -> BacktestRun | None:
    """A run whose chunks are all done, now ours to conclude. None: there is none."""
    open_chunks = RunChunk.objects.filter(run=OuterRef("pk")).exclude(state=RunChunk.State.DONE)
    free = Q(holder=None) | Q(leased_until__lt=wall)
    runs = BacktestRun.objects.filter(free, ~Exists(open_chunks), state=BacktestRun.State.RUNNING)
    if run_id is not None:
        runs = runs.filter(pk=run_id)
    for found in runs.order_by("created_at").values_list("pk", flat=True)[:5]:
        if runs.filter(pk=found).update(holder=holder, leased_until=wall + FINISH_LEASE):
            return BacktestRun.objects.get(pk=found)
    return None
