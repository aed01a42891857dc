"""The day to be replayed, as the sandbox reads it: candles of the day, and what came before them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from trading.domain.errors import NotFound
from trading.marketdata.candles import candles_of
from trading.marketdata.models import Feed, Instrument
from trading.venue.sessions import Session, session_on

HISTORY_DAYS = 12


@dataclass(frozen=True, slots=True)
class SessionFile:
    """What was written, and how much of it there is."""

    path: Path
    session: Session
    instruments: tuple[Instrument, ...]
    bars: int


def write_session_file(
    path: Path, *, feed: Feed, instruments: Sequence[Instrument], day: date, history_days: int = HISTORY_DAYS
) -> SessionFile:
    """Write the imported minutes of a day and of the days before it.

    NotFound: the exchange was closed (MARKET_CLOSED_THAT_DAY), or an instrument has no minutes (CANDLES_MISSING).
    """
    session = session_on(day, assume_weekdays=True)
    if session is None:
        raise NotFound("MARKET_CLOSED_THAT_DAY", f"There was no session on {day}.")
    begin = datetime.combine(day, datetime.min.time(), tzinfo=UTC)
    said: dict = {"date": day.isoformat(), "symbols": {}, "candles": {}, "history": {}}
    count = 0
    for instrument in instruments:
        bars = candles_of(feed, instrument, 1, start=session.opens_at, end=session.closes_at)
        if not bars:
            raise NotFound(
                "CANDLES_MISSING",
                f"There are no one-minute candles of {instrument.symbol} on {day}: import them first.",
            )
        before = candles_of(
            feed, instrument, 1, start=begin - timedelta(days=history_days), end=session.opens_at - timedelta(minutes=1)
        )
        said["symbols"][instrument.symbol] = {
            "tick_size": str(instrument.tick_size), "fy_token": instrument.fy_token, "name": instrument.name,
            "isin": instrument.isin, "prev_close": str(before[-1].close if before else bars[0].open),
        }  # fmt: skip
        said["candles"][instrument.symbol] = [_row(bar) for bar in bars]
        said["history"][instrument.symbol] = {"1": [_row(bar) for bar in before]}
        count += len(bars)
    path.write_text(json.dumps(said))
    return SessionFile(path, session, tuple(instruments), count)


def _row(bar) -> list:
    prices = [str(price.normalize()) for price in (bar.open, bar.high, bar.low, bar.close)]
    return [int(bar.started_at.timestamp()), *(float(price) for price in prices), bar.volume]
