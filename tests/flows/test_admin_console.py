"""Operators see everything, change no fact, and act through the services the pages use."""

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

import trading.urls  # noqa: F401  (the addresses fill the console)
from accounts.api_keys import authenticate, issue
from accounts.models import ApiKey, BrokerAccount
from execution.models import EngineLease, Fill, Group, Intent, Order, OrderEvent, ParkedFill
from execution.services.order_ticket import order_ticket
from execution.states import OrderState, PendingOp
from risk.funds import funds_keep
from risk.models import Assessment, RiskPolicy, TradingState
from strategies.models import Deployment, Signal, Standing
from tests.factories import (
    AssessmentFactory,
    BrokerAccountFactory,
    ClosedTradeFactory,
    DeploymentFactory,
    FillFactory,
    GroupFactory,
    IntentFactory,
    OrderFactory,
    PositionFactory,
    SignalFactory,
    UserFactory,
)
from tests.factories.market import stored_candles
from tests.factories.people import code_now, set_up_factor
from tests.factories.world import open_market, running_engine
from trading.audit.models import AuditEntry
from trading.audit.record import record
from trading.domain.orders import OrderType, Product, Side
from trading.marketdata.clocks import venue_now
from trading.marketdata.listing.bands import store_bands
from trading.marketdata.models import CandleBlock
from trading.monitoring.models import Alert, Heartbeat
from trading.portfolio.models import LedgerEntry, LedgerTransaction, Position
from trading.portfolio.watchlists import watchlist_add, watchlist_create

pytestmark = pytest.mark.django_db
EDITABLE = {
    "User", "Group", "EmailAddress", "RiskPolicy", "EngineSettings", "LadderPlan",  # people; the last three by versions
    "CalendarDay", "CalendarYear", "SessionPlan", "ExpiryRuleRow",  # dated facts of the exchange, by their service
    "LifecyclePolicy",  # thresholds, by new versions
}  # fmt: skip


@pytest.fixture
def world(valkey):
    return open_market()


@pytest.fixture
def operator():
    return UserFactory(operator=True)


@pytest.fixture
def console(operator):
    client = Client()
    client.force_login(operator)
    return client


@pytest.fixture
def looker():
    """Staff who may look at everything and press nothing."""
    user = UserFactory(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def full(world):
    """One row of everything."""
    signal = SignalFactory(portfolio=world.portfolio, instrument=world.instrument)
    group = GroupFactory(portfolio=world.portfolio, instrument=world.instrument, signal=signal)
    order = OrderFactory(intent=IntentFactory(group=group, signal=signal))
    FillFactory(order=order)
    OrderEvent.objects.create(
        order=order,
        seq=1,
        kind="order.queued",
        source="RISK",
        from_state="QUEUED",
        to_state="QUEUED",
        at=timezone.now(),
    )
    AssessmentFactory(portfolio=world.portfolio, intent_id=order.intent_id)
    PositionFactory(portfolio=world.portfolio, instrument=world.instrument)
    ClosedTradeFactory(portfolio=world.portfolio, instrument=world.instrument)
    ParkedFill.objects.create(
        account=world.portfolio.account, execution_key="k", broker_order_id="b", fact={}, received_at=timezone.now()
    )
    minute = timezone.now().replace(second=0, microsecond=0)
    stored_candles(world.feed, world.instrument, [minute], [(1, 2, 1, 2, 1)], source="STREAM")
    issue(owner=world.user, name="bot", now=timezone.now())
    banks = watchlist_create(owner=world.user, name="Banks")
    watchlist_add(owner=world.user, watchlist_id=banks.pk, symbol=world.instrument.symbol)
    Alert.objects.create(
        level="SEVERE", code="SOCKET_DOWN", message="The order socket is down.", dedupe_key="socket",
        first_at=timezone.now(), last_at=timezone.now(),
    )  # fmt: skip
    Heartbeat.objects.create(name="beat", at=timezone.now() - timedelta(minutes=5))
    TradingState.objects.create(scope="GLOBAL")
    now = timezone.now()
    funds_keep(
        account_id=world.portfolio.account_id, total_paise=1_00, utilised_paise=0, available_paise=1_00,
        realised_paise=0, taken_paise=0, read_at=now, now=now,
    )  # fmt: skip
    store_bands(
        world.feed, session_date=now.date(), bands={world.instrument.symbol: (Decimal(700), Decimal(900))},
        source="BOOK", heard_at=now,
    )  # fmt: skip
    return order


def registered():
    return sorted(admin.site._registry, key=lambda model: model._meta.label)


def changelist(model, **query):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist", query=query or None)


def press(client, model, action, *rows, **more):
    body = {"action": action, "_selected_action": [str(row.pk) for row in rows], "index": "0", **more}
    return client.post(changelist(model), body, follow=True)


def test_every_listing_and_every_row_opens(console, full):
    for model in registered():
        listing = console.get(changelist(model), follow=True)
        assert listing.status_code == 200, model
        row = model._default_manager.first()
        if row is not None:
            page = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[row.pk])
            assert console.get(page).status_code == 200, page


