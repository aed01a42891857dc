"""Alerts by their door: who may knock, what becomes a signal, what is refused and why, and what happens once only."""

import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import pytest
import redis
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as examples

from execution.hooks.arrival import Knock
from execution.hooks.keep import hook_rotate, hook_switch, symbol_map_set
from execution.hooks.receive import receive, replay
from execution.hooks.signature import sign
from execution.hooks.tidy import forget_deliveries
from execution.models import Delivery
from strategies.models import Signal
from tests.factories import InstrumentFactory
from tests.factories.hooks import a_hook, an_alert
from tests.factories.world import open_market
from tests.flows.web_process import web  # noqa: F401
from tests.unit.hooks.test_bodies import bodies
from trading.audit.models import AuditEntry
from trading.outbox import nudge_stream

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(valkey):
    return open_market()


@pytest.fixture
def hook(world):
    return a_hook(world.portfolio)


def send(hook, alert, *, query="", **headers):
    body = alert if isinstance(alert, bytes | str) else json.dumps(alert)
    named = {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    return Client().post(f"{hook.path}{query}", body, content_type="application/json", **named)


def only_signal() -> Signal:
    return Signal.objects.get()


def assert_refused(reply, status, code, *fields):
    told = reply.json()
    assert (reply.status_code, told["code"]) == (status, code), told
    assert reply["content-type"] == "application/problem+json"
    assert [one["field"] for one in told.get("errors", [])] == list(fields)
    assert not Signal.objects.exists()


# --- what an alert becomes --------------------------------------------------------------------------------------------
def test_an_alert_becomes_a_signal_and_rings_the_engine(hook, world, django_capture_on_commit_callbacks):
    row, secret = hook
    with django_capture_on_commit_callbacks(execute=True):
        reply = send(row, an_alert(secret))
    assert reply.status_code == 202, reply.json()
    signal = only_signal()
    assert (signal.source, signal.kind, signal.side, signal.quantity) == ("HOOK", "ENTRY", "BUY", 100)
    assert (str(signal.entry), str(signal.stop), signal.target) == ("812.3500", "798.0000", None)
    assert (signal.timeframe, signal.product, signal.deployment, signal.hook_ref) == ("15m", "INTRADAY", None, row.pk)
    assert (signal.portfolio, signal.instrument) == (world.portfolio, world.instrument)
    assert signal.origin == "My alerts: SBIN long" and "DCA 1" in signal.explanation
    assert signal.state == "NEW" and signal.expires_at > timezone.now()
    assert reply.json()["signals"][0]["id"] == str(signal.pk)
    delivery = Delivery.objects.get()
    assert (delivery.outcome, delivery.first, list(delivery.signals.all())) == ("ACCEPTED", True, [signal])
    rung = redis.Redis.from_url(settings.REDIS_URL, decode_responses=True).xrange(
        nudge_stream(world.portfolio.account_id)
    )
    assert json.loads(rung[-1][1]["ids"])["signal_id"] == str(signal.pk)


def test_the_simple_dialect_is_enough(hook):
    row, secret = hook
    assert send(row, {"secret": secret, "symbol": "NSE:SBIN-EQ", "action": "BUY", "quantity": 10}).status_code == 202
    signal = only_signal()
    assert (signal.kind, signal.side, signal.quantity, str(signal.entry)) == ("ENTRY", "BUY", 10, "812.3500")


@pytest.mark.parametrize(
    "changes, kind, side, quantity",
    [
        (
            {"tv__market_position": "flat", "tv__prev_market_position": "long", "tv__action": "sell"},
            "EXIT", "SELL", None,
        ),
        (
            {"tv__market_position": "short", "tv__prev_market_position": "long", "tv__action": "sell",
             "tv__order_size": "200", "risk__stop_loss": None},
            "REVERSE", "SELL", 100,
        ),
        (
            {"tv__market_position_size": "60", "tv__prev_market_position": "long", "tv__action": "sell",
             "tv__prev_market_position_size": "100", "tv__order_size": "40"},
            "REDUCE", "SELL", 40,
        ),
        (
            {"tv__market_position_size": "150", "tv__prev_market_position": "long",
             "tv__prev_market_position_size": "100", "tv__order_size": "50"},
            "ENTRY", "BUY", 50,
        ),
        ({"execution_intent__type": "exit", "execution_intent__side": "sell"}, "EXIT", "SELL", None),
    ],
)  # fmt: skip
def test_the_position_says_what_is_to_be_done_unless_the_intent_does(hook, changes, kind, side, quantity):
    row, secret = hook
    reply = send(row, an_alert(secret, **changes))
    assert reply.status_code == 202, reply.json()
    signal = only_signal()
    assert (signal.kind, signal.side, signal.quantity) == (kind, side, quantity)


def test_a_screeners_list_becomes_one_signal_for_each_stock_that_is_known(world):
    row, secret = a_hook(world.portfolio, name="Screener", default_action="BUY", secret_in_address=True)
    InstrumentFactory(symbol="NSE:INFY-EQ")
    at = timezone.localtime().strftime("%I:%M %p").lower()
    alert = {
        "stocks": "SBIN,INFY,NOSUCH", "trigger_prices": "812.35,1500.10,12.5", "triggered_at": at,
        "scan_name": "Volume", "scan_url": "volume", "alert_name": "Alert for Volume",
        "webhook_url": f"https://desk.example{row.path}?secret={secret}",
    }  # fmt: skip
    reply = send(row, alert, query=f"?secret={secret}")
    assert reply.status_code == 202, reply.json()
    assert [one["symbol"] for one in reply.json()["signals"]] == ["NSE:SBIN-EQ", "NSE:INFY-EQ"]
    assert [(one["field"], one["code"]) for one in reply.json()["refused"]] == [("stocks[2]", "NOT_MAPPED")]
    assert {str(one.entry) for one in Signal.objects.all()} == {"812.3500", "1500.1000"}
    assert secret not in Delivery.objects.get().body


def test_sizes_in_lots_and_rupees_become_units(hook, world):
    row, secret = hook
    InstrumentFactory(symbol="NSE:NIFTY26FEBFUT", lot_size=65, segment="FO", instrument_type="FUTIDX")
    for size, kind, symbol, units in [("2", "base", "NIFTY26FEBFUT", 130), ("10000", "quote", "SBIN", 12)]:
        alert = an_alert(
            secret, tv__symbol=symbol, tv__order_size=size, tv__market_position_size=None,
            execution_intent__position_size_type=kind, strategy_info__trade_id=kind,
        )  # fmt: skip
        assert send(row, alert).status_code == 202
        assert Signal.objects.get(instrument__symbol__contains=symbol).quantity == units


def test_strict_refuses_what_auto_rounds(hook):
    row, secret = hook
    odd = {"tv__entry_price": "812.37", "strategy_info__trade_id": "odd"}
    strict = an_alert(secret, execution_intent__precision_mode="strict", **odd)
    assert_refused(send(row, strict), 422, "NOT_PRECISE", "tv.entry_price")
    assert send(row, an_alert(secret, **odd)).status_code == 202
    assert str(only_signal().entry) == "812.3500"


def test_an_exit_needs_no_price(hook, world, valkey):
    row, secret = hook
    valkey.flushdb()  # no quote either
    assert send(row, {"secret": secret, "symbol": "SBIN", "action": "exit"}).status_code == 202
    assert only_signal().kind == "EXIT"


# --- the symbol map ---------------------------------------------------------------------------------------------------
def test_a_name_that_means_nothing_is_refused_with_what_may_have_been_meant(hook, world):
    row, secret = hook
    reply = send(row, an_alert(secret, tv__symbol="SBINX"))
    assert_refused(reply, 422, "SYMBOL_NOT_MAPPED", "tv.symbol")
    assert reply.json()["suggestions"] == ["NSE:SBIN-EQ"]
    symbol_map_set(
        portfolio=world.portfolio, exchange="", symbol="NSE:SBINX", instrument="NSE:SBIN-EQ", actor="me",
        wall=timezone.now(),
    )  # fmt: skip
    assert send(row, an_alert(secret, tv__symbol="SBINX")).status_code == 202, "a refusal leaves the key free"
    assert only_signal().instrument == world.instrument


# --- proof ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "mode, secret_given, signed, status",
    [
        ("SECRET", True, False, 202), ("SECRET", False, True, 401), ("HMAC", False, True, 202),
        ("HMAC", True, False, 401), ("EITHER", True, False, 202), ("EITHER", False, True, 202),
        ("EITHER", False, False, 401), ("BOTH", True, True, 202), ("BOTH", True, False, 401),
        ("BOTH", False, True, 401),
    ],
)  # fmt: skip
def test_a_hook_demands_secret_signature_or_both(world, mode, secret_given, signed, status):
    row, secret = a_hook(world.portfolio, authentication=mode)
    body = json.dumps(an_alert(secret if secret_given else None)).encode()
    headers = {"x_signature": sign(body, secret)} if signed else {}
    assert send(row, body, **headers).status_code == status
    assert Signal.objects.count() == (status == 202)


