"""The live cells of a page, as text. The engine publishes them and pages fetch them: same words, same format."""

import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal

from execution.holdings import Holding
from trading.domain.formatting import percent, price, rupees, sign_of, signed_rupees
from trading.marketdata.models import Feed, Instrument
from trading.marketdata.quotes import Quote
from trading.marketdata.sessions import session_at
from trading.portfolio.valuation import Valuation
from trading.venue.sessions import Phase

ANY_SHARE = Instrument(has_derivatives=True)  # the shares traded here have derivatives: their session ends first


def quote_cell(quote: Quote, tick: Decimal | None = None) -> dict[str, object]:
    """Last price, change of the day in percent, and which way it is: 1, 0 or -1."""
    return {"ltp": price(quote.last_price, tick), "chg": percent(quote.change_pct), "dir": sign_of(quote.change_pct)}


def quote_cells(quotes: Mapping[str, Quote]) -> dict[str, dict[str, object]]:
    """The `prices` event: cells by symbol."""
    return {symbol: quote_cell(quote) for symbol, quote in quotes.items()}


def position_cells(holdings: Iterable[Holding]) -> dict[str, dict[str, object]]:
    """The `positions` event: cells by group."""
    return {
        str(holding.group.pk): {
            "ltp": price(holding.last_price, holding.group.instrument.tick_size),
            "pnl": signed_rupees(holding.pnl_paise),
            "pnl_pct": percent(holding.pnl_pct),
            "sign": sign_of(holding.pnl_paise),
        }
        for holding in holdings
    }


def clock_cell(feed: Feed | None, *, now: datetime) -> dict[str, object]:
    """Venue time for a page that lets it tick itself: epoch seconds, speed, phase, and when trading ends."""
    session = session_at(feed, ANY_SHARE, now) if feed else None
    phase = feed.phase if feed and feed.phase else str(session.phase_at(now) if session else Phase.CLOSED)
    clock = feed.clock() if feed else None
    return {
        "venue": round(now.timestamp(), 3),
        "speed": clock.speed if clock else 1.0,
        "phase": phase,
        "closes_at": session.closes_at.timestamp() if session and now < session.closes_at else None,
    }


def data_age_s(quotes: Iterable[Quote]) -> float | None:
    """Wall seconds since the newest price arrived; None when none ever did."""
    newest = max((quote.received_at for quote in quotes), default=None)
    return None if newest is None else round(max(0.0, time.time() - newest), 1)


def summary_cells(
    portfolio_id: int, valuation: Valuation, *, clock: Mapping[str, object], data_age: float | None
) -> dict[str, object]:
    """The `summary` event: worth and profit of one portfolio, the clock, and the age of the data."""
    return {
        "portfolio": portfolio_id,
        "equity": rupees(valuation.equity_paise, symbol=True),
        "equity_value": valuation.equity_paise / 100,
        "day_pnl": signed_rupees(valuation.day_pnl_paise, symbol=True),
        "day_pnl_pct": percent(valuation.day_pnl_pct),
        "unrealised": signed_rupees(valuation.unrealised_paise, symbol=True),
        "exposure": rupees(valuation.exposure_paise, symbol=True, decimals=0),
        "sign": sign_of(valuation.day_pnl_paise),
        "stale": valuation.stale,
        "clock": dict(clock),
        "heartbeat": {"age_s": data_age},
    }
