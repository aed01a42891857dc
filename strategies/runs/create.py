"""A wish becomes a run: checked to the last word, cut into chunks, within what one person may ask for."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.db import transaction

from accounts.models import User
from risk.policies import active_policy
from strategies.backtest.errors import BacktestRefused
from strategies.backtest.request import HouseLimits, find_version, prepare, read_request
from strategies.contracts.schema import ContractError
from strategies.models import BacktestRun, RunChunk
from strategies.runs import limits
from strategies.runs.studies import Wish, study_of
from trading.domain.errors import NotAllowed
from trading.outbox import after_commit
from trading.realtime.publish import publish

BELL = "research.work"


@transaction.atomic
def run_create(
    *, owner: User, kind: str, request: Mapping[str, Any] | None, study: Mapping[str, Any] | None, key: uuid.UUID,
    wall: datetime,
) -> BacktestRun:  # fmt: skip
    """Queue a run and ring for it. The same `key` of the same person is the same wish: the run that is there already.

    Raises BacktestRefused for what cannot be tested, NotAllowed (TOO_MANY_RUNS) when the person's queue is full.
    """
    User.objects.select_for_update().get(pk=owner.pk)  # of two presses one counts the other
    run_id = uuid.uuid5(key, f"run of {owner.pk}")
    known = BacktestRun.objects.for_user(owner).filter(pk=run_id).first()
    if known is not None:
        return known
    if kind not in BacktestRun.Kind.values:
        raise BacktestRefused("UNKNOWN_KIND", f"{kind} is no kind of run: {', '.join(BacktestRun.Kind.values)}")
    study_is = study_of(kind)
    if study_is.market and not request:
        raise BacktestRefused("NO_REQUEST", "Say which contract is to be tested, and on which days")
    waiting = BacktestRun.objects.for_user(owner).open().count()
    if waiting >= limits.OPEN_RUNS:
        raise NotAllowed(
            "TOO_MANY_RUNS",
            f"You have {waiting} runs waiting or at work: wait for one, or cancel it.",
            runs=waiting,
        )
    house = HouseLimits.of_policy(active_policy(None))
    prepared = version = None
    asked: dict[str, Any] = {}
    try:
        if request and study_is.market:
            wanted = read_request(request)
            version = find_version(wanted.contract, owner_id=owner.pk)
            wanted = replace(wanted, contract=f"{version.contract.slug}@{version.number}")
            prepared = prepare(wanted, house, owner_id=owner.pk)
            asked = wanted.as_mapping()
        planned = study_is.plan(Wish(owner.pk, study or {}, prepared))
    except ContractError as error:
        raise BacktestRefused(error.code, str(error)) from error
    run = BacktestRun.objects.create(
        pk=run_id, owner=owner, kind=kind, title=planned.title[:160], version=version, request=asked,
        study=planned.study, limits=house.as_mapping(), units=max(1, planned.units), created_at=wall,
    )  # fmt: skip
    add_chunks(run, planned.chunks, first=0)
    after_commit(BELL)
    publish(owner.pk, "backtest", run=str(run.pk), state=run.state)
    return run


def add_chunks(run: BacktestRun, specs: list[dict[str, Any]], *, first: int) -> None:
    RunChunk.objects.bulk_create(
        [RunChunk(run=run, number=first + at, spec=spec) for at, spec in enumerate(specs)], batch_size=500
    )


def run_again(*, run: BacktestRun, key: uuid.UUID, wall: datetime) -> BacktestRun:
    """The same question anew, with today's candles and the house's limits of today."""
    return run_create(
        owner=run.owner, kind=run.kind, request=run.request or None, study=run.study, key=key, wall=wall
    )  # fmt: skip
