"""Strategies at the page and over the API: written, judged, moved, put to work; wrong input changes nothing."""

import json
from datetime import timedelta

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from strategies.contracts.publish import as_yaml, publish_contract, publish_library
from strategies.contracts.schema import load_library
from strategies.models import ContractVersion, Deployment, StageMove, Standing
from tests.factories import UserFactory
from tests.factories.market import InstrumentFactory, UniverseFactory, stored_candles
from tests.factories.strategies import house_version
from tests.factories.world import ELEVEN, open_market
from trading.marketdata.models import CorporateAction, UniverseMember
from trading.web.pages.strategies_form import body_of, fields_of

pytestmark = pytest.mark.django_db

LIBRARY = load_library()
EMA = LIBRARY["ema_alignment"]


@pytest.fixture
def world(valkey, db):
    return open_market()


@pytest.fixture
def desk(client, world):
    client.force_login(world.user)
    return client


def page(client, name, *ids, **query) -> str:
    answer = client.get(reverse(f"web:{name}", args=ids), query)
    assert answer.status_code == 200, answer.content[:400]
    return answer.content.decode()


def form(**changes) -> dict[str, object]:
    """The editor's form as a browser would send it for the house's EMA contract."""
    fields = fields_of(EMA.as_mapping()) | changes
    rows = fields.pop("parameters")
    for column in ("name", "default", "min", "max"):
        fields[f"parameter.{column}"] = [str(row[column]) for row in rows]
    return {name: value for name, value in fields.items() if value not in (None, "")}


# What is there


def test_an_empty_desk_says_what_will_appear(desk):
    told = page(desk, "strategies")
    assert "Nothing of your own yet" in told and "published when it is first started" in told


def test_the_list_and_every_contract_of_the_house(desk):
    publish_library(actor="the desk")
    told = page(desk, "strategies")
    for body in LIBRARY.values():
        assert body.name in told
    for version in ContractVersion.objects.order_by("contract__slug").exclude(contract__slug="vwap-reversion"):
        told = page(desk, "contract", version.contract_id)
        assert "When it loses" in told and "Buys when" in told and "Paper" in told
    assert LIBRARY["volume_scalper"].when_it_loses[:30] in page(desk, "contract-new", **{"from": version.pk})


@pytest.mark.parametrize("slug", LIBRARY)
def test_a_contract_goes_through_the_form_and_comes_back_as_itself(slug):
    from strategies.contracts.schema import parse_contract

    body = LIBRARY[slug]
    fields = {
        name: value if isinstance(value, list) else str(value) for name, value in fields_of(body.as_mapping()).items()
    }
    fields["parameters"] = [{name: str(value) for name, value in row.items()} for row in fields["parameters"]]
    assert parse_contract(body_of(fields)).content_hash == body.content_hash


# Writing


def test_a_contract_is_written_read_and_written_again(desk, world):
    answer = desk.post(reverse("web:contract-new"), form(name="Mine alone"))
    version = ContractVersion.objects.get()
    assert answer.status_code == 302 and version.contract.slug == "mine-alone"
    assert (version.contract.owner, version.standing.stage) == (world.user, "RESEARCH")
    edit = reverse("web:contract-edit", args=[version.contract_id])
    assert "Mine alone: next version" in page(desk, "contract-edit", version.contract_id)
    desk.post(edit, form(name="Mine alone"))
    assert ContractVersion.objects.count() == 1  # the same words
    desk.post(edit, form(name="Mine alone", max_bars="12"))
    second = ContractVersion.objects.get(number=2)
    told = page(desk, "contract", version.contract_id, version=2, compare=1)
    assert "<del>24</del>" in told and "<ins>12</ins>" in told
    assert second.body["max_bars"] == 12


@pytest.mark.parametrize(
    ("changes", "code", "path"),
    [
        ({"rules.long_entry": "clsoe > 1"}, "RULE_UNKNOWN_NAME", "rules.long_entry"),
        ({"when_it_loses": "never"}, "WRONG_LENGTH", "when_it_loses"),
        ({"stop.value": "-3"}, "OUT_OF_RANGE", "stop.value"),
        ({"stop.value": "1e99"}, "OUT_OF_RANGE", "stop.value"),
        ({"sides": []}, "WRONG_TYPE", "sides"),
        ({"timeframe": "7m"}, "UNKNOWN_CHOICE", "timeframe"),
        ({"exit_at": "25:00"}, "WRONG_TYPE", "exit_at"),
        ({"name": "x" * 101}, "WRONG_LENGTH", "name"),
        ({"name": "<script>alert(1)</script>", "family": "crypto"}, "UNKNOWN_CHOICE", "family"),
        ({"rules.long_entry": 'of("NSE:NOSUCH-EQ", close) > 1'}, "UNKNOWN_INSTRUMENT", "rules"),
        (
            {"parameters": [{"name": "fast", "default": "9", "min": "10", "max": "20"}]}, "OUT_OF_RANGE",
            "parameters.fast",
        ),
    ],
)  # fmt: skip
def test_a_wrong_contract_is_shown_again_with_its_fault(desk, changes, code, path):
    answer = desk.post(reverse("web:contract-new"), form(**changes))
    told = answer.content.decode()
    assert answer.status_code == 422 and code in told and path in told
    assert "<script>alert" not in told
    assert not ContractVersion.objects.exists()


