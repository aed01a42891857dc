"""The pages of the signal engine: trades and queue full and empty, the acts on the queue, settings, ladders, files."""

import json
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from execution.engine_settings import publish_ladder, publish_settings, settings_of
from execution.engine_view import engine_view
from execution.models import EngineSettings, LadderPlan, QueuedSignal
from execution.services import queue_acts
from strategies.models import Signal
from tests.factories import UserFactory
from tests.factories.engine import engine_at_work, waiting
from tests.factories.world import open_market
from trading.audit.models import AuditEntry
from trading.domain.errors import Conflict, NotAllowed, NotFound
from trading.marketdata.quotes import last_quotes

pytestmark = pytest.mark.django_db
HTMX = {"headers": {"HX-Request": "true"}}
SETTINGS = "web:engine-settings"


@pytest.fixture
def world(valkey):
    return open_market()


@pytest.fixture
def trader(world):
    client = Client()
    client.force_login(world.user)
    return client


def text(response, status: int = 200) -> str:
    assert response.status_code == status, response.content[:300]
    return response.content.decode()


# -- trades and queue ------------------------------------------------------------------------------------------------


def test_an_empty_engine_says_what_will_appear(trader, world, client):
    page = text(trader.get(reverse("web:engine-page")))
    assert "No trade holds a slot" in page and "Nobody waits" in page and "house v1" in page
    client.force_login(UserFactory())
    assert "portfolio" in text(client.get(reverse("web:engine-page"))).lower()
    assert client.get(reverse(SETTINGS)).status_code == 404


def test_the_page_shows_pool_trades_legs_and_queue(trader, world):
    engine_at_work(world)
    page = text(trader.get(reverse("web:engine-page")))
    for words in (
        "over the limit", "TATASTEEL", "Pyramid 1", "The margin does not pay for it", "MARGIN", "replaced 3 times",
        "another trade in it must end first", "No slot came free while it could wait", "Force in",
    ):  # fmt: skip
        assert words.lower() in page.lower(), words
    part = text(trader.get(reverse("web:engine-page"), **HTMX))
    assert part.lstrip().startswith('<div id="engine-live"') and 'data-on="order position signal settings"' in part


def test_what_is_shown_of_a_trade_follows_from_its_orders(world, django_assert_max_num_queries):
    groups = engine_at_work(world)
    quotes = last_quotes(world.feed.name)
    with django_assert_max_num_queries(10):
        view = engine_view(world.portfolio, quotes=quotes, wall=world.portfolio.created_at)
    assert (view.taken, view.free, len(view.queue), view.blocked) == (4, 0, 3, 1)
    first = next(trade for trade in view.trades if trade.group == groups[0])
    assert (first.planned, first.sum.filled, first.sum.working) == (2700, 1140, 1560)
    entry, second = first.pyramids
    assert [leg.state for leg in entry.legs] == ["FILLED", "FILLED", "FILLED", "RESTING", "RESTING"]
    assert [leg.state for leg in second.legs] == ["FILLED", *["RESTING"] * 4]
    assert entry.legs[0].sum.average == Decimal("161.40") and entry.legs[0].sum.target == Decimal("163.05")
    assert 0 < entry.legs[0].sum.progress_pct < 100 and entry.legs[1].sum.progress_pct == 100
    assert first.sum.target > first.sum.average, "a hybrid aims as a whole, too"
    short = next(trade for trade in view.trades if trade.group == groups[1])
    assert short.pyramids[0].legs[-1].state == "BLOCKED" and short.pnl_paise > 0
    assert [row.queued.rank for row in view.queue] == [1, 2, 3]


# -- a hand on the queue -----------------------------------------------------------------------------------------------


