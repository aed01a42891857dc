"""The market of a run, read once a process: chunks of one run share it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from datetime import date
from typing import Final

from strategies.backtest.market import Market
from strategies.backtest.request import Prepared
from strategies.models import BacktestRun

_KEPT: Final = 3
_lock = threading.Lock()
_reading = threading.Lock()  # two chunks of one run that begin together read it once
_markets: OrderedDict[tuple, Market] = OrderedDict()


def market_of_run(
    run: BacktestRun, prepared: Prepared, *, settling: int, from_date: date | None = None, to_date: date | None = None
) -> Market:
    """The candles of a run, or of a part of its days. Kept for its other chunks alone: another run reads afresh."""
    key = (run.pk, settling, from_date, to_date)
    with _reading:
        with _lock:
            known = _markets.get(key)
            if known is not None:
                _markets.move_to_end(key)
                return known
        market = prepared.market(settling=settling, from_date=from_date, to_date=to_date)
        with _lock:
            _markets[key] = market
            while len(_markets) > _KEPT:
                _markets.popitem(last=False)
        return market


def forget(run_id: object) -> None:
    """The run is over."""
    with _lock:
        for key in [key for key in _markets if key[0] == run_id]:
            del _markets[key]
