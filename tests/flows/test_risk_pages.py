"""The pages of risk and their API: numbers, history, limits with a preview, locks, halts, reports, and why."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape

from accounts.api_keys import issue
from execution.models import Intent, Order
from execution.services.failsafe_watch import failsafe_watch
from execution.services.risk_keep import numbers_now, report_body, reports_due, risk_keep, risk_report
from execution.services.signal_accept import signal_accept
from risk.drawdown_watch import watch_drawdown
from risk.models import Assessment, Breaker, LossLock, RiskPoint, RiskPolicy, TradingState
from risk.policies import active_policy, limits_of, policy_as_json, publish_policy, values_from_json, values_of
from risk.preview import preview
from risk.strictness import laxer
from strategies.contracts.publish import publish_library
from strategies.contracts.schema import load_library
from strategies.models import Deployment, ScanSlot
from strategies.scanner.scan_bar import compile_deployment
from strategies.scanner.why_not import why_not
from tests.factories import (
    ClosedTradeFactory,
    DeploymentFactory,
    GroupFactory,
    InstrumentFactory,
    IntentFactory,
    OrderFactory,
    PositionFactory,
    SignalFactory,
    UserFactory,
)
from tests.factories.market import stored_candles
from tests.factories.people import code_now, set_up_factor
from tests.factories.world import house_policy, quote
from tests.flows.full_desk import full_desk
from tests.small_desk import small_desk
from trading.audit.models import AuditEntry
from trading.audit.record import record
from trading.marketdata.listing.universes import set_members
from trading.marketdata.models import Feed
from trading.monitoring.alerts import raise_alert
from trading.monitoring.models import Alert, Heartbeat
from trading.portfolio.models import TradingDay
from trading.venue.sessions import exchange_date

pytestmark = pytest.mark.django_db
HTMX = {"headers": {"HX-Request": "true"}}


@pytest.fixture
def desk(valkey):
    return full_desk()


@pytest.fixture
def trader(desk):
    client = Client()
    client.force_login(desk.user)
    return client


@pytest.fixture
def small(valkey):
    return small_desk()


def text(response) -> str:
    assert response.status_code == 200, response.content[:300]
    return response.content.decode()


# -- the numbers -------------------------------------------------------------------------------------------------


def test_the_page_shows_the_numbers_full_and_empty(trader, desk, client):
    page = text(trader.get(reverse("web:risk")))
    for words in ("Worst case", "One day, 95 %", "Limits in force", "Correlation", "House v1"):
        assert words in page
    assert "Banks" in page and "RELIANCE" in page
    assert "risk-live" in text(trader.get(reverse("web:risk"), **HTMX))
    client.force_login(UserFactory())
    assert "portfolio" in text(client.get(reverse("web:risk"))).lower()


def test_options_that_are_held_show_their_greeks_added_up(small, client):
    """Two calls long and one put short: deltas of both are positive, time works against the first and for the other."""
    world, expiry = small.world, exchange_date(small.now[0]) + timedelta(days=10)
    index = InstrumentFactory(symbol="NSE:NIFTY50-INDEX", instrument_type="INDEX")
    quote(world.feed, index, "25000")
    for kind, price, units in (("CE", "210", 150), ("PE", "190", -75)):
        option = InstrumentFactory(
            symbol=f"NSE:NIFTY26226250{kind}", instrument_type="OPTIDX", segment="FO", underlying=index,
            strike=Decimal(25000), expiry=expiry, option_type=kind, lot_size=75,
        )  # fmt: skip
        quote(world.feed, option, price)
        PositionFactory(
            portfolio=small.portfolio,
            instrument=option,
            product="MARGIN",
            net_quantity=units,
            cost_paise=units * 200_00,
        )
        GroupFactory(
            portfolio=small.portfolio, instrument=option, product="MARGIN", side="BUY" if units > 0 else "SELL",
            state="ACTIVE", stop_price=None,
        )  # fmt: skip
    found = numbers_now(small.portfolio, now=small.now[0]).greeks
    assert 95 < found["delta"] < 130, "about half of each unit, the put sold counting as long"
    assert found["gamma"] > 0 and found["vega"] > 0 > found["theta"], "twice as much is bought as sold"
    client.force_login(world.user)
    shown = text(client.get(reverse("web:risk")))
    assert "delta" in shown.lower() and "vega" in shown.lower()


def test_an_option_that_is_bought_brings_its_greeks_to_the_page(small, client):
    """From the ticket through every gate and the broker to the page: its premium is what it costs and may lose."""
    world, expiry = small.world, exchange_date(small.now[0]) + timedelta(days=10)
    index = InstrumentFactory(symbol="NSE:NIFTY50-INDEX", instrument_type="INDEX", sector="Index")
    option = InstrumentFactory(
        symbol="NSE:NIFTY2622625000CE", instrument_type="OPTIDX", segment="FO", underlying=index, sector="",
        underlying_name="NIFTY", strike=Decimal(25000), expiry=expiry, option_type="CE", lot_size=75,
    )  # fmt: skip
    for one, price in ((index, "25000"), (option, "210")):
        quote(world.feed, one, price)
    wish = {"symbol": option.symbol, "limit_price": Decimal(210), "stop_price": Decimal(150), "product": "MARGIN"}
    refused = small.ask(**wish, quantity=50)
    assert refused.refusal_code == "LOT_SIZE"
    large = small.ask(**wish, quantity=75 * 100)
    assert large.allowed_quantity == 150, "five percent of equity in one premium, one percent at its stop: whole lots"
    small.turn()
    order = small.order(large)
    small.broker.fill(order.broker_order_id, 150, "209.50")
    small.turn(3)
    assert small.held() == small.working() == 150
    greeks = numbers_now(small.portfolio, now=small.now[0]).greeks
    assert 60 < greeks["delta"] < 100 and greeks["theta"] < 0 < greeks["vega"]
    client.force_login(world.user)
    page = text(client.get(reverse("web:risk")))
    assert "Greeks of options held" in page and "Options" in page and "Index" in page


def test_minutes_are_kept_once_in_session_and_shown(trader, desk):
    portfolio = desk.world.portfolio
    assert risk_keep(portfolio=portfolio, now=desk.now) is not None
    assert risk_keep(portfolio=portfolio, now=desk.now) is None, "once a minute"
    assert risk_keep(portfolio=portfolio, now=desk.now.replace(hour=20)) is None, "not out of session"
    risk_keep(portfolio=portfolio, now=desk.now + timedelta(minutes=1))
    point = RiskPoint.objects.order_by("at").first()
    assert point.gross_paise >= abs(point.net_paise) > 0 and point.open_risk_paise > 0
    found = trader.get(reverse("web:risk-history")).json()
    assert len(found["at"]) == 2 and found["gross"][0] == point.gross_paise / 100
    assert trader.get(reverse("web:risk-history"), {"day": "nonsense"}).json()["day"] == str(point.session_date)
    assert trader.get(reverse("web:risk-history"), {"day": "2020-01-01"}).json()["at"] == []


def test_the_report_of_a_day_is_written_once_after_it(trader, desk):
    portfolio = desk.world.portfolio
    risk_keep(portfolio=portfolio, now=desk.now)
    day = RiskPoint.objects.get().session_date
    TradingDay.objects.get_or_create(portfolio=portfolio, session_date=day, defaults={"opening_equity_paise": 1})
    assert day not in reports_due(portfolio, now=desk.now), "the session goes on"
    assert day in reports_due(portfolio, now=desk.now + timedelta(days=1))
    report = risk_report(portfolio=portfolio, day=day)
    assert risk_report(portfolio=portfolio, day=day).pk == report.pk
    assert day not in reports_due(portfolio, now=desk.now + timedelta(days=1))
    assert report.body["minutes"] == 1 and report.body["highest_exposure_paise"] > 0
    address = reverse("web:risk-report", args=[day.isoformat()])
    assert "Highest exposure" in text(trader.get(address))
    assert json.loads(text(trader.get(address, {"as": "json"})))["minutes"] == 1
    assert "highest_exposure_paise," in text(trader.get(address, {"as": "csv"}))
    assert day.strftime("%Y") in text(trader.get(reverse("web:risk")))
    for wrong in ("2020-01-01", "x", "2026-99-99"):
        assert trader.get(reverse("web:risk-report", args=[wrong])).status_code == 404


def test_a_report_has_the_incidents_of_its_day_at_the_venue(trader, desk):
    """A simulated day may be any day by the wall: what counts is when its minutes were kept."""
    portfolio, day = desk.world.portfolio, exchange_date(desk.now)
    record("kill_switch.pulled", actor="before", owner_id=portfolio.owner_id, subject="PORTFOLIO")
    risk_keep(portfolio=portfolio, now=desk.now)
    record("kill_switch.pulled", actor="within", owner_id=portfolio.owner_id, subject="PORTFOLIO")
    risk_keep(portfolio=portfolio, now=desk.now + timedelta(days=1))
    record("room.drift", actor="after", owner_id=portfolio.owner_id, subject="PORTFOLIO")
    assert [actor for _, actor, _, _ in report_body(portfolio, day)["incidents"]] == ["within"]
    assert [actor for _, actor, _, _ in report_body(portfolio, day + timedelta(days=1))["incidents"]] == ["after"]


# -- the limits --------------------------------------------------------------------------------------------------


def form_of(client, **changes):
    form = client.get(reverse("web:risk-policy")).context["form"]
    values = {name: form[name].value() for name in form.fields} | changes
    return {name: value for name, value in values.items() if value is not False and value is not None}


def test_limits_are_previewed_put_in_force_and_dropped(trader, desk):
    assert "Put in force" in text(trader.get(reverse("web:risk-policy")))
    seen = text(trader.post(reverse("web:risk-policy"), form_of(trader, max_open_positions=3, act="preview")))
    assert "What these limits would have done" in seen and not RiskPolicy.objects.exclude(portfolio=None).exists()
    answer = trader.post(
        reverse("web:risk-policy"),
        form_of(trader, max_open_positions=3, restricted_symbols="sbin, NSE:INFY-EQ", act="publish"),
    )
    assert answer.status_code == 302
    own = active_policy(desk.world.portfolio.pk)
    assert (own.portfolio, own.max_open_positions) == (desk.world.portfolio, 3)
    assert own.restricted_symbols == ["SBIN", "NSE:INFY-EQ"]
    assert AuditEntry.objects.filter(action="risk_policy.published").exists()
    trader.post(reverse("web:risk-policy"), {"act": "drop"})
    assert active_policy(desk.world.portfolio.pk).portfolio is None


@pytest.mark.parametrize(
    ("changes", "status", "says"),
    [
        ({"max_open_positions": 6}, 422, "LAXER_THAN_HOUSE"),
        ({"cooldown_min": 5}, 422, "LAXER_THAN_HOUSE"),
        ({"daily_loss_soft_pct": "5", "daily_loss_hard_pct": "4"}, 422, "POLICY_INVALID"),
        ({"risk_per_trade_pct": "-1"}, 422, "risk_per_trade_pct"),
        ({"risk_per_trade_pct": "much"}, 422, "Enter a number"),
        ({"max_open_positions": "99999999999999999999"}, 422, "max_open_positions"),
    ],
)
def test_limits_that_may_not_be_are_refused(trader, desk, changes, status, says):
    answer = trader.post(reverse("web:risk-policy"), form_of(trader, act="publish", **changes))
    assert answer.status_code == status and says in answer.content.decode()
    assert not RiskPolicy.objects.exclude(portfolio=None).exists()


def test_an_operator_may_be_laxer_and_edits_the_house(trader, desk):
    assert trader.get(reverse("web:risk-policy"), {"of": "house"}).status_code == 404
    desk.user.is_staff = desk.user.is_superuser = True
    desk.user.save()
    assert (
        trader.post(reverse("web:risk-policy"), form_of(trader, max_open_positions=9, act="publish")).status_code == 302
    )
    assert active_policy(desk.world.portfolio.pk).max_open_positions == 9
    house = form_of(trader, of="house", max_open_positions=7, act="publish")
    assert trader.post(reverse("web:risk-policy"), house).status_code == 302
    assert active_policy(None).max_open_positions == 7


def test_what_an_operator_let_in_may_stay_and_be_tightened_by_its_owner(trader, desk):
    publish_policy(portfolio=desk.world.portfolio, values={"max_trades_per_day": 100}, actor="the operator")
    address = reverse("web:risk-policy")
    assert trader.post(address, form_of(trader, max_open_positions=3, act="publish")).status_code == 302
    assert trader.post(address, form_of(trader, max_trades_per_day=50, act="publish")).status_code == 302
    assert trader.post(address, form_of(trader, max_trades_per_day=60, act="publish")).status_code == 422
    now = active_policy(desk.world.portfolio.pk)
    assert (now.max_open_positions, now.max_trades_per_day) == (3, 50)


def test_a_house_that_becomes_stricter_tells_whose_own_limits_are_laxer_now(trader, desk):
    publish_policy(portfolio=desk.world.portfolio, values={"max_open_positions": 5}, actor="me")
    publish_policy(portfolio=None, values={"max_trades_per_day": 19}, actor="the operator")
    told = Alert.objects.filter(code="LIMITS_LAXER_THAN_HOUSE")
    assert told.get().message.endswith("max trades per day.")
    publish_policy(portfolio=None, values={"max_open_positions": 3}, actor="the operator")
    assert "max open positions" in told.latest("pk").message and active_policy(desk.world.portfolio.pk).portfolio_id


def test_limits_go_out_as_a_file_and_come_back(trader, desk):
    answer = trader.get(reverse("web:risk-policy-file"))
    assert "attachment" in answer["Content-Disposition"]
    given = json.loads(text(answer))
    assert values_from_json(json.dumps(given)) == values_of(active_policy(None))
    given["limits"]["max_trades_per_day"] = 7
    file = SimpleUploadedFile("limits.json", json.dumps(given).encode(), "application/json")
    seen = text(trader.post(reverse("web:risk-policy"), {"act": "import", "file": file}))
    assert "What these limits would have done" in seen and 'value="7"' in seen


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"limits": 5}', '{"limits": {}}',
     '{"limits": {"nonsense": 1}}', '{"limits": {"loss_streak": "x"}}',
     '{"limits": {"risk_cap_pct": NaN}}', '{"limits": {"risk_cap_pct": [1]}}', "[" * 50_000, "\x00\xff"],
)  # fmt: skip
def test_a_file_that_is_none_is_refused(trader, desk, content):
    file = SimpleUploadedFile("limits.json", content.encode("latin-1", "replace"), "application/json")
    answer = trader.post(reverse("web:risk-policy"), {"act": "import", "file": file})
    assert answer.status_code == 422 and "POLICY_" in answer.content.decode()
    assert trader.post(reverse("web:risk-policy"), {"act": "import"}).status_code == 422


def test_a_limit_holds_at_the_next_order(small):
    """No restart: the version in force is asked for with each order."""
    assert small.ask().state == Intent.State.APPROVED
    small.world.instrument = InstrumentFactory()
    publish_policy(portfolio=small.portfolio, values={"max_open_positions": 1}, actor="me")
    assert small.ask(symbol=small.world.instrument.symbol).refusal_code == "OPEN_POSITIONS"


def test_the_preview_judges_what_was_seen_again(small):
    house_policy()
    small.ask(quantity=100)
    small.world.instrument = InstrumentFactory()
    small.ask(symbol=small.world.instrument.symbol, stop_price=None)
    assert Assessment.objects.count() == 2
    policy = active_policy(None)
    same = preview(limits_of(policy), portfolio_id=small.portfolio.pk)
    assert (same.judged, same.same, same.changes) == (2, 2, [])
    values = values_of(policy) | {"restricted_symbols": ["SBIN"], "stop_required": False}
    other = preview(limits_of(RiskPolicy(version=99, **values)), portfolio_id=None)
    assert other.blocked == {"RESTRICTED": 1} and other.let_in == {"STOP_REQUIRED": 1}
    smaller = RiskPolicy(version=99, **(values_of(policy) | {"position_size_pct": Decimal(4)}))
    assert preview(limits_of(smaller), portfolio_id=None).shrunk == {"POSITION_SIZE": 1}
    assert preview(limits_of(smaller), portfolio_id=small.portfolio.pk + 1).judged == 0


def test_the_page_shows_what_would_have_been_refused(small):
    client = Client()
    client.force_login(small.world.user)
    assert small.ask().state == Intent.State.APPROVED
    seen = text(client.post(reverse("web:risk-policy"), form_of(client, max_order_value_rupees="100", act="preview")))
    assert "1 by Order value" in seen and small.instrument.symbol in seen


def test_which_limits_are_laxer():
    house = {"max_open_positions": 5, "cooldown_min": 30, "loss_streak": 4, "restricted_symbols": ["A"]}
    assert (
        laxer({"max_open_positions": 5, "cooldown_min": 40, "loss_streak": 3, "restricted_symbols": ["A", "B"]}, house)
        == []
    )
    assert laxer({"loss_streak": 0, "restricted_symbols": [], "cooldown_min": 0}, house) == [
        "loss_streak", "restricted_symbols", "cooldown_min",
    ]  # fmt: skip
    assert "limits" in policy_as_json(RiskPolicy(version=1))


# -- locks and halts ---------------------------------------------------------------------------------------------


def test_a_lock_of_an_earlier_day_is_released_with_a_reason(trader, desk):
    lock = LossLock.objects.create(
        portfolio=desk.world.portfolio, session_date=desk.now.date() - timedelta(days=3), kind="SOFT",
        day_pnl_paise=-5_000_000, locked_at=desk.now,
    )  # fmt: skip
    assert "Release" in text(trader.get(reverse("web:risk")))
    address = reverse("web:risk-release", args=[lock.pk])
    assert trader.post(address, {"reason": " "}).status_code == 422
    assert trader.post(address, {"reason": "too many entries"}).status_code == 302
    lock.refresh_from_db()
    assert lock.released_by == desk.user.username
    assert trader.post(reverse("web:risk-release", args=[lock.pk + 99]), {"reason": "x"}).status_code == 404


def test_a_halt_is_ended_by_an_operator_with_a_code(trader, desk):
    portfolio, policy = desk.world.portfolio, active_policy(None)
    for equity in (1_000, 700):
        watch_drawdown(portfolio=portfolio, equity_paise=equity, policy=policy, now=desk.now)
    assert "HALTED" in text(trader.get(reverse("web:risk")))
    address = reverse("web:risk-resume")
    assert trader.post(address, {"reason": "seen", "code": "1"}).status_code == 422
    desk.user.is_staff = desk.user.is_superuser = True
    desk.user.save()
    set_up_factor(desk.user)
    assert trader.post(address, {"reason": "seen", "code": "000000"}).status_code == 422
    assert trader.post(address, {"reason": "seen", "code": code_now()}).status_code == 302
    portfolio.drawdown.refresh_from_db()
    assert portfolio.drawdown.step == "NORMAL"


def test_a_breaker_is_shown_and_closed_by_hand(trader, desk):
    row = Breaker.objects.create(
        account=desk.world.portfolio.account, call_class="ORDER_WRITE", state="OPEN", failures=5, cause="HTTP 502",
        retry_at=timezone.now() + timedelta(minutes=1),
    )  # fmt: skip
    assert "HTTP 502" in text(trader.get(reverse("web:risk")))
    assert trader.post(reverse("web:risk-breaker", args=[row.pk])).status_code == 302
    row.refresh_from_db()
    assert row.state == "CLOSED"


# -- strategies that stop themselves ------------------------------------------------------------------------------


def test_three_refusals_in_a_row_pause_a_strategy_and_a_person_may_resume_it(desk):
    deployment = DeploymentFactory(portfolio=desk.world.portfolio)
    for _ in range(3):
        signal = SignalFactory(portfolio=desk.world.portfolio, deployment=deployment)
        group = GroupFactory(portfolio=desk.world.portfolio, signal=signal, state="CLOSED")
        OrderFactory(intent=IntentFactory(group=group), state="REJECTED", sent_at=timezone.now())
    stopped = [(one.pk, stop.code) for one, stop in failsafe_watch() if one.pk == deployment.pk]
    assert stopped == [(deployment.pk, "REJECTION_STREAK")]
    deployment.refresh_from_db()
    assert deployment.state == Deployment.State.PAUSED
    assert Alert.objects.filter(code="FAILSAFE_REJECTION_STREAK").exists()
    assert AuditEntry.objects.filter(action="strategy.stopped_itself").exists()
    Deployment.objects.filter(pk=deployment.pk).update(state="ACTIVE")
    assert not [one for one, _ in failsafe_watch() if one.pk == deployment.pk], "what was seen does not count again"


def test_a_strategy_that_loses_is_cut_then_paused(desk):
    deployment = DeploymentFactory(portfolio=desk.world.portfolio)

    def lose(times):
        for _ in range(times):
            ClosedTradeFactory(portfolio=deployment.portfolio, contract_ref=str(deployment.version), gross_paise=-1_000)

    def look():
        return [stop.act for one, stop in failsafe_watch() if one.pk == deployment.pk]

    lose(19)
    assert look() == []
    lose(1)
    assert look() == ["CUT"] and look() == []
    deployment.refresh_from_db()
    assert deployment.allocation_pct == 50 and deployment.state == "ACTIVE"
    lose(10)
    assert look() == ["PAUSE"] and look() == []
    told = Alert.objects.get(code="FAILSAFE_NEGATIVE_EXPECTANCY")
    assert told.count == 2 and told.next_step.startswith("Find out why"), "the step is that of the newest word"


# -- why ---------------------------------------------------------------------------------------------------------


def test_why_of_a_signal_an_order_a_click_and_an_alert(small, client):
    client.force_login(small.world.user)
    deployment = DeploymentFactory(portfolio=small.portfolio, version=publish_library(actor="the desk")[0])
    signal = SignalFactory(
        portfolio=small.portfolio, deployment=deployment, instrument=small.instrument, entry="812.35", stop="804.00",
        target="829.00",
    )  # fmt: skip
    small.world.still_running()
    signal = signal_accept(signal_id=signal.pk, now=small.now[0])
    assert signal.state == "ACCEPTED", signal.refusal
    order = Order.objects.get()
    small.turn()
    small.broker.fill(order.broker_order_id or Order.objects.get().broker_order_id, order.quantity, "812.30")
    small.turn(2)
    page = text(client.get(reverse("web:why", args=["signal", signal.pk])))
    for words in ("Signal", "Gates", "Order claimed", "Fill", "filled at", "Equity"):
        assert words in page, words
    assert "Fill" in text(client.get(reverse("web:why", args=["order", order.pk])))
    refused = small.ask(stop_price=None)
    said = text(client.get(reverse("web:why", args=["intent", refused.pk])))
    assert refused.refusal_code in said and "at the ticket" in said
    alert = raise_alert("EXIT_REFUSED", "No", owner_id=small.world.user.pk, about=str(order.group_id))
    assert "Fill" in text(client.get(reverse("web:why", args=["alert", alert])))
    alert = raise_alert("ELSE", "Something", owner_id=small.world.user.pk, about="7")
    assert "Something" in text(client.get(reverse("web:why", args=["alert", alert])))


def test_why_of_a_refused_and_of_an_expired_signal(desk, trader):
    signal = SignalFactory(
        portfolio=desk.world.portfolio, state="EXPIRED", refusal_code="SIGNAL_AGE", refusal="Not taken up within 130 s."
    )
    page = text(trader.get(reverse("web:why", args=["signal", signal.pk])))
    assert "Not taken up" in page and "SIGNAL_AGE" in page


@pytest.mark.parametrize(
    ("kind", "ref"),
    [("signal", "x"), ("order", "99999999999999999999999"), ("order", "-1"), ("moon", "1"), ("alert", "12345678"),
     ("intent", "00000000-0000-0000-0000-000000000000")],
)  # fmt: skip
def test_why_of_what_is_not_there(trader, kind, ref):
    assert trader.get(reverse("web:why", args=[kind, ref])).status_code == 404


def test_why_there_was_no_signal(desk, trader):
    address = reverse("web:why-silent")
    deployment = Deployment.objects.filter(portfolio=desk.world.portfolio).first() or DeploymentFactory(
        portfolio=desk.world.portfolio
    )
    assert "Why was there no signal?" in text(trader.get(address))
    ask = {"deployment": deployment.pk, "symbol": desk.world.instrument.ticker, "at": "2026-02-16T10:15"}
    assert "NOT_IN_UNIVERSE" in text(trader.get(address, ask))
    assert trader.get(address, ask | {"at": "yesterday"}).status_code == 422
    assert trader.get(address, ask | {"deployment": "0"}).status_code == 404
    assert trader.get(address, ask | {"symbol": "NOSUCH"}).status_code == 404


def test_why_there_was_no_signal_names_the_condition_that_did_not_hold(desk, trader):
    """A bar that was scanned, on candles that only fall: no condition of the long side held."""
    world = desk.world
    body = load_library()["ema_alignment"].as_mapping()
    deployment = DeploymentFactory(portfolio=world.portfolio, version__body=body)
    feed = Feed.objects.get(name=world.portfolio.account.feed)
    instrument = InstrumentFactory(symbol="NSE:FALLS-EQ")
    set_members(deployment.universe, [instrument.pk], day=date(2026, 2, 1))
    contract = compile_deployment(deployment)
    opens = [datetime(2026, 2, day, 3, 45, tzinfo=UTC) for day in (9, 10, 11, 12, 13)]
    starts = [at + timedelta(minutes=minute) for at in opens for minute in range(375)]
    prices = [Decimal(2000 - place) / 2 for place in range(len(starts))]
    stored_candles(feed, instrument, starts, [(one, one, one, one) for one in prices])
    bar_at = datetime(2026, 2, 13, 6, 15, tzinfo=UTC)
    ask = {"deployment": deployment.pk, "symbol": instrument.ticker, "at": "2026-02-13T11:45"}
    assert "NO_SCAN" in text(trader.get(reverse("web:why-silent"), ask))
    slot = ScanSlot.objects.create(deployment=deployment, bar_at=bar_at, state="MISSED", claimed_at=timezone.now())
    assert "SCAN_MISSED" in text(trader.get(reverse("web:why-silent"), ask))
    ScanSlot.objects.filter(pk=slot.pk).update(state="DONE")
    found = why_not(deployment, instrument, bar_at=bar_at)
    assert found.code == "RULE_FALSE", found.sentence
    assert {one.side for one in found.conditions} == {side.value for side, _ in contract.sides}
    assert any(one.held is False for one in found.conditions) and found.terms
    told = text(trader.get(reverse("web:why-silent"), ask))
    false = next(one for one in found.conditions if one.held is False)
    assert escape(false.text) in told and "was false" in told
    before = InstrumentFactory(symbol="NSE:SILENT-EQ")
    set_members(deployment.universe, [instrument.pk, before.pk], day=date(2026, 2, 2))
    assert "NO_CANDLE" in text(trader.get(reverse("web:why-silent"), ask | {"symbol": before.ticker}))


# -- by program --------------------------------------------------------------------------------------------------


@pytest.fixture
def program(desk):
    _, token = issue(owner=desk.user, name="bot", scope="trade", now=timezone.now())
    return Client(headers={"authorization": f"Bearer {token}"})


def send(client, method, path, body, key="a-key-of-mine"):
    return getattr(client, method)(
        path, json.dumps(body), content_type="application/json", headers={"idempotency-key": key}
    )


def test_risk_by_program(program, desk):
    now = program.get("/api/v1/risk/").json()
    assert now["exposure"]["gross_paise"] > 0 and now["drawdown"]["step"] == "NORMAL"
    risk_keep(portfolio=desk.world.portfolio, now=desk.now)
    assert len(program.get("/api/v1/risk/history/").json()["points"]) == 1
    assert program.get("/api/v1/risk/history/?day=x").status_code == 400
    assert program.get("/api/v1/risk/?portfolio=x").status_code == 404
    assert program.get("/api/v1/risk/reports/2020-01-01/").status_code == 404
    assert program.get("/api/v1/risk/reports/x/").status_code == 400
    order = desk.orders[0]
    assert program.get(f"/api/v1/why/order/{order.pk}/").json()["steps"]
    assert program.get("/api/v1/why/order/0/").status_code == 404


def test_limits_by_program(program, desk):
    address = "/api/v1/risk/policy/"
    assert program.get(address).json()["of_house"] is True
    seen = send(program, "put", address, {"limits": {"max_open_positions": 2}, "preview": True}, "first-key")
    assert seen.status_code == 200 and "blocked" in seen.json(), seen.content
    assert (
        send(program, "put", address, {"limits": {"max_open_positions": 2}}, "second-key").json()["of_house"] is False
    )
    assert active_policy(desk.world.portfolio.pk).max_open_positions == 2
    for limits in ({"max_open_positions": 99}, {"nonsense": 1}, {"risk_cap_pct": "much"}, {"restricted_symbols": "A"}):
        assert send(program, "put", address, {"limits": limits}, f"key-{len(str(limits))}-x").status_code == 422, limits
    assert send(program, "put", address, {"limits": 5}, "third-key").status_code == 400


def test_the_kill_switch_by_program(program, desk):
    address = "/api/v1/risk/kill/"
    scopes = program.get(address).json()
    assert {one["level"] for one in scopes} == {0}
    scope = f"PORTFOLIO:{desk.world.portfolio.pk}"
    pulled = send(program, "post", address, {"scope": scope, "level": 2, "reason": "my bot went mad"})
    assert pulled.status_code == 200 and pulled.json()["level"] == 2, pulled.content
    assert TradingState.objects.get(scope=scope).reason == "my bot went mad"
    for body, status in [
        ({"scope": "GLOBAL", "level": 2, "reason": "x"}, 404), ({"scope": scope, "level": 9, "reason": "x"}, 400),
        ({"scope": scope, "level": 2}, 400), ({"scope": "PORTFOLIO:1e9", "level": 2, "reason": "x"}, 422),
    ]:  # fmt: skip
        assert send(program, "post", address, body, f"wrong-{status}-{body['scope']}").status_code == status, body
    back = {"scope": scope, "reason": "fixed", "code": "123456"}
    assert send(program, "post", f"{address}rearm/", back, "rearm-key-1").status_code == 422
    reading = Client(headers={"authorization": f"Bearer {issue(owner=desk.user, name='r', now=timezone.now())[1]}"})
    assert send(reading, "post", address, {"scope": scope, "level": 5, "reason": "x"}, "read-key-1").status_code == 403


def test_an_operator_stops_and_rearms_anybodys_by_program(program, desk):
    address, scope = "/api/v1/risk/kill/", f"PORTFOLIO:{desk.world.portfolio.pk}"
    operator = UserFactory(is_staff=True)
    set_up_factor(operator)
    _, token = issue(owner=operator, name="console", scope="trade", now=timezone.now())
    theirs = Client(headers={"authorization": f"Bearer {token}"})
    assert send(theirs, "post", address, {"scope": scope, "level": 1, "reason": "odd"}).json()["level"] == 1
    back = {"scope": scope, "reason": "looked at", "code": code_now()}
    assert send(program, "post", f"{address}rearm/", back).json()["code"] == "REARM_NEEDS_OPERATOR"
    assert send(theirs, "post", f"{address}rearm/", back, "unread-books").json()["code"] == "REARM_NOT_CLEAN"
    Heartbeat.objects.create(name=f"books:{desk.world.portfolio.account_id}", at=timezone.now())
    again = send(theirs, "post", f"{address}rearm/", back, "read-books")
    assert again.status_code == 200 and again.json()["level"] == 0, again.content
    assert send(theirs, "post", f"{address}rearm/", back, "spent-code").json()["code"] == "SECOND_FACTOR_WRONG"