def test_a_signal_is_removed_once(trader, world):
    row = waiting(world, "LT")
    address = reverse("web:queued-remove", args=[row.pk])
    assert "Remove LT from the queue?" in text(trader.get(address, **HTMX))
    assert "Removed from the queue" in text(trader.post(address, **HTMX))
    assert "nothing more was done" in text(trader.post(address, **HTMX))
    row.refresh_from_db()
    assert row.state == "REMOVED" and row.ended_at and world.user.username in row.said
    signal = Signal.objects.get(pk=row.signal_id)
    assert (signal.state, signal.refusal_code) == ("REFUSED", "QUEUE_REMOVED")
    assert AuditEntry.objects.filter(action="queue.removed", owner_id=world.user.pk).count() == 1
    assert trader.get(address, **HTMX).status_code == 409


def test_a_full_pool_lets_nobody_in_but_by_force(trader, world):
    engine_at_work(world)
    row = QueuedSignal.objects.get(rank=2)
    refused = trader.post(reverse("web:queued-promote", args=[row.pk]), **HTMX)
    assert refused.status_code == 422 and "POOL_FULL" in refused.content.decode()
    address = reverse("web:queued-force", args=[row.pk])
    assert "over the limit: 5 trades with 3 slots" in text(trader.get(address, **HTMX))
    assert "as soon as the engine looks" in text(trader.post(address, **HTMX))
    assert "nothing more was done" in text(trader.post(address, **HTMX))
    row.refresh_from_db()
    assert row.force_by == world.user.username and row.state == "WAITING"
    assert AuditEntry.objects.filter(action="queue.forced").count() == 1
    assert f"let in by {world.user.username}" in text(trader.get(reverse("web:engine-page")))


@pytest.mark.parametrize(
    ("cause", "until"),
    [("NOT_FLAT", "the other trade in it has ended"), ("ENGINE_NOT_READY", "the engine is ready"),
     ("METADATA_STALE", "its tick and lot are known again"), ("POOL_FULL", "")],
)  # fmt: skip
def test_who_lets_a_signal_in_hears_what_it_still_waits_for(trader, world, cause, until):
    address = reverse("web:queued-promote", args=[waiting(world, "LT", cause=cause).pk])
    told = text(trader.get(address, **HTMX))
    assert f"It still waits until {until}." in told if until else "It still waits" not in told


def test_with_a_free_slot_a_signal_may_go_first(world):
    row = waiting(world, "LT")
    assert queue_acts.promote(queued_id=row.pk, actor="me") is True
    assert queue_acts.promote(queued_id=row.pk, actor="you") is False
    row.refresh_from_db()
    assert row.force_by == "me"
    QueuedSignal.objects.filter(pk=row.pk).update(state="PROMOTED")
    assert queue_acts.promote(queued_id=row.pk, actor="me", force=True) is False
    with pytest.raises(Conflict, match="QUEUE_OVER"):
        queue_acts.remove(queued_id=row.pk, actor="me")
    QueuedSignal.objects.filter(pk=row.pk).update(state="EXPIRED")
    with pytest.raises(Conflict, match="QUEUE_OVER"):
        queue_acts.promote(queued_id=row.pk, actor="me")
    with pytest.raises(NotFound):
        queue_acts.remove(queued_id=row.pk + 1, actor="me")


# -- settings ----------------------------------------------------------------------------------------------------------


def form_of(client, **changes):
    form = client.get(reverse(SETTINGS), {"of": changes.get("of", "")}).context["form"]
    values = {name: form[name].value() for name in form.fields} | changes
    return {name: value for name, value in values.items() if value is not False and value is not None}


