"""A desk that starts on rows that are wrong: after two comparisons both sides agree, or what differs is held back."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import uuid4

from django.utils import timezone

from execution.brokers.port import BrokerStatus
from execution.engine.account_engine import AccountEngine
from execution.engine.lease import State, acquire, set_state
from execution.identity import client_order_id
from execution.models import EngineLease, Fill, Mismatch, Order, OrderEvent, ReconRun
from execution.states import OrderState, PendingOp
from tests.factories import InstrumentFactory, PortfolioFactory
from tests.factories.world import ELEVEN, World, house_policy, open_feed, quote
from tests.prove.parts import Part, Tried, register
from tests.small_broker import SmallBroker
from tests.small_desk import SmallDesk
from trading.domain.orders import Side
from trading.portfolio.models import LedgerEntry, Position

Outcome = ReconRun.Outcome


class _Desk(SmallDesk):
    """One of many desks in one database: it beats without taking the lease of the others."""

    def held(self) -> int:
        return sum(Position.objects.filter(portfolio=self.portfolio).values_list("net_quantity", flat=True))


class _World(World):
    def still_running(self) -> None:
        EngineLease.objects.filter(account=self.portfolio.account).update(
            expires_at=timezone.now() + timedelta(hours=1), beat_at=timezone.now(), state=State.RUNNING
        )
        quote(self.feed, self.instrument)


@contextmanager
def _feed() -> Iterator[object]:
    house_policy()
    yield open_feed(at=ELEVEN, name="proof")


def one_desk(feed) -> SmallDesk:
    portfolio = PortfolioFactory(account__feed=feed.name)
    world = _World(portfolio.owner, portfolio, InstrumentFactory(), feed)
    broker, now = SmallBroker(at=ELEVEN), [ELEVEN]
    fence = acquire(portfolio.account.pk, "proof:1")
    assert fence is not None
    set_state(portfolio.account.pk, fence, State.RUNNING)
    engine = AccountEngine(
        account=portfolio.account, feed=feed, gateway=broker, fence=fence, now=lambda: now[0]  # type: ignore[arg-type]
    )  # fmt: skip
    return _Desk(world, broker, engine, now)


def corrupt(desk: SmallDesk, rng: random.Random) -> list[str]:
    """One to three things that a crash, an old backup or a wrong hand leaves behind."""
    done = []
    for what in rng.sample(
        ["state", "number", "missed", "pending", "surplus", "deficit", "stranger", "hand"], k=rng.randint(1, 3)
    ):
        orders = Order.objects.filter(portfolio=desk.portfolio)
        order = rng.choice(list(orders))
        wall = timezone.now()
        match what:
            case "state":
                state = rng.choice([s for s in OrderState if s not in (OrderState.QUEUED, OrderState.FILLED)])
                orders.filter(pk=order.pk).update(
                    state=state, lease_expires_at=wall - timedelta(seconds=1), unknown_since=wall
                )
            case "number":
                orders.filter(pk=order.pk).update(broker_order_id=None, broker_updated_at=None)
            case "missed":
                live = [one for one in desk.broker.book.values() if not one.status.is_final and one.remaining_quantity]
                for one in live[:1]:
                    desk.broker.fill(one.broker_order_id, rng.randint(1, one.remaining_quantity), "812.00")
            case "pending":
                orders.filter(pk=order.pk).update(
                    pending_op=rng.choice(list(PendingOp)), pending_quantity=rng.randint(1, 9)
                )
            case "surplus" | "deficit":
                desk.broker.surplus += rng.randint(1, 5) * (1 if what == "surplus" else -1)
            case "stranger":
                number = desk.broker.outside(desk.instrument.symbol, Side.BUY, 5)
                tag = client_order_id(account_id=desk.account.pk, intent_id=uuid4(), live=False)
                desk.broker._put(desk.broker.book[number], client_order_id=tag, status=BrokerStatus.CANCELLED)
            case "hand":
                desk.broker.fill(desk.broker.outside(desk.instrument.symbol, Side.BUY, 3), 3, "812.00")
        done.append(what)
    return done


def _start_on_it(feed, unit: str) -> Tried:
    rng = random.Random(unit)
    desk = one_desk(feed)
    desk.enter(filled=rng.choice([0, 3, 10]))
    done = corrupt(desk, rng)
    for _ in range(2):
        run = desk.engine.reconcile(ReconRun.Cause.STARTUP)
        Mismatch.objects.filter(account=desk.account, state=Mismatch.State.SEEN).update(
            first_seen_at=timezone.now() - timedelta(seconds=6)
        )
    trouble = []
    if run.outcome in (Outcome.CLEAN, Outcome.HEALED) and desk.held() + _by_hand(desk) != desk.net_at_broker():
        trouble.append(f"called {run.outcome}, and {desk.held()} are held here, {desk.net_at_broker()} there")
    if run.outcome == Outcome.WAITING:
        run = desk.engine.reconcile(ReconRun.Cause.STARTUP)  # the second look at what the first comparison uncovered
    if run.outcome not in (Outcome.CLEAN, Outcome.HEALED, Outcome.QUARANTINED):
        trouble.append(f"after two comparisons still {run.outcome} {run.trouble}")
    before = _rows(desk)
    desk.engine.reconcile(ReconRun.Cause.STARTUP)
    if _rows(desk) != before:
        trouble.append(f"another comparison changed rows: {before} to {_rows(desk)}")
    trouble = [f"{one} (after {', '.join(done)})" for one in trouble]
    return Tried({run.outcome.lower(): 1}, trouble)


def _by_hand(desk: SmallDesk) -> int:
    """Units that the owner bought in the broker's own app: nobody's here."""
    ours = set(Order.objects.filter(portfolio=desk.portfolio).values_list("broker_order_id", flat=True))
    return sum(f.side.sign * f.quantity for f in desk.broker.facts if f.broker_order_id not in ours)


def _rows(desk: SmallDesk) -> tuple[int, ...]:
    mine = {"order__portfolio": desk.portfolio}
    return (
        OrderEvent.objects.filter(**mine).count(), Fill.objects.filter(**mine).count(),
        Order.objects.filter(portfolio=desk.portfolio).count(),
        LedgerEntry.objects.filter(transaction__portfolio=desk.portfolio).count(),
        Mismatch.objects.filter(account=desk.account).count(),
    )  # fmt: skip


register(
    Part(
        name="corrupted",
        claim="a start on wrong rows converges in two comparisons, or is held back",
        size=500,
        units=lambda size: [f"start {seed}" for seed in range(size)],
        prepare=_feed,
        attempt=_start_on_it,
    )
)
