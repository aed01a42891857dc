"""What open pages are told of an account, a few times a second: words and figures ready to be put into cells."""

from collections.abc import Iterable
from datetime import datetime

from accounts.models import BrokerAccount
from execution.models import Group
from trading.domain.formatting import percent, price, rupees, sign_of, signed_rupees
from trading.marketdata.models import Feed, Instrument
from trading.marketdata.quotes import Quote
from trading.marketdata.sessions import session_at
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
        cells[quote.symbol] = {
            "ltp": price(quote.last_price, instrument.tick_size),
            "chg": percent(quote.change_pct),
            "dir": sign_of(quote.change_pct or 0),
        }
    if cells:
        publish_now(account.owner_id, "prices", {"quotes": cells})


def show_summary(portfolio: Portfolio, value: Valuation, *, feed: Feed, now: datetime, tick_age_s: float | None) -> None:
    """The figures at the top of every page, and the open positions."""
    publish_now(
        portfolio.owner_id,
        "summary",
        {
            "portfolio": portfolio.pk,
            "equity": rupees(value.equity_paise, symbol=True),
            "day_pnl": signed_rupees(value.day_pnl_paise),
            "day_pnl_pct": percent(value.day_pnl_pct),
            "unrealised": signed_rupees(value.unrealised_paise),
            "exposure": rupees(value.exposure_paise, symbol=True),
            "sign": sign_of(value.day_pnl_paise),
            "stale": value.stale,
            "clock": {"venue": now.timestamp(), "speed": feed.speed, "phase": feed.phase, **_close(feed, now)},
            "heartbeat": {"age_s": tick_age_s},
        },
    )
    groups = {
        (group.instrument_id, group.product): str(group.pk)
        for group in Group.objects.filter(portfolio=portfolio).exclude(state=Group.State.CLOSED)
    }
    rows = {}
    for one in value.positions:
        key = groups.get((one.position.instrument_id, one.position.product))
        if key is None or one.last_price is None or one.pnl_paise is None:
            continue
        rows[key] = {
            "ltp": price(one.last_price, one.instrument.tick_size),
            "pnl": signed_rupees(one.pnl_paise),
            "pnl_pct": percent(one.pnl_pct),
            "sign": sign_of(one.pnl_paise),
        }
    if rows:
        publish_now(portfolio.owner_id, "positions", {"portfolio": portfolio.pk, "rows": rows})


def _close(feed: Feed, now: datetime) -> dict[str, float]:
    any_stock = Instrument(has_derivatives=True)
    session = session_at(feed, any_stock, now)
    return {"closes_at": session.closes_at.timestamp()} if session else {}


def keep_equity(portfolio: Portfolio, value: Valuation, *, now: datetime) -> None:
    """One point of the curve for each minute of venue time."""
    EquityPoint.objects.get_or_create(
        portfolio=portfolio,
        at=now.replace(second=0, microsecond=0),
        defaults={
            "session_date": exchange_date(now),
            "equity_paise": value.equity_paise,
            "day_pnl_paise": value.day_pnl_paise,
        },
    )