def test_a_name_that_is_taken_is_not_a_version_by_accident(desk):
    desk.post(reverse("web:contract-new"), form())
    answer = desk.post(reverse("web:contract-new"), form(max_bars="9"))
    assert answer.status_code == 422 and "NAME_TAKEN" in answer.content.decode()


def test_yaml_comes_in_by_paste_and_by_file_and_goes_out(desk, world):
    version = publish_contract(owner=UserFactory(), slug="theirs", body=EMA.as_mapping(), actor="x")
    text = as_yaml(version)
    assert desk.post(reverse("web:contract-new"), {"yaml": text}).status_code == 302
    mine = ContractVersion.objects.get(contract__owner=world.user)
    assert mine.content_hash == version.content_hash
    out = desk.get(reverse("web:version-yaml", args=[mine.pk]))
    assert out.content.decode() == text and "attachment" in out["Content-Disposition"]
    for bad in (b"\xff\xfe", b"a: [", b"- 1", b"x" * 70_000):
        answer = desk.post(reverse("web:contract-new"), {"yaml": "", "file": SimpleUploadedFile("c.yaml", bad)})
        assert answer.status_code == 422, bad[:10]


# While writing


def judged(client, **asked) -> dict:
    answer = client.post(reverse("web:rule-check"), json.dumps(asked), content_type="application/json")
    assert answer.status_code == 200
    return answer.json()


def test_a_rule_is_judged_while_it_is_written(desk):
    good = judged(desk, rule="crosses_above(ema(close, fast), 100)", timeframe="5m", parameters={"fast": "9"})
    assert good["error"] is None and good["words"] == ["EMA 9 crosses above 100"]
    bad = judged(desk, rule="close > emma(close, 9)", timeframe="5m")
    assert (bad["error"]["code"], bad["error"]["position"], bad["error"]["suggestion"]) == (
        "UNKNOWN_FUNCTION",
        8,
        "ema",
    )
    where = judged(desk, rule='of("NSE:SBNI-EQ", close) > 1', timeframe="5m")["error"]
    assert (where["code"], where["position"], where["suggestion"]) == ("UNKNOWN_INSTRUMENT", 3, "NSE:SBIN-EQ")
    assert judged(desk, rule="close > fast", timeframe="5m", parameters={"fast": "not yet"})["error"] is None


@pytest.mark.parametrize("body", ["", "[", "[]", '{"rule": 5}', "{" * 5000, '"' + "x" * 9000 + '"'])
def test_nonsense_is_not_judged_and_breaks_nothing(desk, body):
    answer = desk.post(reverse("web:rule-check"), body, content_type="application/json")
    assert answer.status_code in (400, 413)


def test_the_editor_knows_every_name(desk):
    names = {entry["name"]: entry for entry in desk.get(reverse("web:rule-names")).json()["names"]}
    assert names["ema"]["signature"] == "ema(series, period)" and names["hammer"]["group"] == "pattern"


