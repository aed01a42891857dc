"""The laws of the signal engine, checked after every step of a desk that is pushed about by alerts, fills and ticks."""

import os
import uuid
from collections import Counter
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, run_state_machine_as_test

from execution.brokers.port import BookOrder
from execution.engine_settings import publish_settings, settings_of
from execution.models import Fill, Group, Leg, Order, PartExit, QueuedSignal
from execution.services.part_exit import part_exit
from execution.services.slot_reserve import pool_room
from risk.policies import publish_policy
from strategies.models import Signal
from tests.factories.market import InstrumentFactory
from tests.factories.world import quote, running_engine
from tests.property.test_desk_machine import DeskMachine
from trading.domain.errors import TradingError
from trading.domain.money import to_tick
from trading.domain.orders import Reason, Side
from trading.marketdata.models import Instrument

MODES = ("LEG", "AGGREGATE", "HYBRID", "PYRAMID_AGGREGATE")
LOOSE = {
    "stop_required": False, "loss_streak": 1000, "cooldown_min": 0, "max_trades_per_day": 10_000,
    "day_value_pct": "999", "daily_loss_soft_pct": "90", "daily_loss_hard_pct": "95", "max_open_positions": 100,
}  # fmt: skip


class EngineMachine(DeskMachine):
    """One portfolio, three shares, two slots; alerts of every kind in any order."""

    @initialize()
    def begin(self) -> None:
        super().begin()
        others: list[Instrument] = [InstrumentFactory(symbol=f"NSE:{name}-EQ") for name in ("ITC", "WIPRO")]  # type: ignore[list-item]
        self.shares = [self.desk.instrument, *others]
        publish_policy(portfolio=self.desk.portfolio, values=LOOSE, actor="test")
        publish_settings(portfolio=self.desk.portfolio, values={"max_open_groups": 2}, actor="test")
        self.fresh()

    def traded_at(self, order: BookOrder, price: str) -> str:
        """Here the exchange keeps to limits: what a ladder's steps are apart would mean nothing otherwise."""
        if order.limit_price is None or (Decimal(price) - order.limit_price) * order.side.sign <= 0:
            return price
        return str(order.limit_price)

    def price_of(self, share: Instrument) -> str:
        return "812.35"

    def fresh(self) -> None:
        for share in self.shares:
            quote(self.desk.world.feed, share, self.price_of(share))

    # -- what happens

    @precondition(lambda self: False)
    @rule()
    def the_exchange_takes_back(self) -> None:
        """A bust is the business of the other machine."""

    @rule(
        kind=st.sampled_from(["ENTRY", "ENTRY", "ENTRY", "EXIT", "REDUCE", "REVERSE"]),
        side=st.sampled_from([Side.BUY, Side.BUY, Side.SELL]), share=st.integers(0, 2), quantity=st.integers(1, 60),
        has_stop=st.booleans(), copies=st.integers(1, 2),
    )  # fmt: skip
    def alert(self, kind: str, side: Side, share: int, quantity: int, has_stop: bool, copies: int) -> None:
        wall = timezone.now()
        stop = Decimal(790) if side is Side.BUY else Decimal(835)
        signal, _ = Signal.objects.get_or_create(
            dedupe_key=f"hook:{uuid.uuid4()}",
            defaults={
                "portfolio": self.desk.portfolio, "instrument": self.shares[share], "source": "HOOK", "kind": kind,
                "side": side, "entry": Decimal("812.35"), "stop": stop if has_stop else None, "quantity": quantity,
                "explanation": "An alert.", "bar_at": self.desk.now[0], "created_at": wall,
                "expires_at": wall + timedelta(minutes=2),
            },
        )  # fmt: skip
        self.fresh()
        for _ in range(copies):  # rung twice
            self.desk.engine.answer("engine.signal", {"signal_id": str(signal.pk)})

    @rule(mode=st.sampled_from(MODES), slots=st.integers(1, 2))
    def settings_change(self, mode: str, slots: int) -> None:
        values = {"take_profit": mode, "max_open_groups": slots, "aggregate_target_pct": "0.5"}
        publish_settings(portfolio=self.desk.portfolio, values=values, actor="test")
        self.most = slots

    @rule(price=st.sampled_from(["800.00", "812.35", "818.40", "821.00", "830.00"]))
    def tick(self, price: str) -> None:
        self.desk.engine.watch_groups()
        self.desk.engine.hear_ticks(self.desk.ticks(price))

    @precondition(lambda self: self.groups().filter(state__in=Group.HELD, close_reason="").exists())
    @rule(quantity=st.integers(1, 30), key=st.sampled_from(["a", "b"]))
    def part(self, quantity: int, key: str) -> None:
        group = self.groups().filter(state__in=Group.HELD, close_reason="").first()
        assert group is not None
        try:
            part_exit(group_id=group.pk, key=key, quantity=quantity, reason=Reason.MANUAL, actor="me")
        except TradingError as error:
            assert error.code == "IDEMPOTENCY_KEY_REUSED"

    @rule(times=st.integers(1, 2))
    def turn(self, times: int) -> None:
        for _ in range(times):
            running_engine(self.desk.account)
            self.fresh()
            self.desk.engine.sweep()
            self.desk.engine.read_books()

    # -- what always holds

    def exits_fit_the_position(self, signed: Counter[object]) -> None:
        """Share by share, on either side: `laws_of_the_engine` does it."""

    def slots_agree(self, taken: int, alive: int) -> None:
        """Risk counts the first orders that work or traded; a trade whose first order ended lives by its other legs."""
        assert taken <= alive, "11: a slot of risk without a trade"

    @invariant()
    def laws_of_the_engine(self) -> None:
        if not hasattr(self, "shares"):
            return
        portfolio = self.desk.portfolio
        alive = list(Group.objects.filter(portfolio=portfolio).exclude(state="CLOSED"))
        assert pool_room(portfolio.pk).taken == len(alive), "a slot is held while a trade is not closed"
        assert len(alive) <= 2, "the last slot was given twice"
        keys = [(group.instrument_id, group.product) for group in alive]
        assert len(set(keys)) == len(keys), "one live trade for a key"
        for share in self.shares:
            book = [one for one in self.desk.broker.book.values() if one.symbol == share.symbol]
            facts = [one for one in self.desk.broker.facts if one.symbol == share.symbol]
            net = sum(fact.side.sign * fact.quantity for fact in facts)
            for group in alive:
                if group.instrument_id == share.pk:
                    self.exits_fit(group, book, net)
        for group in alive:
            built = Order.objects.filter(group=group, filled_quantity__gt=0, intent__leg__isnull=False)
            built = len(set(built.values_list("intent__leg__pyramid", flat=True)))
            assert built <= settings_of(portfolio.pk).max_pyramids, "12: more pyramids than allowed were filled"
        for leg in Leg.objects.filter(pyramid__group__portfolio=portfolio):
            orders = Order.objects.filter(intent__leg=leg)
            assert sum(order.quantity for order in orders) <= leg.quantity, "a leg was sent twice"
        self.steps_are_apart()
        for part in PartExit.objects.filter(group__portfolio=portfolio):
            orders = Order.objects.filter(intent__part=part)
            assert sum(order.filled_quantity for order in orders) <= max(part.quantity, 0), "a part closed too much"
        waiting = QueuedSignal.objects.filter(portfolio=portfolio, state="WAITING")
        for one in waiting.select_related("signal"):
            assert one.signal.state == Signal.State.QUEUED
        queued = Signal.objects.filter(portfolio=portfolio, state=Signal.State.QUEUED)
        assert queued.count() == waiting.count(), "a signal waits without a place in the queue"

    def steps_are_apart(self) -> None:
        """12: what was filled of a step lies at least its gap beyond the price of its pyramid, whatever became of its
        order; and no two steps of a pyramid lie at one distance."""
        fills = Fill.objects.filter(
            order__portfolio=self.desk.portfolio, bust=None, synthetic=False, order__intent__leg__index__gt=0
        ).select_related("order__intent__leg__pyramid", "order__instrument")  # fmt: skip
        for fill in fills:
            leg, side = fill.order.intent.leg, Side(fill.order.side)
            raw = leg.pyramid.entry_price * (1 + side.sign * leg.gap_pct / 100)
            furthest = to_tick(raw, tick=fill.order.instrument.tick_size, side=side)
            assert (fill.price - furthest) * side.sign <= 0, "12: a step was filled nearer than its gap"
        gaps = Leg.objects.filter(pyramid__group__portfolio=self.desk.portfolio).values_list("pyramid", "gap_pct")
        assert len(set(gaps)) == len(gaps), "12: two steps at one distance"

    @staticmethod
    def exits_fit(group: Group, book: list, net: int) -> None:  # type: ignore[type-arg]
        side = Side(group.side)
        held = net * side.sign
        assert held >= 0, "10: a trade never changes its sign"
        leaving = sum(one.remaining_quantity for one in book if not one.status.is_final and one.side is side.opposite)
        assert leaving <= held, "8, 9: exits never exceed the position"


EXAMPLES = int(os.environ.get("ENGINE_EXAMPLES", "3"))
STEPS = settings(
    max_examples=EXAMPLES, stateful_step_count=20, deadline=None, derandomize=EXAMPLES == 3, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


@pytest.mark.django_db
def test_the_laws_of_the_engine_hold_whatever_happens(valkey):
    run_state_machine_as_test(EngineMachine, settings=STEPS)
