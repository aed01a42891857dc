"""Room is counted again from orders and trades; what differs is an incident, told and set right."""

import pytest

from execution.models import Group, Order
from execution.services.group_exit import group_exit
from execution.services.room_recount import find_drift, room_recount
from risk.models import Reservation, RiskBucket
from tests.small_desk import small_desk
from trading.audit.models import AuditEntry
from trading.domain.orders import Reason
from trading.monitoring.models import Alert, Heartbeat
from trading.portfolio.models import Portfolio
from trading.venue.sessions import exchange_date

pytestmark = pytest.mark.django_db


@pytest.fixture
def desk(valkey):
    return small_desk()


def recount(desk):
    return room_recount(days=[exchange_date(desk.now[0])], second_look_s=0)


def test_nothing_differs_at_any_moment_of_a_trade(desk):
    """Asked for, resting, filled in part, filled, going out, over."""
    intent = desk.ask()
    assert recount(desk) == []
    desk.turn()
    assert recount(desk) == []
    order = desk.order(intent)
    desk.broker.fill(order.broker_order_id, 4, "812.30")
    desk.turn(2)
    assert recount(desk) == []
    exposure = RiskBucket.objects.get(kind="EXPOSURE")
    assert (exposure.reserved, exposure.used) == (6 * 812_35, 4 * 812_30)
    desk.broker.fill(order.broker_order_id, 6, "812.35")
    desk.turn(2)
    assert recount(desk) == []
    group_exit(group_id=order.group_id, reason=Reason.MANUAL, actor="me")
    desk.turn(4)
    desk.broker.fill(desk.broker.newest(), 10, "813.00")
    desk.turn(3)
    assert Group.objects.get().state == "CLOSED" and recount(desk) == []
    assert not RiskBucket.objects.exclude(kind__in=["TRADES", "DAY"]).exclude(reserved=0, used=0).exists()
    day = RiskBucket.objects.get(kind="TRADES")
    assert (day.reserved, day.used) == (0, 1), "what traded stays counted for its day"
    assert Heartbeat.objects.get(name="recount").detail["drift"] == 0


def test_a_refused_or_waiting_wish_holds_what_it_should(desk):
    Portfolio.objects.update(approval_mode="MANUAL")
    desk.portfolio.refresh_from_db()
    assert desk.ask(source="API").state == "WAITING"
    assert recount(desk) == []
    assert desk.ask().state == "REFUSED"
    assert recount(desk) == []


def test_drift_is_found_told_and_set_right(desk):
    desk.enter()
    bucket = RiskBucket.objects.get(kind="EXPOSURE")
    RiskBucket.objects.filter(pk=bucket.pk).update(used=bucket.used + 5_000)
    row = Reservation.objects.get(bucket__kind="SLOTS")
    Reservation.objects.filter(pk=row.pk).update(used=3)
    RiskBucket.objects.filter(kind="SLOTS").update(used=3)
    assert {one.table for one in recount(desk)} == {"bucket", "reservation"}
    assert find_drift(days=[exchange_date(desk.now[0])]) == set()
    assert Alert.objects.get(code="ROOM_DRIFT").count == 2
    assert AuditEntry.objects.filter(action="room.drift").count() == 2
    assert recount(desk) == []
    assert Alert.objects.get(code="ROOM_DRIFT").acknowledged_at is not None


def test_room_that_nobody_gave_back_is_given_back(desk):
    group = desk.enter()
    Group.objects.filter(pk=group.pk).update(state="CLOSED")
    Order.objects.exclude(state="FILLED").update(state="CANCELLED")
    recount(desk)
    assert not RiskBucket.objects.exclude(kind__in=["TRADES", "DAY"]).exclude(reserved=0, used=0).exists()
    assert not Reservation.objects.filter(released_at=None).exclude(bucket__kind__in=["TRADES", "DAY"]).exists()
