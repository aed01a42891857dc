"""Walk-forward: each window is a chunk of its own, learned on its months and tested on those after them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np

from strategies.backtest import search
from strategies.backtest.blend import summary
from strategies.backtest.engine import run as run_backtest
from strategies.backtest.errors import BacktestRefused
from strategies.backtest.openings import plan_with
from strategies.backtest.result import ENGINE_VERSION
from strategies.backtest.tear_sheet import TearSheet
from strategies.backtest.walk_forward import PASS_PCT, verdict, windows_of
from strategies.models import BacktestRun
from strategies.runs.limits import check_size
from strategies.runs.markets import market_of_run
from strategies.runs.packing import pack, unpack
from strategies.runs.studies import Job, Outcome, Planned, Study, Wish, prepared_of
from strategies.runs.studies.backtest import title as title_of
from strategies.runs.studies.settings import as_text, hash_of, objective, only, plain, whole
from strategies.runs.studies.sweep import axes_of, fixed_of, settling_of, tried_on

IDLE = frozenset({"NEVER_FIRED", "TOO_SHORT", "NO_CANDLES", "EMPTY_RANGE"})  # a window can say nothing; the others may


def plan(wish: Wish) -> Planned:
    prepared, study = wish.market, wish.study
    only(study, "ranges", "objective", "train_months", "test_months", "fewest_trades")
    axes = axes_of(prepared.body, study.get("ranges"))
    train = whole(study, "train_months", 3, 1, 120)
    test = whole(study, "test_months", 1, 1, 60)
    windows = windows_of(
        prepared.request.from_date, prepared.request.to_date, train_months=train, test_months=test
    )  # fmt: skip
    sets = search.size_of(axes)
    check_size(prepared, combinations=max(1, sets * -(-train // test)))
    settings = {
        "ranges": dict(study["ranges"]), "objective": objective(study), "train_months": train, "test_months": test,
        "fewest_trades": whole(study, "fewest_trades", 5, 1, 1_000_000), "settling": settling_of(prepared, axes),
    }  # fmt: skip
    chunks = [
        {name: getattr(one, name).isoformat() for name in ("train_from", "train_to", "test_from", "test_to")}
        for one in windows
    ]
    return Planned(settings, chunks, (sets + 1) * len(windows), title_of(wish))


def work(run: BacktestRun, spec: dict[str, Any], job: Job) -> bytes:
    prepared = prepared_of(run)
    axes = axes_of(prepared.body, run.study["ranges"])
    fixed, settling = fixed_of(prepared, axes), int(run.study["settling"])
    days = {name: date.fromisoformat(text) for name, text in spec.items()}
    tried = search.grid(axes)
    try:
        train = market_of_run(
            run, prepared, settling=settling, from_date=days["train_from"], to_date=days["train_to"]
        )  # fmt: skip
        job.advance(0)
        learned = tried_on(prepared.plan(), train, tried, fixed, job)
        best = learned.best(run.study["objective"], 1, fewest_trades=int(run.study["fewest_trades"]))
        if not best:
            return _idle(spec, "NOTHING_LEARNED: no set of parameters traded often enough on the months to learn from")
        chosen = tried.one(best[0])
        market = market_of_run(run, prepared, settling=settling, from_date=days["test_from"], to_date=days["test_to"])
        result = run_backtest(plan_with(prepared.plan(), chosen, fixed), market)
    except BacktestRefused as error:
        if error.code not in IDLE:
            raise
        return _idle(spec, str(error))
    job.advance(1)
    arrays = {
        "starts": np.asarray(market.starts),
        "equity": result.equity,
        "days": market.day_ordinals[market.day_ends],
    }
    sheet = TearSheet({"initial_cash": float(prepared.request.cash), "trade_list": []}, arrays)
    window = {
        **spec, "parameters": chosen, "note": "", "train": learned.figures(best[0]),
        "test": {**result.figures, "trades": len(result.trades)}, "data_hashes": [train.data_hash, market.data_hash],
        "wins": sum(1 for one in result.trade_list() if one["pnl"] > 0),
    }  # fmt: skip
    return pack(window, {"days": arrays["days"], "returns": sheet.day_returns})


def _idle(spec: dict[str, Any], why: str) -> bytes:
    window = {**spec, "parameters": None, "note": why, "train": None, "test": None, "data_hashes": [], "wins": 0}
    return pack(window, {"days": np.zeros(0, np.int64), "returns": np.zeros(0)})


def collect(run: BacktestRun, results: Sequence[bytes]) -> Outcome:
    parts = [unpack(one) for one in results]
    windows = [window for window, _ in parts]
    days = np.concatenate([arrays["days"] for _, arrays in parts])
    returns = np.concatenate([arrays["returns"] for _, arrays in parts])
    profits = [
        window["test"]["return_pct"] if window["test"] and window["test"]["trades"] else None for window in windows
    ]
    found = verdict(profits)
    trades = sum(window["test"]["trades"] for window in windows if window["test"])
    wins = sum(window["wins"] for window in windows)
    whole_ = summary(returns) if returns.size else None
    out_of_sample = {
        "trades": trades,
        "win_rate_pct": plain(100 * wins / trades) if trades else None,
        "return_pct": plain(whole_.return_pct) if whole_ else None,
        "annual_return_pct": plain(whole_.annual_return_pct) if whole_ else None,
        "sharpe": plain(whole_.sharpe) if whole_ else None,
        "max_drawdown_pct": plain(whole_.max_drawdown_pct) if whole_ else None,
    }
    settings = {name: value for name, value in run.study.items() if name != "settling"}
    plan_ = prepared_of(run).plan().as_mapping()
    hashes = [one for window in windows for one in window["data_hashes"]]
    report = {
        "kind": "WALK_FORWARD", **settings, "windows": windows, "windows_with_profit": found.with_profit,
        "windows_with_profit_pct": plain(found.profit_pct), "pass_pct": PASS_PCT, "passed": found.passed,
        "out_of_sample": out_of_sample, "efficiency": _efficiency(windows), "plan": plan_,
        "data_hash": hash_of(parts=hashes), "engine_version": ENGINE_VERSION,
    }  # fmt: skip
    report["run_hash"] = hash_of(plan=plan_, settings=settings, data=hashes, engine=ENGINE_VERSION)
    return Outcome(
        report=as_text(report), figures={**out_of_sample, "passed": found.passed, "windows": found.windows},
        run_hash=report["run_hash"], data_hash=report["data_hash"], arrays={"days": days, "returns": returns},
    )  # fmt: skip


def _efficiency(windows: Sequence[dict[str, Any]]) -> float | None:
    """Mean annual return of the tests over that of the training ranges: how much of what was learned stayed true."""
    both = [
        (window["test"].get("annual_return_pct"), window["train"].get("annual_return_pct"))
        for window in windows
        if window["test"] and window["train"]
    ]
    known = [(test, train) for test, train in both if test is not None and train is not None]
    learned = sum(train for _, train in known)
    return plain(sum(test for test, _ in known) / learned) if known and learned > 0 else None


STUDY = Study(plan, work, collect)
