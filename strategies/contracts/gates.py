"""What a version must have shown before it goes on. Pure: figures and thresholds in, findings out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """One gate: what was wanted, what was found ("—": nothing is known), and whether it passed."""

    code: str
    name: str
    wanted: str
    got: str
    passed: bool

    def as_mapping(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class BacktestFigures:
    """Of an out-of-sample backtest. Percent; drawdown positive."""

    source: str
    max_drawdown_pct: float
    sharpe: float | None
    win_rate_pct: float
    trades: int


@dataclass(frozen=True, slots=True)
class PaperFigures:
    """Of the trades a version made on paper, net of charges. `losing_days` in a row, at most."""

    days: int
    trades: int
    max_drawdown_pct: float
    losing_days: int


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The numbers of a lifecycle policy."""

    paper_max_drawdown_pct: Decimal
    paper_min_sharpe: Decimal
    paper_min_win_rate_pct: Decimal
    paper_min_trades: int
    live_min_days: int
    live_min_trades: int
    live_drawdown_of_backtest_pct: Decimal
    live_max_losing_days: int


def paper_gates(test: BacktestFigures | None, wanted: Thresholds) -> list[Finding]:
    """From research to paper."""
    got = test or None
    drawdown, sharpe = (got.max_drawdown_pct, got.sharpe) if got else (None, None)
    wins, trades = (got.win_rate_pct, got.trades) if got else (None, None)
    return [
        Finding(
            "OUT_OF_SAMPLE", "Out-of-sample backtest", "one of this version", got.source if got else "—", bool(got)
        ),
        _below("MAX_DRAWDOWN", "Largest drawdown", drawdown, float(wanted.paper_max_drawdown_pct), " %"),
        _above("SHARPE", "Sharpe ratio", sharpe, float(wanted.paper_min_sharpe)),
        _above("WIN_RATE", "Winning trades", wins, float(wanted.paper_min_win_rate_pct), " %"),
        Finding(
            "TRADES", "Trades", f"at least {wanted.paper_min_trades}", _shown(trades),
            trades is not None and trades >= wanted.paper_min_trades,
        ),
    ]  # fmt: skip


def live_gates(paper: PaperFigures | None, test: BacktestFigures | None, wanted: Thresholds) -> list[Finding]:
    """From paper to live."""
    days, trades = (paper.days, paper.trades) if paper else (0, 0)
    enough = days >= wanted.live_min_days or trades >= wanted.live_min_trades
    findings = [
        Finding(
            "EXPERIENCE", "Time on paper", f"{wanted.live_min_days} days or {wanted.live_min_trades} trades",
            f"{days} days, {trades} trades", enough,
        )
    ]  # fmt: skip
    limit = float(wanted.live_drawdown_of_backtest_pct) / 100 * test.max_drawdown_pct if test else None
    drawdown = paper.max_drawdown_pct if paper else None
    findings.append(
        Finding(
            "DRAWDOWN", "Drawdown on paper",
            "—, there is no backtest to compare with" if limit is None
            else f"at most {limit:.2f} % ({wanted.live_drawdown_of_backtest_pct.normalize():f} % of the backtest's)",
            _shown(drawdown, " %"), limit is not None and drawdown is not None and drawdown <= limit,
        )
    )  # fmt: skip
    losing = paper.losing_days if paper else None
    findings.append(
        Finding(
            "LOSING_DAYS", "Losing days in a row", f"at most {wanted.live_max_losing_days}", _shown(losing),
            losing is not None and losing <= wanted.live_max_losing_days,
        )
    )  # fmt: skip
    return findings


def all_pass(findings: Sequence[Finding]) -> bool:
    return all(finding.passed for finding in findings)


def drawdown_of(opening: float, changes: Sequence[float]) -> float:
    """Largest fall of an account from its highest worth, percent; `changes` in the order they were booked."""
    worth = highest = opening
    deepest = 0.0
    for change in changes:
        worth += change
        highest = max(highest, worth)
        deepest = max(deepest, 100 * (highest - worth) / highest if highest > 0 else 100.0)
    return deepest


def losing_streak(by_day: Mapping[object, float]) -> int:
    """Most days in a row that lost, of the days that traded, in the order of the mapping."""
    longest = running = 0
    for net in by_day.values():
        running = running + 1 if net < 0 else 0
        longest = max(longest, running)
    return longest


def _below(code: str, name: str, got: float | None, limit: float, unit: str = "") -> Finding:
    return Finding(code, name, f"below {limit:g}{unit}", _shown(got, unit), got is not None and got < limit)


def _above(code: str, name: str, got: float | None, limit: float, unit: str = "") -> Finding:
    return Finding(code, name, f"above {limit:g}{unit}", _shown(got, unit), got is not None and got > limit)


def _shown(value: float | int | None, unit: str = "") -> str:
    if value is None:
        return "—"
    return f"{value}{unit}" if isinstance(value, int) else f"{value:.2f}{unit}"
