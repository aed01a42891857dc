"""Where candles come from, as this floor sees it: a port. Who fills it (a broker, a replay) is decided above."""

from datetime import datetime
from typing import Protocol

from trading.domain.errors import TradingError
from trading.marketdata.builder import Bar


class HistoryUnavailable(TradingError):
    """The source did not answer, or not sensibly. Nothing is known of the range; it is asked for again next time."""


class HistorySource(Protocol):
    """Bars of the past."""

    def history(self, symbol: str, timeframe: int, start: datetime, end: datetime) -> list[Bar]:
        """All bars of `timeframe` minutes with start <= started_at < end, in order; an empty list means: none exist.

        Cuts its questions to what the source allows. Errors: HistoryUnavailable.
        """
        ...
