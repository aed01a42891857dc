"""Pages of two people: each sees the own desk, as it is, and nothing of the other's."""

import gzip
import json
import re
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import pytest
from django.conf import settings
from django.contrib.staticfiles import finders
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from execution.models import EngineLease, Group, Intent, Order, OrderEvent
from execution.states import PendingOp
from risk.models import TradingState
from tests.factories import (
    GroupFactory,
    IntentFactory,
    OrderFactory,
    PortfolioFactory,
    SignalFactory,
    UserFactory,
)
from tests.factories.people import code_now, set_up_factor
from tests.factories.world import open_market
from tests.flows.full_desk import FullDesk, full_desk
from trading.audit.models import AuditEntry
from trading.monitoring.models import Alert, Heartbeat
from trading.portfolio.models import TradingDay
from trading.web.pages.dashboard import PARTS

HTMX = {"HTTP_HX_REQUEST": "true"}
PAGES = ["dashboard", "positions", "orders", "signals", "journal"]


@pytest.fixture
def desk(valkey, db) -> FullDesk:
    return full_desk()


@pytest.fixture
def trader(desk, client) -> Client:
    client.force_login(desk.user)
    return client


@pytest.fixture
def stranger(desk) -> Client:
    """Somebody else with a desk of their own."""
    other = Client()
    other.force_login(PortfolioFactory(name="Of the other").owner)
    return other


def text(response) -> str:
    assert response.status_code == 200, response.status_code
    return response.content.decode()


# --- the door ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", PAGES)
def test_nobody_is_sent_to_sign_in(client, db, name):
    response = client.get(reverse(f"web:{name}"))
    assert response.status_code == 302
    assert response["Location"].startswith(reverse("account_login"))


def test_a_fragment_sends_the_whole_page_to_sign_in(client, db):
    response = client.get(reverse("web:part", args=["positions"]), **HTMX)
    assert (response.status_code, response["HX-Redirect"]) == (401, reverse("account_login"))


def test_the_state_of_nobody_is_refused(client, db):
    assert client.get(reverse("web:state")).status_code == 401


@pytest.mark.parametrize("name", ["account_login", "account_reset_password"])
def test_the_entrance_stands_without_the_desk(client, db, name):
    assert "Tarazu" in text(client.get(reverse(name)))


def test_signing_in_leads_to_the_desk(client, desk):
    from tests.factories import PASSWORD

    response = client.post(reverse("account_login"), {"login": desk.user.username, "password": PASSWORD})
    assert (response.status_code, response["Location"]) == (302, "/")
    response = client.post(reverse("account_logout"))
    assert response.status_code == 302
    assert client.get("/").status_code == 302


def test_a_wrong_password_is_told_and_signs_nobody_in(client, desk):
    response = client.post(reverse("account_login"), {"login": desk.user.username, "password": "wrong"})
    assert "not correct" in text(response)
    assert client.get("/").status_code == 302


# --- full and empty ---------------------------------------------------------------------------------------------------
def test_the_dashboard_shows_the_day(trader):
    page = text(trader.get("/"))
    for said in [
        "PAPER", "SBIN", "+982.50", "−687.00", "−80", "₹10,00,795.10", "24,718.60", "EMA 9 crossed above",
        "MAX_OPEN_POSITIONS", "All slots of the portfolio are taken.", "Prices of 2 instruments", "Running",
    ]:  # fmt: skip
        assert said in page, said


def test_loss_and_profit_differ_by_more_than_colour(trader):
    page = text(trader.get(reverse("web:positions")))
    assert re.search(r'class="cell up"[^>]*>\+982\.50', page)
    assert re.search(r'class="cell down"[^>]*>−687\.00', page)


@pytest.mark.parametrize("name", PAGES)
def test_every_page_stands_when_there_is_nothing_yet(client, valkey, db, name):
    client.force_login(PortfolioFactory().owner)
    page = text(client.get(reverse(f"web:{name}")))
    assert 'class="empty' in page


