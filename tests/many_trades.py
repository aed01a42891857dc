"""A small desk with several shares, each at a price of its own: trades that win beside trades that lose."""

from datetime import timedelta
from decimal import Decimal

from django.utils import timezone

from execution.engine_settings import publish_settings
from execution.models import Group, Intent, LadderPlan, OffsetPlan, OffsetWatch, PartExit
from execution.services.offset_run import offset_run
from execution.services.order_ticket import order_ticket
from strategies.models import Signal
from tests.factories import InstrumentFactory
from tests.factories.world import quote, running_engine
from tests.small_desk import SmallDesk
from trading.domain.orders import OrderType, Product, Side

ENTRY = "812.35"
OFFSETS = {
    "offset_enabled": True, "offset_pyramids": 1, "offset_wait_s": 0, "offset_loss_pct": "5", "offset_every_s": 1,
    "offset_min_close_rupees": "500", "slippage_action": "LIMIT",
}  # fmt: skip


class ManyTrades:
    """Trades by name, opened at 812.35 with ten units each; `prices` are what the market says from then on."""

    def __init__(self, desk: SmallDesk, **settings: object) -> None:
        self.desk = desk
        self.instruments = {}
        self.groups: dict[str, Group] = {}
        self.prices: dict[str, str] = {}
        self.tell(**settings)

    def tell(self, **settings: object) -> None:
        self.told = settings
        publish_settings(portfolio=self.desk.portfolio, values=OFFSETS | settings, actor="a test")

    def beat(self) -> None:
        running_engine(self.desk.account)
        for name, instrument in self.instruments.items():
            quote(self.desk.world.feed, instrument, self.prices[name])

    def open(self, *names: str, side: Side = Side.BUY, quantity: int = 10) -> None:
        for name in names:
            self.instruments[name] = InstrumentFactory(symbol=f"NSE:{name.upper()}-EQ")
            self.prices[name] = ENTRY
        self.beat()
        intents = {
            name: order_ticket(
                user=self.desk.world.user, portfolio=self.desk.portfolio, symbol=self.instruments[name].symbol,
                side=side, quantity=quantity, order_type=OrderType.LIMIT, limit_price=Decimal(ENTRY),
                stop_price=Decimal(ENTRY) - side.sign * Decimal("8.35"), target_price=None, product=Product.INTRADAY,
                idempotency_key=f"open {name}", source=Intent.Source.PAGE, now=self.desk.now[0],
            ) for name in names
        }  # fmt: skip
        self.turn()
        for name, intent in intents.items():
            assert intent.state == Intent.State.APPROVED, intent.refusal
            self.desk.broker.fill(self.desk.order(intent).broker_order_id, quantity, ENTRY)
            self.groups[name] = intent.group
        self.turn(2)
        for group in self.groups.values():
            group.refresh_from_db()

    def build_up(self, name: str, *, quantity: int, take_profit_pct: str = "30") -> Group:
        """An entry of a hook, of one leg, into a trade without a stop; one that lives gets another pyramid."""
        if name not in self.instruments:
            self.instruments[name] = InstrumentFactory(symbol=f"NSE:{name.upper()}-EQ")
            self.prices[name] = ENTRY
            rungs = [{"gap_pct": "0", "weight_pct": "100", "take_profit_pct": take_profit_pct}]
            LadderPlan.objects.create(
                portfolio=self.desk.portfolio, name=f"of {name}", rungs=rungs, created_by="a test"
            )
            self.tell(**self.told, ladder=f"of {name}")
        self.beat()
        wall = timezone.now()
        signal = Signal.objects.create(
            portfolio=self.desk.portfolio, instrument=self.instruments[name], source="HOOK", kind="ENTRY", side="BUY",
            entry=Decimal(ENTRY), stop=None, quantity=quantity, timeframe="15", origin=name, explanation="An alert.",
            bar_at=self.desk.now[0], created_at=wall, expires_at=wall + timedelta(minutes=2),
            dedupe_key=f"hook:{name}:{wall.timestamp()}",
        )  # fmt: skip
        self.turn(2)
        group = Group.objects.get(instrument=self.instruments[name])
        order = group.orders.filter(intent__leg__pyramid__signal=signal).get()
        self.desk.broker.fill(order.broker_order_id, quantity, ENTRY)
        self.turn(2)
        self.groups[name] = group
        return group

    def turn(self, times: int = 1) -> None:
        """The engine does what waits, without the rules of time; the books say what came of it."""
        for _ in range(times):
            self.beat()
            self.desk.engine.sweep()
            self.desk.engine.read_books()

    def run(self) -> int:
        self.beat()
        return offset_run(account_id=self.desk.account.pk, now=self.desk.now[0])

    def plan(self) -> OffsetPlan:
        return OffsetPlan.objects.latest("pk")

    def line(self, name: str):
        return self.plan().lines.get(group=self.groups[name])

    def working_exit(self, name: str):
        """The order at the broker that closes a part or all of a trade, its stop aside; None where there is none."""
        return next(
            (
                order for order in self.desk.broker.book.values()
                if order.symbol == self.instruments[name].symbol and not order.status.is_final
                and order.trigger_price is None
            ), None,
        )  # fmt: skip

    def fill_exit(self, name: str, price: str, quantity: int | None = None) -> None:
        order = self.working_exit(name)
        assert order is not None, f"no exit of {name} works"
        self.desk.broker.fill(order.broker_order_id, quantity or order.remaining_quantity, price)

    def held(self, name: str) -> int:
        symbol = self.instruments[name].symbol
        return sum(fact.side.sign * fact.quantity for fact in self.desk.broker.facts if fact.symbol == symbol)

    def parts(self) -> list[PartExit]:
        return list(PartExit.objects.order_by("pk"))

    def later(self, seconds: float) -> None:
        """Wall time passes for what plans remember of it."""
        by = timedelta(seconds=seconds)
        for plan in OffsetPlan.objects.all():
            OffsetPlan.objects.filter(pk=plan.pk).update(
                created_at=plan.created_at - by, step_at=plan.step_at - by,
                ended_at=plan.ended_at and plan.ended_at - by,
            )  # fmt: skip
        OffsetWatch.objects.update(looked_at=timezone.now() - by)
