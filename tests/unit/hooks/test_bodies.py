"""Bodies from outside: read whole or refused with a reason; whatever is kept of them holds no secret."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.hooks.adapters import alerts_in
from execution.hooks.masking import masked
from execution.hooks.meaning import meaning_of
from execution.hooks.payload import ACTIONS, POSITIONS, read_alert, timeframe_name
from execution.hooks.refusal import Refused
from execution.hooks.signature import is_signed, new_secret, sign
from execution.hooks.strict_json import as_text, read_object
from trading.domain.orders import Side

SECRET = "tzh_a-secret-that-nobody-may-read"
WALL = datetime(2026, 2, 16, 5, 30, tzinfo=UTC)

leaf = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12) | st.sampled_from(
    ["buy", "long", "flat", "812.35", "{{close}}", "1e308", "-1", SECRET, "NSE:SBIN", "15", "2026-02-16T05:30:00Z"]
)  # fmt: skip
names = st.sampled_from(
    ["secret", "tv", "risk", "strategy_info", "execution_intent", "symbol", "action", "exchange", "entry_price",
     "order_size", "market_position", "prev_market_position", "type", "side", "timestamp", "stocks", "trigger_prices",
     "triggered_at", "quantity", "lots", "stop_loss", "take_profit", "trade_id", "user_id", "timeframe"]
) | st.text(max_size=8)  # fmt: skip
values = st.recursive(leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=5))
bodies = st.dictionaries(names, values, max_size=10)


@given(st.binary(max_size=300) | values.map(lambda body: json.dumps(body).encode()))
def test_whatever_arrives_is_read_or_refused_with_a_reason(raw):
    try:
        body = read_object(as_text(raw))
    except Refused as refusal:
        assert refusal.status == 400 and refusal.code and refusal.detail
        return
    assert isinstance(body, dict)


@given(bodies)
def test_a_body_of_known_names_and_odd_values_has_a_meaning_or_a_reason_for_each_field(body):
    try:
        body = read_object(json.dumps(body))
        understood = [(one, meaning_of(one)) for one in map(read_alert, alerts_in(body, wall=WALL))]
    except Refused as refusal:
        assert 400 <= refusal.status < 500
        assert all(one["code"] and one["message"] for one in refusal.errors)
        assert refusal.code != "INVALID_ALERT" or refusal.errors
        return
    for alert, meaning in understood:
        assert alert.symbol and meaning.side in Side and meaning.kind in ("ENTRY", "EXIT", "REDUCE", "REVERSE")
        for number in (alert.price, alert.stop, alert.target, meaning.size):
            assert number is None or (number.is_finite() and number > 0)


@given(bodies, st.booleans())
def test_what_is_kept_of_a_body_holds_no_secret(body, escaped):
    body["secret"] = SECRET
    text = json.dumps(body)
    if escaped:
        text = text.replace(SECRET, "".join(f"\\u{ord(c):04x}" for c in SECRET))
    kept = masked(text, json.loads(text), [SECRET])
    assert SECRET not in kept
    assert SECRET not in json.dumps(json.loads(kept)), "nor to a parser"


@pytest.mark.parametrize(
    "text",
    ['{"secret": "abc123', '{"API_KEY" : "abc123"}', "password=abc123&x=1", '{"access_token": abc123}',
     '{"url": "https://x.example/?secret=abc123&y=1"}', "{'passphrase': 'abc123'}"],
)  # fmt: skip
def test_secrets_are_masked_by_their_names_too(text):
    assert "abc123" not in masked(text, None, []) and "***" in masked(text, None, [])


def test_a_masked_body_can_be_read_again():
    for text in ['{"secret": 12, "a": 1}', '{"secret": "x", "a": 1}', '{"secret": null, "a": 1}']:
        assert read_object(masked(text, json.loads(text), []))["a"] == 1


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_a_signature_fits_its_body_and_its_secret_alone(raw, other):
    secret = new_secret()
    assert is_signed(raw, "sha256=" + sign(raw, secret).upper(), [new_secret(), secret])
    assert not is_signed(raw, sign(raw, new_secret()), [secret])
    assert is_signed(other, sign(raw, secret), [secret]) == (raw == other)


@pytest.mark.parametrize(
    "said, name",
    [("15", "15m"), ("60", "1h"), ("240", "4h"), ("D", "1d"), ("1D", "1d"), ("1W", "1w"), ("30S", "30s"), ("1M", "1mo"),
     ("15m", "15m"), ("1h", "1h"), ("", ""), ("0", ""), ("soon", ""), ("m", "1m")],
)  # fmt: skip
def test_timeframes_have_one_spelling(said, name):
    assert timeframe_name(said) == name


def alert_of(**tv):
    return read_alert(alerts_in({"tv": {"symbol": "SBIN", **tv}}, wall=WALL)[0])


@given(
    st.sampled_from([*ACTIONS, None]), st.sampled_from([*POSITIONS, None]), st.sampled_from([*POSITIONS, None]),
    st.sampled_from(["0", "50", "100", None]), st.sampled_from(["50", "100", None]),
)  # fmt: skip
def test_a_chart_that_is_flat_never_opens_and_one_that_is_long_never_sells_short(action, now, before, size, order):
    alert = alert_of(
        action=action, market_position=now, prev_market_position=before, market_position_size=size, order_size=order,
        entry_price="100",
    )  # fmt: skip
    try:
        meaning = meaning_of(alert)
    except Refused:
        return
    if now == "flat":
        assert meaning.kind == "EXIT" and meaning.size is None
    if now in ("long", "short") and meaning.kind in ("ENTRY", "REVERSE"):
        assert meaning.side == (Side.BUY if now == "long" else Side.SELL)
    if now and before and "flat" not in (now, before) and now != before:
        assert meaning.kind == "REVERSE"


def test_a_turn_opens_what_is_left_of_its_order():
    turned = alert_of(
        action="sell", market_position="short", prev_market_position="long", prev_market_position_size="100",
        order_size="150",
    )  # fmt: skip
    assert meaning_of(turned).size == Decimal(50)
