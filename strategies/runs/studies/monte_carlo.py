"""The trades of a finished backtest in other orders, or drawn anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from strategies.backtest.errors import BacktestRefused
from strategies.backtest.monte_carlo import PERCENTILES, Draw, simulate
from strategies.models import BacktestRun
from strategies.runs.answers import Answer, is_uuid, own_backtests
from strategies.runs.limits import MOST_DRAWS, MOST_PATHS
from strategies.runs.packing import pack, unpack
from strategies.runs.studies import Job, Outcome, Planned, Study, Wish
from strategies.runs.studies.settings import as_text, chosen, hash_of, only, plain, seed, whole


def source_of(owner_id: int, study: Any) -> Answer:
    runs = study.get("runs") or []
    if not isinstance(runs, list) or len(runs) != 1 or not is_uuid(str(runs[0])):
        raise BacktestRefused("ONE_RUN", "Choose one finished backtest, whose trades are to be put in other orders")
    return own_backtests(owner_id, [str(runs[0])])[0]


def plan(wish: Wish) -> Planned:
    study = wish.study
    only(study, "runs", "paths", "draw", "seed", "ruin_pct")
    source = source_of(wish.owner_id, study)
    paths = whole(study, "paths", 2_000, 100, MOST_PATHS)
    trades = len(source.report["trade_list"])
    if trades < 2:
        raise BacktestRefused("TOO_FEW_TRADES", f"{trades} trades have no order to speak of")
    if trades * paths > MOST_DRAWS:
        raise BacktestRefused(
            "TOO_LARGE", f"{trades:,} trades in {paths:,} orders are more than {MOST_DRAWS:,} draws: fewer paths"
        )
    settings = {
        "runs": [str(source.run.pk)], "paths": paths, "draw": str(chosen(study, "draw", Draw.SHUFFLE)),
        "seed": seed(study), "ruin_pct": whole(study, "ruin_pct", 30, 1, 100),
    }  # fmt: skip
    return Planned(settings, [{}], paths, source.run.title)


def work(run: BacktestRun, spec: dict[str, Any], job: Job) -> bytes:
    source = source_of(run.owner_id, run.study)
    trades = source.report["trade_list"]
    found = simulate(
        np.array([one["pnl"] for one in trades], np.float64), cash=float(source.report["initial_cash"]),
        paths=int(run.study["paths"]), draw=Draw(run.study["draw"]), seed=int(run.study["seed"]), advance=job.advance,
    )  # fmt: skip
    cash, ruin = float(source.report["initial_cash"]), float(run.study["ruin_pct"])
    plain_ = {
        "cash": cash, "trades": len(trades), "source": source.stored.run_hash, "title": source.run.title,
        "final_equity": _percentiles(found.final), "max_drawdown_pct": _percentiles(found.drawdown_pct),
        "actual_final_equity": plain(float(found.actual[-1])),
        "actual_max_drawdown_pct": plain(found.actual_drawdown_pct),
        "chance_of_loss": plain(found.chance_of_loss(cash)), "chance_of_ruin": plain(found.chance_of_drawdown(ruin)),
        "deeper_than_actual": plain(float((found.drawdown_pct < found.actual_drawdown_pct).mean())),
        "overlapping_trades": _overlapping(trades),
    }  # fmt: skip
    return pack(
        plain_, {"at": found.at, "bands": found.bands, "actual": found.actual, "drawdowns": np.sort(found.drawdown_pct)}
    )


def collect(run: BacktestRun, results: Sequence[bytes]) -> Outcome:
    found, arrays = unpack(results[0])
    settings = dict(run.study)
    run_hash = hash_of(settings={name: settings[name] for name in settings if name != "runs"}, source=found["source"])
    report = {"kind": "MONTE_CARLO", **settings, **found, "percentiles": list(PERCENTILES), "run_hash": run_hash}
    figures = {
        "max_drawdown_pct": found["max_drawdown_pct"]["5"], "trades": found["trades"],
        "chance_of_loss": found["chance_of_loss"],
    }  # fmt: skip
    return Outcome(
        report=as_text(report), figures=figures, run_hash=run_hash, data_hash=found["source"], seed=settings["seed"],
        arrays=arrays,
    )  # fmt: skip


def _percentiles(values: Any) -> dict[str, float | None]:
    return {str(one): plain(float(np.percentile(values, one))) for one in PERCENTILES}


def _overlapping(trades: Sequence[dict[str, Any]]) -> int:
    """Trades that began before an earlier one had ended: they are not independent of each other."""
    order = sorted(trades, key=lambda one: (one["entry_bar"], one["exit_bar"]))
    count, latest = 0, -1
    for one in order:
        count += one["entry_bar"] < latest
        latest = max(latest, one["exit_bar"])
    return count


STUDY = Study(plan, work, collect, market=False)