def test_a_change_is_shown_put_in_force_told_and_taken_back(trader, world):
    seen = text(trader.post(reverse(SETTINGS), form_of(trader, max_open_groups=3, act="preview")))
    assert "What would change" in seen and "<b>3</b>" in seen and "Pool: Slots" in seen
    assert settings_of(world.portfolio.pk).portfolio is None
    assert "No setting is changed" in text(trader.post(reverse(SETTINGS), form_of(trader, act="preview")))
    assert trader.post(reverse(SETTINGS), form_of(trader, max_open_groups=3, act="publish")).status_code == 302
    rules = {"ranking_1": "oldest", "ranking_2": "deepest_loss", "ranking_3": "", "ranking_4": "", "ranking_5": ""}
    assert (
        trader.post(reverse(SETTINGS), form_of(trader, act="publish", offset_enabled="on", **rules)).status_code == 302
    )
    now = settings_of(world.portfolio.pk)
    assert (now.version, now.max_open_groups, now.offset_enabled) == (2, 3, True)
    assert now.ranking == ["oldest", "deepest_loss"]
    page = text(trader.get(reverse(SETTINGS)))
    assert "waits longest, market furthest beyond its entry" in page and '<s class="muted">10</s> 3' in page, (
        "the history says old and new"
    )
    assert trader.post(reverse(SETTINGS), {"act": "drop"}).status_code == 302
    assert settings_of(world.portfolio.pk).portfolio is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"max_open_groups": "0"}, "greater than or equal to 1"), ({"queue_ttl_s": "soon"}, "whole number"),
     ({"offset_pyramids": "9"}, "More than a trade may have"), ({"ranking_2": "continuation"}, "Each rule once"),
     ({f"ranking_{place}": "" for place in range(1, 6)}, "One rule at least"),
     ({"ladder": "None such"}, "valid choice"),
     ({"take_profit": "x"}, "valid choice"), ({"pyramid_pct": "nan"}, "Enter a number")],
)  # fmt: skip
def test_settings_that_may_not_be_are_refused_beside_their_field(trader, world, changes, says):
    answer = trader.post(reverse(SETTINGS), form_of(trader, act="publish", **changes))
    assert says in text(answer, 422)
    assert not EngineSettings.objects.filter(portfolio=world.portfolio).exists()


def test_the_house_is_for_operators(trader, world):
    assert trader.get(reverse(SETTINGS), {"of": "house"}).status_code == 404
    assert trader.post(reverse(SETTINGS), {"of": "house", "act": "publish"}).status_code == 404
    world.user.is_staff = world.user.is_superuser = True
    world.user.save()
    answer = trader.post(reverse(SETTINGS), form_of(trader, of="house", queue_size=7, act="publish"))
    assert answer.status_code == 302 and settings_of(None).queue_size == 7
    assert settings_of(world.portfolio.pk).queue_size == 7


def test_a_file_is_kept_looked_at_and_restored(trader, world):
    one = [{"gap_pct": "0", "weight_pct": "100", "take_profit_pct": "3"}]
    publish_ladder(portfolio=world.portfolio, name="Mine", rungs=one, actor="me")
    publish_settings(portfolio=world.portfolio, values={"ladder": "Mine", "max_open_groups": 4}, actor="me")
    answer = trader.get(reverse("web:engine-settings-file"))
    assert "attachment" in answer["Content-Disposition"]
    kept = text(answer)
    publish_settings(portfolio=world.portfolio, values={"ladder": "Five steps", "max_open_groups": 9}, actor="me")
    file = SimpleUploadedFile("settings.json", kept.encode(), "application/json")
    seen = text(trader.post(reverse(SETTINGS), {"act": "import", "file": file}))
    assert "Put the file in force" in seen and settings_of(world.portfolio.pk).max_open_groups == 9
    assert trader.post(reverse(SETTINGS), {"act": "restore", "text": kept}).status_code == 302
    now = settings_of(world.portfolio.pk)
    assert (now.max_open_groups, now.ladder.name) == (4, "Mine")
    other = json.dumps({"settings": {}, "ladders": [{"name": "New", "rungs": now.ladder.rungs}]})
    assert "The ladder <b>New</b>" in text(
        trader.post(reverse(SETTINGS), {"act": "import", "file": SimpleUploadedFile("a.json", other.encode())})
    )


@pytest.mark.parametrize("content", [b"", b"{", b'{"settings": {"queue_size": "x"}}', b"\x00\xff", b"x" * 300_000])
def test_a_file_that_is_none_is_refused(trader, world, content):
    file = SimpleUploadedFile("settings.json", content, "application/json")
    assert "SETTINGS_" in text(trader.post(reverse(SETTINGS), {"act": "import", "file": file}), 422)
    assert "SETTINGS_FILE" in text(trader.post(reverse(SETTINGS), {"act": "import"}), 422)


