"""What open pages are told of an account, a few times a second: words and figures ready to be put into cells."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from accounts.models import BrokerAccount
from execution.cells import clock_cell, position_cells, quote_cell, summary_cells
from execution.holdings import open_holdings
from trading.marketdata.models import Feed, Instrument
from trading.marketdata.quotes import Quote
from trading.portfolio.models import EquityPoint, Portfolio
from trading.portfolio.valuation import Valuation
from trading.realtime.publish import publish_now
from trading.venue.sessions import exchange_date


def show_prices(account: BrokerAccount, quotes: Iterable[Quote], ticks: dict[str, Instrument]) -> None:
    """Last prices of what moved."""
    cells = {}
    for quote in quotes:
        instrument = ticks.get(quote.symbol)
        if instrument is None:
            continue
        cells[quote.symbol] = quote_cell(quote, instrument.tick_size)
    if cells:
        publish_now(account.owner_id, "prices", {"quotes": cells})


def show_summary(
    portfolio: Portfolio, value: Valuation, *, feed: Feed, now: datetime, tick_age_s: float | None
) -> None:
    """The figures at the top of every page, and the open positions."""
    clock = clock_cell(feed, now=now)
    publish_now(portfolio.owner_id, "summary", summary_cells(portfolio.pk, value, clock=clock, data_age=tick_age_s))
    rows = position_cells(open_holdings(portfolio, value))
    if rows:
        publish_now(portfolio.owner_id, "positions", {"portfolio": portfolio.pk, "rows": rows})


def keep_equity(worth: Mapping[int, Valuation], *, now: datetime) -> None:
    """One point of the curve of each portfolio, by its number, for each minute of venue time; the first one stands."""
    EquityPoint.objects.bulk_create([
        EquityPoint(
            portfolio_id=portfolio_id, at=now.replace(second=0, microsecond=0), session_date=exchange_date(now),
            equity_paise=value.equity_paise, day_pnl_paise=value.day_pnl_paise,
        )
        for portfolio_id, value in worth.items()
    ], ignore_conflicts=True)  # fmt: skip