def test_every_listing_can_be_searched(console, full):
    for model, site in admin.site._registry.items():
        if site.search_fields:
            assert console.get(changelist(model, q="SBIN"), follow=True).status_code == 200, model


def test_facts_are_read_and_nothing_is_deleted(console, full, rf, operator):
    request = rf.get("/console/")
    request.user = operator
    for model, site in admin.site._registry.items():
        if model.__name__ in EDITABLE and model is not Group:
            continue
        assert not site.has_add_permission(request), model
        assert not site.has_change_permission(request), model
        assert not site.has_delete_permission(request), model
        assert "delete_selected" not in site.get_actions(request), model


def test_a_fact_cannot_be_posted_over(console, full):
    page = reverse("admin:execution_order_change", args=[full.pk])
    assert console.post(page, {"quantity": 1}).status_code == 403
    assert console.post(reverse("admin:execution_order_delete", args=[full.pk])).status_code == 403
    full.refresh_from_db()
    assert full.quantity == 10


@pytest.mark.parametrize(
    "model", [Order, Fill, Group, Intent, Position, LedgerTransaction, Assessment, Signal, Deployment, BrokerAccount]
)
def test_a_listing_does_not_ask_once_for_each_row(console, world, model, django_assert_max_num_queries):
    for _ in range(8):
        order = OrderFactory(intent__group__signal=SignalFactory())
        FillFactory(order=order)
        PositionFactory()
        AssessmentFactory()
    with django_assert_max_num_queries(14):
        console.get(changelist(model))


def test_assessments_are_found_by_what_a_gate_said(console, world):
    shrunk = AssessmentFactory(
        said=[["SANITY", "PASS", 10, "", "", "Fine."], ["ORDER_VALUE", "SHRINK", 5, "", "", "Big."]]
    )
    refused = AssessmentFactory(said=[["SANITY", "REJECT", 0, "9", "1", "No <limit>."]], refused_by="SANITY")
    for question, found in (
        ({"outcome": "SHRINK"}, [shrunk]), ({"outcome": "REJECT"}, [refused]), ({"gate": "SANITY"}, [refused]),
        ({"gate": "ORDER_VALUE"}, [shrunk]), ({"gate": "ORDER_VALUE", "outcome": "REJECT"}, []),
        ({"q": "big"}, [shrunk]),
    ):  # fmt: skip
        assert list(console.get(changelist(Assessment), question).context["cl"].result_list) == found, question
    page = console.get(reverse("admin:risk_assessment_change", args=[refused.pk])).content.decode()
    assert "<th>SANITY</th><td>REJECT</td><td>9</td><td>1</td><td>No &lt;limit&gt;.</td>" in page


def test_no_secret_is_shown(console, world):
    account = BrokerAccountFactory()
    key, token = issue(owner=world.user, name="bot", now=timezone.now())
    for page in [
        reverse("admin:accounts_brokeraccount_change", args=[account.pk]),
        reverse("admin:accounts_apikey_change", args=[key.pk]),
    ]:
        text = console.get(page).content.decode()
        assert "sealed" not in text
        assert key.digest not in text
        assert token.split("_", 2)[2] not in text


def test_nobody_but_staff_comes_in(client, world):
    client.force_login(world.user)
    for address in ["admin:index", "admin:risk_tradingstate_kill", "admin:audit_auditentry_verify"]:
        reply = client.get(reverse(address))
        assert reply.status_code == 302
        assert "login" in reply["location"]


