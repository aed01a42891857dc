"""Execution quality: what is measured of an order, the figures made of it, and the doors at which they are shown."""

import csv
import io
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse

from accounts.api_keys import issue
from execution.brokers.port import Tick
from execution.models import Order
from execution.quality import Scope, orders_of, quality, quality_of_all, stages_of
from execution.services.risk_keep import report_body
from tests.factories import (
    DeploymentFactory,
    FeedFactory,
    GroupFactory,
    InstrumentFactory,
    IntentFactory,
    OrderFactory,
    PortfolioFactory,
    SignalFactory,
    UserFactory,
)
from tests.factories.strategies import ContractFactory, ContractVersionFactory
from tests.small_desk import small_desk
from trading.domain.clock import IST
from trading.portfolio.models import Portfolio

pytestmark = pytest.mark.django_db
DAY = date(2026, 2, 16)
WALL = datetime(2026, 11, 30, 5, 0, tzinfo=IST)
MS = timedelta(milliseconds=1)


def sent(portfolio: Portfolio, *, filled: int = 10, paid: str = "100.10", hour: int = 10, **changes) -> Order:
    """Ten bought at a hundred as decided and as it arrived: 20 ms to the wire, 30 to the word, 50 to the fill."""
    signal, symbol = changes.pop("signal", None), changes.pop("symbol", "NSE:SBIN-EQ")
    instrument = InstrumentFactory._meta.model.objects.filter(symbol=symbol).first() or InstrumentFactory(symbol=symbol)
    side = changes.pop("side", "BUY")
    group = GroupFactory(portfolio=portfolio, instrument=instrument, side=side, state="CLOSED", signal=signal)
    intent = IntentFactory(group=group, signal=signal, created_at=WALL, wanted_quantity=10)
    values = {
        "state": "FILLED" if filled == 10 else "CANCELLED", "filled_quantity": filled,
        "fill_value_paise": int(Decimal(paid) * 100) * filled, "decision_price": Decimal(100),
        "arrival_price": Decimal(100), "placed_at": datetime(2026, 2, 16, hour, 15, tzinfo=IST), "created_at": WALL,
        "sent_at": WALL + 20 * MS, "acked_at": WALL + 50 * MS, "first_fill_at": WALL + 100 * MS if filled else None,
    }  # fmt: skip
    return OrderFactory(intent=intent, **(values | changes))


@pytest.fixture
def portfolio(db) -> Portfolio:
    return PortfolioFactory()


@pytest.fixture
def idea(portfolio):
    version = ContractVersionFactory(contract=ContractFactory(name="=Trend"))
    deployment = DeploymentFactory(portfolio=portfolio, version=version)
    return SignalFactory(portfolio=portfolio, deployment=deployment, created_at=WALL - 15 * MS)


def scope(*portfolios: Portfolio) -> Scope:
    return Scope(tuple(one.pk for one in portfolios), DAY, DAY)


def test_slippage_is_what_it_cost_on_either_side(portfolio):
    bought, sold = sent(portfolio), sent(portfolio, side="SELL", symbol="NSE:TCS-EQ", paid="99.80")
    found = {one.order_id: one for one in orders_of(scope(portfolio))}
    assert (found[bought.pk].arrival_bps, found[bought.pk].cost_paise) == (10.0, 100)
    assert (found[sold.pk].arrival_bps, found[sold.pk].cost_paise) == (20.0, 200)
    assert next(iter(found)) == sold.pk, "the dearest first"
    both = quality_of_all(scope(portfolio))
    assert (both.orders, both.cost_paise, both.arrival_bps.p50, both.arrival_bps.n) == (2, 300, 15.0, 2)


def test_each_stage_is_timed_and_counts_only_where_it_was(portfolio, idea):
    sent(portfolio, signal=idea)
    sent(portfolio, filled=0, acked_at=None, arrival_price=None, symbol="NSE:TCS-EQ")
    one = quality_of_all(scope(portfolio))
    assert [(spread.p50, spread.n) for spread in (one.risk_ms, one.wire_ms, one.ack_ms, one.fill_ms)] == [
        (15.0, 1), (20.0, 2), (30.0, 1), (50.0, 1),
    ]  # fmt: skip
    assert (one.filled_orders, one.fill_ratio, one.ended) == (1, 0.5, 2)
    order = Order.objects.get(intent__signal=idea)
    assert [took for _, took in stages_of(order, order.intent)] == [15.0, 20.0, 30.0, 50.0, None]


