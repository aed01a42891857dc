"""Fills the ports of market data with what a broker offers."""

import time
from collections.abc import Callable
from datetime import datetime

from execution.brokers.errors import BrokerError, RateLimited
from execution.brokers.port import BrokerGateway
from trading.marketdata.builder import Bar
from trading.marketdata.sources import Answer, HistoryLimits, HistoryUnavailable

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

    def history(self, symbol: str, timeframe: int, start: datetime, end: datetime) -> Answer:
        name = "1d" if timeframe == 1440 else f"{timeframe}m"
        for left in reversed(range(self._tries)):
            self._before_call()
            try:
                told = self._gateway.history(symbol, timeframe=name, start=start, end=end)
            except RateLimited as error:
                if not left:
                    raise HistoryUnavailable(error.code, error.message) from error
                time.sleep(min(error.retry_after or LONGEST_PATIENCE_S, LONGEST_PATIENCE_S))
            except BrokerError as error:
                raise HistoryUnavailable(error.code, error.message) from error
            else:
                return Answer(
                    [
                        Bar(symbol, one.started_at, one.open, one.high, one.low, one.close, one.volume)
                        for one in told.bars
                    ],
                    told.refused,
                )
        raise AssertionError("unreachable")