# -- ladders -----------------------------------------------------------------------------------------------------------


def rungs(*rows: tuple[str, str, str]) -> dict[str, str]:
    columns = ("gap_pct", "weight_pct", "take_profit_pct")
    filled = [(row, name, value) for row, given in enumerate(rows) for name, value in zip(columns, given, strict=True)]
    return {f"{name}-{row}": value for row, name, value in filled}


def test_a_ladder_is_looked_at_while_it_is_typed(trader, world):
    address = reverse("web:ladder-new")
    assert "New ladder" in text(trader.get(address))
    given = {"name": "Mine", **rungs(("0", "60", "1"), ("-1", "40", "2")), "stop_pct": "1", "quantity": "10"}
    symbol = world.instrument.symbol
    seen = text(trader.get(address, given | {"symbol": symbol}, **HTMX))
    assert "100 %" in seen and "812.35" in seen and "804.20" in seen
    short = text(trader.get(address, given | {"symbol": symbol, "side": "SELL", "price": "1,000"}, **HTMX))
    assert "1,010.00" in short and "989.80" in short
    assert "no such symbol" in text(trader.get(address, given | {"symbol": "NSE:NONE-EQ"}, **HTMX))
    wrong = text(trader.get(address, given | rungs(("0", "50", "1")), **HTMX))
    assert "sum to 90" in wrong and "must be 100 %" in wrong
    for odd in ({"weight_pct-0": "x"}, {"stop_pct": "99"}, {"quantity": "many"}, {"price": "NaN"}, {"symbol": "\x00"}):
        text(trader.get(address, given | odd, **HTMX))


def test_a_ladder_is_put_in_force_changed_and_retired(trader, world):
    given = {"name": "Mine", **rungs(("0", "60", "1"), ("-1", "40", "2")), "stop_pct": "1"}
    assert trader.post(reverse("web:ladder-new"), given).status_code == 302
    plan = LadderPlan.objects.get(portfolio=world.portfolio)
    assert [rung["weight_pct"] for rung in plan.rungs] == ["60", "40"] and plan.created_by == world.user.username
    address = reverse("web:ladder", args=[plan.pk])
    assert 'value="Mine"' in text(trader.get(address))
    assert trader.post(address, given | {"stop_pct": ""}).status_code == 302
    newest = LadderPlan.objects.get(portfolio=world.portfolio, retired_at=None)
    assert newest.pk != plan.pk and newest.stop_pct is None
    assert "Mine" in text(trader.get(reverse(SETTINGS)))
    publish_settings(portfolio=world.portfolio, values={"ladder": "Mine"}, actor="me")
    in_use = trader.post(reverse("web:ladder-retire", args=[newest.pk]))
    assert "LADDER_IN_USE" in text(in_use, 422)
    publish_settings(portfolio=world.portfolio, values={"ladder": "One entry"}, actor="me")
    assert trader.post(reverse("web:ladder-retire", args=[newest.pk])).status_code == 302
    assert trader.get(address).status_code == 404


def test_a_ladder_of_the_house_is_not_changed_by_whoever_uses_it(trader, world):
    house = settings_of(None).ladder
    given = {"name": house.name, **rungs(("0", "100", "1"))}
    assert trader.post(reverse("web:ladder", args=[house.pk]), given).status_code == 302
    house.refresh_from_db()
    assert house.retired_at is None and settings_of(None).ladder == house
    assert trader.post(reverse("web:ladder-retire", args=[house.pk])).status_code == 404
    wrong = trader.post(reverse("web:ladder-new"), given | {"name": "", "weight_pct-0": "99"})
    assert "LADDER" in text(wrong, 422)
    with pytest.raises(NotAllowed):
        publish_ladder(portfolio=world.portfolio, name="x", rungs=[], actor="me")


# -- winners pay for a loser, the API ----------------------------------------------------------------------------------


