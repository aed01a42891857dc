"""One plan on one market, with everything a tear sheet is drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from strategies.backtest.engine import run as run_backtest
from strategies.backtest.regimes import regimes_of_days
from strategies.backtest.result import Result
from strategies.models import BacktestRun
from strategies.runs.limits import check_size
from strategies.runs.markets import market_of_run
from strategies.runs.packing import pack, unpack
from strategies.runs.studies import Job, Outcome, Planned, Study, Wish, prepared_of


def plan(wish: Wish) -> Planned:
    prepared = wish.market
    check_size(prepared)
    prepared.plan()  # its rules compile, its money is within bounds
    return Planned({}, [{}], 1, title(wish))


def title(wish: Wish) -> str:
    prepared = wish.market
    names = [one.ticker for one in prepared.instruments]
    where = ", ".join(names) if len(names) <= 3 else f"{len(names)} symbols"
    return f"{prepared.name} on {where}"


def work(run: BacktestRun, spec: dict[str, Any], job: Job) -> bytes:
    prepared = prepared_of(run)
    tested = prepared.plan()
    market = market_of_run(run, prepared, settling=tested.settling)
    job.advance(0)
    result = run_backtest(tested, market)
    return packed(result)


def packed(result: Result) -> bytes:
    """A result as bytes: the report's own text, the trades, and the curves by bar and by day."""
    market = result.market
    ends = market.day_ends
    arrays: dict[str, Any] = {
        "trades": result.trades,
        "starts": np.asarray(market.starts, np.int64),
        "equity": result.equity,
        "days": market.day_ordinals[ends],
        "regimes": regimes_of_days(market),
    }
    plain = {
        "report": result.as_json(), "figures": result.figures | {"trades": len(result.trades)},
        "run_hash": result.run_hash, "data_hash": market.data_hash,
    }  # fmt: skip
    return pack(plain, arrays)


def collect(run: BacktestRun, results: Sequence[bytes]) -> Outcome:
    plain, arrays = unpack(results[0])
    return Outcome(
        report=plain["report"], figures=plain["figures"], run_hash=plain["run_hash"], data_hash=plain["data_hash"],
        arrays=arrays,
    )  # fmt: skip


STUDY = Study(plan, work, collect)