@pytest.mark.parametrize("name", PAGES)
def test_every_page_stands_without_a_portfolio(client, valkey, db, name):
    client.force_login(UserFactory())
    assert "Tarazu" in text(client.get(reverse(f"web:{name}")))


@pytest.mark.parametrize("name", sorted(PARTS))
def test_every_part_can_be_fetched_alone(trader, name):
    part = text(trader.get(reverse("web:part", args=[name]), **HTMX))
    assert "<html" not in part
    assert f'id="part-{name}"' in part
    assert f'hx-get="{reverse("web:part", args=[name])}' in part


def test_an_order_tells_its_whole_story(trader, desk):
    page = text(trader.get(reverse("web:order", args=[desk.orders[0].pk])))
    for said in [
        "EMA 9/21 with RSI filter", "Risk per trade", "₹1,847", "Shrink", "wanted 220, allowed 150", "Order acked",
        "40,617.50", "1.2", "trigger 804.20", "₹43.10",
    ]:  # fmt: skip
        assert said in page, said


def test_orders_are_filtered_by_state(trader, desk):
    live = text(trader.get(reverse("web:orders"), {"state": "live"}))
    assert live.count('data-state="open"') == 4
    assert 'data-state="filled"' not in live
    assert "No order in this state." in text(trader.get(reverse("web:orders"), {"state": "rejected"}))
    assert text(trader.get(reverse("web:orders"), {"state": "nonsense", "page": "99"})).count("data-state=") == 8


def test_the_journal_adds_up(trader):
    page = text(trader.get(reverse("web:journal")))
    assert "+₹1,480.45" in page  # gross 1,675.25 less charges 194.80
    assert "−661.70" in page


def test_the_console_is_offered_to_staff_alone(trader, client, desk):
    assert reverse("admin:index") not in text(trader.get("/"))
    desk.user.is_staff = True
    desk.user.save()
    assert reverse("admin:index") in text(trader.get("/"))


def test_live_money_is_named_as_such(trader, desk):
    account = desk.world.portfolio.account
    account.environment = "LIVE"
    account.save()
    page = text(trader.get("/"))
    assert "is-live" in page and ">LIVE<" in page and "PAPER" not in page


def test_a_silent_engine_is_not_shown_as_running(trader, desk):
    lease = EngineLease.objects.get(account=desk.world.portfolio.account)
    lease.beat_at = timezone.now() - timezone.timedelta(minutes=2)
    lease.save()
    assert "Silent" in text(trader.get("/"))


def test_an_unknown_order_is_said_to_be_unknown(trader, desk):
    Order.objects.filter(pk=desk.orders[0].pk).update(state="UNKNOWN")
    assert "asking the broker" in text(trader.get(reverse("web:order", args=[desk.orders[0].pk])))


# --- live cells -------------------------------------------------------------------------------------------------------
def test_the_state_holds_every_live_cell_of_the_page(trader, desk):
    state = trader.get(reverse("web:state"), {"portfolio": desk.world.portfolio.pk}).json()
    assert state["summary"]["equity"] == "₹10,00,795.10"
    assert state["summary"]["clock"]["phase"] == "CONTINUOUS"
    assert state["quotes"]["NSE:NIFTY50-INDEX"] == {"ltp": "24,718.60", "chg": "+0.41", "dir": 1}
    lost = {"ltp": "1,409.85", "pnl": "−687.00", "pnl_pct": "−0.81", "sign": -1}
    assert state["rows"][str(desk.groups[1].pk)] == lost
    page = text(trader.get("/"))
    for group in set(re.findall(r'data-row="([^"]+)"', page)):
        assert group in state["rows"]
    for name in set(re.findall(r'data-summary="([^"]+)"', page)):
        assert name in state["summary"]


def test_the_curve_is_of_the_venue_day(trader, desk):
    curve = trader.get(reverse("web:equity"), {"portfolio": desk.world.portfolio.pk}).json()
    assert len(curve["day"]) == 105  # 09:15 to 11:00, a minute each
    assert curve["opening"] == 999040.0


def test_the_day_is_measured_from_its_opening(trader, desk):
    TradingDay.objects.update(opening_equity_paise=100_179_510)
    assert "−₹1,000.00" in text(trader.get("/"))


