"""Owners' pages of hooks, and the same by API: the secret is shown once, deliveries say why, a replay is marked."""

import json
import re

import pytest
from django.test import Client
from django.urls import reverse

from execution.engine_settings import publish_ladder, settings_of
from execution.models import Delivery, Hook
from strategies.models import Signal
from tests.factories import PASSWORD, UserFactory
from tests.factories.hooks import a_hook, an_alert
from tests.factories.world import open_market
from trading.audit.models import AuditEntry

pytestmark = pytest.mark.django_db
SECRET = re.compile(r"tzh_[\w-]{43}")
FORM = {
    "name": "Chart alerts", "authentication": "EITHER", "max_age_s": "120", "rate_per_minute": "60",
    "product": "INTRADAY", "allowed_addresses": "52.89.214.238\n127.0.0.0/8", "timeframe": "", "default_action": "",
    "ladder": "",
}  # fmt: skip


@pytest.fixture
def world(valkey):
    return open_market()


@pytest.fixture
def owner(client, world):
    client.force_login(world.user)
    client.post("/account/reauthenticate/", {"password": PASSWORD})
    return client


def send(hook, alert):
    return Client().post(hook.path, json.dumps(alert), content_type="application/json")


def text(reply, status=200) -> str:
    assert reply.status_code == status, reply.status_code
    return reply.content.decode()


def test_a_hook_is_opened_and_its_secret_shown_once_and_works(owner):
    shown = text(owner.post(reverse("web:hook-new"), FORM))
    secret = SECRET.search(shown)[0]
    hook = Hook.objects.get()
    assert hook.allowed_addresses == ["52.89.214.238", "127.0.0.0/8"]
    for page in ["web:hooks", "web:hook", "web:hook-change"]:
        told = text(owner.get(reverse(page, args=[] if page == "web:hooks" else [hook.pk])))
        assert "Chart alerts" in told and not SECRET.search(told)
    assert send(hook, an_alert(secret)).status_code == 202
    entry = AuditEntry.objects.get(action="hook.created")
    assert secret not in json.dumps(entry.detail)


def test_opening_a_hook_asks_for_the_password_again(client, world):
    client.force_login(world.user)
    reply = client.post(reverse("web:hook-new"), FORM, headers={"hx-request": "true"})
    assert "reauthenticate" in reply["HX-Redirect"]
    assert not Hook.objects.exists()


@pytest.mark.parametrize(
    "wrong", [{"name": ""}, {"allowed_addresses": "next door"}, {"max_age_s": "0"}, {"rate_per_minute": "70000"}]
)
def test_a_form_that_is_wrong_says_so_and_opens_nothing(owner, wrong):
    told = text(owner.post(reverse("web:hook-new"), FORM | wrong), 422)
    assert 'role="alert"' in told and not Hook.objects.exists()


def test_two_hooks_of_one_name_are_refused(owner, world):
    a_hook(world.portfolio, name="Chart alerts")
    assert "has a hook of that name" in text(owner.post(reverse("web:hook-new"), FORM), 422)


def test_change_rotate_and_switch_from_the_page(owner, world):
    hook, old = a_hook(world.portfolio)
    owner.post(reverse("web:hook-change", args=[hook.pk]), FORM | {"name": "Renamed", "max_age_s": "30"})
    hook.refresh_from_db()
    assert (hook.name, hook.max_age_s) == ("Renamed", 30)
    new = SECRET.search(text(owner.post(reverse("web:hook-rotate", args=[hook.pk]), {"at_once": "yes"})))[0]
    assert send(hook, an_alert(old)).status_code == 401
    owner.post(reverse("web:hook-switch", args=[hook.pk]), {"enabled": "no"})
    assert send(hook, an_alert(new)).json()["code"] == "HOOK_DISABLED"
    said = list(AuditEntry.objects.order_by("id").values_list("action", flat=True))
    assert said == ["hook.created", "hook.changed", "hook.rotated", "hook.disabled"]