@pytest.mark.parametrize("wrong", ["tzh_wrong", "", "é" * 20, "x" * 5000])
def test_a_wrong_secret_opens_nothing(hook, wrong):
    reply = send(hook[0], an_alert(wrong))
    assert_refused(reply, 401, "SECRET_WRONG")
    assert not wrong or wrong not in Delivery.objects.get().body


def test_a_body_that_was_changed_after_signing_is_refused_even_with_the_secret(hook):
    row, secret = hook
    body = json.dumps(an_alert(secret)).encode()
    assert_refused(send(row, body + b" ", x_signature=sign(body, secret)), 401, "SIGNATURE_WRONG")


def test_after_a_rotation_both_secrets_open_for_a_day_and_at_once_only_the_new(hook):
    row, old = hook
    _, new = hook_rotate(hook=row, actor="me", wall=timezone.now())
    for number, secret in enumerate([old, new]):
        assert send(row, an_alert(secret, strategy_info__trade_id=str(number))).status_code == 202
    _, newest = hook_rotate(hook=row, actor="me", wall=timezone.now(), at_once=True)
    for number, secret in enumerate([old, new]):
        assert send(row, an_alert(secret, strategy_info__trade_id=f"n{number}")).status_code == 401
    assert send(row, an_alert(newest, strategy_info__trade_id="n")).status_code == 202
    assert set(AuditEntry.objects.values_list("action", flat=True)) >= {"hook.created", "hook.rotated"}