# --- owners -----------------------------------------------------------------------------------------------------------
def test_what_belongs_to_another_is_not_there(stranger, desk):
    group, order, account = desk.groups[0], desk.orders[0], desk.world.portfolio.account
    waiting = IntentFactory(group=group, state="WAITING")
    alert = Alert.objects.get(code="PRICES_LATE")
    for method, address in [
        ("get", reverse("web:close", args=[group.pk])),
        ("post", reverse("web:close", args=[group.pk])),
        ("get", reverse("web:close-progress", args=[group.pk])),
        ("get", reverse("web:order", args=[order.pk])),
        ("get", reverse("web:cancel", args=[order.pk])),
        ("post", reverse("web:cancel", args=[order.pk])),
        ("post", reverse("web:decide", args=[waiting.pk])),
        ("post", reverse("web:acknowledge", args=[alert.pk])),
        ("post", reverse("web:engine", args=[account.pk, "pause"])),
        ("get", reverse("web:state") + f"?portfolio={desk.world.portfolio.pk}"),
        ("get", reverse("web:equity") + f"?portfolio={desk.world.portfolio.pk}"),
    ]:
        assert getattr(stranger, method)(address).status_code == 404, address
    chosen = stranger.post(reverse("web:choose-portfolio"), {"portfolio": desk.world.portfolio.pk})
    assert chosen.status_code == 404
    assert not Group.objects.filter(close_reason__gt="").exists()
    assert not Order.objects.exclude(pending_op=PendingOp.NONE).exists()
    assert Intent.objects.get(pk=waiting.pk).state == "WAITING"
    assert Alert.objects.get(pk=alert.pk).acknowledged_at is None
    assert EngineLease.objects.get(account=account).paused_by == ""


@pytest.mark.parametrize("name", PAGES)
def test_no_page_shows_what_belongs_to_another(stranger, desk, name):
    page = text(stranger.get(reverse(f"web:{name}")))
    theirs_alone = ["SBIN", "Paper ₹10 lakh", str(desk.groups[0].pk), desk.orders[0].client_order_id]
    for theirs in [*theirs_alone, desk.user.username + "<"]:
        assert theirs not in page


def test_staff_too_see_only_their_own_on_the_pages(desk, client):
    client.force_login(UserFactory(operator=True))
    assert client.get(reverse("web:order", args=[desk.orders[0].pk])).status_code == 404


def test_one_person_switches_between_two_portfolios(trader, desk):
    second = PortfolioFactory(account=desk.world.portfolio.account, name="Second")
    response = trader.post(reverse("web:choose-portfolio"), {"portfolio": second.pk, "next": "https://evil.example/"})
    assert response["Location"] == "/"
    page = text(trader.get("/"))
    assert f'data-portfolio="{second.pk}"' in page
    assert "No open position" in page


# --- acts -------------------------------------------------------------------------------------------------------------
def test_closing_says_what_will_happen_before_it_does(trader, desk):
    question = text(trader.get(reverse("web:close", args=[desk.groups[2].pk]), **HTMX))
    assert "Close 80 HDFCBANK?" in question
    assert "Buy 80 at market" in question and "₹1,35,528" in question and "+₹672.00" in question
    assert "1 live order" in question
    assert not Group.objects.filter(close_reason__gt="").exists()


def test_closing_twice_closes_once(trader, desk):
    group = desk.groups[0]
    for _ in range(2):
        answer = text(trader.post(reverse("web:close", args=[group.pk]), **HTMX))
        assert "Closing SBIN" in answer and "every 1s" in answer
    group.refresh_from_db()
    assert (group.close_reason, group.close_asked_by) == ("MANUAL", desk.user.username)
    assert AuditEntry.objects.filter(action="position.close_asked").count() == 1
    assert "Closing…" in text(trader.get("/"))