# --- acts


def test_looking_is_not_operating(looker, full):
    page = looker.get(changelist(Order))
    assert page.status_code == 200
    assert b'value="cancel"' not in page.content
    press(looker, Order, "cancel", full)
    full.refresh_from_db()
    assert full.pending_op == PendingOp.NONE
    assert looker.get(reverse("admin:risk_tradingstate_kill")).status_code == 403
    assert looker.post(reverse("admin:audit_auditentry_verify")).status_code == 403
    policy = RiskPolicy.objects.get()
    assert looker.post(reverse("admin:risk_riskpolicy_change", args=[policy.pk]), {}).status_code == 403
    assert b"Pull the kill switch" not in looker.get(reverse("admin:index")).content


def test_an_order_is_cancelled_and_pressing_twice_is_harmless(console, full):
    assert b"Cancel asked for 1 of 1" in press(console, Order, "cancel", full).content
    assert b"Cancel asked for 0 of 1" in press(console, Order, "cancel", full).content
    full.refresh_from_db()
    assert full.pending_op == PendingOp.CANCEL_ASKED


def test_a_trade_is_closed_once_and_written_into_the_audit_trail(console, world, operator):
    group = GroupFactory(portfolio=world.portfolio, instrument=world.instrument, state=Group.State.ACTIVE)
    assert b"Leave them open" in press(console, Group, "close", group).content
    group.refresh_from_db()
    assert group.close_reason == ""
    assert b"Close asked for 1 of 1" in press(console, Group, "close", group, confirmed="yes").content
    assert b"Close asked for 0 of 1" in press(console, Group, "close", group, confirmed="yes").content
    entry = AuditEntry.objects.get(action="position.close_asked")
    assert (entry.actor, entry.owner_id) == (operator.username, world.user.pk)


@pytest.mark.parametrize(("button", "state"), [("approve", "APPROVED"), ("refuse", "REFUSED")])
def test_a_waiting_order_is_decided(console, world, button, state):
    intent = IntentFactory(
        group__portfolio=world.portfolio, group__instrument=world.instrument, state=Intent.State.WAITING,
        decide_by=timezone.now() + timedelta(minutes=1), limit_price="812.35", stop_price="804.00",
    )  # fmt: skip
    world.still_running()
    press(console, Intent, button, intent)
    intent.refresh_from_db()
    assert intent.state == state
    assert Order.objects.count() == (state == "APPROVED")


def test_a_decision_that_comes_too_late_says_so(console, world):
    intent = IntentFactory(state=Intent.State.WAITING, decide_by=timezone.now() - timedelta(minutes=1))
    assert b"APPROVAL_EXPIRED" in press(console, Intent, "approve", intent).content
    assert not Order.objects.exists()


def test_an_engine_is_paused_and_resumed(console, world, operator):
    lease = running_engine(world.portfolio.account)
    press(console, EngineLease, "pause", lease)
    lease.refresh_from_db()
    assert lease.paused_by == operator.username
    press(console, EngineLease, "resume", lease)
    lease.refresh_from_db()
    assert lease.paused_by == ""


def test_a_deployment_is_paused_and_resumed(console, world):
    deployment = DeploymentFactory(portfolio=world.portfolio)
    Standing.objects.update_or_create(
        version=deployment.version, defaults={"stage": "PAPER", "changed_at": timezone.now()}
    )
    press(console, Deployment, "pause", deployment)
    deployment.refresh_from_db()
    assert deployment.state == Deployment.State.PAUSED
    press(console, Deployment, "resume", deployment)
    deployment.refresh_from_db()
    assert deployment.state == Deployment.State.ACTIVE


def test_an_api_key_is_revoked(console, world):
    key, token = issue(owner=world.user, name="bot", now=timezone.now())
    press(console, ApiKey, "revoke", key)
    assert authenticate(token, now=timezone.now()) is None


def test_an_alert_is_acknowledged_once(console, full):
    alert = Alert.objects.get()
    assert b"Acknowledged 1 of 1" in press(console, Alert, "acknowledge", alert).content
    assert b"Acknowledged 0 of 1" in press(console, Alert, "acknowledge", alert).content
    assert AuditEntry.objects.filter(action="alert.acknowledged").count() == 1