def test_the_panel_says_why_nothing_is_paid_for_and_marks_trades(trader, world):
    groups = engine_at_work(world)
    assert "Winners pay for a loser" in text(trader.get(reverse("web:engine-page")))
    assert trader.get(reverse("web:offset-run"), **HTMX).status_code == 200
    group = groups[2]
    for name in ("offset-block", "offset-block", "offset-skip", "offset-unblock", "offset-unblock"):
        text(trader.post(reverse(f"web:{name}", args=[group.pk]), **HTMX))
    assert AuditEntry.objects.filter(action="offset.blocked").count() == 1


def test_winners_pay_for_a_loser_by_program(trader, world):
    group = engine_at_work(world)[2]
    address, numbers = reverse("api_offset_act", args=[group.pk]), count()

    def post(where: str, body: dict[str, str], key: str = "") -> Any:
        told = {"HTTP_IDEMPOTENCY_KEY": key or f"offset-key-{next(numbers)}"}
        return trader.post(where, body, content_type="application/json", **told)

    def done(act: str, key: str = "") -> bool:
        reply = post(address, {"act": act}, key)
        assert reply.status_code == 200, reply.content
        return reply.json()["done"]

    assert done("block", "the-same-key") and done("block", "the-same-key")  # one call, told twice
    assert not done("block") and done("skip") and done("unblock") and not done("unblock")
    assert AuditEntry.objects.filter(action="offset.blocked").count() == 1
    assert post(address, {"act": "sell"}).json()["errors"][0]["field"] == "act"
    assert post(reverse("api_offset_act", args=[uuid4()]), {"act": "skip"}).json()["code"] == "UNKNOWN_POSITION"
    look = post(reverse("api_offset_run"), {})
    assert (look.status_code, look.json()["code"]) == (422, "NO_LOSER"), look.content


def test_the_engine_by_program(trader, world):
    engine_at_work(world)
    body = trader.get("/api/v1/engine/").json()
    assert body["pool"] == {"taken": 4, "most": 3, "free": 0} and len(body["queue"]) == 3
    assert body["trades"][0]["pyramids"][0]["legs"][0]["state"] == "FILLED"
    assert isinstance(body["trades"][0]["stop_price"], str), "rupees are decimal text"
    row = QueuedSignal.objects.get(rank=1)
    key = {"headers": {"Idempotency-Key": "remove-it-once"}, "content_type": "application/json"}
    assert trader.post(f"/api/v1/engine/queue/{row.pk}/", {"act": "remove"}, **key).json() == {"done": True}
    kept = trader.get("/api/v1/engine/settings/").json()
    assert kept["settings"]["max_open_groups"] == 3 and {one["name"] for one in kept["ladders"]} >= {"Quick"}
    ask = {"settings": {"max_open_groups": 5, "pyramid_pct": 2.5}, "preview": True}
    given = {"content_type": "application/json"}
    seen = trader.put("/api/v1/engine/settings/", ask, headers={"Idempotency-Key": "look-at-it"}, **given).json()
    assert [one["name"] for one in seen["changed"]] == ["max_open_groups", "pyramid_pct"]
    assert settings_of(world.portfolio.pk).max_open_groups == 3
    body = {name: kept[name] for name in ("settings", "ladders")}
    body["settings"]["max_open_groups"] = 6
    new = trader.put("/api/v1/engine/settings/", body, headers={"Idempotency-Key": "bring-it-back"}, **given).json()
    assert new["settings"]["max_open_groups"] == 6 and settings_of(world.portfolio.pk).max_open_groups == 6
    wrong = {"settings": {"queue_size": "x"}}
    refused = trader.put("/api/v1/engine/settings/", wrong, headers={"Idempotency-Key": "not-possible"}, **given)
    assert refused.status_code == 422 and refused.json()["code"] == "SETTINGS_INVALID"