def test_a_closed_position_says_so_and_stops_asking(trader, desk):
    Group.objects.filter(pk=desk.groups[0].pk).update(state="CLOSED")
    answer = text(trader.get(reverse("web:close-progress", args=[desk.groups[0].pk]), **HTMX))
    assert "SBIN is closed" in answer and "every 1s" not in answer


def test_cancelling_asks_once_and_is_harmless_twice(trader, desk):
    stop = desk.orders[1]
    assert "protects or closes a position" in text(trader.get(reverse("web:cancel", args=[stop.pk]), **HTMX))
    assert "The broker is being asked" in text(trader.post(reverse("web:cancel", args=[stop.pk]), **HTMX))
    assert "nothing was sent twice" in text(trader.post(reverse("web:cancel", args=[stop.pk]), **HTMX))
    stop.refresh_from_db()
    assert stop.pending_op == PendingOp.CANCEL_ASKED


def test_a_done_order_is_not_cancelled_and_the_page_says_why(trader, desk):
    answer = trader.get(reverse("web:cancel", args=[desk.orders[0].pk]), **HTMX)
    assert answer.status_code == 409
    assert answer["HX-Retarget"] == "#dialog-body"
    assert "ORDER_IS_DONE" in answer.content.decode()
    whole = trader.get(reverse("web:cancel", args=[desk.orders[0].pk]))
    assert whole.status_code == 409 and "<html" in whole.content.decode()


def test_an_act_needs_its_token(desk):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(desk.user)
    answer = strict.post(reverse("web:close", args=[desk.groups[0].pk]))
    assert answer.status_code == 403
    assert "FORBIDDEN" in answer.content.decode()
    assert not Group.objects.filter(close_reason__gt="").exists()


def test_an_act_is_never_a_mere_visit(trader, desk):
    one_of_each = {"decide": [uuid4()], "acknowledge": [1], "engine": [1, "pause"], "rearm": [], "choose-portfolio": []}
    for name, args in one_of_each.items():
        assert trader.get(reverse(f"web:{name}", args=args)).status_code == 405


def test_an_alert_is_acknowledged_and_written_down(trader, desk):
    alert = Alert.objects.get(code="PRICES_LATE")
    assert "Nothing waits for you" in text(trader.post(reverse("web:acknowledge", args=[alert.pk]), **HTMX))
    assert AuditEntry.objects.filter(action="alert.acknowledged", owner_id=desk.user.pk).count() == 1


def test_the_engine_is_paused_and_resumed_by_hand(trader, desk):
    account = desk.world.portfolio.account
    assert "Paused" in text(trader.post(reverse("web:engine", args=[account.pk, "pause"]), **HTMX))
    assert EngineLease.objects.get(account=account).paused_by == desk.user.username
    trader.post(reverse("web:engine", args=[account.pk, "resume"]), **HTMX)
    assert EngineLease.objects.get(account=account).paused_by == ""


def test_an_approval_is_decided_from_the_page(client, valkey, db):
    world = open_market(approval_mode="MANUAL")
    client.force_login(world.user)
    signal = SignalFactory(portfolio=world.portfolio, instrument=world.instrument)
    in_time = timezone.now() + timezone.timedelta(minutes=5)
    group = GroupFactory(portfolio=world.portfolio, instrument=world.instrument, signal=signal)
    intent = IntentFactory(group=group, signal=signal, state="WAITING", decide_by=in_time)
    assert "waits for your word" in text(client.get("/"))
    answer = text(client.post(reverse("web:decide", args=[intent.pk]), {"decision": "refuse"}, **HTMX))
    assert "Nothing waits for you" in answer
    assert Intent.objects.get().state == "REFUSED"
    assert not Order.objects.exists()


def test_the_kill_switch_wants_a_reason_and_shows_its_steps(trader, desk):
    assert trader.post(reverse("web:kill"), {"level": "4"}, **HTMX).status_code == 422
    assert trader.post(reverse("web:kill"), {"level": "9", "reason": "x"}, **HTMX).status_code == 422
    assert not TradingState.objects.filter(level__gt=0).exists()
    steps = text(trader.post(reverse("web:kill"), {"level": "4", "reason": "Prices look wrong"}, **HTMX))
    assert "Entries are blocked" in steps and "4 left" in steps and "every 1s" in steps
    assert TradingState.objects.get(portfolio=desk.world.portfolio).level == 4
    assert "Prices look wrong" in text(trader.get("/"))


