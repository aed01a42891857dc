"""Fills the ports of market data with what a broker offers."""

import time
from collections.abc import Callable
from datetime import datetime

from execution.brokers.errors import BrokerError, RateLimited
from execution.brokers.port import BrokerGateway
from trading.marketdata.builder import Bar
from trading.marketdata.sources import HistoryLimits, HistoryUnavailable

LONGEST_PATIENCE_S = 30.0
TRIES = 3


class BrokerHistory:
    """The history of one broker account, as market data wants it.

    `before_call` may wait: a backfill takes its turn in the account's rate there, so that it never crowds out what
    trades need to read. `patient` asks again, a few times, where the broker said that it was asked too often.
    """

    def __init__(
        self, gateway: BrokerGateway, *, before_call: Callable[[], object] = lambda: None, patient: bool = False
    ) -> None:
        self._gateway = gateway
        self._before_call = before_call
        self._tries = TRIES if patient else 1

    @property
    def limits(self) -> HistoryLimits:
        return self._gateway.history_limits

    def history(self, symbol: str, timeframe: int, start: datetime, end: datetime) -> list[Bar]:
        name = "1d" if timeframe == 1440 else f"{timeframe}m"
        for left in reversed(range(self._tries)):
            self._before_call()
            try:
                bars = self._gateway.history(symbol, timeframe=name, start=start, end=end)
            except RateLimited as error:
                if not left:
                    raise HistoryUnavailable(error.code, error.message) from error
                time.sleep(min(error.retry_after or LONGEST_PATIENCE_S, LONGEST_PATIENCE_S))
            except BrokerError as error:
                raise HistoryUnavailable(error.code, error.message) from error
            else:
                return [Bar(symbol, bar.started_at, bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in bars]
        raise AssertionError("unreachable")
