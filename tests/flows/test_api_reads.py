"""What programs read: their own, newest first, with money as text and instants in UTC."""

import re
from decimal import Decimal
from io import StringIO
from uuid import uuid4

import pytest
import yaml
from django.core.management import call_command
from django.test import Client

from tests.factories import (
    AssessmentFactory,
    FillFactory,
    GroupFactory,
    IntentFactory,
    OrderFactory,
    PositionFactory,
    SignalFactory,
)
from tests.factories.world import World, open_market
from trading.api.problems import MEDIA_TYPE
from trading.urls_api import urlpatterns

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(valkey) -> World:
    return open_market()


@pytest.fixture
def page(world) -> Client:
    client = Client()
    client.force_login(world.user)
    return client


def rows(reply):
    assert reply.status_code == 200, reply.content
    return reply.json()["results"]


def test_portfolios_show_their_cash_in_rupees(page, world):
    (portfolio,) = rows(page.get("/api/v1/portfolios/"))
    assert (portfolio["id"], portfolio["opening_cash"]) == (world.portfolio.pk, "1000000.00")


def test_the_dashboard_adds_up(page, world):
    reply = page.get("/api/v1/dashboard/")
    assert reply.status_code == 200
    summary = reply.json()
    assert summary["equity"] == summary["cash"] == "1000000.00"
    assert (summary["day_pnl"], summary["day_pnl_pct"]) == ("0.00", "0.00")
    assert summary["venue_time"] == "2026-02-16T05:30:00Z"
    assert (summary["engine_state"], summary["broker_state"]) == ("RUNNING", "AUTHENTICATED")
    assert summary["kill_level"] == "ACTIVE"


@pytest.mark.parametrize("wanted", ["999999", "abc", "-1", "٣", "9" * 40])
def test_a_dashboard_that_is_not_there(page, wanted):
    reply = page.get("/api/v1/dashboard/", {"portfolio": wanted})
    assert reply.status_code == 404
    assert reply.json()["code"] == "PORTFOLIO_NOT_FOUND"


def test_a_position_shows_its_profit_at_the_last_price_and_the_trade_that_closes_it(page, world):
    PositionFactory(portfolio=world.portfolio, instrument=world.instrument, net_quantity=10, cost_paise=8_000_00)
    group = GroupFactory(portfolio=world.portfolio, instrument=world.instrument, state="ACTIVE")
    (position,) = rows(page.get("/api/v1/positions/"))
    assert position["group"] == str(group.pk)
    assert (position["average_price"], position["last_price"]) == ("800.00", "812.35")
    assert (position["pnl"], position["pnl_pct"]) == ("123.50", "1.54")


def test_a_position_without_a_price_says_so(page, world):
    PositionFactory(portfolio=world.portfolio)
    (position,) = rows(page.get("/api/v1/positions/", {"open": "true"}))
    assert (position["last_price"], position["pnl"], position["pnl_pct"]) == (None, None, None)


def test_a_hooks_signal_is_listed_beside_those_of_contracts(page, world):
    SignalFactory(portfolio=world.portfolio)
    SignalFactory(
        portfolio=world.portfolio, deployment=None, source="HOOK", stop=None, target=None, quantity=50,
        origin="My charts: SBIN long", features={"alert": "SBIN long", "delivery": "7f"},
    )  # fmt: skip
    by = {row["source"]: row for row in rows(page.get("/api/v1/signals/"))}
    assert by["CONTRACT"]["contract"] and by["CONTRACT"]["stop"]
    hook = by["HOOK"]
    assert (hook["contract"], hook["stop"], hook["quantity"]) == ("My charts: SBIN long", None, 50)
    assert hook["features"]["alert"] == "SBIN long"


def test_orders_come_newest_first_and_pages_do_not_shift(page, world):
    made = [OrderFactory(intent__group__portfolio=world.portfolio).pk for _ in range(5)]
    first = page.get("/api/v1/orders/", {"page_size": 2}).json()
    OrderFactory(intent__group__portfolio=world.portfolio)
    second = page.get(first["next"]).json()
    seen = [order["id"] for order in first["results"] + second["results"]]
    assert seen == sorted(made, reverse=True)[:4]


def test_orders_are_filtered(page, world):
    open_order = OrderFactory(intent__group__portfolio=world.portfolio)
    done = OrderFactory(intent__group__portfolio=world.portfolio, state="FILLED", side="SELL")

    def ids(**query):
        return {order["id"] for order in rows(page.get("/api/v1/orders/", query))}

    assert ids() == {open_order.pk, done.pk}
    assert ids(live="true") == ids(state="OPEN") == {open_order.pk}
    assert ids(live="false") == ids(side="SELL") == {done.pk}
    assert ids(symbol=done.instrument.symbol) == {done.pk}
    assert ids(group=str(open_order.group_id)) == {open_order.pk}
    assert ids(group=str(uuid4())) == set()