def test_only_an_operator_rearms(trader, desk):
    trader.post(reverse("web:kill"), {"level": "1", "reason": "Lunch"}, **HTMX)
    assert "REARM_NEEDS_OPERATOR" in trader.post(reverse("web:rearm"), {"reason": "back"}, **HTMX).content.decode()
    assert TradingState.objects.get(portfolio=desk.world.portfolio).level == 1
    desk.user.is_staff = True
    desk.user.save()
    set_up_factor(desk.user)
    unread = trader.post(reverse("web:rearm"), {"reason": "back", "code": code_now()}, **HTMX)
    assert "REARM_NOT_CLEAN" in unread.content.decode(), "the broker's books were not read since"
    Heartbeat.objects.create(name=f"books:{desk.world.portfolio.account_id}", at=timezone.now())
    wrong = trader.post(reverse("web:rearm"), {"reason": "back", "code": "000000"}, **HTMX)
    assert "SECOND_FACTOR_WRONG" in wrong.content.decode()
    answer = trader.post(reverse("web:rearm"), {"reason": "back", "code": code_now()}, **HTMX)
    assert "Trading is allowed" in text(answer)


# --- the ticket -------------------------------------------------------------------------------------------------------
def ticket(**changes) -> dict[str, str]:
    given = {
        "symbol": "NSE:SBIN-EQ", "side": "BUY", "quantity": "10", "order_type": "LIMIT", "limit_price": "812.35",
        "stop_price": "804.00", "target_price": "", "product": "INTRADAY", "key": str(uuid4()),
    }  # fmt: skip
    return given | changes


@pytest.fixture
def fresh(client, valkey, db):
    world = open_market()
    client.force_login(world.user)
    return client


def test_a_ticket_sent_twice_is_one_order(fresh):
    wish = ticket()
    for _ in range(2):
        assert "Sent to the engine" in text(fresh.post(reverse("web:ticket"), wish, **HTMX))
    order = Order.objects.get()
    assert (order.side, order.quantity, order.limit_price, order.state) == ("BUY", 10, Decimal("812.35"), "QUEUED")
    assert order.intent.source == Intent.Source.PAGE


@pytest.mark.parametrize(
    "changes",
    [
        {"quantity": "0"}, {"quantity": "-5"}, {"quantity": "1.5"}, {"quantity": "many"}, {"quantity": ""},
        {"limit_price": ""}, {"limit_price": "-1"}, {"limit_price": "NaN"}, {"limit_price": "1e400"},
        {"side": "HOLD"}, {"order_type": "STOP"}, {"product": "MARGIN"}, {"key": "not-a-key"}, {"symbol": ""},
        {"symbol": "NSE:NOSUCH-EQ"}, {"stop_price": "x"},
    ],
)  # fmt: skip
def test_a_wrong_ticket_changes_nothing(fresh, changes):
    answer = fresh.post(reverse("web:ticket"), ticket(**changes), **HTMX)
    assert answer.status_code == 422
    assert "data-ticket" in answer.content.decode()
    assert not Order.objects.exists() and not Intent.objects.exists()


def test_what_the_gates_refuse_is_shown_with_their_numbers(fresh):
    answer = text(fresh.post(reverse("web:ticket"), ticket(stop_price=""), **HTMX))
    assert "Refused by the gates" in answer
    assert not Order.objects.exists()


def test_symbols_are_found_by_what_is_typed(trader):
    found = text(trader.get(reverse("web:symbols"), {"symbol": "bank"}))
    assert "HDFCBANK" in found and "ICICIBANK" in found and "SBIN" not in found
    assert trader.get(reverse("web:quote"), {"symbol": "NSE:SBIN-EQ"}).json()["last"] == "818.90"
    assert trader.get(reverse("web:quote"), {"symbol": "NSE:NO-EQ"}).json()["last"] is None


