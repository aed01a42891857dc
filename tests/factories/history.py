"""Days of candles, for what is tested on the past."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from strategies.contracts.publish import publish_library
from tests.factories.world import house_policy
from tests.unit.backtest.markets import wandering
from trading.marketdata.builder import Bar
from trading.marketdata.candles import store_bars
from trading.marketdata.models import Feed, Instrument, Universe, UniverseMember
from trading.venue.sessions import session_on

DAYS = tuple(date(2026, 2, day) for day in (16, 17, 18, 19, 20, 23, 24, 25, 26, 27))
TICKERS = ("SBIN", "ITC", "TCS")


def stored_history(
    days: Sequence[date] = DAYS, tickers: Sequence[str] = TICKERS, *, seed: int = 40, minutes: int = 5
) -> Feed:
    """Candles of shares of the nifty50, drawn from a seed; the library published, limits in force."""
    house_policy()
    publish_library(actor="test")
    feed, _ = Feed.objects.get_or_create(name="NSE", defaults={"kind": Feed.Kind.EXCHANGE})
    universe, _ = Universe.objects.get_or_create(name="nifty50")
    for place, ticker in enumerate(tickers):
        share, _ = Instrument.objects.get_or_create(
            symbol=f"NSE:{ticker}-EQ", defaults={"name": ticker, "tick_size": Decimal("0.05")}
        )
        UniverseMember.objects.get_or_create(universe=universe, instrument=share, from_date=date(2020, 1, 1))
        starts = [at for day in days for at in session_on(day).bar_starts(minutes)]  # type: ignore[union-attr]
        rows = wandering(seed + place, len(starts), spread=0.004 * (minutes / 5) ** 0.5)
        prices = (tuple(Decimal(f"{value:.2f}") for value in row) for row in rows)
        bars = [Bar(share.symbol, at, *four, 100) for at, four in zip(starts, prices, strict=True)]
        store_bars(feed, minutes, bars, "IMPORT")
    return feed