def test_only_listed_addresses_may_send(world):
    row, secret = a_hook(world.portfolio, allowed_addresses=["52.32.178.0/24", "::1"])
    assert_refused(send(row, an_alert(secret)), 403, "ADDRESS_NOT_ALLOWED")
    forged = Client(headers={"x-forwarded-for": "52.32.178.7"})
    assert forged.post(row.path, json.dumps(an_alert(secret)), content_type="text/plain").status_code == 403
    for address in ["52.32.178.7", "::ffff:52.32.178.9", "::1"]:
        sender = Client(REMOTE_ADDR=address)
        alert = json.dumps(an_alert(secret, strategy_info__trade_id=address))
        assert sender.post(row.path, alert, content_type="text/plain").status_code == 202, address


def test_a_hook_that_is_off_or_not_there_trades_nothing(hook):
    row, secret = hook
    hook_switch(hook=row, enabled=False, actor="me")
    assert_refused(send(row, an_alert(secret)), 403, "HOOK_DISABLED")
    for address in ["not-a-hook", "00000000-0000-4000-8000-000000000000"]:
        reply = Client().post(f"/hooks/{address}/", "{}", content_type="application/json")
        assert_refused(reply, 404, "HOOK_NOT_FOUND")
    assert_refused(Client().get(row.path), 405, "METHOD_NOT_ALLOWED")


