"""The candles around a trade of a backtest, read as the test itself read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np

from strategies.reports.sheet import Sheet
from trading.marketdata.models import Feed, Instrument
from trading.marketdata.windows import load_window


class Candle(NamedTuple):
    """`at`: seconds since 1970 of the bar's start. Rupees as they were paid then; volume in units."""

    at: int
    open: float
    high: float
    low: float
    close: float
    volume: int


def candles_around(sheet: Sheet, trade: dict[str, Any], *, margin: int) -> list[Candle]:
    """`margin` tested bars before the entry to as many after the exit; made of minutes where only these are stored.

    Empty where the candles are not stored any more. A bar that is not to be trusted is left out, as in the test.
    """
    feed = Feed.objects.filter(name=sheet.run.request.get("feed")).first()
    instrument = Instrument.objects.filter(symbol=trade["symbol"]).first()
    if feed is None or instrument is None:
        return []
    starts, minutes = sheet.answer.arrays["starts"], int(sheet.report["timeframe_minutes"])
    first, last = max(0, trade["entry_bar"] - margin), min(len(starts) - 1, trade["exit_bar"] + margin)
    until = datetime.fromtimestamp(int(starts[last]), UTC) + timedelta(minutes=minutes)
    prices = load_window(feed, [instrument], minutes, bars=last - first + 1, until=until)
    within = (prices.starts >= int(starts[first])) & ~np.isnan(prices.close[0])
    columns = (prices.starts, *(getattr(prices, name)[0] for name in ("open", "high", "low", "close")))
    volumes = np.nan_to_num(prices.volume[0]).astype(np.int64)
    return [Candle(*row) for row in zip(*(column[within].tolist() for column in (*columns, volumes)), strict=True)]