def test_deliveries_say_what_became_of_them_and_why(owner, world):
    hook, secret = a_hook(world.portfolio)
    send(hook, an_alert(secret))
    send(hook, an_alert(secret, tv__symbol="SBINX", strategy_info__alert_message="<script>alert(1)</script>"))
    send(hook, an_alert("wrong"))
    page = text(owner.get(reverse("web:hook-deliveries", args=[hook.pk])))
    for said in ["Accepted", "Entry buy", "SYMBOL_NOT_MAPPED", "Did you mean NSE:SBIN-EQ", "SECRET_WRONG"]:
        assert said in page, said
    assert "<script>" not in page and page.count(">Replay<") == 2, "what came without proof is not run again"


def test_a_new_secret_is_asked_for_once_and_a_second_press_shuts_nobody_out(owner, world):
    hook, first = a_hook(world.portfolio)
    where = reverse("web:hook-rotate", args=[hook.pk])
    asked = text(owner.get(where, headers={"hx-request": "true"}))
    assert "A new secret for" in asked and "Two secrets open now" not in asked and not SECRET.search(asked)
    mark = re.search(r'name="instead_of" value="(\w{16})"', asked)[1]
    second = SECRET.search(text(owner.post(where, {"instead_of": mark, "at_once": ""})))[0]
    again = text(owner.post(where, {"instead_of": mark, "at_once": ""}, headers={"hx-request": "true"}), 409)
    assert "HOOK_ROTATED" in again and not SECRET.search(again)
    for number, secret in enumerate((first, second)):
        assert send(hook, an_alert(secret, strategy_info__trade_id=str(number))).status_code == 202
    assert AuditEntry.objects.filter(action="hook.rotated").count() == 1
    assert "ends at once" in text(owner.get(where)), "a third one would shut the first out, and says so"


def test_nobody_else_gets_a_secret_or_a_replay_by_the_page(owner, world):
    """Another person, or staff, by the owner's addresses: there is no such hook."""
    hook, secret = a_hook(world.portfolio)
    send(hook, an_alert(secret))
    rows = [("web:hook-rotate", hook.pk), ("web:delivery-replay", Delivery.objects.get().pk)]
    for stranger in (UserFactory(), UserFactory(operator=True)):
        client = Client()
        client.force_login(stranger)
        client.post("/account/reauthenticate/", {"password": PASSWORD})
        for name, pk in rows:
            where = reverse(name, args=[pk])
            assert client.get(where).status_code == client.post(where, {"token": "t"}).status_code == 404
    assert Signal.objects.count() == 1 and not AuditEntry.objects.filter(action="hook.rotated").exists()


def test_a_replay_is_asked_for_and_a_second_press_of_it_does_nothing(owner, world):
    hook, secret = a_hook(world.portfolio)
    send(hook, an_alert(secret))
    where = reverse("web:delivery-replay", args=[Delivery.objects.get().pk])
    asked = text(owner.get(where, headers={"hx-request": "true"}))
    assert "Run this alert once more?" in asked and "It may trade a second time" in asked and "SBIN" in asked
    token = re.search(r'name="token" value="(\w{32})"', asked)[1]
    assert "Its signal is with the engine" in text(owner.post(where, {"token": token}))
    assert "nothing more was done" in text(owner.post(where, {"token": token}))
    assert Signal.objects.count() == 2
    assert 'class="tag warn" title="by' in text(owner.get(reverse("web:hook", args=[hook.pk])))


def test_a_replay_that_is_refused_again_says_why(owner, world):
    hook, secret = a_hook(world.portfolio)
    send(hook, an_alert(secret, tv__symbol="SBINX"))
    where = reverse("web:delivery-replay", args=[Delivery.objects.get().pk])
    told = text(owner.post(where, {"token": "one"}))
    assert "Replayed, and refused" in told and "SYMBOL_NOT_MAPPED" in told and not Signal.objects.exists()


def test_an_alert_without_proof_is_not_run_again_by_anybody(owner, world):
    hook, _ = a_hook(world.portfolio)
    send(hook, an_alert("wrong"))
    owner.post(reverse("web:delivery-replay", args=[Delivery.objects.get().pk]), {"token": "please"})
    assert not Signal.objects.exists()


