"""Many at once on PostgreSQL: limits hold, an order is claimed once, a wish is one wish, a kill switch kills.

Each racer is a process of its own with its own connection; they start together at a barrier.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from django.db import connection, connections, transaction
from django.db.models import Sum
from django.utils import timezone

from execution.models import EngineLease, Group, Intent, OffsetPlan, Order, PartExit
from execution.services.fill_apply import fill_apply
from execution.services.group_advance import group_advance
from execution.services.kill_switch_pull import kill_switch_pull
from execution.services.offset_run import offset_look, offset_run
from execution.services.order_claim import _claim
from execution.services.signal_accept import signal_accept
from execution.states import OrderState
from risk.kill_switch import of_portfolio, raise_level
from risk.models import Reservation, RiskBucket
from risk.reserve import Claim, Kind, release, reserve, settle, use
from strategies.models import Signal
from tests.factories import (
    DeploymentFactory,
    FillFactFactory,
    GroupFactory,
    InstrumentFactory,
    IntentFactory,
    OrderFactory,
    PortfolioFactory,
    SignalFactory,
)
from tests.factories.strategies import house_version
from tests.factories.world import open_market
from tests.many_trades import ManyTrades
from tests.small_desk import hold_lease, small_desk
from trading.domain.errors import NotAllowed
from trading.domain.orders import Side
from trading.portfolio.models import Position

ROUNDS = int(os.environ.get("RACE_ROUNDS", "25"))
WORKERS = 8
context = multiprocessing.get_context("fork")
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _clean(valkey) -> Iterator[None]:
    yield
    connections.close_all()


def race(work: Callable[[int], object], *, workers: int = WORKERS) -> list[object]:
    """Run `work(number)` in so many processes at once; what each returned, or the error it died of."""
    connections.close_all()  # a connection must not be shared by a fork
    barrier = context.Barrier(workers)
    results = context.SimpleQueue()

    def run(number: int) -> None:
        try:
            connection.ensure_connection()
            barrier.wait(30)
            results.put((number, work(number)))
        except BaseException as error:
            results.put((number, f"died: {type(error).__name__} {error}"))
        finally:
            connections.close_all()
            os._exit(0)

    processes = [context.Process(target=run, args=(number,)) for number in range(workers)]
    for process in processes:
        process.start()
    found = dict(results.get() for _ in processes)
    for process in processes:
        process.join(30)
    died = [said for said in found.values() if isinstance(said, str) and said.startswith("died")]
    assert not died, died
    return [found[number] for number in sorted(found)]


# -- room under a limit ------------------------------------------------------------------------------------------


def test_a_limit_is_never_passed_and_nothing_drifts():
    portfolios = [PortfolioFactory().pk for _ in range(2)]
    slots, cap = 5, 1_000

    def work(number: int) -> int:
        highest = 0
        for turn in range(ROUNDS):
            portfolio = portfolios[(number + turn) % 2]
            intent = uuid4()
            claims = [
                Claim(Kind.SLOTS, f"SLOTS:{portfolio}", 1, slots),
                Claim(Kind.EXPOSURE, f"EXPOSURE:{portfolio}", 150 + number, cap),
                Claim(Kind.SYMBOL, f"SYMBOL:{portfolio}:{turn % 3}", 1, 2),
            ]
            if turn % 2:
                claims.reverse()  # whatever the caller's order, rows are locked in one
            try:
                reserve(portfolio_id=portfolio, intent_id=intent, claims=claims)
            except NotAllowed:
                continue
            seen = {one.kind: one.taken for one in RiskBucket.objects.filter(portfolio_id=portfolio)}
            highest = max(highest, seen["EXPOSURE"])
            assert seen["SLOTS"] <= slots and seen["EXPOSURE"] <= cap, seen
            if turn % 2:  # a part fills, and the rest with it or never
                use(intent_id=intent, value_paise=40, remaining=6, remaining_before=10)
                settle(intent_id=intent, value_paise=60)
            if turn % 3:
                release(intent_id=intent, keep_trades=False)
                release(intent_id=intent, keep_trades=False)
        return highest

    race(work)
    for bucket in RiskBucket.objects.all():
        sums = Reservation.objects.filter(bucket=bucket, released_at=None).aggregate(a=Sum("amount"), u=Sum("used"))
        assert (bucket.reserved, bucket.used) == (sums["a"] or 0, sums["u"] or 0), f"{bucket} drifted"
    assert RiskBucket.objects.filter(kind="EXPOSURE", reserved__lte=cap).count() == 2


# -- claims ------------------------------------------------------------------------------------------------------


def queued(portfolio, count: int) -> list[int]:
    rows = []
    for _ in range(count):
        group = GroupFactory(portfolio=portfolio)
        order = OrderFactory(
            intent=IntentFactory(group=group), state=OrderState.QUEUED, broker_order_id=None,
            valid_until=timezone.now() + timedelta(minutes=5),
        )  # fmt: skip
        rows.append(order.pk)
    return rows


def test_each_order_is_claimed_once():
    portfolio = PortfolioFactory()
    hold_lease(portfolio.account)
    orders = queued(portfolio, 60)

    def work(number: int) -> list[int]:
        mine = orders[number:] + orders[:number]
        return [pk for pk in mine if _claim([pk], 1)]

    claimed = sorted(pk for won in race(work) for pk in won)
    assert claimed == sorted(orders)
    assert Order.objects.filter(state=OrderState.SENDING).count() == len(orders)


def test_an_engine_that_lost_its_lease_claims_nothing_more():
    portfolio = PortfolioFactory()
    hold_lease(portfolio.account)
    orders = queued(portfolio, 60)

    def work(number: int) -> list[int]:
        if number == 0:
            time.sleep(0.02)
            EngineLease.objects.update(token=2)
            return [-1]
        fence = 1 if number % 2 else 2
        return [pk * (3 - 2 * fence) for pk in orders if _claim([pk], fence)]

    won = [pk for part in race(work)[1:] for pk in part]
    assert len({abs(pk) for pk in won}) == len(won), "never by both"
    late = queued(portfolio, 1)[0]
    assert not _claim([late], 1)


@pytest.mark.parametrize("level", [1, 4])
def test_nothing_is_claimed_after_the_kill_switch(level):
    portfolio = PortfolioFactory()
    hold_lease(portfolio.account)
    orders = queued(portfolio, 80)

    def work(number: int):
        if number == 0:
            time.sleep(0.03)
            if level == 1:
                raise_level(scope=of_portfolio(portfolio), level=1, reason="race", actor="test")
            else:
                kill_switch_pull(
                    scope=of_portfolio(portfolio), level=level, reason="race", actor="test", now=timezone.now()
                )
            with connection.cursor() as cursor:
                cursor.execute("SELECT clock_timestamp()")
                return cursor.fetchone()[0]
        began = []
        for pk in orders[number:] + orders[:number]:
            with connection.cursor() as cursor:
                cursor.execute("SELECT clock_timestamp()")
                asked = cursor.fetchone()[0]
            if _claim([pk], 1):
                began.append(asked)
        return began

    pulled, *claims = race(work)
    late = [at for won in claims for at in won if at > pulled]
    assert not late, f"{len(late)} were asked for after the switch and claimed"
    assert not Order.objects.filter(state=OrderState.QUEUED).exists() or level == 1
    if level == 4:
        escaped = Order.objects.filter(state=OrderState.SENDING)
        assert not escaped.exclude(pending_op="CANCEL_ASKED").exists(), "what escaped is called back"
        assert not Group.objects.filter(close_reason="").exclude(state="CLOSED").exists()


# -- wishes ------------------------------------------------------------------------------------------------------


def test_a_signal_is_one_intent_however_many_take_it_up():
    world = open_market()
    deployment = DeploymentFactory(portfolio=world.portfolio, version=house_version())
    for _ in range(3):
        instrument = InstrumentFactory(sector="")
        world.instrument = instrument
        signal = SignalFactory(
            portfolio=world.portfolio, deployment=deployment, instrument=instrument, entry="812.35", stop="804.00",
            target="829.00",
        )  # fmt: skip
        world.still_running()
        now = world.feed.venue_at
        race(lambda _, pk=signal.pk, now=now: str(signal_accept(signal_id=pk, now=now).state))
        signal.refresh_from_db()
        assert signal.state == Signal.State.ACCEPTED, signal.refusal
        assert Intent.objects.filter(signal=signal).count() == 1 == Order.objects.filter(instrument=instrument).count()
    assert RiskBucket.objects.get(kind="SLOTS").reserved == 3


def test_more_signals_than_slots():
    world = open_market()
    deployment = DeploymentFactory(portfolio=world.portfolio, version=house_version())
    signals = []
    for _ in range(WORKERS):
        world.instrument = InstrumentFactory(sector="")
        world.still_running()
        signals.append(
            SignalFactory(
                portfolio=world.portfolio, deployment=deployment, instrument=world.instrument, entry="812.35",
                stop="804.00", target="829.00",
            ).pk
        )  # fmt: skip
    now = world.feed.venue_at
    race(lambda number: str(signal_accept(signal_id=signals[number], now=now).state))
    # Each takes a fifth of the equity at most, so three or four are 70 % of it.
    assert 3 <= Order.objects.count() == RiskBucket.objects.get(kind="SLOTS").reserved <= 5
    exposure = RiskBucket.objects.get(kind="EXPOSURE").reserved
    assert exposure <= world.portfolio.opening_cash_paise * 70 // 100
    assert set(Signal.objects.filter(state="REFUSED").values_list("refusal_code", flat=True)) <= {
        "OPEN_POSITIONS", "TOTAL_EXPOSURE",
    }  # fmt: skip


# -- news, steps and switches all at once ------------------------------------------------------------------------


def test_fault_54_fills_steps_and_a_kill_switch_together_neither_deadlock_nor_lose_a_fill():
    world = open_market()
    hold_lease(world.portfolio.account)
    groups = []
    for _ in range(4):
        group = GroupFactory(portfolio=world.portfolio, instrument=InstrumentFactory(), stop_price="98.00")
        order = OrderFactory(intent=IntentFactory(group=group, wanted_quantity=40), quantity=40)
        groups.append((group.pk, order.broker_order_id, group.instrument.symbol))
    account, now = world.portfolio.account_id, world.feed.venue_at

    def work(number: int) -> None:
        if number == 0:
            for level in (2, 3, 4):
                time.sleep(0.05)
                kill_switch_pull(scope=of_portfolio(world.portfolio), level=level, reason="race", actor="test", now=now)
            return
        for part in range(10):
            for group_id, broker_id, symbol in groups[number % 4 :] + groups[: number % 4]:
                if number % 2:
                    fact = FillFactFactory(
                        broker_order_id=broker_id, broker_trade_id=f"T{part}", symbol=symbol, side=Side.BUY, quantity=4,
                        price=Decimal("100.00"), filled_at=now,
                    )  # fmt: skip
                    fill_apply(account_id=account, fact=fact, source="SOCKET")
                else:
                    with transaction.atomic():
                        group_advance(group_id=group_id, now=now)

    race(work)
    assert set(Order.objects.filter(reason="ENTRY").values_list("filled_quantity", flat=True)) == {40}
    assert set(Position.objects.values_list("net_quantity", flat=True)) == {40}
    for group_id, _, _ in groups:
        live_exits = Order.objects.live().filter(group_id=group_id).exclude(reason="ENTRY")
        assert sum(order.remaining_quantity for order in live_exits) <= 40


def test_of_many_processes_one_makes_the_plan_and_its_parts_once():
    many = ManyTrades(small_desk())
    many.open("loser", "winner")
    many.prices |= {"loser": "760.00", "winner": "900.00"}
    many.beat()
    account, portfolio, now = many.desk.account.pk, many.desk.portfolio.pk, many.desk.now[0]

    def look_or_run(number: int) -> object:
        if number % 2:
            return offset_run(account_id=account, now=now)
        return offset_look(portfolio_id=portfolio, actor=f"process {number}", now=now) is not None

    assert race(look_or_run).count(True) <= 1
    offset_run(account_id=account, now=now)
    plan = OffsetPlan.objects.get()
    assert plan.state == OffsetPlan.State.CLOSING_WINNERS
    assert [part.quantity for part in PartExit.objects.filter(group=many.groups["winner"])] == [6]
    assert plan.lines.count() == 2
