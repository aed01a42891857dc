"""What each kind of run plans, does and concludes.

A study is three functions: `plan` checks a wish and cuts its work into chunks, `work` does one chunk and gives bytes,
`collect` makes the answer of all of them, or finds that further chunks are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray

from strategies.backtest.request import BacktestRequest, HouseLimits, Prepared, prepare, read_request
from strategies.backtest.result import ENGINE_VERSION
from strategies.models import BacktestRun


class Stopped(Exception):
    """Nobody wants this work any more: it was cancelled, or somebody else has it."""


class Job(Protocol):
    """The worker's side of a chunk."""

    def advance(self, units: int = 1) -> None:
        """So much is done. Raises Stopped when it is to end; call it often."""

    def remaining(self) -> bool:
        """Whether to go on, for callers that must not be interrupted by an exception."""


@dataclass(frozen=True)
class Wish:
    """What is asked of a study. `prepared` is None for studies of runs that are done."""

    owner_id: int
    study: Mapping[str, Any]
    prepared: Prepared | None = None

    @property
    def market(self) -> Prepared:
        assert self.prepared is not None
        return self.prepared


@dataclass(frozen=True)
class Planned:
    """The settings in full, the chunks, and how many units of work they are together."""

    study: dict[str, Any]
    chunks: list[dict[str, Any]]
    units: int
    title: str


@dataclass(frozen=True)
class Outcome:
    """The answer: its JSON text, arrays to draw from, and the figures of lists and comparisons."""

    report: str
    figures: dict[str, Any]
    run_hash: str
    data_hash: str = ""
    seed: int | None = None
    arrays: dict[str, NDArray] = field(default_factory=dict)
    engine_version: int = ENGINE_VERSION


@dataclass(frozen=True)
class Study:
    """`market`: it asks for a contract on candles; else it is made of runs that are done."""

    plan: Callable[[Wish], Planned]
    work: Callable[[BacktestRun, dict[str, Any], Job], bytes]
    collect: Callable[[BacktestRun, Sequence[bytes]], Outcome | list[dict[str, Any]]]
    market: bool = True


def prepared_of(run: BacktestRun) -> Prepared:
    """What a stored run asked for, found again: with the limits of the day it was asked."""
    request: BacktestRequest = read_request(run.request)
    return prepare(request, HouseLimits.of_mapping(run.limits), owner_id=run.owner_id)


def study_of(kind: str) -> Study:
    from strategies.runs.studies import backtest, look_ahead, monte_carlo, portfolio, sweep, walk_forward

    known: dict[str, Study] = {
        BacktestRun.Kind.BACKTEST: backtest.STUDY,
        BacktestRun.Kind.SWEEP: sweep.STUDY,
        BacktestRun.Kind.WALK_FORWARD: walk_forward.STUDY,
        BacktestRun.Kind.MONTE_CARLO: monte_carlo.STUDY,
        BacktestRun.Kind.LOOK_AHEAD: look_ahead.STUDY,
        BacktestRun.Kind.PORTFOLIO: portfolio.STUDY,
    }
    return known[kind]
