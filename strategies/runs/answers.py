"""What is stored of a run, read back as it was written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

from numpy.typing import NDArray

from strategies.models import BacktestRun, RunResult
from strategies.runs.packing import text_of, unpack
from trading.domain.errors import Conflict, NotFound


@dataclass(frozen=True)
class Answer:
    """A finished run: `text` is its JSON byte for byte, `report` the same as values, `arrays` what curves are of."""

    run: BacktestRun
    stored: RunResult

    @cached_property
    def text(self) -> str:
        return text_of(self.stored.report)

    @cached_property
    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.text)
        return found

    @cached_property
    def arrays(self) -> dict[str, NDArray]:
        return unpack(self.stored.arrays)[1]


def answer_of(run: BacktestRun) -> Answer:
    """Conflict (NOT_DONE): there is no answer yet, or there will never be one."""
    stored = RunResult.objects.filter(run=run).first()
    if stored is None:
        raise Conflict("NOT_DONE", f"This run is {run.state.lower()}: it has no result to show.", state=run.state)
    return Answer(run, stored)


def own_run(user: Any, run_id: UUID) -> BacktestRun:
    """A run of this person. NotFound: it is not there, or not theirs."""
    run = BacktestRun.objects.for_user(user).select_related("version__contract").filter(pk=run_id).first()
    if run is None:
        raise NotFound("RUN_NOT_FOUND", "There is no such run.")
    return run


def own_backtests(owner_id: int, ids: list[Any]) -> list[Answer]:
    """Finished backtests of one person, in the order asked for. NotFound: one is missing, not theirs or not done."""
    found = {
        str(one.run_id): one
        for one in RunResult.objects.filter(
            run__in=ids, run__owner=owner_id, run__kind=BacktestRun.Kind.BACKTEST
        ).select_related("run")
    }
    missing = [one for one in ids if str(one) not in found]
    if missing:
        raise NotFound("RUN_NOT_FOUND", "There is no finished backtest of yours under one of these ids.")
    return [Answer(found[str(one)].run, found[str(one)]) for one in ids]


def is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
