"""Many sets of parameters on one market, spread over the workers: the best, how steady it is, how much of it is luck.

A run searches the whole grid, a part of it by lot, or as Optuna learns. A chunk is a stretch of the sets, small enough
that a worker shows progress and hears a cancel. Optuna asks for further chunks until its trials are used up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import numpy as np

from strategies.backtest import search, sharpe
from strategies.backtest.errors import BacktestRefused
from strategies.backtest.openings import Combinations, check_names, plan_with
from strategies.backtest.plan import Plan
from strategies.backtest.request import Prepared
from strategies.backtest.result import ENGINE_VERSION
from strategies.backtest.search import Axes, Method
from strategies.backtest.stability import stability
from strategies.backtest.sweep import COLUMNS, SweepResult
from strategies.backtest.sweep import sweep as sweep_all
from strategies.contracts.schema import ContractBody
from strategies.models import BacktestRun
from strategies.rules.errors import RuleError
from strategies.runs import limits
from strategies.runs.limits import check_size
from strategies.runs.markets import market_of_run
from strategies.runs.packing import pack, unpack
from strategies.runs.studies import Job, Outcome, Planned, Stopped, Study, Wish, prepared_of
from strategies.runs.studies.backtest import title as title_of
from strategies.runs.studies.settings import as_text, chosen, hash_of, objective, only, plain, seed, whole

WORK_A_CHUNK: Final = 400_000_000  # bars × sets: a second or so
LEAST_CHUNK, MOST_CHUNK = 4, 1_024
OPTUNA_BATCH: Final = 16
SHOWN: Final = 25
LISTED: Final = 5_000


def plan(wish: Wish) -> Planned:
    prepared, study = wish.market, wish.study
    only(study, "method", "ranges", "objective", "samples", "seed", "fewest_trades")
    method = chosen(study, "method", Method.GRID)
    axes = axes_of(prepared.body, study.get("ranges"))
    size = search.size_of(axes)
    count = size
    if method is not Method.GRID:
        count = min(size, whole(study, "samples", min(200, size), 1, limits.MOST_COMBINATIONS))
    bars = check_size(prepared, combinations=count)
    settings = {
        "method": str(method), "ranges": dict(study["ranges"]), "objective": objective(study), "seed": seed(study),
        "fewest_trades": whole(study, "fewest_trades", 5, 1, 1_000_000), "samples": count,
        "settling": settling_of(prepared, axes),
    }  # fmt: skip
    chunks: list[dict[str, Any]]
    if method is Method.OPTUNA:
        chunks = _optuna_chunks(search.asked_of_optuna(axes, [], count=min(count, 2 * OPTUNA_BATCH), seed=seed(study)))
    else:
        step = max(LEAST_CHUNK, min(MOST_CHUNK, WORK_A_CHUNK // max(1, bars), -(-count // 2)))
        chunks = [{"first": first, "count": min(step, count - first)} for first in range(0, count, step)]
    return Planned(settings, chunks, count, title_of(wish))


def axes_of(body: ContractBody, ranges: Any) -> Axes:
    bounds: dict[str, tuple[Decimal, Decimal]] = {name: (spec.min, spec.max) for name, spec in body.parameters}
    return search.axes_of(ranges, bounds)


def fixed_of(prepared: Prepared, axes: Axes) -> dict[str, float]:
    """The parameters that are not tried, as the request or the contract has them."""
    values = prepared.body.parameters_with(prepared.request.parameters)
    return {name: value for name, value in values.items() if name not in axes}


def settling_of(prepared: Prepared, axes: Axes) -> int:
    """History enough for the longest of the sets. BacktestRefused: a rule does not take the ends of the ranges."""
    plan, fixed = prepared.plan(), fixed_of(prepared, axes)
    check_names(plan, axes)
    ends = [{name: values[at] for name, values in axes.items()} for at in (0, -1)]
    try:
        return max(plan_with(plan, one, fixed).settling for one in ends)
    except RuleError as error:
        raise BacktestRefused(f"RULE_{error.code}", f"At an end of the ranges: {error}") from error


def combinations_of(run: BacktestRun, axes: Axes) -> Combinations:
    if run.study["method"] == Method.GRID:
        return search.grid(axes)
    return search.by_lot(axes, int(run.study["samples"]), int(run.study["seed"]))


def tried_on(
    tested: Plan, market: Any, tried: Combinations, fixed: Mapping[str, float], job: Job, *, counts: bool = True
) -> SweepResult:
    """A sweep that tells the job how far it is. Stopped: it is not wanted any more."""
    told = 0

    def say(done: int, _of: int) -> None:
        nonlocal told
        if counts:
            job.advance(done - told)
        told = done

    try:
        found = sweep_all(
            tested, market, tried, fixed=fixed, on_progress=say, cancelled=lambda: not job.remaining()
        )  # fmt: skip
    except RuleError as error:
        raise BacktestRefused(f"RULE_{error.code}", str(error)) from error
    if found.cancelled:
        raise Stopped
    return found


def work(run: BacktestRun, spec: dict[str, Any], job: Job) -> bytes:
    prepared = prepared_of(run)
    axes = axes_of(prepared.body, run.study["ranges"])
    if "sets" in spec:
        tried = Combinations(tuple(axes), np.array(spec["sets"], np.float64))
    else:
        every = combinations_of(run, axes)
        tried = Combinations(every.names, every.values[spec["first"] : spec["first"] + spec["count"]])
    market = market_of_run(run, prepared, settling=int(run.study["settling"]))
    job.advance(0)
    found = tried_on(prepared.plan(), market, tried, fixed_of(prepared, axes), job)
    return pack({"data_hash": found.data_hash}, {"values": tried.values, "table": found.table})


def collect(run: BacktestRun, results: Sequence[bytes]) -> Outcome | list[dict[str, Any]]:
    parts = [unpack(one) for one in results]
    values = np.concatenate([arrays["values"] for _, arrays in parts])
    table = np.concatenate([arrays["table"] for _, arrays in parts])
    hashes = {plain_["data_hash"] for plain_, _ in parts}
    if len(hashes) > 1:
        raise BacktestRefused("DATA_CHANGED", "Candles were corrected while the sweep ran: ask again")
    prepared = prepared_of(run)
    axes = axes_of(prepared.body, run.study["ranges"])
    names, aim = list(axes), str(run.study["objective"])
    scores = np.where(_column(table, "trades") >= run.study["fewest_trades"], _column(table, aim), np.nan)
    wanted = int(run.study["samples"]) - len(values)
    if run.study["method"] == Method.OPTUNA and wanted > 0:
        told = [
            (dict(zip(names, row, strict=True)), None if score != score else score)
            for row, score in zip(values.tolist(), scores.tolist(), strict=True)
        ]
        asked = search.asked_of_optuna(
            axes, told, count=min(wanted, 2 * OPTUNA_BATCH), seed=int(run.study["seed"])
        )  # fmt: skip
        if asked:
            return _optuna_chunks(asked)
    report = report_of(run, prepared, names, values, table, scores, hashes.pop())
    figures = {"combinations": len(values), **(report["best"][0]["figures"] if report["best"] else {})}
    return Outcome(
        report=as_text(report), figures=figures, run_hash=report["run_hash"], data_hash=report["data_hash"],
        seed=int(run.study["seed"]), arrays={"values": values, "table": table, "scores": scores},
    )  # fmt: skip


def report_of(
    run: BacktestRun, prepared: Prepared, names: list[str], values: Any, table: Any, scores: Any, data_hash: str
) -> dict[str, Any]:
    order = [int(at) for at in np.argsort(-scores, kind="stable") if np.isfinite(scores[at])]
    steady = stability(names, values, scores) if run.study["method"] == Method.GRID else None
    settings = {name: run.study[name] for name in ("method", "ranges", "objective", "seed", "fewest_trades", "samples")}
    plan_ = prepared.plan().as_mapping()
    return {
        "kind": "SWEEP",
        **settings,
        "combinations": len(values),
        "with_score": len(order),
        "best": [{"parameters": _named(names, values[at]), "figures": _figures(table[at])} for at in order[:SHOWN]],
        "most_robust": None if steady is None else _named(names, values[steady.most_robust]),
        "plateau": None if steady is None else plain(steady.plateau),
        "neighbours_of_best": None if steady is None else steady.neighbours_of_best,
        "deflated_sharpe": _deflated(table, scores, order),
        "plan": plan_,
        "data_hash": data_hash,
        "run_hash": hash_of(plan=plan_, settings=settings, data=data_hash, engine=ENGINE_VERSION),
        "engine_version": ENGINE_VERSION,
        "columns": [*names, *COLUMNS],
        "listed": min(len(values), LISTED),
        "rows": [
            [plain(one) for one in [*values[at].tolist(), *table[at].tolist()]]
            for at in range(min(len(values), LISTED))
        ],
    }  # fmt: skip


def _deflated(table: Any, scores: Any, order: list[int]) -> dict[str, Any] | None:
    """Of the best set, among the daily ratios of all that were tried."""
    if not order:
        return None
    mean, spread = _column(table, "daily_mean"), _column(table, "daily_deviation")
    ratios = np.divide(mean, spread, out=np.full(mean.shape, np.nan), where=spread > 0)
    at = order[0]
    found = sharpe.deflated(
        ratios, at, days=int(_column(table, "days")[at]), skew=float(_column(table, "daily_skew")[at]),
        kurtosis=float(_column(table, "daily_kurtosis")[at]), trials=len(ratios),
    )  # fmt: skip
    if found is None:
        return None
    return {
        "trials": found.trials, "daily_sharpe": plain(found.sharpe), "daily_sharpe_by_luck": plain(found.by_luck),
        "probability": plain(found.probability), "believable": found.believable,
    }  # fmt: skip


def _column(table: Any, name: str) -> Any:
    return table[:, COLUMNS.index(name)]


def _named(names: Sequence[str], row: Any) -> dict[str, float]:
    return dict(zip(names, [float(one) for one in row], strict=True))


def _figures(row: Any) -> dict[str, float | int | None]:
    counted = {"trades", "days", "signals", "taken"}
    return {
        name: None if value != value else int(value) if name in counted else plain(value)
        for name, value in zip(COLUMNS, row.tolist(), strict=True)
    }


def _optuna_chunks(asked: list[dict[str, float]]) -> list[dict[str, Any]]:
    rows = [list(one.values()) for one in asked]
    return [{"sets": rows[first : first + OPTUNA_BATCH]} for first in range(0, len(rows), OPTUNA_BATCH)]


STUDY = Study(plan, work, collect)
