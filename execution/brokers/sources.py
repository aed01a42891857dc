"""Fills the ports of market data with what a broker offers."""

from datetime import datetime

from execution.brokers.errors import BrokerError
from execution.brokers.port import BrokerGateway
from trading.marketdata.builder import Bar
from trading.marketdata.sources import HistoryUnavailable


class BrokerHistory:
    """The history of one broker account, as market data wants it."""

    def __init__(self, gateway: BrokerGateway) -> None:
        self._gateway = gateway

    def history(self, symbol: str, timeframe: int, start: datetime, end: datetime) -> list[Bar]:
        name = "1d" if timeframe == 1440 else f"{timeframe}m"
        try:
            bars = self._gateway.history(symbol, timeframe=name, start=start, end=end)
        except BrokerError as error:
            raise HistoryUnavailable(error.code, error.message) from error
        return [Bar(symbol, bar.started_at, bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in bars]
