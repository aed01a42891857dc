"""The signal engine in the operators' console: replays, and winners that pay for a loser, for anybody's trades."""

import re

import pytest
from django.test import Client
from django.urls import reverse

from execution.models import Delivery, Group, OffsetMark, OffsetPlan
from strategies.models import Signal
from tests.factories import UserFactory
from tests.factories.hooks import a_hook, an_alert
from tests.factories.world import open_market
from tests.many_trades import ManyTrades
from tests.small_desk import small_desk
from trading.audit.models import AuditEntry

pytestmark = pytest.mark.django_db
TRADES = "/console/execution/group/"


@pytest.fixture
def console(client: Client) -> Client:
    client.force_login(UserFactory(operator=True, username="operator"))
    return client


@pytest.fixture
def trades(valkey) -> ManyTrades:
    """A winner and a loser; winners pay when somebody asks."""
    many = ManyTrades(small_desk(), offset_enabled=False)
    many.open("winner", "loser")
    many.prices |= {"winner": "900.00", "loser": "760.00"}
    many.beat()
    return many


def press(console: Client, act: str, *groups: Group, **more: str) -> str:
    body = {"action": act, "_selected_action": [str(one.pk) for one in groups], "index": "0", **more}
    return console.post(TRADES, body, follow=True).content.decode()


def test_an_operator_has_winners_pay_and_a_second_press_says_that_it_is_under_way(console, trades):
    loser = trades.groups["loser"]
    asked = press(console, "offset_now", loser)
    assert "LOSER is given up, paid for by" in asked and not OffsetPlan.objects.exists()
    assert "Plans under way: 1 of 1" in press(console, "offset_now", loser, confirmed="Look now")
    plan = OffsetPlan.objects.get()
    assert (plan.loser_id, plan.actor) == (loser.pk, "operator")
    assert "OFFSET_LIVE" in press(console, "offset_now", loser, confirmed="Look now")
    assert OffsetPlan.objects.count() == 1
    assert AuditEntry.objects.filter(action="offset.run_asked", actor="operator").count() == 2


def test_an_operator_keeps_a_trade_out_of_it_and_lets_it_in_again(console, trades):
    loser = trades.groups["loser"]
    assert "Kept out of it: 1 of 1" in press(console, "offset_block", loser)
    assert "Kept out of it: 0 of 1" in press(console, "offset_block", loser)
    assert "Blocked by operator" in press(console, "offset_now", loser)
    assert "NONE_ELIGIBLE" in press(console, "offset_now", loser, confirmed="Look now")
    assert "Takes part again: 1 of 1" in press(console, "offset_unblock", loser)
    assert "To be passed over once: 1 of 1" in press(console, "offset_skip", loser)
    assert set(OffsetMark.objects.values_list("kind", flat=True)) == {"BLOCK", "SKIP_ONCE"}
    assert not OffsetPlan.objects.exists()


def test_staff_who_may_only_look_press_nothing(trades):
    looker = Client()
    looker.force_login(UserFactory(is_staff=True))
    for act in ("offset_now", "offset_block", "offset_skip", "offset_unblock"):
        press(looker, act, trades.groups["loser"], confirmed="yes")
    assert not OffsetPlan.objects.exists() and not OffsetMark.objects.exists()


def test_a_replay_that_a_browser_sends_twice_is_one(console, valkey):
    hook, secret = a_hook(open_market().portfolio)
    answer = Client().post(hook.path, an_alert(secret), content_type="application/json")
    assert answer.status_code == 202
    where = reverse("admin:execution_delivery_changelist")
    token = re.search(r'name="token" value="(\w{32})"', console.get(where).content.decode())[1]
    body = {"action": "replay", "_selected_action": [str(Delivery.objects.get().pk)], "index": "0", "token": token}
    assert "Replayed 1 of 1" in console.post(where, body, follow=True).content.decode()
    assert "Replayed 0 of 1" in console.post(where, body, follow=True).content.decode()
    assert Signal.objects.count() == 2
    fresh = re.search(r'name="token" value="(\w{32})"', console.get(where).content.decode())[1]
    assert fresh != token