# --- hostile text, errors, weight -------------------------------------------------------------------------------------
PAYLOAD = "<script>alert(1)</script><img src=x onerror=alert(1)>"


@pytest.mark.parametrize("name", PAGES)
def test_hostile_text_is_only_text(trader, desk, name):
    portfolio = desk.world.portfolio
    type(portfolio).objects.filter(pk=portfolio.pk).update(name=PAYLOAD[:60])
    Alert.objects.update(message=PAYLOAD, next_step=PAYLOAD)
    contract = desk.groups[0].signal.deployment.version.contract
    type(contract).objects.filter(pk=contract.pk).update(name=PAYLOAD)
    SignalFactory(portfolio=portfolio, explanation=PAYLOAD, refusal=PAYLOAD, state="REFUSED", bar_at=desk.now)
    Order.objects.update(broker_message=PAYLOAD)
    page = text(trader.get(reverse(f"web:{name}")))
    assert "<script>alert" not in page and "<img src=x" not in page
    assert "&lt;script&gt;" in page


def test_hostile_text_on_the_story_of_an_order(trader, desk):
    Order.objects.update(broker_message=PAYLOAD)
    OrderEvent.objects.create(
        order=desk.orders[0], seq=9, kind=PAYLOAD[:32], source="BOOK", from_state="FILLED", to_state="FILLED",
        detail={PAYLOAD: PAYLOAD}, at=timezone.now(),
    )  # fmt: skip
    page = text(trader.get(reverse("web:order", args=[desk.orders[0].pk])))
    assert "<img src=x" not in page and "<script>alert" not in page


@pytest.mark.parametrize("name", PAGES)
def test_no_page_carries_script_or_style_of_its_own(trader, name):
    response = trader.get(reverse(f"web:{name}"))
    page = text(response)
    assert not re.search(r"<script(?![^>]*\ssrc=)", page)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|hx-on|javascript:", page)
    policy = response["Content-Security-Policy"]
    assert "unsafe" not in policy and "frame-ancestors 'none'" in policy


def test_a_wrong_address_has_a_code_a_sentence_and_a_next_step(client, db):
    answer = client.get("/nowhere/")
    page = answer.content.decode()
    assert answer.status_code == 404
    assert "NOT_FOUND" in page and "Go back to the dashboard." in page


def test_a_broken_page_still_answers(client, db, monkeypatch, desk):
    monkeypatch.setitem(settings.TEMPLATES[0]["OPTIONS"], "string_if_invalid", "")
    client.force_login(desk.user)
    client.raise_request_exception = False
    Order.objects.filter(pk=desk.orders[0].pk).update(side="")  # a row that no service writes
    answer = client.get(reverse("web:order", args=[desk.orders[0].pk]))
    assert answer.status_code == 500
    assert "INTERNAL_ERROR" in answer.content.decode()


def test_the_first_page_weighs_less_than_two_hundred_kilobytes(trader):
    page = text(trader.get("/"))
    weight = len(gzip.compress(page.encode()))
    for name in set(re.findall(r'(?:src|href)="/static/([^"]+)"', page)):
        weight += len(gzip.compress(Path(finders.find(name)).read_bytes()))
    assert weight < 200_000, weight


def test_pages_ask_few_questions_however_much_there_is(trader, desk, django_assert_max_num_queries):
    text(trader.get("/"))
    with django_assert_max_num_queries(40):
        text(trader.get("/"))


def test_a_page_of_many_orders_is_cut_into_pages(trader, desk):
    OrderFactory.create_batch(60, intent__group=desk.groups[0])
    page = text(trader.get(reverse("web:orders")))
    assert page.count("data-state=") == 50 and "1–50 of 68" in page
    assert text(trader.get(reverse("web:orders"), {"page": 2})).count("data-state=") == 18


def test_the_htmx_configuration_is_readable(trader):
    page = text(trader.get("/"))
    config = json.loads(re.search(r"name=\"htmx-config\" content='([^']+)'", page)[1])
    assert config["allowEval"] is False and config["includeIndicatorStyles"] is False