def test_where_a_rule_fired_is_drawn(desk, world):
    asked = {
        "symbol": world.instrument.symbol, "timeframe": "1m", "long_entry": "close > sma(close, n)",
        "parameters": json.dumps({"n": 5}),
    }  # fmt: skip
    chart = desk.get(reverse("web:rule-fired"), asked).json()
    assert chart["candles"] == [] and "No 1m candles" in chart["note"]
    closes = [round(800 + 5 * np.sin(place / 8), 2) for place in range(90)]
    starts = [ELEVEN - timedelta(minutes=90 - place) for place in range(90)]
    stored_candles(world.feed, world.instrument, starts, [(c, c + 1, c - 1, c) for c in closes])
    chart = desk.get(reverse("web:rule-fired"), asked | {"short_entry": "rank(close) > 50"}).json()
    assert len(chart["candles"]) == 90 and chart["candles"][0][0] == int(starts[0].timestamp())
    assert [line["name"] for line in chart["lines"]] == ["sma(close, 5)"]
    assert {mark["side"] for mark in chart["marks"]} == {"BUY"} and "long 2×" in chart["note"]
    rival = InstrumentFactory(symbol="NSE:RIVAL-EQ")
    stored_candles(world.feed, rival, starts, [(900, 901, 899, 900)] * 90)
    for name, members in (("a-first", []), ("mine", [world.instrument, rival])):
        universe = UniverseFactory(name=name)
        for one in members:
            UniverseMember.objects.create(
                universe=universe, instrument=one, from_date=ELEVEN.date() - timedelta(days=9)
            )
    ranked = asked | {"short_entry": "rank(close) < 50", "universes": "unknown, mine"}
    assert "SELL" in {mark["side"] for mark in desk.get(reverse("web:rule-fired"), ranked).json()["marks"]}
    CorporateAction.objects.create(
        instrument=world.instrument, ex_date=ELEVEN.date(), kind="SPLIT_OR_BONUS", factor="0.5", state="CONFIRMED",
        source="circular", found_at=ELEVEN,
    )  # fmt: skip
    day_before = [at - timedelta(days=3) for at in starts]  # a Friday: twice the price, as if nothing had happened
    stored_candles(world.feed, world.instrument, day_before, [(2 * c, 2 * c + 2, 2 * c - 2, 2 * c) for c in closes])
    shown = desk.get(reverse("web:rule-fired"), asked).json()["candles"]
    assert [row[4] for row in shown] == closes * 2, "prices before a split are what the scanner sees"
    for wrong, told in (
        ({"long_entry": "clsoe > 1"}, "clsoe is not known"), ({"timeframe": "7m"}, "no timeframe"),
        ({"long_entry": 'of("NSE:NOSUCH-EQ", close) > 1'}, "does not know"), ({"parameters": "["}, "not numbers"),
        ({"long_entry": 'on("1h", close) > 1'}, "Fired"),
    ):  # fmt: skip
        assert told in desk.get(reverse("web:rule-fired"), asked | wrong).json()["note"]
    assert desk.get(reverse("web:rule-fired"), asked | {"symbol": "nothing"}).status_code == 404


# Steps and deployments

HTMX = {"HTTP_HX_REQUEST": "true"}


def test_a_step_shows_its_gates_and_is_refused_or_waived(desk, world):
    version = publish_contract(owner=world.user, slug="mine", body=EMA.as_mapping(), actor="x")
    address = reverse("web:contract-move", args=[version.pk, "PAPER"])
    told = desk.get(address, **HTMX).content.decode()
    assert "Largest drawdown" in told and "not yet" in told and "waive" not in told
    assert "Not yet" in desk.post(address, {"reason": "I believe in it", "waive": "yes"}, **HTMX).content.decode()
    assert not StageMove.objects.exists()
    world.user.is_staff = True
    world.user.save()
    assert "waive" in desk.get(address, **HTMX).content.decode()
    answer = desk.post(address, {"reason": "I believe in it", "waive": "yes"}, **HTMX)
    assert answer.status_code == 204 and answer["HX-Redirect"].endswith("?version=1")
    assert StageMove.objects.get().waived
    assert "gates waived" in page(desk, "contract", version.contract_id)


def test_a_version_is_put_to_work_paused_resumed_and_stopped(desk, world):
    version, universe = house_version(), UniverseFactory(name="nifty50")
    UniverseMember.objects.create(universe=universe, instrument=world.instrument, from_date="2020-01-01")
    address = reverse("web:contract-deploy", args=[version.pk])
    assert "nifty50" in desk.get(address, **HTMX).content.decode()
    wish = {"portfolio": world.portfolio.pk, "universe": "nifty50", "parameter.fast": "8"}
    for wrong in ({"portfolio": "x"}, {"universe": "nowhere"}, {"parameter.fast": "999"}, {"parameter.fast": "many"}):
        assert "class=" in desk.post(address, wish | wrong, **HTMX).content.decode()
    assert not Deployment.objects.exists()
    for _ in range(2):
        assert desk.post(address, wish, **HTMX).status_code == 204
    one = Deployment.objects.get()
    assert one.parameters == {"fast": 8.0}
    assert "at work" in page(desk, "contract", version.contract_id)
    for act, state in (("pause", "PAUSED"), ("pause", "PAUSED"), ("resume", "ACTIVE"), ("stop", "RETIRED")):
        assert desk.post(reverse("web:deployment", args=[one.pk, act])).status_code == 302
        one.refresh_from_db()
        assert one.state == state


