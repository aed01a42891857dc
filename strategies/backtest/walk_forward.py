"""Learn on some months, trade the next, roll on: what would have come of choosing parameters as time went by.

Windows follow the calendar: a training range of whole months and the months after it, moved on by the length of the
latter, so that tests touch and never overlap. The last test may be cut short by the end of the range. A strategy passes
when more than `PASS_PCT` of its test windows earn; a window in which nothing could be learned or traded earns nothing.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from strategies.backtest.errors import BacktestRefused

PASS_PCT: Final = 60.0
SHORTEST_TEST_DAYS: Final = 10  # calendar days: a shorter rest at the end is left out


@dataclass(frozen=True, slots=True)
class WindowDays:
    """Both ranges with both ends included."""

    train_from: date
    train_to: date
    test_from: date
    test_to: date


@dataclass(frozen=True, slots=True)
class Verdict:
    windows: int
    with_profit: int
    profit_pct: float
    passed: bool


def windows_of(first: date, last: date, *, train_months: int, test_months: int) -> list[WindowDays]:
    """Every window of a range. BacktestRefused (TOO_SHORT): not even one training range with a test after it."""
    if not (1 <= train_months <= 120 and 1 <= test_months <= 60):
        raise BacktestRefused("MONTHS", "Train on 1 to 120 months and test on 1 to 60")
    found = []
    rolled = 0  # months, always counted from the first day: a 31st must not become a 28th for good
    while True:
        start, test_from = later(first, rolled), later(first, rolled + train_months)
        test_to = min(later(first, rolled + train_months + test_months) - timedelta(days=1), last)
        if test_from > last or (test_to - test_from).days + 1 < SHORTEST_TEST_DAYS:
            break
        found.append(WindowDays(start, test_from - timedelta(days=1), test_from, test_to))
        rolled += test_months
    if not found:
        raise BacktestRefused(
            "TOO_SHORT",
            f"{first} to {last} is too short to train on {train_months} months and test on the {test_months} after",
        )
    return found


def verdict(profits: Sequence[float | None]) -> Verdict:
    """Of the test windows' profits; None: nothing was learned or traded there."""
    won = sum(1 for one in profits if one is not None and one > 0)
    share = 100 * won / len(profits) if profits else 0.0
    return Verdict(len(profits), won, share, share > PASS_PCT)


def later(day: date, months: int) -> date:
    """The same day so many months on, or the last of a month that is shorter."""
    at = day.year * 12 + day.month - 1 + months
    year, month = divmod(at, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))
