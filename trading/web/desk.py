"""What one request may see of the desk: everything is read once, when first asked for, and only the user's own."""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property

from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from django_htmx.middleware import HtmxDetails

from accounts.models import BrokerAccount, User
from accounts.selectors import LOGIN_STATES
from execution.cells import clock_cell, data_age_s, quote_cell, summary_cells
from execution.engine.readiness import SILENT_AFTER
from execution.holdings import Holding, open_holdings
from execution.models import EngineLease, Group, Intent, Order
from risk.models import RiskPolicy, TradingState
from strategies.models import Signal
from trading.marketdata.clocks import venue_now
from trading.marketdata.models import Feed
from trading.marketdata.quotes import Quote, last_quotes
from trading.monitoring.models import Alert
from trading.portfolio.models import Portfolio
from trading.portfolio.valuation import Valuation, value_portfolio
from trading.realtime.publish import last_sequence
from trading.venue.sessions import exchange_date

CHOSEN = "portfolio"
INDICES = (("NSE:NIFTY50-INDEX", "NIFTY"), ("NSE:NIFTYBANK-INDEX", "BANKNIFTY"))


class DeskRequest(HttpRequest):
    """What a page is asked with, once the door has let it in."""

    user: User
    htmx: HtmxDetails
    desk: "Desk"


