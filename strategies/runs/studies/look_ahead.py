"""Whether a plan's past depends on its future."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from strategies.backtest.look_ahead import look_ahead
from strategies.backtest.result import ENGINE_VERSION
from strategies.models import BacktestRun
from strategies.runs.limits import check_size
from strategies.runs.markets import market_of_run
from strategies.runs.packing import pack, unpack
from strategies.runs.studies import Job, Outcome, Planned, Study, Wish, prepared_of
from strategies.runs.studies.backtest import title as title_of
from strategies.runs.studies.settings import as_text, hash_of, only, seed, whole


def plan(wish: Wish) -> Planned:
    only(wish.study, "cuts", "seed")
    cuts = whole(wish.study, "cuts", 20, 1, 200)
    check_size(wish.market, combinations=cuts + 1)
    wish.market.plan()
    return Planned({"cuts": cuts, "seed": seed(wish.study)}, [{}], cuts + 1, title_of(wish))


def work(run: BacktestRun, spec: dict[str, Any], job: Job) -> bytes:
    prepared = prepared_of(run)
    tested = prepared.plan()
    market = market_of_run(run, prepared, settling=tested.settling)
    job.advance(0)
    found = look_ahead(tested, market, cuts=int(run.study["cuts"]), seed=int(run.study["seed"]), advance=job.advance)
    plan_ = tested.as_mapping()
    return pack(
        {"cuts_made": [asdict(one) for one in found], "plan": plan_, "data_hash": market.data_hash, "bars": market.bars}
    )


def collect(run: BacktestRun, results: Sequence[bytes]) -> Outcome:
    found, _ = unpack(results[0])
    differing = [one for one in found["cuts_made"] if one["difference"]]
    settings = dict(run.study)
    run_hash = hash_of(plan=found["plan"], settings=settings, data=found["data_hash"], engine=ENGINE_VERSION)
    report = {
        "kind": "LOOK_AHEAD", **settings, "passed": not differing, "differing": len(differing), **found,
        "engine_version": ENGINE_VERSION, "run_hash": run_hash,
    }  # fmt: skip
    return Outcome(
        report=as_text(report), figures={"passed": not differing, "cuts": len(found["cuts_made"])}, run_hash=run_hash,
        data_hash=found["data_hash"], seed=settings["seed"],
    )  # fmt: skip


STUDY = Study(plan, work, collect)