def test_what_says_nothing_about_filling_is_not_counted(portfolio):
    sent(portfolio, state="OPEN", filled=0)
    sent(portfolio, state="CANCELLED", filled=0, trigger_price=Decimal(98), symbol="NSE:TCS-EQ")
    sent(portfolio, filled=0, sent_at=None, symbol="NSE:INFY-EQ")  # it never left
    one = quality_of_all(scope(portfolio))
    assert (one.orders, one.fill_ratio, one.ended, one.arrival_bps.p50, one.cost_paise) == (2, None, 0, None, 0)


def test_a_stop_is_measured_against_its_trigger(portfolio):
    sent(portfolio, side="SELL", trigger_price=Decimal(100), paid="99.90", reason="STOP")
    (one,) = quality(scope(portfolio), by="reason")
    assert (one.label, one.arrival_bps.p50, one.fill_ms.n) == ("STOP", 10.0, 0)


def test_it_is_told_by_strategy_instrument_hour_type_and_day(portfolio, idea):
    sent(portfolio, signal=idea)
    for number in range(3):
        sent(portfolio, hour=14, symbol=f"NSE:S{number}-EQ")
    said = {by: [(one.label, one.orders) for one in quality(scope(portfolio), by=by)] for by in (
        "strategy", "instrument", "hour", "type", "day", "portfolio",
    )}  # fmt: skip
    assert said["strategy"] == [("By hand", 3), ("=Trend", 1)]
    assert len(said["instrument"]) == 4 and said["hour"] == [("10:00", 1), ("14:00", 3)]
    assert said["type"] == [("LIMIT", 4)] and said["day"] == [("2026-02-16", 4)]
    assert said["portfolio"] == [(portfolio.name, 4)]
    key = f"contract:{idea.deployment.version.contract_id}"
    assert [one.symbol for one in orders_of(scope(portfolio), by="strategy", key=key)] == ["NSE:SBIN-EQ"]


def test_days_are_those_of_the_market(portfolio):
    sent(portfolio, placed_at=datetime(2026, 2, 15, 23, 59, tzinfo=IST))
    sent(portfolio, placed_at=datetime(2026, 2, 16, 0, 0, tzinfo=IST), symbol="NSE:TCS-EQ")
    sent(portfolio, placed_at=datetime(2026, 2, 17, 0, 0, tzinfo=IST), symbol="NSE:INFY-EQ")
    assert [one.symbol for one in orders_of(scope(portfolio))] == ["NSE:TCS-EQ"]


def test_the_price_at_arrival_is_that_of_the_engines_own_market(valkey):
    desk = small_desk()
    seen = Tick(desk.instrument.symbol, Decimal("812.35"), 1000, desk.now[0], Decimal("812.30"), Decimal("812.50"))
    desk.engine.hear_ticks([seen])
    intent = desk.ask()
    desk.turn()
    order = desk.order(intent)
    assert (order.decision_price, order.arrival_price) == (Decimal("812.35"), Decimal("812.40"))


def test_a_price_that_nobody_saw_is_not_made_up(valkey):
    desk = small_desk()
    intent = desk.ask()
    desk.turn()
    assert desk.order(intent).sent_at is not None and desk.order(intent).arrival_price is None


def test_the_days_report_has_its_line(portfolio):
    FeedFactory(name=portfolio.account.feed)
    assert report_body(portfolio, DAY)["execution"] is None
    sent(portfolio)
    line = report_body(portfolio, DAY)["execution"]
    assert (line["orders"], line["fill_ratio"], line["slippage_bps_p50"], line["cost_paise"]) == (1, 1.0, 10.0, 100)


# -- the doors -----------------------------------------------------------------------------------------------------