class Desk:
    """The desk as this request's user finds it, with the portfolio that the session has chosen."""

    def __init__(self, request: DeskRequest) -> None:
        self.request = request
        self.user = request.user
        self.wall = timezone.now()
        self.sequence = last_sequence(request.user.pk)  # read first: what happens from here on is fetched again

    @cached_property
    def portfolios(self) -> list[Portfolio]:
        return list(Portfolio.objects.for_user(self.user).select_related("account").order_by("id"))

    @cached_property
    def portfolio(self) -> Portfolio | None:
        """The portfolio chosen in this session, else the first. A choice that is not the user's counts for nothing."""
        chosen = self.request.session.get(CHOSEN)
        return next((p for p in self.portfolios if p.pk == chosen), self.portfolios[0] if self.portfolios else None)

    @property
    def account(self) -> BrokerAccount | None:
        return self.portfolio.account if self.portfolio else None

    @property
    def is_live(self) -> bool:
        return bool(self.account and self.account.is_live)

    @cached_property
    def feed(self) -> Feed | None:
        return Feed.objects.filter(name=self.account.feed).first() if self.account else None

    @cached_property
    def now(self) -> datetime:
        """Venue time."""
        return venue_now(self.account.feed) if self.account else self.wall

    @property
    def today(self) -> date:
        return exchange_date(self.now)

    @cached_property
    def quotes(self) -> Mapping[str, Quote]:
        return last_quotes(self.account.feed) if self.account else {}

    @cached_property
    def valuation(self) -> Valuation | None:
        return value_portfolio(self.portfolio, quotes=self.quotes, now=self.now) if self.portfolio else None

    @cached_property
    def holdings(self) -> list[Holding]:
        return open_holdings(self.portfolio, self.valuation) if self.portfolio and self.valuation else []

    @property
    def indices(self) -> list[dict[str, object]]:
        return [
            {"symbol": symbol, "name": name}
            | (quote_cell(self.quotes[symbol]) if symbol in self.quotes else {"ltp": "—", "chg": "—", "dir": 0})
            for symbol, name in INDICES
        ]

    # --- health -------------------------------------------------------------------------------------------------------
    @property
    def data_age(self) -> float | None:
        return data_age_s(self.quotes.values())

    @cached_property
    def engine(self) -> EngineLease | None:
        return EngineLease.objects.for_user(self.user).filter(account=self.account).first() if self.account else None

    @property
    def engine_state(self) -> str:
        """The state the engine claims, unless it has fallen silent: then nobody knows, and that is said."""
        if self.engine is None:
            return EngineLease.State.STOPPED
        if self.engine.state in {EngineLease.State.STOPPED, EngineLease.State.HALTED}:
            return self.engine.state
        beat = self.engine.beat_at
        if beat is None or self.wall - beat > SILENT_AFTER:
            return "SILENT"
        return self.engine.state

    @property
    def engine_beat_age(self) -> float | None:
        return (self.wall - self.engine.beat_at).total_seconds() if self.engine and self.engine.beat_at else None

    def forget(self, *names: str) -> None:
        """Read these again when they are next asked for: an act has changed them."""
        for name in names:
            self.__dict__.pop(name, None)

    @cached_property
    def kills(self) -> list[TradingState]:
        """Kill switches that are pulled, the person's own and those for everybody, hardest first."""
        concerns = Q(owner_id=None) | Q(owner_id=self.user.pk)
        others = Q(scope__startswith="PORTFOLIO:") & ~Q(portfolio=self.portfolio)
        return list(TradingState.objects.filter(concerns, level__gt=0).exclude(others).order_by("-level", "scope"))

    @cached_property
    def alerts(self) -> list[Alert]:
        """Unacknowledged: the user's own; for staff the house's too."""
        whose = Q(owner_id=self.user.pk) | (Q(owner_id=None) if self.user.is_staff else Q(pk=None))
        return list(Alert.objects.filter(whose, acknowledged_at=None).order_by("-last_at")[:50])

    @property
    def severe(self) -> list[Alert]:
        """The newest severe ones. A pulled kill switch has a line of its own in the strip."""
        said = {"KILL_SWITCH"} if self.kills else set()
        return [alert for alert in self.alerts if alert.level == Alert.Level.SEVERE and alert.code not in said][:3]

    # --- what needs a person ------------------------------------------------------------------------------------------
    @cached_property
    def approvals(self) -> list[Intent]:
        return list(
            Intent.objects.for_user(self.user)
            .filter(state=Intent.State.WAITING)
            .select_related("instrument", "portfolio", "signal")
            .order_by("decide_by")[:20]
        )

    @cached_property
    def logins(self) -> list[BrokerAccount]:
        return list(BrokerAccount.objects.for_user(self.user).filter(auth_state__in=LOGIN_STATES).order_by("name"))

    @cached_property
    def quarantined(self) -> list[Group]:
        return list(
            Group.objects.for_user(self.user)
            .filter(quarantined=True)
            .exclude(state=Group.State.CLOSED)
            .select_related("instrument")
        )

    @property
    def needs_count(self) -> int:
        return len(self.approvals) + len(self.logins) + len(self.quarantined) + len(self.alerts)

    # --- tiles --------------------------------------------------------------------------------------------------------
    @cached_property
    def policy(self) -> RiskPolicy | None:
        """The limits in force: the portfolio's own, else the house's."""
        own = Q(portfolio=self.portfolio) if self.portfolio else Q(pk=None)
        return RiskPolicy.objects.filter(own | Q(portfolio=None), active=True).order_by("portfolio_id").first()

    @property
    def open_risk_paise(self) -> int:
        return sum(holding.open_risk_paise or 0 for holding in self.holdings)

    @property
    def unprotected(self) -> int:
        return sum(1 for holding in self.holdings if holding.net_quantity and holding.group.stop_price is None)

    @property
    def open_risk_pct(self) -> Decimal | None:
        return self._share(self.open_risk_paise)

    @property
    def exposure_pct(self) -> Decimal | None:
        return self._share(self.valuation.exposure_paise) if self.valuation else None

    def _share(self, paise: int) -> Decimal | None:
        if self.valuation is None or self.valuation.equity_paise <= 0:
            return None
        return (Decimal(paise) * 100 / self.valuation.equity_paise).quantize(Decimal("0.01"))

    @cached_property
    def signals_today(self) -> dict[str, int]:
        """How many signals of this venue day came, were taken and were refused."""
        states = list(
            Signal.objects.filter(portfolio=self.portfolio, bar_at__date=self.today).values_list("state", flat=True)
        )
        return {
            "all": len(states),
            "taken": states.count(Signal.State.ACCEPTED),
            "refused": states.count(Signal.State.REFUSED),
        }

    @cached_property
    def last_orders(self) -> list[Order]:
        return list(self.orders()[:8])

    def orders(self):
        return Order.objects.for_user(self.user).filter(portfolio=self.portfolio).select_related("instrument")

    # --- live cells ---------------------------------------------------------------------------------------------------
    @property
    def clock(self) -> dict[str, object]:
        return clock_cell(self.feed, now=self.now)

    @property
    def summary(self) -> dict[str, object] | None:
        if self.portfolio is None or self.valuation is None:
            return None
        return summary_cells(self.portfolio.pk, self.valuation, clock=self.clock, data_age=self.data_age)
