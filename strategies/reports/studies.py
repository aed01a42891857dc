"""Studies as pictures and tables: what their pages show, made of the stored report and arrays alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from functools import cached_property
from itertools import pairwise
from typing import Any, Final

import numpy as np
from django.utils.safestring import SafeString, mark_safe

from strategies.backtest import charts
from strategies.backtest.stability import heat_map, stability
from strategies.backtest.sweep import COLUMNS
from strategies.reports.compare import shade_of_correlation
from strategies.reports.figures import BY_KEY, tone_of, written
from strategies.reports.sheet import rupees_on_an_axis
from strategies.runs.answers import Answer
from trading.domain.formatting import number, signed

SHOWN_FIGURES: Final = ("return_pct", "max_drawdown_pct", "sharpe", "win_rate_pct", "profit_factor_net", "trades")
MOST_CELLS: Final = 60  # along one side of a heat map


def study_page(answer: Answer) -> Any:
    """What the page of a finished study is made of; `template` names its part."""
    kinds = {
        "SWEEP": SweepPage, "WALK_FORWARD": WalkForwardPage, "MONTE_CARLO": MonteCarloPage,
        "LOOK_AHEAD": LookAheadPage, "PORTFOLIO": PortfolioPage,
    }  # fmt: skip
    return kinds[answer.run.kind](answer)


class StudyPage:
    template = ""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.report = answer.report
        self.arrays = answer.arrays

    @property
    def hashes(self) -> list[tuple[str, str]]:
        stored = self.answer.stored
        found = [("Run", stored.run_hash), ("Data", stored.data_hash), ("Code", stored.code_version)]
        return found + ([("Seed", str(stored.seed))] if stored.seed is not None else [])


class SweepPage(StudyPage):
    """`across` and `down` choose the axes of the heat map; the two with most values are the usual ones."""

    template = "backtests/studies/_sweep.html"
    across = ""
    down = ""

    @property
    def names(self) -> list[str]:
        found: list[str] = self.report["columns"][: -len(COLUMNS)]
        return found

    @property
    def objective(self) -> str:
        aim = str(self.report["objective"])
        return BY_KEY[aim].label if aim in BY_KEY else aim

    @property
    def best(self) -> list[dict[str, Any]]:
        return [
            {
                "parameters": [_short(one["parameters"][name]) for name in self.names],
                "figures": [
                    {"text": written(key, one["figures"][key]), "tone": tone_of(key, one["figures"][key])}
                    for key in SHOWN_FIGURES
                ],
                "query": "&".join(f"p.{name}={_short(value)}" for name, value in one["parameters"].items()),
            }
            for one in self.report["best"]
        ]

    @property
    def best_score(self) -> str:
        aim = str(self.report["objective"])
        return written(aim, self.report["best"][0]["figures"][aim]) if self.report["best"] else "—"

    figure_names: Final = [BY_KEY[key].label for key in SHOWN_FIGURES]

    @property
    def deflated(self) -> dict[str, Any] | None:
        found = self.report["deflated_sharpe"]
        if found is None:
            return None
        year = 252**0.5
        return {
            "probability": f"{number(Decimal(str(100 * found['probability'])), 1)} %",
            "believable": found["believable"], "trials": number(Decimal(found["trials"]), 0),
            "own": number(Decimal(str(found["daily_sharpe"] * year)), 2),
            "luck": number(Decimal(str(found["daily_sharpe_by_luck"] * year)), 2),
        }  # fmt: skip

    @property
    def plateau(self) -> str:
        share = self.report["plateau"]
        return "—" if share is None else f"{number(Decimal(str(100 * share)), 0)} %"

    @property
    def robust(self) -> str:
        found = self.report["most_robust"]
        return "—" if found is None else ", ".join(f"{name} {_short(value)}" for name, value in found.items())

    @cached_property
    def axes(self) -> tuple[str, str] | None:
        counts = {name: np.unique(self.arrays["values"][:, at]).size for at, name in enumerate(self.names)}
        ordered = sorted(self.names, key=lambda name: -counts[name])
        if self.across in counts and self.down in counts and self.across != self.down:
            return self.across, self.down
        return (ordered[0], ordered[1]) if len(ordered) > 1 and counts[ordered[1]] > 1 else None

    @cached_property
    def maps(self) -> list[dict[str, Any]]:
        """The objective over two parameters, and the same with each set judged by its neighbours."""
        scores = self.arrays["scores"]
        if self.axes is None or not np.isfinite(scores).any() or self.report["method"] != "grid":
            return []
        values, names = self.arrays["values"], self.names
        best = int(np.nanargmax(scores))
        found = [self._map("Each set of parameters", scores, best)]
        steady = stability(names, values, scores)
        if steady is not None:
            found.append(self._map("Judged by its neighbours", steady.robust, best))
        return found

    def _map(self, title: str, scores: Any, at: int) -> dict[str, Any]:
        assert self.axes is not None
        across, down = self.axes
        xs, ys, cells, where = heat_map(self.names, self.arrays["values"], scores, across=across, down=down, at=at)
        aim, top = str(self.report["objective"]), int(np.nanargmax(np.where(np.isfinite(scores), scores, -np.inf)))
        rows = [
            {
                "name": _short(y),
                "cells": [
                    {"text": _score(aim, value), "shade": shade, "best": place == top}
                    for value, shade, place in zip(row, shades, places, strict=True)
                ],
            }
            for y, row, shades, places in zip(ys, cells.tolist(), _shades(cells), where.tolist(), strict=True)
        ]
        wide = len(xs) <= MOST_CELLS and len(ys) <= MOST_CELLS
        return {
            "title": title, "across": across, "down": down, "names": [_short(x) for x in xs],
            "rows": rows if wide else [], "too_large": not wide,
        }  # fmt: skip

    @cached_property
    def curve(self) -> SafeString:
        """Of one parameter alone: the objective along it."""
        if len(self.names) != 1:
            return _safe("")
        order = np.argsort(self.arrays["values"][:, 0])
        xs, ys = self.arrays["values"][order, 0], self.arrays["scores"][order]
        labels = [_short(xs[0]), _short(xs[len(xs) // 2]), _short(xs[-1])] if len(xs) > 2 else [_short(x) for x in xs]
        return _safe(
            charts.curves(
                [charts.Line(self.objective, ys, "s1")], labels=labels, words=lambda v: charts.minus(f"{v:g}"),
                title=f"{self.objective} along {self.names[0]}",
            )
        )  # fmt: skip


class WalkForwardPage(StudyPage):
    template = "backtests/studies/_walk_forward.html"

    @property
    def rows(self) -> list[dict[str, Any]]:
        rows = []
        for one in self.report["windows"]:
            test, train = one["test"], one["train"]
            gain = test["return_pct"] if test and test["trades"] else None
            chosen = [f"{name} {_short(value)}" for name, value in (one["parameters"] or {}).items()]
            rows.append(
                {
                    "train": f"{one['train_from']} to {one['train_to']}", "parameters": ", ".join(chosen),
                    "test": f"{one['test_from']} to {one['test_to']}",
                    "note": one["note"], "learned": written("return_pct", train and train["return_pct"]),
                    "gain": written("return_pct", gain), "tone": tone_of("return_pct", gain),
                    "drawdown": written("max_drawdown_pct", test and test["max_drawdown_pct"]),
                    "trades": written("trades", test and test["trades"]),
                    "won": "yes" if gain is not None and gain > 0 else "no",
                }
            )  # fmt: skip
        return rows

    @property
    def figures(self) -> list[dict[str, str]]:
        keys = ("return_pct", "max_drawdown_pct", "sharpe", "win_rate_pct", "trades")
        found = self.report["out_of_sample"]
        return [
            {"label": BY_KEY[key].label, "value": written(key, found[key]), "tone": tone_of(key, found[key])}
            for key in keys
        ]

    @property
    def efficiency(self) -> str:
        share = self.report["efficiency"]
        return "—" if share is None else f"{number(Decimal(str(100 * share)), 0)} %"

    @property
    def share(self) -> str:
        return f"{number(Decimal(str(self.report['windows_with_profit_pct'])), 0)} %"

    @cached_property
    def pictures(self) -> SafeString:
        gains = [one["test"]["return_pct"] if one["test"] else 0.0 for one in self.report["windows"]]
        names = [self.report["windows"][0]["test_from"], self.report["windows"][-1]["test_to"]]
        tips = [f"{one['test']}: {one['gain']}" for one in self.rows]
        svg = charts.bars(gains, names=names, tips=tips, title="Return of each test window, percent")
        returns = self.arrays["returns"]
        if returns.size > 1:
            growth = 100 * (np.cumprod(1 + returns) - 1)
            days = [_iso(self.arrays["days"][at]) for at in (0, len(returns) // 2, -1)]
            tone = "up" if growth[-1] >= 0 else "down"
            svg += charts.curves(
                [charts.Line("Out of sample", charts.thinned(growth, "last"), tone, filled=True)],
                labels=days, words=_percent, base=0.0, title="Test windows one after another, percent",
            )  # fmt: skip
        return _safe(svg)


class MonteCarloPage(StudyPage):
    template = "backtests/studies/_monte_carlo.html"

    @cached_property
    def fan(self) -> SafeString:
        bands = self.arrays["bands"]
        tones = ("muted", "s2", "s1", "s2", "muted")
        lines = [
            charts.Line(f"{share} %", row, tone)
            for share, row, tone in zip(self.report["percentiles"], bands, tones, strict=True)
        ]
        lines.append(charts.Line("As it was", self.arrays["actual"], "s3"))
        count = int(self.report["trades"])
        return _safe(
            charts.curves(
                lines, labels=["start", f"{count // 2} trades", f"{count} trades"], words=rupees_on_an_axis, height=280,
                base=float(self.report["cash"]), title="Equity after each trade: percentiles of all paths",
            )
        )  # fmt: skip

    @cached_property
    def depths(self) -> SafeString:
        values = self.arrays["drawdowns"]
        counts, edges = np.histogram(values, bins=min(31, max(5, np.unique(values).size)))
        actual = self.report["actual_max_drawdown_pct"]
        tips = [
            f"{_hundredths(low)} to {_hundredths(high)} %: {count} paths"
            for low, high, count in zip(edges, edges[1:], counts, strict=False)
        ]
        tones = ["s1" if low <= actual <= high else "down" for low, high in pairwise(edges)]
        return _safe(
            charts.bars(
                counts.astype(float).tolist(), names=[f"{_hundredths(one)} %" for one in edges[[0, -1]]],
                tips=tips, tones=tones, title="Largest drawdown of each path, percent",
            )
        )  # fmt: skip

    @property
    def rows(self) -> list[dict[str, str]]:
        return [
            {
                "share": f"{share} %", "final": written("final_equity", self.report["final_equity"][str(share)]),
                "drawdown": written("max_drawdown_pct", self.report["max_drawdown_pct"][str(share)]),
            }
            for share in self.report["percentiles"]
        ]  # fmt: skip

    @property
    def chances(self) -> list[tuple[str, str]]:
        found = self.report
        told = [
            ("that the account ends with less than it began with", found["chance_of_loss"]),
            (f"of a drawdown of {found['ruin_pct']} % or more", found["chance_of_ruin"]),
            ("of a deeper drawdown than the one that was", found["deeper_than_actual"]),
        ]
        return [(words, f"{number(Decimal(str(100 * share)), 1)} %") for words, share in told]


class LookAheadPage(StudyPage):
    template = "backtests/studies/_look_ahead.html"


class PortfolioPage(StudyPage):
    template = "backtests/studies/_portfolio.html"

    @property
    def rows(self) -> list[dict[str, Any]]:
        rows = [self._row(chr(65 + at), one["title"], one, at) for at, one in enumerate(self.report["parts"])]
        whole = {**self.report["whole"], "weight": 1.0, "risk_share": 1.0, "run": None}
        return [*rows, self._row("", "Together", whole, -1)]

    @staticmethod
    def _row(short: str, title: str, found: Any, at: int) -> dict[str, Any]:
        def pct(value: float | None) -> str:
            return "—" if value is None else f"{number(Decimal(str(100 * value)), 1)} %"

        return {
            "short": short, "title": title, "run": found["run"], "tone": f"s{at % 6 + 1}" if at >= 0 else "",
            "weight": pct(found["weight"]), "risk": pct(found["risk_share"]),
            "gain": written("return_pct", found["return_pct"]), "gain_tone": tone_of("return_pct", found["return_pct"]),
            "annual": written("annual_return_pct", found["annual_return_pct"]),
            "volatility": written("annual_volatility_pct", found["annual_volatility_pct"]),
            "sharpe": written("sharpe", found["sharpe"]),
            "drawdown": written("max_drawdown_pct", found["max_drawdown_pct"]),
        }  # fmt: skip

    @property
    def ratio(self) -> str:
        value = self.report["diversification_ratio"]
        return "—" if value is None else number(Decimal(str(value)), 2)

    @property
    def matrix(self) -> list[dict[str, Any]]:
        return matrix_of([chr(65 + at) for at in range(len(self.report["parts"]))], self.report["correlation"])

    @cached_property
    def picture(self) -> SafeString:
        lines = [
            charts.Line(chr(65 + at), charts.thinned(100 * (np.cumprod(1 + row) - 1), "last"), f"s{at % 6 + 1}")
            for at, row in enumerate(self.arrays["returns"])
        ]
        whole = charts.thinned(100 * (np.cumprod(1 + self.arrays["whole"]) - 1), "last")
        lines.append(charts.Line("Together", whole, "up" if whole[-1] >= 0 else "down"))
        days = [_iso(self.arrays["days"][at]) for at in (0, len(self.arrays["days"]) // 2, -1)]
        return _safe(
            charts.curves(lines, labels=days, words=_percent, base=0.0, height=280, title="Growth of each and of all")
        )


def matrix_of(names: Sequence[str], rows: Sequence[Sequence[float | None]]) -> list[dict[str, Any]]:
    return [
        {"name": name, "cells": [shade_of_correlation(value) for value in row]}
        for name, row in zip(names, rows, strict=True)
    ]


def _shades(cells: Any) -> list[list[str]]:
    """Eight shades by rank among the cells, the sign of the score above it: what is not above zero is never green."""
    known = np.sort(cells[np.isfinite(cells)])
    out = []
    for row in cells.tolist():
        shades = []
        for value in row:
            if value != value:
                shades.append("")
                continue
            side = known[known > 0] if value > 0 else -known[known <= 0][::-1]
            rank = np.searchsorted(side, abs(value) if value > 0 else -value, side="right") / max(1, side.size)
            shades.append(f"{'p' if value > 0 else 'n'}{min(4, 1 + int(rank * 3.999))}")
        out.append(shades)
    return out


def _score(key: str, value: float) -> str:
    if value != value:
        return ""
    if key == "final_equity":
        return rupees_on_an_axis(value)
    digits = 2 if abs(value) < 100 else 0
    exact = Decimal(str(round(value, 6)))
    return signed(exact, digits) if BY_KEY[key].unit.startswith("signed") else number(exact, digits)


def _short(value: float) -> str:
    return charts.minus(f"{value:g}")


def _hundredths(value: float) -> str:
    return number(Decimal(float(value)), 2)


def _percent(value: float) -> str:
    return f"{charts.minus(f'{value:.4g}')} %"


def _iso(ordinal: Any) -> str:
    return date.fromordinal(int(ordinal)).isoformat()


def _safe(svg: str) -> SafeString:
    return mark_safe(svg)  # noqa: S308 - drawn by `charts`, which escapes every word
