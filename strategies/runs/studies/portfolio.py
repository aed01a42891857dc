"""Finished backtests held together: how much of each, what the whole would have been, where its risk comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from strategies.backtest import blend
from strategies.backtest.blend import Weighting
from strategies.backtest.errors import BacktestRefused
from strategies.backtest.plan import number_of
from strategies.backtest.tear_sheet import TearSheet
from strategies.models import BacktestRun
from strategies.runs.answers import Answer, is_uuid, own_backtests
from strategies.runs.limits import MOST_SOURCES
from strategies.runs.packing import pack, unpack
from strategies.runs.studies import Job, Outcome, Planned, Study, Wish
from strategies.runs.studies.settings import as_text, chosen, hash_of, only, plain


def sources_of(owner_id: int, study: Mapping[str, Any]) -> list[Answer]:
    runs = study.get("runs") or []
    ids = list(dict.fromkeys(str(one) for one in runs)) if isinstance(runs, list) else []
    if not 2 <= len(ids) <= MOST_SOURCES or not all(is_uuid(one) for one in ids):
        raise BacktestRefused("SOME_RUNS", f"Choose two to {MOST_SOURCES} finished backtests to hold together")
    return own_backtests(owner_id, ids)


def plan(wish: Wish) -> Planned:
    study = wish.study
    only(study, "runs", "weighting", "custom")
    sources = sources_of(wish.owner_id, study)
    how = chosen(study, "weighting", Weighting.RISK_PARITY)
    ids = [str(one.run.pk) for one in sources]
    given = study.get("custom") or {}
    if not isinstance(given, Mapping):
        raise BacktestRefused("CUSTOM_WEIGHTS", "Custom weights are given by the id of the run")
    custom = {str(key): float(number_of(str(value), "weight")) for key, value in given.items() if str(key) in ids}
    custom = custom if how is Weighting.CUSTOM else {}
    blend.weights_of(streams_of(sources), how, custom)  # what is wrong with them is told now
    return Planned(
        {"runs": ids, "weighting": str(how), "custom": custom},
        [{}],
        1,
        f"{len(ids)} strategies, {how.replace('_', ' ')}",
    )


def streams_of(sources: Sequence[Answer]) -> blend.Streams:
    sheets = [TearSheet(one.report, one.arrays) for one in sources]
    return blend.aligned(
        [str(one.run.pk) for one in sources], [one.days for one in sheets], [one.day_returns for one in sheets]
    )


def work(run: BacktestRun, spec: dict[str, Any], job: Job) -> bytes:
    sources = sources_of(run.owner_id, run.study)
    streams = streams_of(sources)
    weights = blend.weights_of(streams, Weighting(run.study["weighting"]), run.study["custom"])
    job.advance(0)
    cov = blend.covariance(streams.returns)
    whole = weights @ streams.returns
    shares = blend.risk_shares(weights, cov)
    parts = [
        {
            "run": str(source.run.pk), "title": source.run.title, "run_hash": source.stored.run_hash,
            "weight": plain(float(weight)), "risk_share": plain(float(share)), **_plain(blend.summary(row)),
        }
        for source, weight, share, row in zip(sources, weights, shares, streams.returns, strict=True)
    ]  # fmt: skip
    found = {
        "days": len(streams.days), "from": streams.days[0].isoformat(), "to": streams.days[-1].isoformat(),
        "parts": parts, "whole": _plain(blend.summary(whole)),
        "diversification_ratio": plain(blend.diversification_ratio(weights, cov)),
        "correlation": [[plain(one) for one in row] for row in blend.correlations(streams.returns).tolist()],
    }  # fmt: skip
    job.advance(1)
    days = np.array([one.toordinal() for one in streams.days], np.int64)
    return pack(found, {"days": days, "returns": streams.returns, "whole": whole, "weights": weights})


def collect(run: BacktestRun, results: Sequence[bytes]) -> Outcome:
    found, arrays = unpack(results[0])
    settings = {name: value for name, value in run.study.items() if name != "runs"}
    hashes = [one["run_hash"] for one in found["parts"]]
    custom = [run.study["custom"].get(one["run"]) for one in found["parts"]]
    run_hash = hash_of(weighting=settings["weighting"], custom=custom, parts=hashes)
    report = {"kind": "PORTFOLIO", **settings, **found, "run_hash": run_hash}
    return Outcome(
        report=as_text(report),
        figures=found["whole"],
        run_hash=run_hash,
        data_hash=hash_of(parts=hashes),
        arrays=arrays,
    )


def _plain(found: blend.Summary) -> dict[str, float | None]:
    return {name: plain(value) for name, value in asdict(found).items()}


STUDY = Study(plan, work, collect, market=False)