@pytest.mark.parametrize("whole_desk", [True, False])
def test_the_kill_switch_asks_for_a_reason_and_is_rearmed(console, operator, world, whole_desk):
    kill, rearm = reverse("admin:risk_tradingstate_kill"), reverse("admin:risk_tradingstate_rearm")
    scope = {"scope": "GLOBAL" if whole_desk else f"PORTFOLIO:{world.portfolio.pk}"}
    assert console.get(kill).status_code == 200
    assert console.post(kill, {**scope, "level": 1, "reason": " "}).status_code == 200
    assert not TradingState.objects.exclude(level=0).exists()
    console.post(kill, {**scope, "level": 1, "reason": "drill"})
    state = TradingState.objects.get(portfolio=None if whole_desk else world.portfolio)
    assert (state.level, state.reason) == (TradingState.Level.NO_ENTRIES, "drill")
    assert "drill" in console.get(reverse("admin:index")).content.decode()
    console.post(rearm, {**scope, "reason": "drill is over", "code": "123456"})
    state.refresh_from_db()
    assert state.level == TradingState.Level.NO_ENTRIES, "not without a second factor"
    set_up_factor(operator)
    console.post(rearm, {**scope, "reason": "drill is over", "code": code_now()})
    state.refresh_from_db()
    assert state.level == TradingState.Level.ACTIVE


def test_a_policy_is_never_overwritten_but_followed_by_a_new_version(console, world, operator):
    first = RiskPolicy.objects.get(portfolio=None)
    page = reverse("admin:risk_riskpolicy_change", args=[first.pk])
    form = console.get(page).context["adminform"].form
    values = {name: form[name].value() for name in form.fields} | {"max_open_positions": 3}
    values = {name: value for name, value in values.items() if value is not False}
    reply = console.post(page, values, follow=True)
    assert b"is in force" in reply.content
    second = RiskPolicy.objects.get(portfolio=None, active=True)
    first.refresh_from_db()
    assert (second.version, second.max_open_positions, second.created_by) == (first.version + 1, 3, operator.username)
    assert (first.active, first.max_open_positions) == (False, 5)
    assert console.post(page, values).status_code == 403  # history is history


def test_a_policy_is_tried_on_the_last_days_before_it_is_in_force(console, world, operator):
    first = RiskPolicy.objects.get(portfolio=None)
    page = reverse("admin:risk_riskpolicy_change", args=[first.pk])
    assert b"What would these have blocked" in console.get(page).content
    intent = order_ticket(
        user=world.user, portfolio=world.portfolio, symbol=world.instrument.symbol, side=Side.BUY, quantity=10,
        order_type=OrderType.LIMIT, limit_price=Decimal("812.35"), stop_price=Decimal("804.00"), target_price=None,
        product=Product.INTRADAY, idempotency_key="one", source=Intent.Source.PAGE, now=venue_now(world.feed.name),
    )  # fmt: skip
    assert intent.state == Intent.State.APPROVED, intent.refusal
    form = console.get(page).context["adminform"].form
    values = {name: form[name].value() for name in form.fields} | {"max_order_value_rupees": "100"}
    values = {name: value for name, value in values.items() if value is not False}
    seen = console.post(page, values | {"_preview": "1"})
    assert seen.status_code == 200 and seen.context["preview"].blocked == {"ORDER_VALUE": 1}
    assert b"1 by Order value" in seen.content
    assert [name for name, _, _ in seen.context["changed"]] == ["max_order_value_rupees"]
    assert RiskPolicy.objects.get(portfolio=None, active=True).pk == first.pk
    assert b"is in force" in console.post(page, dict(seen.context["given"]) | {"_save": "1"}, follow=True).content
    assert RiskPolicy.objects.get(portfolio=None, active=True).max_order_value_rupees == 100
    assert console.post(page, values | {"_preview": "1"}).status_code == 403  # history is history
    newest = reverse("admin:risk_riskpolicy_change", args=[RiskPolicy.objects.get(portfolio=None, active=True).pk])
    wrong = console.post(newest, values | {"_preview": "1", "risk_per_trade_pct": "101"})
    assert wrong.status_code == 200 and "preview" not in wrong.context


