"""Judging daily bars: one a session, sensible, on days the exchange was open."""

from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from trading.marketdata.packing.blocks import IST_S, date_of, days_of
from trading.marketdata.quality.bars import (
    BAD,
    CLOSED_DAY,
    DUPLICATE,
    GOOD,
    Floats,
    Ints,
    QualityReport,
    ordinary_calendar,
    sensible,
    with_noise,
)


class DailyBook:
    """What `DayBook` is for minutes. A stamp may lie anywhere in its day; `starts` gives the session's open."""

    def __init__(self, *, is_index: bool = False) -> None:
        self.is_index = is_index
        self.report = QualityReport()
        self._days: set[int] = set()
        self._last: int | None = None

    @staticmethod
    def starts(stamps: Ints) -> Ints:
        """The open of each stamp's session; midnight in India where there was none."""
        days = days_of(stamps)
        known, places = np.unique(days, return_inverse=True)
        opens = np.empty(known.size, np.int64)
        for place, number in enumerate(known.tolist()):
            session = ordinary_calendar(date_of(number))
            opens[place] = number * 86_400 - IST_S if session is None else int(session.opens_at.timestamp())
        return opens[places]

    def judge(
        self, starts: Ints, open_: Floats, high: Floats, low: Floats, close: Floats, volume: Floats
    ) -> NDArray[np.uint8]:
        report = self.report
        report.rows += int(starts.size)
        fate = np.where(sensible(open_, high, low, close, volume), GOOD, BAD).astype(np.uint8)
        for row, number in enumerate(days_of(starts).tolist()):
            if self._last is not None and starts[row] < self._last:
                report.unsorted += 1
            self._last = int(starts[row])
            if fate[row] != GOOD:
                continue
            if ordinary_calendar(date_of(number)) is None:
                fate[row] = CLOSED_DAY
            elif number in self._days:
                fate[row] = DUPLICATE
            else:
                self._days.add(number)
        good = fate == GOOD
        report.good += int(np.count_nonzero(good))
        report.bad_bars += int(np.count_nonzero(fate == BAD))
        report.duplicates += int(np.count_nonzero(fate == DUPLICATE))
        report.out_of_session["closed_day"] += int(np.count_nonzero(fate == CLOSED_DAY))
        if not self.is_index:
            report.zero_volume_first_bars += int(np.count_nonzero(good & (volume == 0)))
        if good.any():
            report.float_noise += int(np.count_nonzero(with_noise(open_[good], high[good], low[good], close[good])))
        return fate

    def finish(self) -> QualityReport:
        report = self.report
        report.days = len(self._days)
        if self._days:
            first, last = min(self._days), max(self._days)
            opens = self.starts(np.array([first, last]) * 86_400 - IST_S)
            report.first, report.last = (datetime.fromtimestamp(int(at), UTC).isoformat() for at in opens)
            absent = [date_of(number) for number in range(first, last) if number not in self._days]
            report.missing_days = [
                day.isoformat() for day in absent
                if (session := ordinary_calendar(day)) is not None and not session.assumed
            ]  # fmt: skip
            report.missing = len(report.missing_days)
            report.gaps = sum(
                1 for day in report.missing_days
                if (datetime.fromisoformat(day).date() - timedelta(days=1)).isoformat() not in report.missing_days
            )  # fmt: skip
        return report
