"""Where candles come from, as this floor sees it: a port. Who fills it (a broker, a replay) is decided above."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Protocol

from trading.domain.clock import IST
from trading.domain.errors import TradingError
from trading.marketdata.builder import Bar
from trading.marketdata.fetching.ranges import Range
from trading.marketdata.quality.impossible import RefusedLine

DAILY = 1440  # minutes


class HistoryUnavailable(TradingError):
    """The source did not answer, or not sensibly. Nothing is known of the range; it is asked for again next time."""


@dataclass(frozen=True, slots=True)
class HistoryLimits:
    """What one request may span, and the first day of which the source knows anything."""

    minutes_span: timedelta = timedelta(days=36_500)
    daily_span: timedelta = timedelta(days=36_500)
    since: date = date(1990, 1, 1)
    spans: Mapping[int, timedelta] = field(default_factory=dict)  # of timeframes with a span of their own

    def requests(self, asked: Range, timeframe: int) -> Iterator[Range]:
        """A range cut into what may be asked for at once, oldest first; what is too old is left out."""
        start, end = asked
        first = datetime(self.since.year, self.since.month, self.since.day, tzinfo=IST)
        start = max(start, first)
        step = self.spans.get(timeframe, self.daily_span if timeframe >= DAILY else self.minutes_span)
        while start < end:
            yield start, min(start + step, end)
            start += step


NO_LIMITS = HistoryLimits()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a history told of a range: its bars, in order, and the lines that cannot be bars."""

    bars: list[Bar] = field(default_factory=list)
    refused: list[RefusedLine] = field(default_factory=list)


class HistorySource(Protocol):
    """Bars of the past."""

    @property
    def limits(self) -> HistoryLimits:
        """What one call of `history` may ask for."""
        ...

    def history(self, symbol: str, timeframe: int, start: datetime, end: datetime) -> Answer:
        """All bars of `timeframe` minutes with start <= started_at < end; an empty answer means: none exist.

        Errors: HistoryUnavailable.
        """
        ...