def test_names_are_set_and_forgotten_on_the_page(owner, world):
    hook, secret = a_hook(world.portfolio)
    where = reverse("web:hook-symbols", args=[hook.pk])
    owner.post(where, {"exchange": "", "symbol": "BANKNIFTY1!", "instrument": world.instrument.symbol})
    assert send(hook, an_alert(secret, tv__symbol="BANKNIFTY1!")).status_code == 202
    named = world.portfolio.hook_symbols.get()
    owner.post(reverse("web:hook-symbol-drop", args=[hook.pk, named.pk]))
    again = send(hook, an_alert(secret, tv__symbol="BANKNIFTY1!", strategy_info__trade_id="2"))
    assert again.json()["code"] == "SYMBOL_NOT_MAPPED"
    assert text(owner.post(where, {"symbol": "X", "instrument": "NSE:NOSUCH-EQ"}), 404)


def test_an_empty_page_says_what_a_hook_is(owner):
    assert "No hook yet" in text(owner.get(reverse("web:hooks")))


# --- by program -------------------------------------------------------------------------------------------------------
def test_a_program_opens_reads_rotates_switches_and_replays(owner):
    wish = {"name": "Bot", "authentication": "SECRET", "rate_per_minute": 600}
    made = owner.post("/api/v1/hooks/", wish, content_type="application/json")
    assert made.status_code == 201, made.json()
    hook, secret = Hook.objects.get(), made.json()["secret"]
    assert made.json()["address"] == hook.path
    assert send(hook, an_alert(secret)).status_code == 202
    listed = owner.get("/api/v1/hooks/").json()["results"]
    assert [one["id"] for one in listed] == [str(hook.pk)] and "secret" not in listed[0]
    came = owner.get("/api/v1/hooks/deliveries/").json()["results"]
    assert came[0]["outcome"] == "ACCEPTED" and len(came[0]["signals"]) == 1
    again = f"/api/v1/hooks/deliveries/{came[0]['id']}/replay/"
    codes = [owner.post(again, headers={"idempotency-key": "replay-one"}).status_code for _ in range(2)]
    assert codes == [202, 200] and Signal.objects.count() == 2
    assert owner.post(again).status_code == 400, "a replay trades: it needs a key"
    turned = owner.post(f"/api/v1/hooks/{hook.pk}/rotate/", {"at_once": True}, content_type="application/json")
    assert send(hook, an_alert(secret)).status_code == 401 and turned.json()["secret"] != secret
    off = owner.post(f"/api/v1/hooks/{hook.pk}/switch/", {"enabled": False}, content_type="application/json")
    assert off.json()["enabled"] is False
    bad = owner.post("/api/v1/hooks/", wish | {"allowed_addresses": ["x"]}, content_type="application/json")
    assert (bad.status_code, bad.json()["code"]) == (422, "HOOK_INVALID")


def test_a_program_changes_what_a_hook_asks_for(owner, world):
    hook, _ = a_hook(world.portfolio)
    where, house = f"/api/v1/hooks/{hook.pk}/", settings_of(None).ladder
    change = {"max_age_s": 30, "allowed_addresses": ["127.0.0.0/8"], "ladder": house.pk}
    for _press in range(2):
        said = owner.patch(where, change, content_type="application/json")
        assert said.status_code == 200 and {name: said.json()[name] for name in change} == change
    assert said.json()["rate_per_minute"] == hook.rate_per_minute, "what is not named stays"
    assert AuditEntry.objects.filter(action="hook.changed").count() == 1
    foreign = publish_ladder(portfolio=open_market().portfolio, name="Theirs", rungs=house.rungs, actor="them")
    for wrong, status in (
        ({"ladder": foreign.pk}, 404), ({"max_age_s": 0}, 400), ({"portfolio": 1}, 400), ({"secret_sealed": "x"}, 400),
        ({"allowed_addresses": ["next door"]}, 422),
    ):  # fmt: skip
        assert owner.patch(where, wrong, content_type="application/json").status_code == status, wrong
    stranger = Client()
    stranger.force_login(UserFactory())
    assert stranger.patch(where, change, content_type="application/json").status_code == 404
    made = owner.post("/api/v1/hooks/", {"name": "Bot", "ladder": house.pk}, content_type="application/json")
    assert made.status_code == 201 and made.json()["ladder"] == house.pk
