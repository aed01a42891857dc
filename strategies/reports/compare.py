"""Several results side by side: figures in rows, equity on one axis, and how alike their days were."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np
from django.utils.safestring import SafeString, mark_safe

from strategies.backtest import charts
from strategies.backtest.blend import Streams, aligned, correlations
from strategies.backtest.errors import BacktestRefused
from strategies.backtest.tear_sheet import TearSheet
from strategies.reports.figures import MEANINGS, tone_of, written
from strategies.runs.answers import Answer
from strategies.runs.limits import MOST_SOURCES
from trading.domain.formatting import signed


class Comparison:
    """Two to MOST_SOURCES finished backtests. BacktestRefused (COMPARE): fewer or more."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        if not 2 <= len(answers) <= MOST_SOURCES:
            raise BacktestRefused("COMPARE", f"Choose two to {MOST_SOURCES} finished backtests, not {len(answers)}")
        self.answers = list(answers)
        self.sheets = [TearSheet(one.report, one.arrays) for one in answers]

    @property
    def runs(self) -> list[dict[str, Any]]:
        return [
            {"run": one.run, "tone": f"s{at % 6 + 1}", "short": f"{chr(65 + at)}", "report": one.report}
            for at, one in enumerate(self.answers)
        ]

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """One figure a row; the best of a row is marked where more, or less, is better."""
        rows = []
        for one in MEANINGS:
            values = [answer.report.get(one.key) for answer in self.answers]
            if all(value is None for value in values):
                continue
            known = [value for value in values if value is not None]
            best = (max(known) if one.good > 0 else min(known)) if one.good and len(set(known)) > 1 else None
            cells = [
                {
                    "text": written(one.key, value),
                    "tone": tone_of(one.key, value),
                    "best": best is not None and value == best,
                }
                for value in values
            ]
            rows.append({"label": one.label, "convention": one.convention, "cells": cells})
        return rows

    @cached_property
    def streams(self) -> Streams | None:
        """None: they have too few days in common."""
        names = [chr(65 + at) for at in range(len(self.sheets))]
        try:
            return aligned(names, [one.days for one in self.sheets], [one.day_returns for one in self.sheets])
        except BacktestRefused:
            return None

    @cached_property
    def matrix(self) -> list[dict[str, Any]]:
        """Correlation of daily returns on common days."""
        if self.streams is None:
            return []
        found = correlations(self.streams.returns)
        return [
            {"name": name, "cells": [shade_of_correlation(value) for value in row]}
            for name, row in zip(self.streams.names, found.tolist(), strict=True)
        ]

    @cached_property
    def picture(self) -> SafeString:
        """Growth of one rupee on the days of all, each from its own beginning."""
        days = sorted({day for one in self.sheets for day in one.days})
        lines = []
        for at, one in enumerate(self.sheets):
            places = np.searchsorted(np.array([day.toordinal() for day in days]), [day.toordinal() for day in one.days])
            values = np.full(len(days), np.nan)
            values[places] = 100 * (one.day_equity / one.cash - 1)
            lines.append(charts.Line(chr(65 + at), charts.thinned(_carried(values), "last"), f"s{at % 6 + 1}"))
        labels = [days[0].isoformat(), days[len(days) // 2].isoformat(), days[-1].isoformat()]
        svg = charts.curves(
            lines, labels=labels, words=lambda value: f"{charts.minus(f'{value:g}')} %", base=0.0, height=280,
            title="Growth of each, percent of its cash",
        )  # fmt: skip
        return mark_safe(svg)  # noqa: S308 - drawn by `charts`, which escapes every word

    def as_mapping(self) -> dict[str, Any]:
        streams = self.streams
        found = [] if streams is None else correlations(streams.returns).tolist()
        return {
            "runs": [
                {"id": str(one.run.pk), "title": one.run.title, "run_hash": one.stored.run_hash,
                 "figures": {mean.key: one.report.get(mean.key) for mean in MEANINGS}}
                for one in self.answers
            ],
            "common_days": 0 if streams is None else len(streams.days),
            "correlation": [[None if value != value else round(value, 10) for value in row] for row in found],
        }  # fmt: skip


def _carried(values: np.ndarray) -> np.ndarray:
    """Gaps between the first and the last day of a run keep the value before them."""
    known = np.isfinite(values)
    if not known.any():
        return values
    last = np.maximum.accumulate(np.where(known, np.arange(values.size), -1))
    filled = np.where(last >= 0, values[np.maximum(last, 0)], np.nan)
    filled[np.flatnonzero(known)[-1] + 1 :] = np.nan
    return filled


def shade_of_correlation(value: float | None) -> dict[str, str]:
    """A cell of a matrix: its text, and one of four shades of its sign."""
    if value is None or value != value:
        return {"text": "—", "shade": ""}
    step = sum(1 for edge in (0.25, 0.5, 0.75) if abs(value) >= edge) + 1
    shade = "" if abs(value) < 0.05 else f"{'p' if value > 0 else 'n'}{step}"
    return {"text": signed(Decimal(str(round(value, 4))), 2), "shade": shade}
