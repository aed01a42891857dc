"""What a portfolio is worth at an instant. A price that is not known makes the worth stale, never zero."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import Q, Sum

from trading.domain.clock import IST
from trading.domain.money import to_paise
from trading.marketdata.models import Instrument
from trading.marketdata.quotes import Quote
from trading.portfolio.ledger import Account
from trading.portfolio.models import LedgerEntry, Portfolio, Position, TradingDay
from trading.venue.sessions import exchange_date

STALE_AFTER_S = 5.0


@dataclass(frozen=True, slots=True)
class PositionValue:
    """One open position at the last price. Profit before charges; None where no price is known."""

    position: Position
    instrument: Instrument
    net_quantity: int
    average_price: Decimal | None
    last_price: Decimal | None
    pnl_paise: int | None
    pnl_pct: Decimal | None
    quote_age_s: float | None


@dataclass(frozen=True, slots=True)
class Valuation:
    """Paise, net of charges unless said. `stale`: some open position has no price younger than five seconds."""

    equity_paise: int
    cash_paise: int
    positions_value_paise: int
    unrealised_paise: int
    realised_today_paise: int
    charges_today_paise: int
    opening_equity_paise: int
    exposure_paise: int
    stale: bool
    positions: list[PositionValue] = field(default_factory=list)

    @property
    def is_priced(self) -> bool:
        """Every open position has a price, however old: what has none counts at its cost, and tells of no loss."""
        return all(one.last_price is not None for one in self.positions)

    @property
    def day_pnl_paise(self) -> int:
        return self.equity_paise - self.opening_equity_paise

    @property
    def day_pnl_pct(self) -> Decimal:
        if not self.opening_equity_paise:
            return Decimal(0)
        return Decimal(self.day_pnl_paise) * 100 / self.opening_equity_paise


@dataclass(frozen=True, slots=True)
class Holding:
    """What is held of one instrument: units, negative when short, and their cost in paise."""

    instrument_id: int
    symbol: str
    net_quantity: int
    cost_paise: int


def worth_of(holdings: Iterable[Holding], quotes: Mapping[str, Quote]) -> tuple[int, int]:
    """Worth and exposure of holdings in paise, at the last prices; at cost where there is none."""
    worth = exposure = 0
    for one in holdings:
        quote = quotes.get(one.symbol)
        mark = to_paise(quote.last_price * one.net_quantity) if quote else one.cost_paise
        worth += mark
        exposure += abs(mark)
    return worth, exposure


def value_portfolio(portfolio: Portfolio, *, quotes: Mapping[str, Quote], now: datetime) -> Valuation:
    """Cash and open positions at the last prices; `quotes` by symbol, `now` venue time.

    Cash follows from the positions (opening + realised - charges - cost of what is held); the ledger says the same,
    and a replayed day proves it. The first valuation of a session sets the worth the day is measured from.
    """
    rows = list(Position.objects.filter(portfolio=portfolio).select_related("instrument"))
    cash = portfolio.opening_cash_paise + sum(row.realised_paise - row.charges_paise - row.cost_paise for row in rows)
    values: list[PositionValue] = []
    worth = unrealised = exposure = 0
    stale = False
    for row in rows:
        if not row.net_quantity:
            continue
        quote = quotes.get(row.instrument.symbol)
        if quote is None:
            stale = True
            mark, pnl, pct = row.cost_paise, None, None
        else:
            stale = stale or quote.age_s > STALE_AFTER_S
            mark = to_paise(quote.last_price * row.net_quantity)
            pnl = mark - row.cost_paise
            pct = Decimal(pnl) * 100 / abs(row.cost_paise)
            unrealised += pnl
        worth += mark
        exposure += abs(mark)
        values.append(
            PositionValue(
                position=row,
                instrument=row.instrument,
                net_quantity=row.net_quantity,
                average_price=row.average_price,
                last_price=quote.last_price if quote else None,
                pnl_paise=pnl,
                pnl_pct=pct,
                quote_age_s=quote.age_s if quote else None,
            )
        )
    realised_today, charges_today = _booked_on(portfolio, now)
    equity = cash + worth
    return Valuation(
        equity_paise=equity,
        cash_paise=cash,
        positions_value_paise=worth,
        unrealised_paise=unrealised,
        realised_today_paise=realised_today,
        charges_today_paise=charges_today,
        opening_equity_paise=opening_equity(portfolio, equity_paise=equity, now=now),
        exposure_paise=exposure,
        stale=stale,
        positions=values,
    )


def opening_equity(portfolio: Portfolio, *, equity_paise: int, now: datetime) -> int:
    """The worth at the start of today's session: written down once, at the first look of the day."""
    day, _ = TradingDay.objects.get_or_create(
        portfolio=portfolio, session_date=exchange_date(now), defaults={"opening_equity_paise": equity_paise}
    )
    return day.opening_equity_paise


def _booked_on(portfolio: Portfolio, now: datetime) -> tuple[int, int]:
    """Realised profit and charges of the exchange day so far, from the ledger."""
    start = datetime.combine(exchange_date(now), datetime.min.time(), tzinfo=IST)
    today = LedgerEntry.objects.filter(
        transaction__portfolio=portfolio,
        transaction__occurred_at__gte=start,
        transaction__occurred_at__lt=start + timedelta(days=1),
    )
    costs = ~Q(account__in=[Account.CASH, Account.CAPITAL, Account.POSITIONS, Account.REALISED])
    sums = today.aggregate(
        realised=Sum("amount_paise", filter=Q(account=Account.REALISED)), charges=Sum("amount_paise", filter=costs)
    )
    return -(sums["realised"] or 0), sums["charges"] or 0