def test_the_owner_that_is_named_must_be_the_hooks(hook, world):
    row, secret = hook
    assert_refused(send(row, an_alert(secret, user_id="somebody-else")), 403, "NOT_THE_OWNER", "user_id")
    assert send(row, an_alert(secret, user_id=world.user.username)).status_code == 202


def test_the_last_slash_may_be_missing(hook):
    row, secret = hook
    reply = Client().post(row.path.rstrip("/"), json.dumps(an_alert(secret)), content_type="application/json")
    assert reply.status_code == 202


# --- time, copies, limits ---------------------------------------------------------------------------------------------
def test_a_stale_alert_and_one_of_the_future_are_refused(hook):
    row, secret = hook
    for shift, code in [(-130, "STALE_ALERT"), (90, "ALERT_AHEAD")]:
        at = (timezone.now() + timedelta(seconds=shift)).isoformat()
        assert_refused(send(row, an_alert(secret, timestamp=at)), 422, code, "timestamp")


@pytest.mark.parametrize("key", ["", "my-alert-1"])
def test_a_copy_within_a_day_gets_the_first_answer_even_when_it_has_grown_stale(hook, key):
    row, secret = hook
    body, wall = json.dumps(an_alert(secret)).encode(), timezone.now()
    first, second = [
        receive(Knock(row.pk, body, "203.0.113.9", wall + timedelta(hours=hours), idempotency_key=key))
        for hours in (0, 23)
    ]
    assert (first.status, second.status) == (202, 200)
    assert first.body == second.body and second.headers == {"Idempotent-Replay": "true"}
    assert Signal.objects.count() == 1
    assert list(Delivery.objects.values_list("outcome", flat=True)) == ["REPEATED", "ACCEPTED"]


def test_after_a_day_the_same_name_is_a_new_alert(hook):
    row, secret = hook
    send(row, an_alert(secret), idempotency_key="daily-alert")
    Delivery.objects.update(received_at=timezone.now() - timedelta(hours=25))
    assert send(row, an_alert(secret), idempotency_key="daily-alert").status_code == 202
    assert Signal.objects.count() == 2


def test_one_key_for_two_alerts_is_a_mistake(hook):
    row, secret = hook
    send(row, an_alert(secret), idempotency_key="my-alert-1")
    reply = send(row, an_alert(secret, tv__order_size="999"), idempotency_key="my-alert-1")
    assert (reply.status_code, reply.json()["code"]) == (409, "IDEMPOTENCY_KEY_REUSED")
    assert Signal.objects.count() == 1


def test_without_time_or_id_the_same_words_are_a_copy_for_half_a_minute(hook):
    row, secret = hook
    bare = {"secret": secret, "symbol": "SBIN", "action": "BUY", "quantity": 10}
    assert [send(row, bare).status_code for _ in range(3)] == [202, 200, 200]
    Delivery.objects.update(received_at=timezone.now() - timedelta(seconds=31))
    assert send(row, bare).status_code == 202


def test_too_many_in_a_minute_are_told_to_wait(world):
    row, secret = a_hook(world.portfolio, rate_per_minute=2)
    codes = [send(row, an_alert(secret, strategy_info__trade_id=str(n))).status_code for n in range(6)]
    assert codes.count(202) >= 2 and codes[-1] == 429  # the minute may turn in between
    assert send(row, an_alert(secret)).headers["Retry-After"]


def test_strangers_cannot_fill_the_log_nor_use_up_the_owners_alerts(world):
    row, secret = a_hook(world.portfolio, rate_per_minute=30)
    codes = [send(row, an_alert("wrong")).status_code for _ in range(70)]
    assert codes[0] == 401 and codes[-1] == 429
    assert Delivery.objects.count() <= 20
    assert send(row, an_alert(secret)).status_code == 202


