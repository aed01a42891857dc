"""Many signals at once: decided in their order, what they share read once, their fates written together."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from execution.engine_settings import publish_settings
from execution.models import Group, Intent, QueuedSignal
from execution.services.queue_promote import queue_promote
from execution.services.signal_accept import signals_accept
from risk.models import Assessment
from strategies.models import Signal
from tests.factories.market import InstrumentFactory
from tests.factories.world import quote
from tests.small_desk import SmallDesk
from tests.unit.execution.test_ladders import alert, begin, decided
from trading.domain.crashpoint import arm
from trading.monitoring.models import Alert

pytestmark = pytest.mark.django_db


def share(desk: SmallDesk, ticker: str):
    instrument = InstrumentFactory(symbol=f"NSE:{ticker}-EQ")
    quote(desk.world.feed, instrument, "812.35")
    return instrument


def accept(desk: SmallDesk) -> int:
    desk.world.still_running()
    return signals_accept(account_id=desk.account.pk, now=desk.now[0])


def fates(*signals: Signal) -> list[str]:
    told = []
    for one in signals:
        one.refresh_from_db()
        told.append(one.refusal_code or one.state)
    return told


def test_an_exit_whose_bell_rings_first_still_ends_the_entry_that_came_before_it(desk):
    entry = alert(desk)
    exit_ = alert(desk, kind="EXIT", side="SELL")
    assert decided(desk, exit_).state == Signal.State.ACCEPTED
    assert fates(entry) == ["ACCEPTED"]
    assert Group.objects.get(signal=entry).close_reason == "RULE"


def test_a_round_ends_with_the_first_that_goes_to_the_market(desk):
    first = alert(desk)
    second = alert(desk, instrument=share(desk, "ITC"))
    assert accept(desk) == 1, "what it asks goes out with this commit"
    assert fates(first, second) == ["ACCEPTED", "NEW"]
    assert accept(desk) == 1 and accept(desk) == 0
    assert fates(second) == ["ACCEPTED"]


def test_a_flood_for_a_full_pool_leaves_one_in_the_queue_and_tells_how_many_it_replaced(desk):
    publish_settings(portfolio=desk.portfolio, values={"max_open_groups": 1}, actor="test")
    begin(desk)
    other = share(desk, "ITC")
    flood = [alert(desk, instrument=other, entry=Decimal(800 + number)) for number in range(6)]
    assert accept(desk) == 6
    assert fates(*flood) == ["QUEUE_REPLACED"] * 5 + ["QUEUED"]
    waits = QueuedSignal.objects.get()
    assert (waits.signal_id, waits.replacement_count, waits.entry_price) == (flood[-1].pk, 5, Decimal(805))
    newer = alert(desk, instrument=other)
    assert accept(desk) == 1
    assert fates(flood[-1], newer) == ["QUEUE_REPLACED", "QUEUED"]
    waits.refresh_from_db()
    assert waits.state == "REPLACED"
    assert QueuedSignal.objects.get(state="WAITING").replacement_count == 6


def test_an_exit_in_the_same_round_ends_the_wait(desk):
    publish_settings(portfolio=desk.portfolio, values={"max_open_groups": 1}, actor="test")
    begin(desk)
    other = share(desk, "ITC")
    waits, ends = alert(desk, instrument=other), alert(desk, instrument=other, kind="EXIT", side="SELL")
    again = alert(desk, instrument=other)
    assert accept(desk) == 3
    assert fates(waits, ends, again) == ["EXIT_ALERT", "ACCEPTED", "QUEUED"]
    assert QueuedSignal.objects.get(state="WAITING").signal_id == again.pk


def test_the_queue_is_never_longer_than_its_limit_within_a_round(desk):
    publish_settings(portfolio=desk.portfolio, values={"max_open_groups": 1, "queue_size": 2}, actor="test")
    begin(desk)
    flood = [alert(desk, instrument=share(desk, name)) for name in ("ITC", "WIPRO", "LT")]
    assert accept(desk) == 3
    assert fates(*flood) == ["QUEUED", "QUEUED", "QUEUE_FULL"]


def test_a_flood_that_risk_refuses_is_read_once_and_every_verdict_is_kept(desk):
    flood = [alert(desk, entry=Decimal("900.00")) for _ in range(30)]
    with CaptureQueriesContext(connection) as asked:
        assert accept(desk) == 30
    assert set(fates(*flood)) == {"PRICE_COLLAR"}
    intents = Intent.objects.filter(signal__in=flood, refusal_code="PRICE_COLLAR")
    assert intents.count() == 30
    kept = Assessment.objects.filter(said__contains=[["PRICE_COLLAR"]], intent_id__in=intents.values("pk"))
    assert kept.count() == 30
    assert len(asked) < 30 * 2 + 40, "two statements each, and what all share"
    assert not Group.objects.exists()


def test_one_that_cannot_be_decided_holds_up_nobody(desk):
    broken = alert(desk, features={"closes": "SELL"}, kind="EXIT", side="SELL")
    Signal.objects.filter(pk=broken.pk).update(features=["not what it should be"])
    whole = alert(desk)
    desk.engine.answer("engine.signal", {})
    assert fates(broken, whole) == ["NEW", "ACCEPTED"]
    assert Alert.objects.filter(code="STEP_FAILED").exists()


def test_an_exit_ends_the_entry_before_it_that_could_not_be_decided(desk):
    entry, exit_ = alert(desk), alert(desk, kind="EXIT", side="SELL")
    other = alert(desk, instrument=share(desk, "ITC"))
    tries: list[str] = []

    def fail(name: str) -> None:
        if name == "ladder.group_written" and len(tries) < 2:
            tries.append(name)
            raise ValueError("not today")

    arm(fail)
    try:
        desk.engine.answer("engine.signal", {})
    finally:
        arm(None)
    desk.engine.answer("engine.signal", {})
    assert len(tries) == 2 and fates(entry, exit_, other) == ["EXIT_ALERT", "NOTHING_TO_CLOSE", "ACCEPTED"]
    assert Group.objects.count() == 1


@pytest.mark.parametrize("point", ["intake.signal_locked", "intake.fates_written", "ladder.group_written"])
def test_killed_in_a_round_its_signals_are_as_new_as_they_were_and_none_is_doubled(desk, point):
    refused = [alert(desk, entry=Decimal("900.00")) for _ in range(5)]
    entry, exit_ = alert(desk), alert(desk, kind="EXIT", side="SELL")

    def die(name: str) -> None:
        if name == point:
            raise KeyboardInterrupt

    arm(die)
    try:
        with pytest.raises(KeyboardInterrupt):
            accept(desk)
    finally:
        arm(None)
    assert set(fates(*refused, entry, exit_)) == {"NEW"}
    assert not Group.objects.exists() and not Intent.objects.exists() and not Assessment.objects.exists()
    assert [accept(desk), accept(desk), accept(desk)] == [6, 1, 0]
    assert set(fates(*refused)) == {"PRICE_COLLAR"} and fates(entry, exit_) == ["ACCEPTED", "ACCEPTED"]
    assert Group.objects.count() == 1 and Intent.objects.filter(signal__in=[*refused, entry]).count() == 6


def test_what_waited_longer_than_it_is_worth_is_not_traded(desk):
    late = alert(desk, expires_at=timezone.now() - timedelta(seconds=1))
    good = alert(desk)
    assert accept(desk) == 2
    assert fates(late, good) == ["SIGNAL_AGE", "ACCEPTED"]


def test_a_promotion_that_risk_refuses_is_none_and_makes_way_for_the_next(desk):
    publish_settings(portfolio=desk.portfolio, values={"max_open_groups": 1}, actor="test")
    group = begin(desk)
    refused = decided(desk, alert(desk, instrument=share(desk, "ITC"), entry=Decimal("900.00")))
    good = decided(desk, alert(desk, instrument=share(desk, "WIPRO")))
    QueuedSignal.objects.filter(signal=refused).update(force_by="me", over_limit=True)
    QueuedSignal.objects.filter(signal=good).update(force_by="me", over_limit=True)
    assert queue_promote(portfolio_id=desk.portfolio.pk, now=desk.now[0]) == 1
    assert fates(refused, good) == ["PRICE_COLLAR", "ACCEPTED"]
    assert QueuedSignal.objects.get(signal=refused).state == "REFUSED"
    assert Group.objects.exclude(pk=group.pk).get().signal_id == good.pk