def test_a_version_that_is_paused_says_so_of_what_is_at_work(desk, world):
    version, universe = house_version(), UniverseFactory(name="nifty50")
    UniverseMember.objects.create(universe=universe, instrument=world.instrument, from_date="2020-01-01")
    wish = {"portfolio": world.portfolio.pk, "universe": "nifty50"}
    assert desk.post(reverse("web:contract-deploy", args=[version.pk]), wish, **HTMX).status_code == 204
    assert "1 at work" in desk.get(reverse("web:strategies")).content.decode()
    world.user.is_staff = True
    world.user.save()
    for stage, said, listed in (("PAUSED", "version paused", "1 paused"), ("RETIRED", "version retired", "—")):
        desk.post(reverse("web:contract-move", args=[version.pk, stage]), {"reason": "a holiday"})
        told = page(desk, "contract", version.contract_id)
        assert said in told and ">at work<" not in told
        assert ("Resume" in told) == (stage == "PAUSED")
        assert listed in desk.get(reverse("web:strategies")).content.decode()


# Programs


def api(client, method, path, body=None):
    more = {"content_type": "application/json"} if body is not None else {}
    return getattr(client, method)(f"/api/v1/{path}", *([json.dumps(body)] if body is not None else []), **more)


def test_a_program_publishes_moves_and_deploys(desk, world):
    body = EMA.as_mapping()
    assert api(desk, "post", "contracts/validate/", {"body": body}).json()["valid"]
    first = api(desk, "post", "contracts/", {"slug": "mine", "body": body})
    again = api(desk, "post", "contracts/", {"slug": "mine", "body": body})
    assert (first.status_code, again.status_code) == (201, 200)
    version = first.json()
    assert version["stage"] == "RESEARCH" and version["body"]["name"] == EMA.name
    assert api(desk, "get", f"contracts/{version['contract']}/").json()["versions"][0]["number"] == 1
    refused = api(desk, "post", f"versions/{version['id']}/move/", {"to": "PAPER", "reason": "good enough"})
    assert refused.status_code == 422 and refused.json()["code"] == "GATE"
    assert {one["code"] for one in refused.json()["findings"]} >= {"OUT_OF_SAMPLE", "SHARPE"}
    UniverseFactory(name="nifty50")
    wish = {"version": version["id"], "portfolio": world.portfolio.pk, "universe": "nifty50"}
    assert api(desk, "post", "deployments/", wish).json()["code"] == "STAGE"
    Standing.objects.update(stage="PAPER")
    made = api(desk, "post", "deployments/", wish)
    assert made.status_code == 201 and made.json()["state"] == "ACTIVE"
    assert api(desk, "post", f"deployments/{made.json()['id']}/pause/", {}).json()["state"] == "PAUSED"
    assert api(desk, "get", "deployments/").json()["results"][0]["contract"] == "mine"


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("contracts/", {"slug": "Bad Name", "body": {}}, 400, "INVALID_REQUEST"),
        ("contracts/", {"slug": "mine"}, 400, "INVALID_REQUEST"),
        ("contracts/", {"slug": "mine", "body": {}, "yaml": "a"}, 400, "INVALID_REQUEST"),
        ("contracts/", {"slug": "mine", "body": []}, 400, "INVALID_REQUEST"),
        ("contracts/", {"slug": "mine", "body": {}}, 422, "MISSING"),
        ("contracts/", {"slug": "mine", "yaml": "a: ["}, 422, "NOT_YAML"),
        ("contracts/validate/", {}, 400, "INVALID_REQUEST"),
        ("deployments/", {"version": 1, "portfolio": 2**60, "universe": "x"}, 400, "INVALID_REQUEST"),
        ("deployments/", {"version": 987654, "portfolio": 987654, "universe": "x"}, 404, "UNKNOWN_PORTFOLIO"),
    ],
)
def test_a_program_that_errs_is_told_where(desk, path, body, status, code):
    answer = api(desk, "post", path, body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_program_is_shown_the_character(desk):
    body = EMA.as_mapping() | {"rules": {"long_entry": "clsoe > 1", "short_entry": "close < 1"}}
    told = api(desk, "post", "contracts/validate/", {"body": body}).json()["error"]
    assert (told["path"], told["position"], told["suggestion"]) == ("rules.long_entry", 0, "close")
    told = api(desk, "post", "contracts/validate/", {"rule": "rsi(close, 14) <", "timeframe": "5m"}).json()["error"]
    assert told["code"] == "SYNTAX" and told["position"] == 16