def test_a_policy_out_of_range_is_not_published(console, world):
    first = RiskPolicy.objects.get(portfolio=None)
    page = reverse("admin:risk_riskpolicy_change", args=[first.pk])
    form = console.get(page).context["adminform"].form
    values = {name: form[name].value() for name in form.fields} | {"risk_per_trade_pct": "101"}
    assert console.post(page, values).status_code == 200
    assert RiskPolicy.objects.get(portfolio=None).pk == first.pk


def test_the_audit_chain_is_verified_from_the_console(console):
    for number in range(3):
        record("test.happened", actor="somebody", number=number)
    verify = reverse("admin:audit_auditentry_verify")
    assert console.get(verify).status_code == 405
    assert b"The chain is whole" in console.post(verify, follow=True).content
    broken = AuditEntry.objects.order_by("id")[1]
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE audit_auditentry DISABLE TRIGGER USER")
        cursor.execute("UPDATE audit_auditentry SET actor = 'nobody' WHERE id = %s", [broken.pk])
        cursor.execute("ALTER TABLE audit_auditentry ENABLE TRIGGER USER")
    assert f"broken at entry {broken.pk}".encode() in console.post(verify, follow=True).content


# --- the home page


def test_the_home_page_says_what_needs_attention(console, full):
    OrderFactory(state=OrderState.UNKNOWN, unknown_since=timezone.now(), client_order_id="TPUNKNOWN001")
    GroupFactory(quarantined=True)
    BrokerAccountFactory(name="Expired account", auth_state=BrokerAccount.AuthState.EXPIRED)
    IntentFactory(state=Intent.State.WAITING, decide_by=timezone.now() + timedelta(minutes=1))
    TradingState.objects.filter(scope="GLOBAL").update(level=4, reason="Flash crash")
    page = console.get(reverse("admin:index")).content.decode()
    for sight in [
        "TPUNKNOWN001", "Quarantined trades", "Expired account", "Approve", "Refuse", "Flash crash",
        "The order socket is down.", "RUNNING", "Close at market", "Acknowledge",
    ]:  # fmt: skip
        assert sight in page, sight
    assert re.search(r"\b3\d\d s ago", page), "the beat of five minutes before, however long the page took"


def test_a_calm_desk_says_so(console):
    page = console.get(reverse("admin:index")).content.decode()
    assert "No order waits for a yes." in page
    assert "The broker&#x27;s book agrees with ours." in page


def test_a_button_of_the_home_page_works(console, full):
    page = console.get(reverse("admin:index"))
    alert = Alert.objects.get()
    assert f'value="{alert.pk}"' in page.content.decode()
    press(console, Alert, "acknowledge", alert)
    assert b"No open alert." in console.get(reverse("admin:index")).content


def test_the_console_needs_no_inline_script_or_style(console, full):
    for address in [reverse("admin:index"), reverse("admin:risk_tradingstate_kill"), changelist(AuditEntry)]:
        reply = console.get(address)
        text = reply.content.decode()
        assert "'unsafe-inline'" not in reply["content-security-policy"]
        assert "style=" not in text
        assert "<style" not in text
        assert "onclick" not in text
        assert "<script>" not in text


def test_what_came_from_outside_is_shown_as_text(console):
    Alert.objects.create(
        level="SEVERE", code="X", message="<script>alert(1)</script>", dedupe_key="x",
        first_at=timezone.now(), last_at=timezone.now(),
    )  # fmt: skip
    assert b"<script>alert" not in console.get(reverse("admin:index")).content
    assert b"<script>alert" not in console.get(changelist(Alert)).content


def test_candles_are_never_counted(console, full, django_assert_max_num_queries):
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as asked:
        reply = console.get(changelist(CandleBlock), follow=True)
    assert reply.status_code == 200
    assert "series__feed__id__exact" in reply.redirect_chain[0][0]
    about_candles = [query["sql"] for query in asked if 'FROM "marketdata_candleblock"' in query["sql"]]
    assert about_candles
    assert not [sql for sql in about_candles if "COUNT(" in sql]


def test_ledger_entries_stand_under_their_transaction(console, world):
    entry = LedgerEntry.objects.filter(account="CASH").first()
    page = console.get(reverse("admin:portfolio_ledgertransaction_change", args=[entry.transaction_id]))
    assert "10,00,000.00" in page.content.decode()
