"""Slots of the pool under eight processes: the last is given once, whoever asks, and one that comes free too."""

import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connections
from django.utils import timezone

from execution.engine_settings import publish_settings
from execution.models import Group, Intent, QueuedSignal
from execution.services.group_advance import group_advance
from execution.services.group_exit import group_exit
from execution.services.order_ticket import order_ticket
from execution.services.queue_acts import promote
from execution.services.queue_promote import queue_promote
from execution.services.signal_accept import signal_accept
from risk.policies import publish_policy
from strategies.models import Signal
from tests.factories import InstrumentFactory
from tests.factories.world import World, open_market
from tests.races.test_races import WORKERS, race
from trading.domain.errors import NotAllowed
from trading.domain.orders import OrderType, Product, Reason, Side

pytestmark = pytest.mark.django_db(transaction=True)
SLOTS = 3


@pytest.fixture(autouse=True)
def _clean(valkey) -> Iterator[None]:
    yield
    connections.close_all()


@pytest.fixture
def world() -> World:
    world = open_market()
    publish_settings(portfolio=world.portfolio, values={"max_open_groups": SLOTS}, actor="test")
    publish_policy(portfolio=world.portfolio, values={"max_open_positions": 100}, actor="test")
    return world


def alert(world: World) -> Signal:
    """An alert for a share of its own, small enough that only the pool can stand in its way."""
    world.instrument = InstrumentFactory(sector="")  # type: ignore[assignment]
    world.still_running()
    wall = timezone.now()
    return Signal.objects.create(
        portfolio=world.portfolio, instrument=world.instrument, source="HOOK", side="BUY", entry=Decimal("812.35"),
        stop=Decimal("790.00"), quantity=5, explanation="An alert.", bar_at=wall, created_at=wall,
        expires_at=wall + timedelta(minutes=5), dedupe_key=f"hook:{uuid.uuid4()}",
    )  # fmt: skip


def fresh(world: World) -> None:
    """Prices of now for all that waits: an old one would be a refusal, which makes way for the next."""
    for one in QueuedSignal.objects.filter(state="WAITING").select_related("instrument"):
        world.instrument = one.instrument  # type: ignore[assignment]
        world.still_running()


def live(world: World) -> int:
    return Group.objects.filter(portfolio=world.portfolio).exclude(state="CLOSED").count()


def test_the_last_slot_is_never_given_twice_nor_one_that_comes_free(world):
    signals = [alert(world).pk for _ in range(WORKERS)]
    now = world.feed.venue_at
    told = race(lambda number: str(signal_accept(signal_id=signals[number], now=now).state))
    assert Counter(told) == {"ACCEPTED": SLOTS, "QUEUED": WORKERS - SLOTS}
    assert live(world) == SLOTS
    for _ in range(2):
        group = Group.objects.filter(portfolio=world.portfolio).exclude(state="CLOSED").first()
        assert group is not None
        group_exit(group_id=group.pk, reason=Reason.MANUAL, actor="me")
        for _ in range(2):
            group_advance(group_id=group.pk, now=now)  # nothing had left: it is withdrawn, and the trade is over
        assert live(world) == SLOTS - 1
        fresh(world)
        promoted = race(lambda _: queue_promote(portfolio_id=world.portfolio.pk, now=now))
        assert sum(map(int, map(str, promoted))) == 1
        assert live(world) == SLOTS
    assert QueuedSignal.objects.filter(state="WAITING").count() == WORKERS - SLOTS - 2


