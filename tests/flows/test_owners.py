"""Two people, one desk: whatever one asks for, nothing of the other's comes back, moves or is said to exist.

Every route of the desk is crawled. A route that this file has no rule for fails the test: whoever adds one decides
here what another person may see of it.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import product
from uuid import UUID

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

import trading.urls  # noqa: F401  (the addresses fill the console)
from accounts.api_keys import issue
from execution.engine_settings import publish_ladder, publish_settings
from execution.hooks.keep import hook_create, symbol_map_set
from execution.models import (
    Delivery,
    DeploymentWork,
    EngineSettings,
    Group,
    Hook,
    HookSymbol,
    Intent,
    LadderPlan,
    Leg,
    Mismatch,
    Order,
    ParentOrder,
    Pyramid,
    QueuedSignal,
    ReconRun,
)
from execution.services.risk_keep import report_body
from execution.states import PendingOp
from risk.models import Breaker, BrokerFunds, LossLock, RiskReport
from strategies.models import BacktestRun, ContractVersion, Deployment
from strategies.tactics.ladder import DEFAULT_RUNGS
from tests.factories import (
    AssessmentFactory,
    BrokerAccountFactory,
    ClosedTradeFactory,
    DeploymentFactory,
    FillFactory,
    GroupFactory,
    InstrumentFactory,
    IntentFactory,
    OrderFactory,
    PortfolioFactory,
    PositionFactory,
    SignalFactory,
    UserFactory,
)
from tests.factories.runs import finished_run
from tests.factories.strategies import ContractFactory, ContractVersionFactory
from tests.factories.world import house_policy, open_feed, quote, running_engine
from trading.audit.models import AuditEntry
from trading.audit.record import record
from trading.marketdata.models import Backfill
from trading.monitoring.models import Alert
from trading.portfolio.models import ChartSettings, Watchlist
from trading.web.pages.dashboard import PARTS

pytestmark = pytest.mark.django_db

# Routes that show a person's own things. Asked for with every id of the other in the query as well.
OWN = {
    "api/v1/portfolios/", "api/v1/dashboard/", "api/v1/positions/", "api/v1/orders/", "api/v1/signals/",
    "api/v1/backfills/",
    "", "positions/", "orders/", "signals/", "journal/", "ticket/", "kill/", "kill/progress/", "kill/rearm/",
    "backtests/", "backtests/new/", "backtests/parameters/", "backtests/compare/", "backtests/holdings/",
    "api/v1/backtests/", "api/v1/backtests/compare/", "api/v1/holdings/risk/",
    "settings/", "settings/brokers/", "settings/brokers/link/", "settings/brokers/paper/", "broker/callback/",
    "api/v1/accounts/", "api/v1/accounts/paper/",
    "desk/state/", "desk/equity/", "desk/portfolio/", "desk/part/<slug:name>/",
    "strategies/", "strategies/new/", "api/v1/contracts/", "api/v1/deployments/",
    "api/v1/watchlists/", "market/", "market/find/", "market/data/", "market/watchlists/",
    "market/data/download/", "market/data/fetches/",
    "^market/(?P<symbol>[^/:]+:[^/:]+)/$",
    "^market/(?P<symbol>[^/:]+:[^/:]+)/candles/$", "^market/(?P<symbol>[^/:]+:[^/:]+)/chart/$",
}  # fmt: skip
# Routes that name a row: another's row does not exist, by any method.
OF_ONE_ROW = {
    "api/v1/positions/<uuid:group_id>/close/", "api/v1/orders/<int:order_id>/", "api/v1/orders/<int:order_id>/cancel/",
    "api/v1/backfills/<uuid:backfill_id>/", "api/v1/backfills/<uuid:backfill_id>/cancel/",
    "positions/<uuid:group_id>/close/", "positions/<uuid:group_id>/progress/", "orders/<int:order_id>/",
    "api/v1/backtests/<uuid:run_id>/", "api/v1/backtests/<uuid:run_id>/cancel/",
    "api/v1/backtests/<uuid:run_id>/report/", "api/v1/backtests/<uuid:run_id>/trades/",
    "api/v1/backtests/<uuid:run_id>/export/<str:name>", "backtests/<uuid:run_id>/", "backtests/<uuid:run_id>/progress/",
    "backtests/<uuid:run_id>/cancel/", "backtests/<uuid:run_id>/again/", "backtests/<uuid:run_id>/delete/",
    "backtests/<uuid:run_id>/trades/", "backtests/<uuid:run_id>/candles/", "backtests/<uuid:run_id>/files/<str:name>",
    "orders/<int:order_id>/cancel/", "approvals/<uuid:intent_id>/", "alerts/<int:alert_id>/acknowledge/",
    "^engine/(?P<account_id>\\d+)/(?P<act>pause|resume)/$",
    "strategies/<int:contract_id>/", "strategies/<int:contract_id>/edit/",
    *(f"strategies/versions/<int:version_id>/{act}/" for act in ("yaml", "deploy", "decline")),
    "^strategies/versions/(?P<version_id>\\d{1,12})/to/(?P<stage>PAPER|LIVE|PAUSED|RETIRED)/$",
    "^strategies/deployments/(?P<deployment_id>\\d{1,12})/(?P<act>pause|resume|stop)/$",
    "api/v1/contracts/<int:contract_id>/", "api/v1/versions/<int:version_id>/",
    "api/v1/versions/<int:version_id>/move/",
    "api/v1/^deployments/(?P<deployment_id>\\d{1,12})/(?P<act>pause|resume|stop)/$",
    *(f"settings/brokers/<int:account_id>/{act}/" for act in ("sign-in", "check", "forget")),
    "api/v1/portfolios/<int:portfolio_id>/contract-notes/",
    "api/v1/watchlists/<int:watchlist_id>/", "api/v1/watchlists/<int:watchlist_id>/items/",
    "api/v1/watchlists/<int:watchlist_id>/items/<str:symbol>/",
    *(f"market/watchlists/<int:watchlist_id>/{act}/" for act in ("rename", "delete", "add", "remove", "move")),
    "market/data/download/<uuid:backfill_id>/cancel/",
}  # fmt: skip
OWN |= {"reconcile/", "reconcile/now/"}
OWN |= {"orders/large/", "api/v1/large-orders/"}
OF_ONE_ROW |= {
    "orders/large/<int:parent_id>/", "orders/large/<int:parent_id>/withdraw/", "api/v1/large-orders/<int:parent_id>/",
    "api/v1/large-orders/<int:parent_id>/withdraw/",
}  # fmt: skip
OF_ONE_ROW |= {
    f"{door}deployments/<int:deployment_id>/work/" for door in ("strategies/", "api/v1/")
}  # fmt: skip
OWN |= {"orders/quality/", "orders/quality/series/", "orders/quality/orders.csv", "api/v1/execution-quality/"}
OF_ONE_ROW |= {"reconcile/<int:mismatch_id>/"}
# Routes that are the same for everybody: the market, the machine, the description of the API.
OF_NOBODY = {

    "market/data/missing/",
    "api/v1/option-chain/", "api/v1/option-chain/expiries/",
    "strategies/names/", "strategies/check/", "strategies/fired/", "api/v1/contracts/validate/",
    "api/v1/calls-saved/", "api/v1/candles/", "api/v1/corporate-actions/",
    "api/v1/corporate-actions/withdraw/",
    "healthz", "readyz", "api/v1/postbacks/<str:key>/",
    "api/v1/schema/", "api/v1/docs/", "api/v1/^.*$", "ticket/symbols/", "ticket/quote/",
}  # fmt: skip
# Risk: numbers and limits are one's own, what it opens and asks about names a row.
OWN |= {
    "api/v1/risk/", "api/v1/risk/history/", "api/v1/risk/policy/", "api/v1/risk/kill/", "api/v1/risk/kill/rearm/",
    "api/v1/risk/reports/<str:day>/", "risk/", "risk/history/", "risk/policy/", "risk/policy/file/", "risk/resume/",
    "risk/report/<str:day>/", "why/silent/",
}  # fmt: skip
OF_ONE_ROW |= {
    "risk/locks/<int:lock_id>/release/", "risk/breakers/<int:breaker_id>/close/", "why/<slug:kind>/<str:ref>/",
    "api/v1/why/<slug:kind>/<str:ref>/",
}  # fmt: skip
# Hooks: whoever has one sees it, its names and what came in by it.
OWN |= {"settings/hooks/", "settings/hooks/new/", "api/v1/hooks/", "api/v1/hooks/deliveries/"}
OF_ONE_ROW |= {
    "settings/hooks/<uuid:hook_id>/", "settings/hooks/deliveries/<uuid:delivery_id>/replay/",
    "settings/hooks/<uuid:hook_id>/symbols/<int:symbol_id>/drop/",
    *(f"settings/hooks/<uuid:hook_id>/{act}/" for act in ("change", "rotate", "switch", "deliveries", "symbols")),
    "api/v1/hooks/<uuid:hook_id>/", "api/v1/hooks/<uuid:hook_id>/rotate/", "api/v1/hooks/<uuid:hook_id>/switch/",
    "api/v1/hooks/deliveries/<uuid:delivery_id>/replay/",
}  # fmt: skip
OF_NOBODY |= {"hooks/<str:hook_id>/", "hooks/<str:hook_id>"}  # the door for alerts: whoever knows the secret
# The signal engine: the page and its settings are one's own, a place in the queue and a ladder are rows.
OWN |= {
    "api/v1/engine/",
    "api/v1/engine/settings/",
    "api/v1/engine/ladders/",
    "api/v1/engine/offset/run/",
    "engine/offset/run/",
    "engine/",
    "engine/settings/",
    "engine/settings/file/",
    "engine/ladders/new/",
}
OF_ONE_ROW |= {
    *(f"engine/queue/<int:queued_id>/{act}/" for act in ("promote", "force", "remove")),
    "api/v1/engine/queue/<int:queued_id>/",
    *(f"engine/offset/<uuid:group_id>/{act}/" for act in ("skip", "block", "unblock")),
    "api/v1/engine/offset/<uuid:group_id>/",
    "engine/ladders/<int:ladder_id>/", "engine/ladders/<int:ladder_id>/retire/",
    "api/v1/engine/ladders/<int:ladder_id>/",
}  # fmt: skip
ACCOUNT = "account/"  # sign-in and second factor, by allauth: always about whoever is asking
CONSOLE = "console/"  # for staff alone
WHATEVER = {
    "stage": "PAPER",
    "symbol": "NSE:ASKING-EQ", "act": "pause", "uidb36": "1", "key": "a-key", "app_label": "execution", "url": "x/",
    "extra_context": "x",
    "name": "trades.csv",
}  # fmt: skip
WHATEVER |= {"day": "2026-02-16", "kind": "order"}


@dataclass
class Person:
    """Somebody with one of everything, and the words by which it would be known in an answer."""

    mark: str
    user: object = None
    ids: dict[str, object] = field(default_factory=dict)

    def words(self) -> list[str]:
        unique = [str(value) for value in self.ids.values() if isinstance(value, UUID)]
        return [self.mark, *unique]


def somebody(mark: str, *, quoted: bool) -> Person:
    """A person whose every row carries `mark`. Prices are public: what is not quoted is known by its rows alone."""
    person = Person(mark)
    person.user = user = UserFactory(username=f"{mark}user", email=f"{mark}@example.com")
    account = BrokerAccountFactory(owner=user, name=f"{mark} account", auth_state="AUTHENTICATED")
    portfolio = PortfolioFactory(account=account, owner=user, name=f"{mark} portfolio")
    running_engine(account)
    held = InstrumentFactory(symbol=f"NSE:{mark}-EQ", name=f"{mark} Limited")
    feed = open_feed()
    if quoted:
        quote(feed, held, "101.00")
    contract = ContractFactory(owner=user, slug=mark.lower(), name=f"{mark} contract")
    deployment = DeploymentFactory(portfolio=portfolio, version=ContractVersionFactory(contract=contract))
    signal = SignalFactory(
        portfolio=portfolio, deployment=deployment, instrument=held, explanation=f"{mark} explanation",
        dedupe_key=f"{mark} signal",
    )  # fmt: skip
    group = GroupFactory(portfolio=portfolio, instrument=held, signal=signal, state=Group.State.ACTIVE)
    order = OrderFactory(
        intent=IntentFactory(group=group, signal=signal, dedupe_key=f"{mark} intent"),
        client_order_id=f"{mark}ORDER", broker_order_id=f"{mark}BROKER", broker_message=f"{mark} message",
    )  # fmt: skip
    waiting = IntentFactory(
        group=None, portfolio=portfolio, instrument=held, product="CNC", side="BUY", stop_price=None, target_price=None,
        state=Intent.State.WAITING, decide_by=timezone.now() + timedelta(minutes=9),
    )  # fmt: skip
    fill = FillFactory(order=order, broker_trade_id=f"{mark}TRADE")
    verdict = AssessmentFactory(portfolio=portfolio, intent_id=order.intent_id, message=f"{mark} verdict")
    position = PositionFactory(portfolio=portfolio, instrument=held)
    trade = ClosedTradeFactory(portfolio=portfolio, instrument=held, explanation=f"{mark} story", notes=f"{mark} notes")
    key, _ = issue(owner=user, name=f"{mark} key", now=timezone.now())
    alert = Alert.objects.create(
        owner_id=user.pk, level="SEVERE", code="TROUBLE", message=f"{mark} trouble", dedupe_key=mark,
        first_at=timezone.now(), last_at=timezone.now(),
    )  # fmt: skip
    watchlist = Watchlist.objects.create(owner=user, name=f"{mark} list")
    watchlist.items.create(instrument=held, place=1)
    ChartSettings.objects.create(owner=user, indicators=[["sma", [1000 + len(mark)]]])
    run = finished_run(user, title=f"{mark} backtest", symbol=held.symbol)
    backfill = Backfill.objects.create(
        owner=user, feed=feed, account_id=account.pk, title=f"{mark} backfill", symbols=[held.symbol], timeframe=1,
        from_date=date(2026, 2, 16), to_date=date(2026, 2, 20), created_at=timezone.now(),
    )  # fmt: skip
    lock = LossLock.objects.create(
        portfolio=portfolio, session_date="2026-02-13", kind="SOFT", day_pnl_paise=-1, locked_at=timezone.now()
    )
    breaker = Breaker.objects.create(account=account, call_class="READ", state="OPEN", cause=f"{mark} cause")
    day = date(2026, 2, 16)
    BrokerFunds.objects.create(
        account=account, total_paise=1, utilised_paise=0, available_paise=1, realised_paise=0, session_date=day,
        first_total_paise=1, first_realised_paise=0, read_at=timezone.now(),
    )  # fmt: skip
    RiskReport.objects.create(portfolio=portfolio, session_date=day, body=report_body(portfolio, day))
    record("test.happened", actor=user.username, owner_id=user.pk, subject=f"{mark} subject")
    person.ids = {
        "user_id": user.pk, "account_id": account.pk, "portfolio_id": portfolio.pk, "signal_id": signal.pk,
        "group_id": group.pk, "order_id": order.pk, "intent_id": waiting.pk, "intent": order.intent_id,
        "fill_id": fill.pk, "verdict_id": verdict.pk, "position_id": position.pk, "trade_id": trade.pk,
        "group_ref": trade.group_ref, "key_id": key.pk, "alert_id": alert.pk, "deployment_id": deployment.pk,
        "contract_id": contract.pk, "version_id": deployment.version_id, "watchlist_id": watchlist.pk, "run_id": run.pk,
        "backfill_id": backfill.pk,
    }  # fmt: skip
    person.ids["mismatch_id"] = in_doubt(account, mark, held.symbol)
    person.ids |= hooked(portfolio, mark, held)
    person.ids |= {"lock_id": lock.pk, "breaker_id": breaker.pk, "ref": order.pk}
    person.ids |= at_work(portfolio, held, mark)
    return person


def at_work(portfolio, held, mark: str) -> dict[str, object]:
    """What the signal engine has of a person: a trade with a pyramid and a blocked leg, one that waits, settings."""
    ladder = publish_ladder(portfolio=portfolio, name=f"{mark} ladder", rungs=list(DEFAULT_RUNGS), actor=mark)
    publish_settings(portfolio=portfolio, values={"max_open_groups": 7}, actor=f"{mark} actor")
    group = Group.objects.get(portfolio=portfolio)
    pyramid = Pyramid.objects.create(
        group=group, index=0, signal=group.signal, entry_price=100, quantity=10, created_at=timezone.now()
    )
    Leg.objects.create(
        pyramid=pyramid, index=0, gap_pct=0, weight_pct=100, take_profit_pct=1, limit_price=100, quantity=10,
        blocked_code="SPREAD", blocked=f"{mark} blocked",
    )  # fmt: skip
    signal = SignalFactory(
        portfolio=portfolio, deployment=None, source="HOOK", state="QUEUED", instrument=held, dedupe_key=f"{mark} waits"
    )
    queued = QueuedSignal.objects.create(
        portfolio=portfolio, instrument=held, side="SELL", signal=signal, entry_price=100, cause="NOT_FLAT",
        rank_reason=f"{mark} rank", enqueued_at=timezone.now(), expires_at=timezone.now() + timedelta(hours=1),
    )  # fmt: skip
    parent = ParentOrder.objects.create(
        portfolio=portfolio, group=group, source="PAGE", dedupe_key=f"{mark} large", actor=f"{mark} actor",
        instrument=held, product="INTRADAY", side="BUY", style="ICEBERG", wanted_quantity=10, quantity=10,
        limit_price=100, visible_quantity=5, starts_at=timezone.now(), ends_at=timezone.now() + timedelta(hours=1),
        created_at=timezone.now(),
    )  # fmt: skip
    return {"ladder_id": ladder.pk, "queued_id": queued.pk, "parent_id": parent.pk}


def hooked(portfolio, mark: str, held) -> dict[str, object]:
    """A hook, a name in its map, and an alert that came in."""
    wall = timezone.now()
    hook, _ = hook_create(portfolio=portfolio, values={"name": f"{mark} hook"}, actor="test", wall=wall)
    named = symbol_map_set(
        portfolio=portfolio, exchange="", symbol=mark, instrument=held.symbol, actor="test", wall=wall
    )
    came = Delivery.objects.create(
        hook=hook, received_at=wall, body=f"{mark} body", outcome="REFUSED", status=422, detail=f"{mark} detail"
    )
    return {"hook_id": hook.pk, "symbol_id": named.pk, "delivery_id": came.pk}


def in_doubt(account, mark: str, symbol: str) -> int:
    """A difference with the broker, and the comparison that found it."""
    wall = timezone.now()
    ReconRun.objects.create(
        account=account, cause="STARTUP", outcome="INVALID", trouble=f"{mark} books", venue_at=wall, began_at=wall,
        ended_at=wall,
    )  # fmt: skip
    return Mismatch.objects.create(
        account=account, kind=Mismatch.Kind.POSITION, symbol=symbol, product="INTRADAY", note=f"{mark} remark",
        session_date=timezone.localdate(), ours=10, theirs=4, state=Mismatch.State.OPEN, first_seen_at=wall,
        last_seen_at=wall,
    ).pk  # fmt: skip


@pytest.fixture
def asking(valkey) -> Person:
    house_policy()
    return somebody("ASKING", quoted=True)


@pytest.fixture
def other(asking) -> Person:
    return somebody("OTHERONE", quoted=False)


@pytest.fixture
def client(asking) -> Client:
    client = Client()
    client.force_login(asking.user)
    return client


def routes(patterns: list, before: str = "") -> Iterator[tuple[str, URLPattern]]:
    for pattern in patterns:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, route)
        else:
            yield route, pattern


def every_route() -> dict[str, URLPattern]:
    return dict(routes(get_resolver().url_patterns))


def address(route: str, values: dict[str, object]) -> str:
    """A route with its blanks filled. KeyError: nobody has said what belongs into one of them."""
    filled = re.sub(
        r"<(?:\w+:)?(\w+)>", lambda blank: str(values[blank[1]]), re.sub(r"\(\?P(<\w+>)[^)]*\)", r"\1", route)
    )
    return "/" + filled.replace("^", "").replace("$", "").replace("\\Z", "").replace(".*", "nowhere")


def ask(client: Client, method: str, path: str, headers: dict[str, str]):
    """One request with an empty body, as a program sends it."""
    if method == "get":
        return client.get(path, headers=headers)
    return getattr(client, method)(path, headers=headers, content_type="application/json")


def text_of(reply) -> str:
    body = b"".join(reply.streaming_content) if reply.streaming else reply.content
    return body.decode(errors="replace") + json.dumps(dict(reply.headers))


def assert_silent(reply, other: Person, *asked: str) -> None:
    """Nothing of the other in the answer, but for what was in the question (a form's own address)."""
    text = text_of(reply)
    for said in asked:
        if len(said) > 8:
            text = text.replace(said, "")
    for word in other.words():
        assert word not in text, f"{word!r} of another person in the answer to {asked}"


def state_of(person: Person) -> list[object]:
    """Everything of a person that an act could move."""
    order = Order.objects.get(pk=person.ids["order_id"])
    group = Group.objects.get(pk=person.ids["group_id"])
    account = order.account
    return [
        order.state, order.pending_op, group.state, group.close_reason,
        Intent.objects.get(pk=person.ids["intent_id"]).state,
        Alert.objects.get(pk=person.ids["alert_id"]).acknowledged_at,
        account.engine.state, account.engine.paused_by,
        Deployment.objects.get(pk=person.ids["deployment_id"]).state,
        list(DeploymentWork.objects.for_user(person.user).values_list("version", "style")),
        list(ContractVersion.objects.filter(contract__owner=person.user).values_list("number", "standing__stage")),
        list(order.portfolio.trading_states.values_list("level", flat=True)),
        Order.objects.filter(portfolio=order.portfolio).count(),
        Backfill.objects.get(pk=person.ids["backfill_id"]).state,
        AuditEntry.objects.filter(owner_id=person.user.pk).count(),
        list(Watchlist.objects.for_user(person.user).values_list("name", "items__instrument", "items__place")),
        list(BacktestRun.objects.for_user(person.user).values_list("state", flat=True)),
        list(QueuedSignal.objects.for_user(person.user).values_list("state", "force_by")),
        list(EngineSettings.objects.for_user(person.user).values_list("version", "active")),
        list(LadderPlan.objects.for_user(person.user).values_list("name", "retired_at")),
        list(Hook.objects.for_user(person.user).values_list("name", "enabled", "secret_sealed")),
        list(HookSymbol.objects.for_user(person.user).values_list("symbol", "instrument")),
        Delivery.objects.for_user(person.user).count(),
    ]  # fmt: skip


def test_every_route_has_a_rule():
    known = OWN | OF_ONE_ROW | OF_NOBODY
    strangers = [route for route in every_route() if route not in known and not route.startswith((ACCOUNT, CONSOLE))]
    assert not strangers, f"say in this file what another person may see of {strangers}"
    gone = known - set(every_route())
    assert not gone, f"rules for routes that do not exist any more: {gone}"


def test_each_one_sees_their_own(client, asking):
    """Otherwise all that follows would pass on empty pages."""
    for listing in [
        "portfolios",
        "positions",
        "orders",
        "signals",
        "watchlists",
        "backtests",
        "contracts",
        "backfills",
    ]:
        assert asking.mark in text_of(client.get(f"/api/v1/{listing}/")), listing
    for page in [
        "",
        "positions/",
        "orders/",
        "signals/",
        "journal/",
        "market/",
        "backtests/",
        "strategies/",
        "engine/",
        "engine/settings/",
    ]:
        assert asking.mark in text_of(client.get(f"/{page}")), page
    assert client.get(f"/api/v1/orders/{asking.ids['order_id']}/").status_code == 200
    assert client.get(f"/orders/{asking.ids['order_id']}/").status_code == 200
    for part in ["", "trades/", "files/trades.csv", "files/tear-sheet.html"]:
        assert asking.mark in text_of(client.get(f"/backtests/{asking.ids['run_id']}/{part}")), part


@pytest.mark.parametrize("route", sorted(OWN))
def test_what_is_ones_own_holds_nothing_of_the_other(client, other, route):
    bare = {name.removesuffix("_id"): value for name, value in other.ids.items()}
    one_by_one = [{name: bare[name]} for name in ["portfolio", "account", "group", "order", "signal", "user"]]
    queries = [{}, {"page_size": 200}, {"page": 1}, other.ids, bare, *one_by_one]
    before = state_of(other)
    for name in PARTS if "<slug:name>" in route else ["-"]:
        path = address(route, WHATEVER | {"name": name})
        for query in queries:
            reply = client.get(path, query)
            assert reply.status_code < 500, (path, query)
            assert_silent(reply, other, *map(str, query.values()))
    assert state_of(other) == before


@pytest.mark.parametrize("route", sorted(OF_ONE_ROW))
def test_a_row_of_the_other_does_not_exist(client, other, route):
    before = state_of(other)
    path = address(route, WHATEVER | other.ids)
    for method, htmx in product(["get", "post", "put", "patch", "delete"], [False, True]):
        headers = {"idempotency-key": f"{method}-{htmx}-crawl"} | ({"hx-request": "true"} if htmx else {})
        reply = ask(client, method, path, headers)
        assert reply.status_code in {404, 405}, (method, path, reply.status_code)
        assert_silent(reply, other, path)
    assert state_of(other) == before


@pytest.mark.parametrize("route", sorted(OF_ONE_ROW))
def test_a_row_of_the_other_looks_like_one_that_never_was(client, other, route):
    never = {name: UUID(int=7) if isinstance(value, UUID) else 987_654_321 for name, value in other.ids.items()}
    headers = {"idempotency-key": "never-was-there"}
    for method in ["get", "post"]:
        theirs = getattr(client, method)(address(route, WHATEVER | other.ids), headers=headers)
        nobodys = getattr(client, method)(
            address(route, WHATEVER | never), headers=headers | {"idempotency-key": "k" * 9}
        )
        assert theirs.status_code == nobodys.status_code
        assert theirs["content-type"] == nobodys["content-type"]
        if theirs["content-type"].endswith("json"):
            assert theirs.json() == nobodys.json()


@pytest.mark.parametrize("route", sorted(OF_NOBODY))
def test_what_is_everybodys_names_nobody(client, other, route):
    reply = client.get(address(route, {"key": "nobodys", "hook_id": "nobodys"}), {"symbol": "OTHER", "q": "OTHER"})
    assert reply.status_code < 500
    listed = f"NSE:{other.mark}-EQ"  # the market is public: an instrument may be found by anybody
    text = text_of(reply).replace(listed, "").replace(f"{other.mark} Limited", "")
    if "symbols" not in route and "quote" not in route:
        assert other.mark not in text
    for word in [f"{other.mark} portfolio", f"{other.mark} account", f"{other.mark}ORDER", f"{other.mark}user"]:
        assert word not in text


def test_the_pages_of_the_account_are_about_whoever_asks(client, other):
    for route in every_route():
        if route.startswith(ACCOUNT):
            reply = client.get(address(route, WHATEVER | other.ids))
            assert reply.status_code < 500, route
            assert_silent(reply, other, route)


@pytest.mark.parametrize("method", ["get", "post"])
def test_the_console_is_closed_to_whoever_is_not_staff(client, other, method):
    before = state_of(other)
    crawled = 0
    models = {f"{model._meta.app_label}/{model._meta.model_name}": model for model in admin.site._registry}
    for route in every_route():
        if not route.startswith(CONSOLE):
            continue
        model = next((model for name, model in models.items() if f"/{name}/" in route), None)
        row = model._default_manager.order_by("-pk").first() if model else None
        values = WHATEVER | {"object_id": row.pk if row else 1, "id": 1, "content_type_id": 1, "extra_context": ""}
        path = re.sub(r"\(\?P<app_label>.*", "execution/", route)
        reply = getattr(client, method)(address(path, values))
        assert reply.status_code in {302, 403, 404} or "login" in route or "logout" in route or "jsi18n" in route, route
        assert_silent(reply, other, address(path, values))
        crawled += 1
    assert crawled > 100
    assert state_of(other) == before


def test_another_ones_portfolio_cannot_be_chosen_or_traded(client, asking, other):
    before = state_of(other)
    theirs = other.ids["portfolio_id"]
    assert client.post("/desk/portfolio/", {"portfolio": theirs}).status_code == 404
    assert other.mark not in text_of(client.get("/"))
    wish = {
        "portfolio": theirs, "symbol": f"NSE:{asking.mark}-EQ", "side": "BUY", "quantity": 1, "order_type": "MARKET",
        "stop_price": "99.00",
    }  # fmt: skip
    headers = {"idempotency-key": "not-my-money"}
    assert client.post("/api/v1/orders/", wish, content_type="application/json", headers=headers).status_code == 404
    client.post("/ticket/", {**wish, "product": "INTRADAY", "key": "not-my-money"})
    assert state_of(other) == before


def test_a_key_opens_its_owners_rows_alone(asking, other):
    _, token = issue(owner=asking.user, name="bot", scope="trade", now=timezone.now())
    program = Client(headers={"authorization": f"Bearer {token}", "idempotency-key": "a-programs-key"})
    for listing in ["portfolios", "positions", "orders", "signals", "dashboard"]:
        reply = program.get(f"/api/v1/{listing}/")
        assert asking.mark in text_of(reply)
        assert_silent(reply, other, listing)
    assert ask(program, "post", f"/api/v1/orders/{other.ids['order_id']}/cancel/", {}).status_code == 404
    assert Order.objects.get(pk=other.ids["order_id"]).pending_op == PendingOp.NONE


def test_staff_have_the_console_and_no_more_than_others_elsewhere(other):
    client = Client()
    client.force_login(UserFactory(operator=True))
    for listing in ["portfolios", "positions", "orders", "signals"]:
        assert client.get(f"/api/v1/{listing}/").json()["results"] == []
    assert client.get(f"/api/v1/orders/{other.ids['order_id']}/").status_code == 404