DAYS = "?since=2026-02-16&until=2026-02-16"


@pytest.fixture
def client(portfolio, valkey) -> Client:
    client = Client()
    client.force_login(portfolio.owner)
    return client


def test_the_page_says_when_there_is_nothing(client):
    page = client.get(reverse("web:quality"))
    assert page.status_code == 200 and "No order left the desk in these days" in page.content.decode()
    series = client.get(reverse("web:quality-series")).json()
    assert series["days"] == series["hours"] == []


def test_the_page_leads_down_to_the_single_order(client, portfolio, idea):
    order = sent(portfolio, signal=idea)
    sent(portfolio, symbol="NSE:TCS-EQ", hour=14)
    page = client.get(reverse("web:quality") + DAYS).content.decode()
    assert "=Trend" in page and "By hand" in page and "+10.0" in page and reverse("web:order", args=[order.pk]) in page
    key = f"contract:{idea.deployment.version.contract_id}"
    one = client.get(reverse("web:quality") + f"{DAYS}&by=strategy&key={key}&sort=ack").content.decode()
    assert reverse("web:order", args=[order.pk]) in one and one.count("data-open") == 1
    story = client.get(reverse("web:order", args=[order.pk])).content.decode()
    assert "Signal to risk <b>15 ms</b>" in story and "Wire to the broker’s word <b>30 ms</b>" in story
    series = client.get(reverse("web:quality-series") + DAYS).json()
    assert series["slippage"] == [10.0] and series["hours"] == [10, 14]


@pytest.mark.parametrize(
    ("query", "says"),
    [("?since=2026-02-17&until=2026-02-16", "before the first"), ("?since=1990-01-01&until=2026-02-16", "Three years"),
     ("?since=never", "valid date"), ("?by=moon&sort=nothing&key=x", "")],
)  # fmt: skip
def test_days_that_are_none_are_said_and_the_usual_ones_shown(client, query, says):
    page = client.get(reverse("web:quality") + query)
    assert page.status_code == 200 and says in page.content.decode()


def test_the_file_is_no_formula(client, portfolio, idea):
    sent(portfolio, signal=idea)
    answer = client.get(reverse("web:quality-csv") + DAYS)
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert "attachment" in answer["Content-Disposition"]
    assert (rows[0]["symbol"], rows[0]["strategy"], rows[0]["arrival_bps"]) == ("NSE:SBIN-EQ", "'=Trend", "10.0")


def test_another_persons_orders_are_not_among_them(client, portfolio):
    sent(PortfolioFactory())
    assert "No order left" in client.get(reverse("web:quality") + DAYS + "&whose=all").content.decode()


def test_it_is_told_to_programs(portfolio, valkey):
    sent(portfolio)
    _, secret = issue(owner=portfolio.owner, name="mine", now=WALL)
    ask = {"headers": {"Authorization": f"Bearer {secret}"}}
    body = Client().get(f"/api/v1/execution-quality/{DAYS}&by=hour", **ask).json()
    assert body["all"]["arrival_bps"] == {"p50": 10.0, "p95": 10.0, "n": 1}
    assert [line["label"] for line in body["lines"]] == ["10:00"] and body["orders"][0]["cost_paise"] == 100
    assert Client().get(f"/api/v1/execution-quality/{DAYS}&by=moon", **ask).status_code == 400
    assert Client().get(f"/api/v1/execution-quality/{DAYS}&portfolio=999999", **ask).status_code == 404
    assert Client().get("/api/v1/execution-quality/?since=2999-01-01", **ask).status_code == 422


def test_operators_see_everybodys(portfolio, valkey):
    sent(portfolio)
    sent(PortfolioFactory(name="Elsewhere"), symbol="NSE:TCS-EQ")
    client = Client()
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    page = client.get(reverse("admin:execution_order_quality") + DAYS).content.decode()
    assert "Elsewhere" in page and portfolio.name in page and "+10.0" in page
    one = client.get(reverse("admin:execution_order_quality") + f"{DAYS}&portfolio={portfolio.pk}").content.decode()
    assert "NSE:TCS-EQ" not in one and "TCS" not in one
