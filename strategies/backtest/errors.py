"""A backtest that cannot be run, or that would say nothing."""

from trading.domain.errors import TradingError


class BacktestRefused(TradingError):
    """Why there is no result: a stable code, one plain sentence, and the numbers behind it."""