def test_the_console_shows_and_changes_the_engine(world, client):
    engine_at_work(world)
    client.force_login(UserFactory(operator=True))
    for model in ("pyramid", "leg", "partexit", "queuedsignal", "ladderplan", "enginesettings", "group", "offsetplan"):
        assert client.get(reverse(f"admin:execution_{model}_changelist")).status_code == 200, model
    group = world.portfolio.groups.first()
    assert "pyramid" in text(client.get(reverse("admin:execution_group_change", args=[group.pk]))).lower()
    row = QueuedSignal.objects.get(rank=1)
    listing = reverse("admin:execution_queuedsignal_changelist")
    client.post(listing, {"action": "force_in", "_selected_action": [row.pk], "index": "0"})
    row.refresh_from_db()
    assert row.force_by
    now = settings_of(None)
    address = reverse("admin:execution_enginesettings_change", args=[now.pk])
    form = client.get(address).context["adminform"].form
    values = {name: form[name].value() for name in form.fields} | {"queue_size": 9, "ranking": '["oldest"]'}
    values = {name: value for name, value in values.items() if value is not False and value is not None}
    assert client.post(address, values).status_code == 302
    assert (settings_of(None).queue_size, settings_of(None).version) == (9, now.version + 1)


def test_ladders_by_program_are_listed_put_in_force_and_changed_by_versions(trader, world):
    given = {"content_type": "application/json"}
    rungs = [
        {"gap_pct": "0", "weight_pct": "60", "take_profit_pct": "1"},
        {"gap_pct": "-1", "weight_pct": "40", "take_profit_pct": "0.5"},
    ]
    address = "/api/v1/engine/ladders/"
    made = trader.post(address, {"name": "Two", "rungs": rungs}, headers={"Idempotency-Key": "a-ladder"}, **given)
    assert made.status_code == 200, made.json()
    plan = made.json()
    assert (plan["name"], plan["of_house"], plan["stop_pct"], plan["retired_at"]) == ("Two", False, None, None)
    listed = trader.get(address).json()
    assert listed[0]["name"] == "Two" and any(one["of_house"] for one in listed)
    changed = trader.put(
        f"{address}{plan['id']}/", {"rungs": rungs, "stop_pct": "2"}, headers={"Idempotency-Key": "a-change"}, **given
    ).json()
    assert changed["id"] != plan["id"] and (changed["name"], changed["stop_pct"]) == ("Two", "2.000")
    assert trader.get(f"{address}{plan['id']}/").json()["retired_at"] is not None
    wrong = [{"gap_pct": "0", "weight_pct": "60", "take_profit_pct": "1"}]
    refused = trader.post(address, {"name": "One", "rungs": wrong}, headers={"Idempotency-Key": "not-whole"}, **given)
    assert refused.status_code == 422 and refused.json()["code"] == "LADDER"
    house = LadderPlan.objects.get(portfolio=None, name="Five steps")
    assert trader.get(f"{address}{house.pk}/").status_code == 404


def test_the_console_changes_a_ladder_by_the_same_rules(world, client):
    client.force_login(UserFactory(operator=True))
    plan = LadderPlan.objects.get(portfolio=None, name="Five steps")
    address = reverse("admin:execution_ladderplan_change", args=[plan.pk])
    values = {"rungs": '[{"gap_pct": "0", "weight_pct": "90", "take_profit_pct": "1"}]', "overrides": "{}"}
    refused = client.post(address, values, follow=True)
    assert "weights" in refused.content.decode() and LadderPlan.objects.filter(name="Five steps").count() == 1
    values["rungs"] = '[{"gap_pct": "0", "weight_pct": "100", "take_profit_pct": "2"}]'
    assert "is in force" in text(client.post(address, values | {"stop_pct": "3"}, follow=True))
    plan.refresh_from_db()
    new = LadderPlan.objects.get(portfolio=None, name="Five steps", retired_at=None)
    assert plan.retired_at is not None and (new.pk != plan.pk, str(new.stop_pct)) == (True, "3.000")
    assert settings_of(None).ladder_id == new.pk, "settings that use the name use the new one"
    assert client.get(address).status_code == 200, "an old version is still to be read"
    added = reverse("admin:execution_ladderplan_add")
    assert client.post(added, {"name": "One more", **values}).status_code == 302
    assert LadderPlan.objects.filter(name="One more", portfolio=None, retired_at=None).exists()
