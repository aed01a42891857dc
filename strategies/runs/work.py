"""Do what waits: a worker's hour. Any process may be killed at any line; what it held is found by its lease."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from datetime import datetime
from typing import Final

from django.db import Error as DatabaseError
from django.db import connection, transaction
from django.utils import timezone

from strategies.contracts.schema import ContractError
from strategies.models import BacktestRun, RunChunk, RunResult
from strategies.runs import limits, markets
from strategies.runs.cancel import run_end
from strategies.runs.claim import (
    MOST_ATTEMPTS,
    claim_chunk,
    claim_finish,
    keep_chunk,
    release_chunk,
    store_chunk,
)
from strategies.runs.code_version import code_version
from strategies.runs.create import BELL, add_chunks
from strategies.runs.packing import pack, squeezed
from strategies.runs.studies import Outcome, Stopped, study_of
from trading.domain.errors import TradingError
from trading.outbox import after_commit
from trading.realtime.publish import publish, publish_now

logger = logging.getLogger(__name__)
BEAT_S: Final = 0.35  # how late a cancel may be heard
State = BacktestRun.State
_ending = threading.Event()  # this process was told to stop


def let_go() -> None:
    """Take nothing more, and give back what is held at its next step."""
    _ending.set()


class HeldChunk:
    """A chunk in this process's hands. A thread beats for it, and says so when it is not wanted any more."""

    def __init__(self, chunk: RunChunk, holder: uuid.UUID) -> None:
        self.chunk = chunk
        self.holder = holder
        self.done = 0
        self._stop = threading.Event()  # nobody wants it
        self._over = threading.Event()  # we are through
        self._heart = threading.Thread(target=self._beat, daemon=True, name=f"chunk {chunk.pk}")

    def advance(self, units: int = 1) -> None:
        self.done += units
        if not self.remaining():
            raise Stopped

    def remaining(self) -> bool:
        return not (self._stop.is_set() or _ending.is_set())

    def __enter__(self) -> HeldChunk:
        self._heart.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._heart.join(timeout=10)

    def _beat(self) -> None:
        began = time.monotonic()
        try:
            while not self._over.wait(BEAT_S):
                late = time.monotonic() - began > limits.LONGEST_CHUNK.total_seconds()
                try:
                    kept = keep_chunk(self.chunk.pk, holder=self.holder, done=self.done, wall=timezone.now())
                except DatabaseError as error:  # the lease holds for many beats: the next one may get through
                    logger.warning("chunk %s: a beat was lost: %s", self.chunk.pk, type(error).__name__)
                    continue
                if late or not kept:
                    self._stop.set()
                    return
        finally:
            connection.close()


def work(*, most_s: float = 300) -> int:
    """Take chunk after chunk until nothing waits or the time is over; returns how many were done."""
    began, done = time.monotonic(), 0
    holder = uuid.uuid4()
    while time.monotonic() - began < most_s and not _ending.is_set():
        chunk = claim_chunk(holder=holder, wall=timezone.now())
        if chunk is not None:
            _work_on(chunk, holder)
            done += 1
            continue
        run = claim_finish(holder=holder, wall=timezone.now())
        if run is None:
            return done
        _finish(run, holder)
    if not _ending.is_set():
        after_commit(BELL)  # there may be more: let others have a turn in between
    return done


def _work_on(chunk: RunChunk, holder: uuid.UUID) -> None:
    run = BacktestRun.objects.select_related("owner").get(pk=chunk.run_id)
    if chunk.attempts > MOST_ATTEMPTS:
        _fail(
            run, "WORKER_LOST", "The worker was lost twice at the same piece of work: ask for less, or look at its log"
        )
        return
    if chunk.attempts == 1 and chunk.number == 0:
        publish_now(run.owner_id, "backtest", {"run": str(run.pk), "state": State.RUNNING})
    try:
        with HeldChunk(chunk, holder) as held:
            result = study_of(run.kind).work(run, chunk.spec, held)
        if not store_chunk(chunk.pk, holder=holder, done=max(1, held.done), result=result):
            logger.info("chunk %s of run %s was not ours any more", chunk.number, run.pk)
            return
    except Stopped:
        if _ending.is_set():
            release_chunk(chunk.pk, holder=holder)
        logger.info("run %s ended while chunk %s was at work", run.pk, chunk.number)
        return
    except (TradingError, ContractError) as error:
        _fail(run, error.code, error.message)
        return
    except MemoryError:
        _fail(run, "TOO_LARGE", "It did not fit into memory: fewer symbols, fewer days or a longer timeframe")
        return
    except Exception:  # whatever it is, the person who waits is told, and the log has the rest
        logger.exception("chunk %s of run %s failed", chunk.number, run.pk)
        _fail(run, "INTERNAL_ERROR", "Something went wrong on our side: the worker's log has it under this run's id")
        return
    ours = claim_finish(holder=holder, wall=timezone.now(), run_id=run.pk)
    if ours is not None:
        _finish(ours, holder)


def _finish(run: BacktestRun, holder: uuid.UUID) -> None:
    """Make the answer of the chunks and store it, or plan what must still be done."""
    try:
        results = list(run.chunks.order_by("number").values_list("result", flat=True))
        found = study_of(run.kind).collect(run, [bytes(one or b"") for one in results])
    except (TradingError, ContractError) as error:
        _fail(run, error.code, error.message)
        return
    except Exception:
        logger.exception("run %s could not be concluded", run.pk)
        _fail(run, "INTERNAL_ERROR", "Something went wrong on our side: the worker's log has it under this run's id")
        return
    with transaction.atomic():
        locked = BacktestRun.objects.select_for_update().filter(pk=run.pk, holder=holder, state=State.RUNNING).first()
        if locked is None:
            return  # cancelled meanwhile, or concluded by somebody who took over
        if isinstance(found, Outcome):
            _store(locked, found, wall=timezone.now())
        else:
            add_chunks(locked, found, first=len(results))
            locked.generation += 1
            locked.holder = locked.leased_until = None
            locked.save(update_fields=["generation", "holder", "leased_until"])
            after_commit(BELL)
    if isinstance(found, Outcome):
        markets.forget(run.pk)


def _store(run: BacktestRun, outcome: Outcome, *, wall: datetime) -> None:
    RunResult.objects.create(
        run=run, report=squeezed(outcome.report), arrays=pack({}, outcome.arrays), figures=outcome.figures,
        data_hash=outcome.data_hash, run_hash=outcome.run_hash, engine_version=outcome.engine_version,
        code_version=code_version(), seed=outcome.seed, stored_at=wall,
    )  # fmt: skip
    run.state, run.finished_at, run.holder, run.leased_until = State.DONE, wall, None, None
    run.save(update_fields=["state", "finished_at", "holder", "leased_until"])
    run.chunks.all().delete()
    publish(run.owner_id, "backtest", run=str(run.pk), state=State.DONE)


def _fail(run: BacktestRun, code: str, message: str) -> None:
    if run_end(run.pk, State.FAILED, wall=timezone.now(), code=code, error=message):
        publish_now(run.owner_id, "backtest", {"run": str(run.pk), "state": State.FAILED})
    markets.forget(run.pk)
