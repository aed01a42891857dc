"""The page on which desk and broker stand side by side, and its buttons."""

from datetime import timedelta
from decimal import Decimal

import pytest
import redis
from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from execution.models import Mismatch
from tests.small_desk import SmallDesk, small_desk
from trading.outbox import nudge_stream

pytestmark = pytest.mark.django_db


@pytest.fixture
def desk(db, valkey) -> SmallDesk:
    return small_desk()


@pytest.fixture
def owner(client, desk):
    client.force_login(desk.world.user)
    return client


def difference(desk, **changes) -> Mismatch:
    wall = timezone.now()
    row = {
        "account": desk.account, "kind": "POSITION", "symbol": desk.instrument.symbol, "product": "INTRADAY",
        "session_date": desk.now[0].date(), "ours": 10, "theirs": 0, "state": "OPEN", "first_seen_at": wall,
        "last_seen_at": wall,
    } | changes  # fmt: skip
    return Mismatch.objects.create(**row)


def test_an_empty_page_says_what_would_be_there(owner):
    page = owner.get(reverse("web:reconcile")).content.decode()
    assert "The desk and the broker agree" in page and "No comparison yet" in page


def test_both_figures_stand_side_by_side_with_the_decisions_that_fit(owner, desk):
    difference(desk)
    difference(desk, kind="FILL_GONE", reference="B1:T1", symbol="NSE:ITC-EQ")
    page = owner.get(reverse("web:reconcile")).content.decode()
    assert desk.instrument.symbol in page and "B1:T1" in page
    assert page.count("Closed outside") == 1 == page.count("Reverse the fill")


def test_one_press_decides_and_a_second_changes_nothing(owner, desk):
    row = difference(desk)
    for _ in range(2):
        assert owner.post(reverse("web:mismatch", args=[row.pk]), {"decision": "accept"}).status_code == 302
    row.refresh_from_db()
    assert (row.state, row.decided_by) == ("ACCEPTED", desk.world.user.username)


@pytest.mark.parametrize("price", ["", "cheap", "-1", "NaN", "0"])
def test_a_position_is_not_closed_at_a_price_that_is_none(owner, desk, price):
    group = desk.enter()
    row = difference(desk)
    answer = owner.post(reverse("web:mismatch", args=[row.pk]), {"decision": "closed_outside", "price": price})
    assert answer.status_code == 422 and desk.held() == 10
    assert group.orders.filter(reason="SQUARE_OFF").count() == 0


def test_a_position_that_was_closed_outside_is_booked_at_the_price_given(owner, desk):
    desk.enter()
    row = difference(desk)
    answer = owner.post(reverse("web:mismatch", args=[row.pk]), {"decision": "closed_outside", "price": "1,815.00"})
    assert answer.status_code == 302 and desk.held() == 0


def test_a_comparison_can_be_asked_for(owner, desk, django_capture_on_commit_callbacks):
    line = redis.Redis.from_url(settings.REDIS_URL)
    with django_capture_on_commit_callbacks(execute=True):
        assert owner.post(reverse("web:compare-now")).status_code == 302
    rung = line.xrange(nudge_stream(desk.account.pk))
    assert [fields[b"name"] for _, fields in rung][-1] == b"engine.reconcile"


def test_money_is_shown_in_rupees_and_accepted_with_one_press(owner, desk):
    desk.engine.reconcile("STARTUP")
    desk.broker.paid_in = Decimal(-50_000)
    desk.engine.reconcile("PERIODIC")
    Mismatch.objects.update(first_seen_at=timezone.now() - timedelta(seconds=6))
    desk.engine.reconcile("PERIODIC")
    page = owner.get(reverse("web:reconcile")).content.decode()
    assert "Money" in page and "10,00,000.00" in page and "−50,000.00" in page
    row = Mismatch.objects.get()
    assert owner.post(reverse("web:mismatch", args=[row.pk]), {"decision": "accept"}).status_code == 302
    assert desk.engine.reconcile("PERIODIC").outcome == "CLEAN"
    assert "Free funds" in owner.get(reverse("web:risk")).content.decode()
