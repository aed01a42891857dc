"""How much one person may ask of the desk's machines, and how long the answers are kept."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from strategies.backtest.candles import SESSION_MINUTES
from strategies.backtest.errors import BacktestRefused
from strategies.backtest.market import DAILY
from strategies.backtest.request import Prepared

OPEN_RUNS: Final = 8  # of one person, waiting or at work
KEPT_RUNS: Final = 500  # of one person; beyond it the oldest go
KEPT_FOR: Final = timedelta(days=180)
FAILED_KEPT_FOR: Final = timedelta(days=14)
MOST_BARS: Final = 12_000_000  # symbols × bars in memory: half a gigabyte of prices
MOST_WORK: Final = 20_000_000_000  # bars × combinations: an hour or two on one core
MOST_COMBINATIONS: Final = 50_000
MOST_PATHS: Final = 100_000
MOST_DRAWS: Final = 500_000_000  # trades × paths
MOST_SOURCES: Final = 12  # runs compared or held together
LONGEST_CHUNK: Final = timedelta(hours=2)


def bars_of(prepared: Prepared) -> int:
    """About how many bars of all symbols a request reads, without reading any."""
    minutes = prepared.body.timeframe_minutes
    a_day = 1 if minutes >= DAILY else -(-SESSION_MINUTES // minutes)
    trading_days = -(-prepared.request.days * 5 // 7)
    return len(prepared.instruments) * a_day * max(1, trading_days)


def check_size(prepared: Prepared, *, combinations: int = 1) -> int:
    """The bars of a request. BacktestRefused (TOO_LARGE): more than a worker's memory or patience."""
    bars = bars_of(prepared)
    if bars > MOST_BARS:
        raise BacktestRefused(
            "TOO_LARGE",
            f"{len(prepared.instruments)} symbols over {prepared.request.days} days are about {bars:,} bars; at most"
            f" {MOST_BARS:,} fit: fewer symbols, fewer days or a longer timeframe",
            bars=bars,
        )
    if combinations > MOST_COMBINATIONS or bars * combinations > MOST_WORK:
        raise BacktestRefused(
            "TOO_LARGE",
            f"{combinations:,} combinations over {bars:,} bars are too much work: at most {MOST_COMBINATIONS:,}"
            f" combinations and {MOST_WORK:,} bars together",
            bars=bars, combinations=combinations,
        )  # fmt: skip
    return bars
