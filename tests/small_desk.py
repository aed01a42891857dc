"""A desk of one trader on a broker in memory, stepped by hand: what waits in the rows is done when a test says so."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from django.utils import timezone

from execution.brokers.port import Tick
from execution.engine.account_engine import AccountEngine
from execution.models import EngineLease, Group, Intent, Order
from execution.services.order_ticket import order_ticket
from execution.states import OrderState
from tests.factories.world import World, open_market, quote, running_engine
from tests.small_broker import SmallBroker
from trading.domain.orders import OrderType, Product, Side
from trading.marketdata import clocks
from trading.portfolio.models import Position

STATES_AT_WORK = {OrderState.QUEUED, OrderState.SENDING, OrderState.UNKNOWN, OrderState.ACKED, OrderState.OPEN}


def hold_lease(account, *, token: int = 1) -> EngineLease:
    lease = running_engine(account)
    EngineLease.objects.filter(pk=lease.pk).update(token=token, expires_at=timezone.now() + timedelta(hours=1))
    return lease


@dataclass
class SmallDesk:
    world: World
    broker: SmallBroker
    engine: AccountEngine
    now: list[datetime]
    keys: list[str] = field(default_factory=list)

    @property
    def instrument(self):
        return self.world.instrument

    @property
    def portfolio(self):
        return self.world.portfolio

    @property
    def account(self):
        return self.world.portfolio.account

    def ask(self, **changes) -> Intent:
        """Buy ten at 812.35 with a stop at 804, through every gate."""
        self.world.still_running()
        self.keys.append(f"key-{len(self.keys)}")
        wish = {
            "user": self.world.user, "portfolio": self.portfolio, "symbol": self.instrument.symbol, "side": Side.BUY,
            "quantity": 10, "order_type": OrderType.LIMIT, "limit_price": Decimal("812.35"),
            "stop_price": Decimal("804.00"), "target_price": None, "product": Product.INTRADAY,
            "idempotency_key": self.keys[-1], "source": Intent.Source.PAGE, "now": self.now[0],
        } | changes  # fmt: skip
        return order_ticket(**wish)

    def turn(self, times: int = 1) -> None:
        """The engine does what waits, then hears of it from the books."""
        for _ in range(times):
            self.world.still_running()
            self.engine.sweep()
            self.engine.read_books()

    def instrument_price(self, price: str) -> None:
        quote(self.world.feed, self.instrument, price)

    def ticks(self, price: str) -> list[Tick]:
        return [Tick(self.instrument.symbol, Decimal(price), 1000, self.now[0])]

    def pass_time(self, **how: float) -> None:
        """Venue time goes on; the wall's does not."""
        self.now[0] += timedelta(**how)
        self.broker.at = self.now[0]

    def enter(self, *, filled: int = 10, **changes) -> Group:
        """An entry that filled `filled` of its ten, protected by its stop."""
        intent = self.ask(**changes)
        assert intent.state == Intent.State.APPROVED, intent.refusal
        self.turn()
        if filled:
            self.broker.fill(self.order(intent).broker_order_id, filled, "812.30")
            self.turn(3)
        return Group.objects.get(pk=intent.group_id)

    def order(self, intent: Intent) -> Order:
        return Order.objects.get(intent=intent)

    def stop_of(self, group: Group) -> Order:
        return group.orders.filter(reason="STOP", trigger_price__isnull=False).latest("pk")

    def held(self) -> int:
        return sum(Position.objects.filter(portfolio=self.portfolio).values_list("net_quantity", flat=True))

    def working(self) -> int:
        """Units that could still be sold at the broker."""
        return sum(
            order.remaining_quantity for order in self.broker.book.values()
            if not order.status.is_final and order.side is Side.SELL
        )  # fmt: skip

    def net_at_broker(self) -> int:
        return sum(fact.side.sign * fact.quantity for fact in self.broker.facts)


def small_desk(**portfolio) -> SmallDesk:
    world = open_market(**portfolio)
    now = [clocks.venue_now(world.feed.name)]
    broker = SmallBroker(at=now[0])
    hold_lease(world.portfolio.account)
    engine = AccountEngine(
        account=world.portfolio.account, feed=world.feed, gateway=broker, fence=1, now=lambda: now[0]
    )
    return SmallDesk(world, broker, engine, now)
