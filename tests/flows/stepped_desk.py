"""A desk on a stepped sandbox: every tick is asked for, and the desk does at each one all that it would do live."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any

from accounts.models import User
from accounts.secrets import seal
from execution.brokers.control import SandboxControl
from execution.brokers.instrument_refresh import SOURCES
from execution.brokers.port import Bar, BrokerGateway
from execution.brokers.registry import control_url_of, gateway_of, paper_gateway_of, sign_in
from execution.engine.account_engine import AccountEngine
from execution.engine.lease import State, acquire, renew, set_state
from execution.models import EngineLease, Group, Intent, Order
from execution.replay.run import LockStep
from execution.services.order_ticket import order_ticket
from tests.factories import BrokerAccountFactory, PortfolioFactory
from tests.factories.people import paper_account_on
from tests.factories.world import house_policy, open_feed
from trading.domain.clock import IST
from trading.domain.money import to_tick
from trading.domain.orders import OrderType, Product, Side
from trading.marketdata.listing.instruments import Origin, refresh_instruments
from trading.marketdata.models import Instrument
from trading.marketdata.quotes import store_quotes
from trading.portfolio.models import Portfolio, Position

DAY = datetime(2026, 11, 20, 10, 0, tzinfo=IST)
APP, SECRET = "FLOWTEST01-100", "flow-secret"
ARGUMENTS = ("--stepped", "--seed", "7", "--no-rate-limit", "--start", "2026-11-20T09:15")
SYMBOL = "NSE:SBIN-EQ"


class SteppedDesk:
    """One trader, one share (or several), one engine driven by hand."""

    def __init__(
        self, base_url: str, broker: str = "FYERS", *, symbols: Sequence[str] = (SYMBOL,), day: datetime = DAY,
        paper: bool = False,
    ) -> None:  # fmt: skip
        house_policy()
        self.feed = open_feed(at=day)
        account = BrokerAccountFactory(
            broker=broker,
            base_url=base_url,
            app_id=APP,
            access_token_sealed=None,
            app_secret_sealed=b"-",
            token_expires_at=None,
            broker_user_id="",
        )
        account.app_secret_sealed = seal(SECRET, owner_id=account.owner_id, purpose="app_secret")
        account.save()
        self.account = sign_in(account)
        self.user: User = account.owner
        self.now = day
        if paper:
            account = self.account = paper_account_on(self.account)
        self.gateway = self._gateway()
        origin = Origin(SOURCES[broker])
        refresh_instruments(self.gateway.instruments(), now=self.now, actor="test", origin=origin)
        # A share with derivatives: its continuous trading ends at 15:15.
        Instrument.objects.filter(symbol=SYMBOL).update(has_derivatives=True)
        self.instrument = Instrument.objects.get(symbol=SYMBOL)
        self.portfolio = Portfolio.objects.filter(account=account).first() or PortfolioFactory(account=account)
        self.control = SandboxControl(control_url=control_url_of(account))
        self.control.step(until=day)
        self.symbols = list(symbols)
        self._take_up()

    def _gateway(self) -> BrokerGateway:
        if self.account.is_paper:  # every price is asked for: nothing is known from before an order
            return paper_gateway_of(self.account, paced=False, now=lambda: self.now, ask_every_s=0.0)
        return gateway_of(self.account, paced=False)

    def _take_up(self) -> None:
        """An engine with a lease of its own, that knows what is in the rows and nothing else."""
        fence = acquire(self.account.pk, "test:1")
        assert fence is not None
        self.fence = fence
        self.engine = AccountEngine(
            account=self.account, feed=self.feed, gateway=self.gateway, fence=fence, now=lambda: self.now
        )
        set_state(self.account.pk, fence, State.RUNNING)
        self.venue = LockStep(self.account, self.engine, self.symbols)

    def start_again(self) -> None:
        """The engine was killed: another takes its place. What only the first one knew is gone."""
        self.gateway.close()
        self.gateway = self._gateway()
        self._take_up()

    @property
    def last(self) -> Decimal:
        return self.engine.market.quotes()[SYMBOL].last_price

    def near(self, percent: str, side: Side = Side.BUY) -> Decimal:
        """A price so many per cent from the last, on the tick."""
        return to_tick(self.last * (1 + Decimal(percent) / 100), tick=self.instrument.tick_size, side=side)

    def ready(self) -> None:
        renew(self.account.pk, self.fence)
        EngineLease.objects.filter(account=self.account).update(state=State.RUNNING)
        store_quotes(self.feed.name, self.engine.market.quotes().values())

    def act(self, times: int = 3) -> None:
        """Let the desk act at this instant, and hear what came of it."""
        for _ in range(times):
            self.ready()
            self.engine.sweep()
            self.engine.read_books()
            self.venue.drain()

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            done, _ = self.venue.step()
            self.now = max(self.now, done.venue)
            self.act(1)
        self.act(1)

    def tick_until(self, done, *, most: int = 60) -> None:
        for _ in range(most):
            if done():
                return
            self.tick()
        raise AssertionError(f"not within {most} ticks")

    def ask(self, **changes) -> Intent:
        self.ready()
        wish = {
            "user": self.user, "portfolio": self.portfolio, "symbol": SYMBOL, "side": Side.BUY, "quantity": 50,
            "order_type": OrderType.MARKET, "limit_price": None, "stop_price": self.near("-2"), "target_price": None,
            "product": Product.INTRADAY, "idempotency_key": f"key-{Intent.objects.count()}",
            "source": Intent.Source.PAGE, "now": self.now,
        } | changes  # fmt: skip
        return order_ticket(**wish)

    def enter(self, **changes) -> Group:
        intent = self.ask(**changes)
        assert intent.state == Intent.State.APPROVED, intent.refusal
        self.tick_until(lambda: Order.objects.get(intent=intent).state == "FILLED")
        self.act()
        return Group.objects.get(pk=intent.group_id)

    # -- both sides of the wire ----------------------------------------------------------------------------------

    def held(self) -> int:
        return sum(Position.objects.values_list("net_quantity", flat=True))

    def broker_net(self) -> int:
        return sum(one.net_quantity for one in self.gateway.positions())

    def working(self, side: Side = Side.SELL) -> int:
        """Units on sale at the broker, or being bought."""
        return sum(
            one.remaining_quantity for one in self.gateway.orders() if one.side is side and not one.status.is_final
        )

    def bars_since(self, start: datetime) -> list[Bar]:
        """The minutes of the share from an instant to now, those that began after it."""
        return self.gateway.history(SYMBOL, timeframe="1m", start=start, end=self.now).bars

    def tagged(self, order: Order) -> int:
        return sum(one.client_order_id == order.client_order_id for one in self.gateway.orders())

    def agrees(self) -> None:
        """Both books say the same, and nothing on sale goes beyond what is held."""
        held = self.held()
        assert held == self.broker_net()
        assert self.working(Side.of(held).opposite) <= abs(held)


@contextmanager
def stepped_desk(base_url: str, broker: str = "FYERS", **how: Any) -> Iterator[SteppedDesk]:
    desk = SteppedDesk(base_url, broker, **how)
    try:
        with desk.venue:
            desk.tick()
            yield desk
    finally:
        desk.gateway.close()
        desk.control.close()