@pytest.mark.parametrize(
    "query",
    [
        {"state": "NOPE"}, {"side": "HOLD"}, {"group": "x"}, {"portfolio": "x"}, {"portfolio": "NaN"},
        {"placed_after": "yesterday"}, {"symbol": "\0"},
    ],
)  # fmt: skip
def test_a_filter_that_makes_no_sense_is_told(page, query):
    reply = page.get("/api/v1/orders/", query)
    assert reply.status_code == 400, reply.content
    assert reply.json()["code"] == "INVALID_REQUEST"


@pytest.mark.parametrize("listing", ["orders", "signals", "positions", "portfolios"])
@pytest.mark.parametrize("cursor", ["x", "%%%", "cD1ub3RhbnVtYmVy", "cD0yMDI2LTk5LTk5", "bz0tMQ==", "cD0lMDA="])
def test_a_cursor_that_was_tampered_with_breaks_nothing(page, world, listing, cursor):
    SignalFactory(portfolio=world.portfolio)
    OrderFactory(intent__group__portfolio=world.portfolio)
    reply = page.get(f"/api/v1/{listing}/", {"cursor": cursor})
    assert reply.status_code in {200, 404}, reply.content
    if reply.status_code == 404:
        assert reply["content-type"] == MEDIA_TYPE


def test_an_order_tells_its_fills_and_verdicts(page, world):
    order = OrderFactory(intent__group__portfolio=world.portfolio, filled_quantity=10, fill_value_paise=1_000_05)
    FillFactory(order=order, price=Decimal("100.005"), value_paise=1_000_05)
    AssessmentFactory(portfolio=world.portfolio, intent_id=order.intent_id, message="Within the limit.")
    story = page.get(f"/api/v1/orders/{order.pk}/").json()
    assert [(fill["price"], fill["value"]) for fill in story["fills"]] == [("100.005", "1000.05")]
    assert [verdict["message"] for verdict in story["verdicts"]] == ["Within the limit."]


def test_a_signal_tells_why_and_what_the_gates_said(page, world):
    signal = SignalFactory(portfolio=world.portfolio, features={"rsi_14": 58.2})
    group = GroupFactory(portfolio=world.portfolio)
    intent = IntentFactory(group=group, signal=signal)
    AssessmentFactory(portfolio=world.portfolio, intent_id=intent.pk, gate="STOP_REQUIRED")
    (told,) = rows(page.get("/api/v1/signals/"))
    assert told["explanation"] == signal.explanation
    assert told["features"] == {"rsi_14": 58.2}
    assert [verdict["gate"] for verdict in told["verdicts"]] == ["STOP_REQUIRED"]


@pytest.mark.parametrize(
    "path", ["", "nothing/", "orders", "orders/x/", "orders/99999999999999999999/", "positions/x/close/"]
)
def test_an_address_that_does_not_exist_is_a_problem_not_a_page(page, path):
    reply = page.get(f"/api/v1/{path}")
    assert reply.status_code == 404
    assert reply["content-type"] == MEDIA_TYPE


def test_a_method_that_is_not_offered(page):
    reply = page.delete("/api/v1/orders/")
    assert reply.status_code == 405
    assert reply.json()["code"] == "METHOD_NOT_ALLOWED"


def test_a_listing_asks_the_same_number_of_questions_however_long_it_is(page, world, django_assert_max_num_queries):
    for _ in range(12):
        intent = IntentFactory(signal=SignalFactory(portfolio=world.portfolio), group__portfolio=world.portfolio)
        AssessmentFactory(portfolio=world.portfolio, intent_id=intent.pk)
        PositionFactory(portfolio=world.portfolio)
    for listing, most in [("orders", 6), ("signals", 8), ("positions", 14)]:
        with django_assert_max_num_queries(most):
            page.get(f"/api/v1/{listing}/")


UNDESCRIBED = {"api_schema", "api_docs", "api_nowhere"}


def test_the_description_is_valid_and_complete():
    out = StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=out)
    described = yaml.safe_load(out.getvalue())
    routes = [str(one.pattern) for one in urlpatterns if one.name not in UNDESCRIBED]
    plain = [re.sub(r"\(\?P(<\w+>)[^)]*\)", r"\1", route).strip("^$") for route in routes]
    addresses = {re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route) for route in plain}
    assert {path.removeprefix("/api/v1/") for path in described["paths"]} == addresses
    place = described["paths"]["/api/v1/orders/"]["post"]
    assert any(parameter["name"] == "Idempotency-Key" and parameter["required"] for parameter in place["parameters"])
    assert place["requestBody"]["content"]["application/json"]["examples"]
    assert {"201", "202", "400", "409", "422"} <= set(place["responses"])


def test_the_description_and_its_page_are_served(page):
    assert page.get("/api/v1/schema/").status_code == 200
    docs = page.get("/api/v1/docs/")
    assert docs.status_code == 200
    policy = docs["content-security-policy"]
    assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]
    assert "'unsafe-inline'" in policy.split("style-src")[1].split(";")[0]
    assert b"https://" not in docs.content.replace(b"https://swagger.io", b"")