def test_tickets_and_alerts_share_the_slots(world):
    signals = [alert(world).pk for _ in range(WORKERS)]
    shares = [InstrumentFactory(sector="") for _ in range(WORKERS)]
    for share in shares:
        world.instrument = share
        world.still_running()
    now = world.feed.venue_at

    def work(number: int) -> str:
        if number % 2:
            return str(signal_accept(signal_id=signals[number], now=now).state)
        intent = order_ticket(
            user=world.user, portfolio=world.portfolio, symbol=shares[number].symbol, side=Side.BUY, quantity=5,
            order_type=OrderType.LIMIT, limit_price=Decimal("812.35"), stop_price=Decimal("804.00"), target_price=None,
            product=Product.INTRADAY, idempotency_key=f"key-{number}", source=Intent.Source.PAGE, now=now,
        )  # fmt: skip
        return intent.refusal_code or "APPROVED"

    told = Counter(map(str, race(work)))
    assert live(world) == SLOTS == told["ACCEPTED"] + told["APPROVED"], told
    assert set(told) <= {"ACCEPTED", "APPROVED", "QUEUED", "POOL_FULL"}


def test_an_alert_that_everybody_takes_up_is_one_trade(world):
    signal = alert(world)
    now = world.feed.venue_at
    told = race(lambda _: str(signal_accept(signal_id=signal.pk, now=now).state))
    assert set(told) == {"ACCEPTED"}
    assert live(world) == 1 and Intent.objects.filter(portfolio=world.portfolio).count() == 1


def test_a_promised_slot_is_given_to_nobody_else_and_the_pool_is_never_over(world):
    """Seven new alerts race the engine for the one slot that a person has just promised to the one that waits."""
    for _ in range(SLOTS):
        signal_accept(signal_id=alert(world).pk, now=world.feed.venue_at)
    waits = signal_accept(signal_id=alert(world).pk, now=world.feed.venue_at)
    rival = signal_accept(signal_id=alert(world).pk, now=world.feed.venue_at)
    assert (waits.state, rival.state) == ("QUEUED", "QUEUED") and live(world) == SLOTS
    group = Group.objects.filter(portfolio=world.portfolio).exclude(state="CLOSED").first()
    assert group is not None
    group_exit(group_id=group.pk, reason=Reason.MANUAL, actor="me")
    group_advance(group_id=group.pk, now=world.feed.venue_at)
    group_advance(group_id=group.pk, now=world.feed.venue_at)
    queued = QueuedSignal.objects.get(signal=waits)
    assert promote(queued_id=queued.pk, actor="me") and not promote(queued_id=queued.pk, actor="me")
    with pytest.raises(NotAllowed) as full:
        promote(queued_id=QueuedSignal.objects.get(signal=rival).pk, actor="me")
    assert full.value.code == "POOL_FULL" and "1 of them promised" in full.value.message
    signals = [alert(world).pk for _ in range(WORKERS - 1)]
    now = world.feed.venue_at

    def work(number: int) -> str:
        if number == WORKERS - 1:
            return f"promoted {queue_promote(portfolio_id=world.portfolio.pk, now=now)}"
        return str(signal_accept(signal_id=signals[number], now=now).state)

    told = Counter(map(str, race(work)))
    assert told == {"QUEUED": WORKERS - 1, "promoted 1": 1}, told
    queued.refresh_from_db()
    assert queued.state == "PROMOTED" and queued.said == "Let in by me." and live(world) == SLOTS


def test_persons_who_promise_one_free_slot_at_the_same_moment_promise_it_once(world):
    for _ in range(SLOTS):
        signal_accept(signal_id=alert(world).pk, now=world.feed.venue_at)
    waiting = [signal_accept(signal_id=alert(world).pk, now=world.feed.venue_at).pk for _ in range(WORKERS)]
    publish_settings(portfolio=world.portfolio, values={"max_open_groups": SLOTS + 1}, actor="test")
    rows = [QueuedSignal.objects.get(signal=pk).pk for pk in waiting]

    def work(number: int) -> str:
        try:
            return str(promote(queued_id=rows[number], actor=f"person {number}"))
        except NotAllowed as error:
            return error.code

    told = Counter(map(str, race(work)))
    assert told == {"True": 1, "POOL_FULL": WORKERS - 1}, told
    assert queue_promote(portfolio_id=world.portfolio.pk, now=world.feed.venue_at) == 1
    assert live(world) == SLOTS + 1