# --- bodies that are none ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "body, status, code",
    [
        (b"Buy SBIN now", 415, "PLAIN_TEXT"), (b"", 415, "PLAIN_TEXT"), (b"\xff\xfe{", 400, "NOT_UTF8"),
        (b"[1, 2]", 400, "MALFORMED_JSON"), (b'{"a": NaN}', 400, "MALFORMED_JSON"), (b'{"a": 1', 400, "MALFORMED_JSON"),
        (b'{"a": 1, "a": 2}', 400, "MALFORMED_JSON"), (b"[" * 50_000, 400, "MALFORMED_JSON"),
        (b'{"a":' * 9 + b"1" + b"}" * 9, 400, "MALFORMED_JSON"), (b'{"a": 1%s}' % (b"0" * 5000), 400, "MALFORMED_JSON"),
        (b'{"a": "\\ud800"}', 400, "MALFORMED_JSON"), (b'{"a": "\\u0000"}', 400, "MALFORMED_JSON"),
        (b'{"a": "%s"}' % (b"x" * 70_000), 413, "BODY_TOO_LARGE"),
    ],
)  # fmt: skip
def test_a_body_that_is_no_alert_is_a_problem_and_no_trade(hook, body, status, code):
    reply = send(hook[0], body)
    told = reply.json()
    assert (reply.status_code, told["code"]) == (status, code)
    assert not Signal.objects.exists()
    if code == "PLAIN_TEXT":
        assert "{{ticker}}" in told["template"] and json.loads(told["template"].replace("{{", "").replace("}}", ""))


def test_every_field_that_is_wrong_is_named(hook):
    row, secret = hook
    alert = an_alert(
        secret, tv__action="hold", tv__entry_price="-5", tv__order_size=1e30, tv__timeframe="soon", timestamp="now",
        risk__stop_loss={"at": 1}, tv__close_price="{{close}}", execution_intent__precision_mode="loose",
    )  # fmt: skip
    told = send(row, alert).json()
    assert told["code"] == "INVALID_ALERT"
    found = {one["field"]: one["code"] for one in told["errors"]}
    assert found == {
        "timestamp": "NOT_AN_INSTANT", "tv.timeframe": "UNKNOWN_VALUE", "tv.action": "UNKNOWN_VALUE",
        "tv.entry_price": "OUT_OF_RANGE", "tv.close_price": "PLACEHOLDER", "tv.order_size": "OUT_OF_RANGE",
        "execution_intent.precision_mode": "UNKNOWN_VALUE", "risk.stop_loss": "NOT_A_NUMBER",
    }  # fmt: skip
    assert not Signal.objects.exists()


def test_unknown_fields_are_kept_and_told(hook):
    row, secret = hook
    alert = an_alert(secret, mood="bright", tv__volume=12)
    assert send(row, alert).json()["ignored"] == ["mood", "tv.volume"]
    assert '"mood": "bright"' in Delivery.objects.get().body


