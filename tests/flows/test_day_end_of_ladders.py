"""The day ends while legs of a ladder rest: through the wire of each broker, whichever word it has for it.

One says *expired*, the other *cancelled*. The leg is over, what was held back for it is free, a trade that holds
nothing is closed and its slot given on, and what is held over night rests again on the next day.
"""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from execution.engine_settings import publish_settings
from execution.models import Group, Leg, Order, QueuedSignal
from execution.services.room_recount import find_drift
from execution.services.slot_reserve import pool_room
from risk.models import RiskBucket
from risk.policies import publish_policy
from strategies.models import Signal
from tests.flows.stepped_desk import APP, ARGUMENTS, DAY, SECRET, SteppedDesk, stepped_desk

WORDS = {"FYERS": "EXPIRED", "ZERODHA": "CANCELLED"}
CLOSE = DAY.replace(hour=15, minute=15)  # of a share with derivatives
State = Group.State


@pytest.fixture(params=sorted(WORDS))
def desk(request, transactional_db, valkey, start_sandbox) -> Iterator[SteppedDesk]:
    sandbox = start_sandbox(*ARGUMENTS, "--app", f"{APP}:{SECRET}:XF00001:1000000")
    with stepped_desk(sandbox.base_url, request.param) as found:
        publish_policy(portfolio=found.portfolio, values={"loss_streak": 1000, "cooldown_min": 0}, actor="test")
        values = {"max_open_groups": 1, "chase_times": 0, "queue_ttl_s": 86_400}
        publish_settings(portfolio=found.portfolio, values=values, actor="test")
        yield found


def alert(desk: SteppedDesk, *, away: str = "0", **changes: object) -> Signal:
    """Fifty in five legs, the first `away` percent from the market."""
    desk.ready()
    wall, entry = timezone.now(), desk.near(away)
    values: dict[str, object] = {
        "portfolio": desk.portfolio, "instrument": desk.instrument, "source": "HOOK", "kind": "ENTRY", "side": "BUY",
        "entry": entry, "stop": desk.near("-5"), "quantity": 50, "origin": "an alert", "explanation": "An alert.",
        "max_slippage_pct": Decimal(0), "bar_at": desk.now, "created_at": wall, "product": "INTRADAY",
        "expires_at": wall + timedelta(minutes=2), "dedupe_key": f"hook:{uuid.uuid4()}",
    }  # fmt: skip
    signal = Signal.objects.create(**values | changes)
    desk.engine.answer("engine.signal", {"signal_id": str(signal.pk)})
    signal.refresh_from_db()
    return signal


def end_the_day(desk: SteppedDesk) -> None:
    desk.now = desk.control.step(until=CLOSE).venue
    desk.act(4)


def words_of(desk: SteppedDesk, group: Group) -> set[str]:
    return set(Order.objects.filter(group=group, intent__leg__isnull=False).values_list("state", flat=True))


def nothing_is_kept_back(desk: SteppedDesk) -> None:
    assert not RiskBucket.objects.exclude(kind__in=["TRADES", "DAY"]).exclude(reserved=0).exists()
    assert not find_drift(days=[DAY.date()])


def test_a_trade_whose_legs_all_rested_is_closed_and_its_slot_is_free(desk):
    signal = alert(desk, away="0.5", side="SELL", stop=desk.near("5"))
    assert signal.state == Signal.State.ACCEPTED, signal.refusal
    group = Group.objects.get(signal=signal)
    desk.tick(2)
    assert words_of(desk, group) == {"OPEN"} and Order.objects.live().count() == 5
    end_the_day(desk)
    group.refresh_from_db()
    assert words_of(desk, group) == {WORDS[desk.account.broker]}
    assert group.state == State.CLOSED and pool_room(desk.portfolio.pk).taken == 0
    assert RiskBucket.objects.filter(kind="SLOTS").values_list("reserved", "used")[0] == (0, 0)
    nothing_is_kept_back(desk)
    desk.agrees()


def test_an_intraday_trade_ends_with_the_day_whatever_of_it_rested(desk):
    signal = alert(desk)
    group = Group.objects.get(signal=signal)
    first = Leg.objects.get(pyramid__group=group, index=0)
    desk.tick_until(lambda: Order.objects.get(intent__leg=first).filled_quantity == 10, most=120)
    waits = alert(desk, side="SELL", stop=desk.near("5"))
    assert QueuedSignal.objects.get(signal=waits).cause == "NOT_FLAT"
    end_the_day(desk)
    group.refresh_from_db()
    assert group.state == State.CLOSED and desk.held() == 0 == desk.broker_net()
    assert words_of(desk, group) <= {WORDS[desk.account.broker], "FILLED"} and not Order.objects.live().exists()
    assert pool_room(desk.portfolio.pk).taken == 0
    nothing_is_kept_back(desk)


def test_what_is_held_over_night_stays_and_its_legs_rest_again(desk):
    desk.now = desk.control.step(until=DAY.replace(hour=14, minute=40)).venue
    desk.tick()
    signal = alert(desk, product="CNC")
    assert signal.state == Signal.State.ACCEPTED, signal.refusal
    group = Group.objects.get(signal=signal)
    first, *others = Leg.objects.filter(pyramid__group=group).order_by("index")
    desk.tick_until(lambda: Order.objects.get(intent__leg=first).filled_quantity == 10, most=120)
    desk.act()
    end_the_day(desk)
    group.refresh_from_db()
    held = desk.held()
    assert group.state == State.ACTIVE and held >= 10 and pool_room(desk.portfolio.pk).taken == 1
    left = [leg for leg in others if not Order.objects.filter(intent__leg=leg, filled_quantity=leg.quantity).exists()]
    assert left, "the market did not come to the furthest legs"
    assert not Order.objects.live().exists()
    nothing_is_kept_back(desk)

    opens = DAY.replace(hour=9, minute=20) + timedelta(days=3)  # the Monday
    desk.now = desk.control.step(until=opens).venue
    desk.tick(2)
    desk.act(2)
    again = Order.objects.filter(intent__leg__in=left, placed_at__gte=desk.now - timedelta(hours=1))
    assert sorted(order.intent.leg_id for order in again) == [leg.pk for leg in left], "each once"
    assert all(order.limit_price == order.intent.leg.limit_price for order in again.select_related("intent__leg"))
    assert held <= desk.held() == desk.working(), "its stop is at the broker again"
