"""When a strategy at work has to be stopped by itself: refusals in a row, trades that lose on average, a drawdown far
beyond the backtest's, a row of losing days. Numbers in, a decision out. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Act(StrEnum):
    CUT = "CUT"  # half the allocation
    PAUSE = "PAUSE"
    RETIRE = "RETIRE"  # to review: a person decides whether it ever comes back


@dataclass(frozen=True, slots=True)
class TrackRecord:
    """What one deployment did since it was last looked at by a person. Results in paise, net, oldest first; days are
    their sums. `drawdown_pct` live, `tested_drawdown_pct` that of the backtest, None where there is none."""

    rejections_in_row: int = 0
    results: Sequence[int] = ()
    results_since_cut: int | None = None
    losing_days_in_row: int = 0
    drawdown_pct: float = 0.0
    tested_drawdown_pct: float | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """From a risk policy; 0 turns a count off."""

    rejections: int = 3
    trades: int = 20
    drawdown_share_pct: float = 150.0
    losing_days: int = 10


@dataclass(frozen=True, slots=True)
class Stop:
    act: Act
    code: str
    message: str


def expectancy_paise(results: Sequence[int], trades: int) -> float | None:
    """Mean result of the newest so many trades; None where there are fewer."""
    return sum(results[-trades:]) / trades if trades and len(results) >= trades else None


def judge(record: TrackRecord, bounds: Bounds) -> Stop | None:
    """The hardest act that is called for; None: it may go on."""
    tested, deep = record.tested_drawdown_pct, record.drawdown_pct
    if tested and bounds.drawdown_share_pct and deep * 100 > bounds.drawdown_share_pct * tested:
        share = f"{bounds.drawdown_share_pct:g} % of the backtest's {tested:.2f} %"
        words = f"Its drawdown of {deep:.2f} % is beyond {share}."
        return Stop(Act.RETIRE, "LIVE_DRAWDOWN", words)
    if bounds.losing_days and record.losing_days_in_row >= bounds.losing_days:
        return Stop(Act.RETIRE, "LOSING_DAYS", f"It lost on {record.losing_days_in_row} trading days in a row.")
    if bounds.rejections and record.rejections_in_row >= bounds.rejections:
        words = f"The broker refused {record.rejections_in_row} of its orders in a row."
        return Stop(Act.PAUSE, "REJECTION_STREAK", words)
    mean = expectancy_paise(record.results, bounds.trades)
    if mean is not None and mean < 0:
        lost = f"₹{-mean / 100:.2f}"
        words = f"Its last {bounds.trades} trades lost {lost} each on average."
        if bounds.trades == 1:
            words = f"Its last trade lost {lost}."
        if record.results_since_cut is None:
            return Stop(Act.CUT, "NEGATIVE_EXPECTANCY", f"{words} It goes on with half its size.")
        if record.results_since_cut >= bounds.trades // 2:
            return Stop(Act.PAUSE, "NEGATIVE_EXPECTANCY", f"{words} Half the size did not help.")
    return None