@given(bodies)
@examples(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_odd_alerts_with_the_right_secret_never_break_the_door_nor_trade_unsaid(hook, body):
    row, secret = hook
    before = Signal.objects.count()
    reply = send(row, json.dumps(body | {"secret": secret}))
    assert reply.status_code < 500
    made = Signal.objects.count() - before
    assert made == (len(reply.json()["signals"]) if reply.status_code == 202 else 0)


# --- secrets, replays -------------------------------------------------------------------------------------------------
def test_a_secret_is_in_no_row_no_answer_and_no_log(hook, caplog):
    row, secret = hook
    caplog.set_level(logging.DEBUG)
    escaped = json.dumps(an_alert(secret)).replace(secret, "".join(f"\\u{ord(c):04x}" for c in secret))
    replies = [
        send(row, an_alert(secret)), send(row, escaped), send(row, f"secret: {secret}"),
        send(row, an_alert(secret, strategy_info__alert_name=f"key {secret}", strategy_info__trade_id="2")),
        send(row, an_alert(secret, tv__symbol=secret)), send(row, f'{{"secret": "{secret}", '),
    ]  # fmt: skip
    assert [one.status_code for one in replies] == [202, 202, 415, 202, 422, 400]
    rows = [str(list(model.objects.values())) for model in (Delivery, Signal, AuditEntry)]
    told = [one.content.decode() for one in replies]
    for text in [*rows, *told, caplog.text]:
        assert secret not in text


def test_a_replay_is_a_new_delivery_with_a_mark_and_a_second_press_is_the_same(hook, world):
    row, secret = hook
    send(row, an_alert(secret))
    first = Delivery.objects.get()
    later = timezone.now() + timedelta(hours=5)  # stale by now: a person has decided
    replies = [replay(first, token="button", actor="me", wall=later) for _ in range(2)]
    assert [one.status for one in replies] == [202, 200]
    again = Delivery.objects.get(outcome="ACCEPTED", replay_of=first)
    assert (again.replayed_by, again.first) == ("me", True)
    assert again.signals.get().origin == "My alerts: SBIN long (replayed)"
    assert Signal.objects.count() == 2


# --- many at once -----------------------------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_fifty_copies_at_the_same_moment_make_one_signal(web, world):  # noqa: F811
    """Over real HTTP to another process, while this one takes the same alert in as well: the row decides."""
    row, secret = a_hook(world.portfolio)
    body = json.dumps(an_alert(secret)).encode()
    start = threading.Barrier(50)

    def by_http() -> int:
        with httpx.Client(base_url=web, timeout=30) as client:
            start.wait(30)
            return client.post(row.path, content=body).status_code

    def in_here() -> int:
        try:
            start.wait(30)
            return receive(Knock(row.pk, body, "127.0.0.1", timezone.now())).status
        finally:
            connections.close_all()

    with ThreadPoolExecutor(50) as pool:
        codes = [one.result() for one in [pool.submit(by_http if n % 2 else in_here) for n in range(50)]]
    assert sorted(codes) == [200] * 49 + [202]
    assert Signal.objects.count() == 1
    assert Delivery.objects.filter(first=True).count() == 1
    assert Delivery.objects.filter(outcome="REPEATED").count() == 49


def test_the_secret_of_a_hook_moves_to_a_new_data_key(hook, settings, capsys):
    row, secret = hook
    hook_rotate(hook=row, actor="me", wall=timezone.now())
    settings.DATA_KEYS = {"next": b"n" * 32, **settings.DATA_KEYS}
    call_command("rotate_secrets")
    settings.DATA_KEYS = {"next": b"n" * 32}
    assert "1 hook sealed" in capsys.readouterr().out.replace("1 broker account, ", "")
    assert send(row, an_alert(secret)).status_code == 202


# --- how long deliveries are kept -------------------------------------------------------------------------------------
def test_old_deliveries_are_forgotten_and_their_signals_stay(hook, settings):
    settings.HOOK_DELIVERY_DAYS = 30
    row, secret = hook
    for number in range(3):
        assert send(row, an_alert(secret, strategy_info__trade_id=str(number))).status_code == 202
    old, replayed, young = Delivery.objects.order_by("received_at")
    wall = timezone.now()
    Delivery.objects.filter(pk__in=[old.pk, replayed.pk]).update(received_at=wall - timedelta(days=31))
    again = replay(replayed, token="t", actor="me", wall=wall)
    assert again.status == 202
    assert forget_deliveries(wall=wall) == 1 and forget_deliveries(wall=wall) == 0
    assert not Delivery.objects.filter(pk=old.pk).exists()
    assert Delivery.objects.filter(pk__in=[replayed.pk, young.pk]).count() == 2, "a replay keeps what it replays"
    assert Signal.objects.count() == 4
    Delivery.objects.update(received_at=wall - timedelta(days=31))
    assert forget_deliveries(wall=wall) == 3 and not Delivery.objects.exists()
