"""Settings of a study as they come from a form or from JSON: each with its bounds, and a code for what is amiss."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, TypeVar

from strategies.backtest.errors import BacktestRefused
from strategies.backtest.request import whole_of
from strategies.backtest.sweep import COLUMNS
from strategies.rules.functions import nearest

_Choice = TypeVar("_Choice", bound=StrEnum)
OBJECTIVES: Final = (
    "sharpe", "return_pct", "cagr_pct", "sortino", "calmar", "profit_factor_net", "expectancy", "final_equity",
    "win_rate_pct", "max_drawdown_pct",
)  # fmt: skip
assert set(OBJECTIVES) <= set(COLUMNS)


def only(study: Mapping[str, Any], *known: str) -> None:
    """BacktestRefused (UNKNOWN_FIELD): a setting that this study does not have."""
    for name in study:
        if name not in known:
            hint = nearest(str(name), known)
            raise BacktestRefused(
                "UNKNOWN_FIELD", f"This study has no {name}" + (f"; did you mean {hint}?" if hint else "")
            )


def whole(study: Mapping[str, Any], name: str, usual: int, least: int, most: int) -> int:
    given = study.get(name)
    value = usual if given in (None, "") else whole_of(given, name)
    if not least <= value <= most:
        raise BacktestRefused("OUT_OF_RANGE", f"{name} lies between {least:,} and {most:,}, not at {value:,}")
    return value


def chosen(study: Mapping[str, Any], name: str, usual: _Choice) -> _Choice:
    kind = type(usual)
    given = str(study.get(name) or usual)
    if given not in set(kind):
        raise BacktestRefused("UNKNOWN_CHOICE", f"{given} is no {name}: {', '.join(kind)}")
    return kind(given)


def objective(study: Mapping[str, Any]) -> str:
    given = str(study.get("objective") or "sharpe")
    if given not in OBJECTIVES:
        raise BacktestRefused("UNKNOWN_FIGURE", f"{given} is no figure to look for: {', '.join(OBJECTIVES)}")
    return given


def seed(study: Mapping[str, Any]) -> int:
    return whole(study, "seed", 1, 0, 2**31 - 1)


def hash_of(**parts: Any) -> str:
    """sha256 of what went in: the same question on the same data has the same hash."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def as_text(report: Mapping[str, Any]) -> str:
    return json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def plain(value: float | None, digits: int = 10) -> float | None:
    """A float for JSON: None for what is no number."""
    return None if value is None or value != value or value in (float("inf"), float("-inf")) else round(value, digits)
