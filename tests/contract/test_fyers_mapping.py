"""FYERS fields and ours: what is written, what is read, and what is refused to be read."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.brokers.errors import (
    AuthError,
    BrokerError,
    BusinessError,
    DeprecatedError,
    RateLimited,
    TransientError,
    UnexpectedReply,
)
from execution.brokers.fyers import mapping
from execution.brokers.fyers.order_socket import read_report
from execution.brokers.port import (
    Acknowledged,
    Bar,
    BookOrder,
    BrokerPosition,
    BrokerStatus,
    Funds,
    History,
    Refused,
    Unknown,
)
from tests.contract.samples import (
    TAG,
    book_line,
    decoded,
    master_line,
    position_line,
    reply,
    request,
    socket_order,
    socket_trade,
    trade_line,
)
from trading.domain.fills import FillFact
from trading.domain.orders import OrderType, Product, Side, Validity

AT = datetime(2025, 11, 20, 4, 1, 7, tzinfo=UTC)  # 09:31:07 in India


# -- what is written -----------------------------------------------------------------------------------------------


def test_an_order_is_written_with_our_tag_and_every_required_field():
    body = json.loads(mapping.place_body(request()))
    assert body == {
        "symbol": "NSE:SBIN-EQ", "qty": 10, "type": 1, "side": 1, "productType": "INTRADAY", "limitPrice": 612.4,
        "stopPrice": 0, "validity": "DAY", "disclosedQty": 0, "offlineOrder": False, "stopLoss": 0, "takeProfit": 0,
        "orderTag": TAG,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("order_type", "code"),
    [(OrderType.LIMIT, 1), (OrderType.MARKET, 2), (OrderType.STOP, 3), (OrderType.STOP_LIMIT, 4)],
)
def test_every_order_type_has_its_code(order_type, code):
    sent = request(order_type=order_type, trigger_price=Decimal("600"), side=Side.SELL, validity=Validity.IOC)
    body = json.loads(mapping.place_body(sent))
    assert (body["type"], body["side"], body["validity"], body["stopPrice"]) == (code, -1, "IOC", 600)


@given(st.decimals("0.01", "9999999", places=4, allow_nan=False))
def test_a_price_is_written_digit_by_digit(price):
    written = json.loads(mapping.place_body(request(limit_price=price)), parse_float=Decimal, parse_int=Decimal)
    assert written["limitPrice"] == price


def test_a_modification_mentions_only_what_changes():
    body = mapping.modify_body(
        "17", order_type=OrderType.LIMIT, quantity=None, limit_price=Decimal("611.05"), trigger_price=None
    )
    assert body == b'{"id":"17","type":1,"limitPrice":611.05}'


@pytest.mark.parametrize(
    "changes",
    [
        {"client_order_id": ""},
        {"client_order_id": "A" * 31},
        {"client_order_id": "A-1"},
        {"client_order_id": "Untagged"},
        {"quantity": 0},
        {"quantity": -1},
        {"limit_price": None},
        {"limit_price": Decimal("NaN")},
        {"limit_price": Decimal("-1")},
        {"order_type": OrderType.STOP, "trigger_price": None},
        {"order_type": OrderType.STOP_LIMIT, "trigger_price": Decimal(0)},
    ],
)
def test_an_order_that_makes_no_sense_is_found_out_before_it_is_sent(changes):
    assert mapping.what_is_wrong_with(request(**changes))
    assert mapping.what_is_wrong_with(request()) is None


# -- what became of it: three answers ------------------------------------------------------------------------------


def test_a_number_from_the_broker_is_an_acknowledgement():
    said = {"s": "ok", "code": 1101, "message": "Order submitted successfully.", "id": "25112000000017"}
    assert mapping.read_send_reply(reply(said)) == Acknowledged("25112000000017", "Order submitted successfully.")


@pytest.mark.parametrize(
    ("code", "status", "ours"),
    [
        (-50, 400, "INVALID_PARAMETER"),
        (-99, 200, "REJECTED"),
        (-99, 400, "REJECTED"),
        (-300, 400, "INVALID_SYMBOL"),
        (-16, 401, "AUTH"),
        (-429, 429, "RATE_LIMITED"),
    ],
)
def test_a_known_code_in_plain_words_is_a_refusal(code, status, ours):
    said = {"s": "error", "code": code, "message": "RED:Margin Shortfall:INR 1,234.50 Available:INR 0.00"}
    result = mapping.read_send_reply(reply(said, status=status))
    assert result == Refused(ours, "RED:Margin Shortfall:INR 1,234.50 Available:INR 0.00")


def test_a_refusal_remembers_the_order_it_left_in_the_book():
    said = {"s": "error", "code": -99, "message": "RED:Circuit limit", "id": "25112000000018"}
    assert mapping.read_send_reply(reply(said)) == Refused("REJECTED", "RED:Circuit limit", "25112000000018")


@pytest.mark.parametrize(
    "answer",
    [
        reply({"s": "error", "code": -99, "message": "Your order request timed out"}, status=400),
        reply({"s": "error", "code": -99, "message": "Request Timeout, kindly check the order book"}, status=400),
        reply({"s": "error", "code": -99, "message": "Please check the orderbook before placing again"}),
        reply({"s": "ok", "code": 201, "message": "Request sent, no acknowledgement yet", "id": "17"}),
        reply({"s": "ok", "code": 1101, "message": "Order submitted successfully."}),
        reply({"s": "ok", "code": 1101, "message": "", "id": ""}),
        reply({"s": "ok", "code": 1101, "message": "", "id": "17"}, status=502),
        reply({"s": "error", "code": -99, "message": "rejected"}, status=500),
        reply({"s": "error", "code": -96, "message": "unexpected"}, status=400),
        reply({"s": "error", "code": "-99", "message": "a code of another type"}),
        reply({"s": "error", "message": "no code"}),
        reply({"s": "error", "code": True, "message": "no code either"}),
        reply({"code": -99, "message": "no state"}),
        reply([]),
        reply(b""),
        reply(b"<html>502 Bad Gateway</html>", status=502),
        reply(b"<html>403 Forbidden</html>", status=403),
        reply(b'{"s":"ok","code":1101,"id":"17"', status=200),
        reply(b"[" * 100_000),
    ],
)
def test_anything_less_than_certain_is_unknown(answer):
    assert isinstance(mapping.read_send_reply(answer), Unknown)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=5),
    max_leaves=12,
)


@given(
    st.fixed_dictionaries(
        {}, optional={"s": json_values | st.just("ok"), "code": json_values, "message": json_values, "id": json_values}
    ),
    st.sampled_from([200, 201, 302, 400, 401, 429, 500, 503]),
)
def test_no_reply_is_refused_without_a_code_from_the_list(body, status):
    result = mapping.read_send_reply(reply(body, status=status))
    if isinstance(result, Refused):
        assert body["s"] == "error" and body["code"] in mapping.REFUSALS and status < 500
    if isinstance(result, Acknowledged):
        assert body["s"] == "ok" and result.broker_order_id == str(body["id"])


# -- the envelope of reads -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (reply({"s": "error", "code": -16, "message": "Could not authenticate the user"}, status=401), AuthError),
        (reply({"s": "error", "code": -15, "message": "Please provide valid token"}), AuthError),
        (reply(b"Unauthorized", status=401), AuthError),
        (reply({"s": "error", "code": 429, "message": "request limit reached"}, status=429), RateLimited),
        (reply(b"slow down", status=429), RateLimited),
        (reply({"s": "error", "code": -50, "message": "invalid"}, status=400), BusinessError),
        (reply(b"<html>", status=503), TransientError),
        (reply({"s": "error", "code": -99, "message": "oops"}, status=500), TransientError),
        (reply({"s": "error", "code": -50, "message": "This API is deprecated"}, status=400), DeprecatedError),
        (reply(b"", status=410), DeprecatedError),
        (reply(b"<html>"), UnexpectedReply),
        (reply([]), UnexpectedReply),
        (reply({}), UnexpectedReply),
        (reply({"orderBook": []}), UnexpectedReply),
        (reply({"s": "no_data", "orderBook": []}), UnexpectedReply),
        (reply({"s": "ok"}), UnexpectedReply),
        (reply({"s": "ok", "orderBook": None}), UnexpectedReply),
        (reply({"s": "ok", "orderBook": {}}), UnexpectedReply),
        (reply({"s": "ok", "orderBook": [1]}), UnexpectedReply),
        (reply({"s": "ok", "orderBook": [{}]}), UnexpectedReply),
        (reply(b'{"s":"ok","orderBook":[{"qty":NaN}]}'), UnexpectedReply),
    ],
)
def test_a_failed_read_is_an_error_and_never_an_empty_book(answer, error):
    with pytest.raises(error):
        mapping.reader("orderBook", mapping.read_orders)(answer)


def test_an_empty_book_is_empty_because_the_broker_says_so():
    assert mapping.reader("orderBook", mapping.read_orders)(reply({"s": "ok", "code": 200, "orderBook": []})) == []


def test_the_broker_may_say_how_long_to_wait():
    with pytest.raises(RateLimited) as slow:
        mapping.open_envelope(reply({"s": "error", "code": -429}, status=429, retry_after="2"))
    assert slow.value.retry_after == 2.0
    with pytest.raises(RateLimited) as finer:
        mapping.open_envelope(reply(b"", status=429, retry_after="1", x_retry_after_ms="350"))
    assert finer.value.retry_after == 0.35


@given(st.dictionaries(st.sampled_from(sorted(book_line())), json_values, max_size=4))
def test_a_book_line_is_read_or_refused_whatever_stands_in_it(changes):
    try:
        order = mapping.read_order(decoded(book_line(**changes)))
    except BrokerError:
        return
    assert min(order.quantity, order.filled_quantity, order.remaining_quantity) >= 0 and order.broker_order_id


@given(json_values)
def test_no_payload_does_worse_than_an_unexpected_reply(payload):
    payload = decoded(payload)
    for read in (
        mapping.read_orders,
        mapping.read_fills,
        mapping.read_positions,
        mapping.read_funds,
        mapping.read_quotes,
        mapping.read_profile,
        mapping.read_market_open,
        lambda body: mapping.read_depth(body, "NSE:X-EQ"),
    ):
        try:
            read(payload)
        except BrokerError:
            continue


@given(json_values)
def test_no_file_does_worse_than_an_unexpected_reply(payload):
    for read, body in (
        (mapping.read_candles, {"s": "ok", "candles": payload}),
        (mapping.read_candles, {"s": "ok", "candles": [[1763610300, payload, 1, 1, 1, 1]]}),
        (mapping.read_symbol_master, {"NSE:X-EQ": payload}),
        (mapping.read_symbol_master, {"NSE:X-EQ": master_line(tickSize=payload, qtyFreeze=payload)}),
    ):
        try:
            read(reply(body))
        except BrokerError:
            continue


# -- orders, fills, positions --------------------------------------------------------------------------------------


def test_an_order_is_read_from_the_book():
    assert mapping.read_order(decoded(book_line())) == BookOrder(
        broker_order_id="25112000000017",
        client_order_id=TAG,
        symbol="NSE:SBIN-EQ",
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        product=Product.INTRADAY,
        quantity=10,
        filled_quantity=10,
        remaining_quantity=0,
        limit_price=Decimal("612.4"),
        trigger_price=None,
        average_price=Decimal("612.35"),
        status=BrokerStatus.FILLED,
        message="",
        updated_at=AT,
        source="ITS",
        raw_status="2",
    )


def test_the_socket_tells_the_same_order_under_other_names():
    heard = read_report(
        decoded({"s": "ok", "orders": socket_order(ordertag=f"1:{TAG}", ord_type=1, price_limit=612.4)})
    )
    assert heard == mapping.read_order(decoded(book_line()))


def test_the_public_status_is_believed_not_the_internal_one():
    printed = book_line(status=90)
    assert mapping.read_order(decoded(printed)).status is BrokerStatus.FILLED


@pytest.mark.parametrize(
    ("code", "status", "final"),
    [
        (1, BrokerStatus.CANCELLED, True),
        (2, BrokerStatus.FILLED, True),
        (4, BrokerStatus.TRANSIT, False),
        (5, BrokerStatus.REJECTED, True),
        (6, BrokerStatus.PENDING, False),
        (7, BrokerStatus.EXPIRED, True),
    ],
)
def test_every_status_has_its_word(code, status, final):
    order = mapping.read_order(decoded(book_line(status=code, orderNumStatus=f"25112000000017:{code}")))
    assert (order.status, order.status.is_final) == (status, final)


def test_an_unknown_status_is_not_guessed():
    with pytest.raises(UnexpectedReply):
        mapping.read_order(decoded(book_line(status=3, orderNumStatus="25112000000017:3")))


def test_a_fresh_order_on_the_socket_leaves_out_what_is_not_set():
    line = socket_order(org_ord_status=6, ord_status=20)
    for name in ("qty_filled", "price_traded", "price_limit", "id_exchange"):
        del line[name]
    line["qty_remaining"] = 10
    order = mapping.read_order(decoded(line))
    assert (order.filled_quantity, order.remaining_quantity, order.average_price) == (0, 10, None)


def test_a_cancelled_order_without_a_filled_quantity_is_not_taken_for_filled():
    line = socket_order(org_ord_status=1, qty_remaining=0)
    del line["qty_filled"]
    assert mapping.read_order(decoded(line)).filled_quantity == 0


@pytest.mark.parametrize(("tag", "ours"), [("1:demo", "demo"), ("2:Untagged", None), ("2:demo", None), ("", None)])
def test_only_a_tag_of_ours_is_ours(tag, ours):
    assert mapping.read_order(decoded(book_line(orderTag=tag))).client_order_id == ours


def test_a_product_the_desk_does_not_know_keeps_the_brokers_word():
    assert mapping.read_order(decoded(book_line(productType="BO"))).product == "BO"
    assert mapping.read_order(decoded(book_line(productType="CNC"))).product is Product.CNC


def test_a_fill_has_one_name_whether_the_book_or_the_socket_tells_it():
    from_book = mapping.read_fill(decoded(trade_line(orderTag="2:Untagged")))
    assert from_book == FillFact(
        broker_order_id="25112000000017",
        broker_trade_id="52605",
        symbol="NSE:SBIN-EQ",
        side=Side.BUY,
        quantity=10,
        price=Decimal("612.35"),
        filled_at=AT,
        client_order_id=None,
    )
    assert read_report(decoded({"s": "ok", "trades": socket_trade()})) == from_book


def test_a_fill_of_the_book_carries_our_tag():
    assert mapping.read_fill(decoded(trade_line())).client_order_id == TAG


@pytest.mark.parametrize("changes", [{"tradedQty": 0}, {"tradedQty": -1}, {"tradePrice": 0}, {"tradeNumber": " "}])
def test_a_fill_of_nothing_is_no_fill(changes):
    with pytest.raises(UnexpectedReply):
        mapping.read_fill(decoded(trade_line(**changes)))


def test_a_short_position_is_negative_and_its_profit_is_to_the_paisa():
    assert mapping.read_position(decoded(position_line())) == BrokerPosition(
        symbol="NSE:SBIN-EQ",
        product=Product.INTRADAY,
        net_quantity=-10,
        average_price=Decimal("612.35"),
        realised=Decimal("-0.05"),
        unrealised=Decimal("12.50"),
        last_price=Decimal("611.1"),
    )


def test_the_socket_says_nothing_of_alerts_and_passes_on_refusals():
    assert read_report({"s": "ok", "pricealerts": {}}) is None
    with pytest.raises(AuthError):
        read_report({"s": "error", "code": -16, "message": "no"})
    with pytest.raises(UnexpectedReply):
        read_report({"s": "ok", "orders": []})


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1)).map(lambda at: at.replace(microsecond=0)),
    st.sampled_from(["%d-%b-%Y %H:%M:%S", "%d-%m-%Y %H:%M:%S"]),
)
def test_indian_time_is_five_and_a_half_hours_ahead_in_both_forms(local, form):
    read = mapping.fields.local_time(local.strftime(form))
    assert read == (local - timedelta(hours=5, minutes=30)).replace(tzinfo=UTC)


# -- account and market --------------------------------------------------------------------------------------------


def funds(**amounts: object):
    titles = {1: "Total Balance", 2: "Utilized Amount", 4: "Realized Profit and Loss", 10: "Available Balance"}
    values = {1: 58.150000000000006, 2: 0.3, 4: -0.3, 10: 57.85}
    return [
        {"id": line, "title": titles[line], "equityAmount": value, "commodityAmount": 0}
        for line, value in values.items()
    ]


def test_funds_are_found_by_id_and_rounded_to_the_paisa():
    assert mapping.read_funds(decoded(funds())) == Funds(
        total=Decimal("58.15"), utilised=Decimal("0.30"), available=Decimal("57.85"), realised=Decimal("-0.30")
    )


def test_funds_without_an_available_balance_are_no_funds():
    with pytest.raises(UnexpectedReply):
        mapping.read_funds(decoded(funds()[:-1]))


def test_a_symbol_that_is_not_quoted_is_named():
    good = {"lp": 426.9, "bid": 426.85, "ask": 426.9, "volume": 10, "prev_close_price": 425.2, "tt": "1763610300"}
    sheet = mapping.read_quotes(
        decoded([{"n": "NSE:SBIN-EQ", "s": "ok", "v": good}, {"n": "NSE:NO-EQ", "s": "error", "v": {"errmsg": "x"}}])
    )
    (quote,) = sheet.quotes
    assert (quote.last_price, quote.open, quote.traded_at) == (
        Decimal("426.9"), None, datetime.fromtimestamp(1763610300, UTC),
    )  # fmt: skip
    assert sheet.refused == ["NSE:NO-EQ"]


def test_the_asks_stand_under_a_singular_name():
    book = {"bids": [{"price": 427.2, "volume": 5, "ord": 2}, {"price": 0, "volume": 0, "ord": 0}],
            "ask": [{"price": 427.4, "volume": 7, "ord": 1}], "ltp": 427.25, "lower_ckt": 382.7, "upper_ckt": 467.7,
            "totalbuyqty": 5, "totalsellqty": 7}  # fmt: skip
    depth = mapping.read_depth(decoded({"NSE:SBIN-EQ": book}), "NSE:SBIN-EQ")
    assert [(level.price, level.quantity) for level in depth.bids] == [(Decimal("427.2"), 5)]
    assert depth.asks[0].price == Decimal("427.4") and depth.lower_band == Decimal("382.7")


def test_a_candle_begins_when_it_is_stamped():
    candles = [[1763610300, 612.0, 612.9, 611.8, 612.4, 48211], [1763610360, 612.4, 612.6, 612.1, 612.2, 20155, 7]]
    bars = mapping.read_candles(reply({"s": "ok", "candles": candles})).bars
    assert bars[0] == Bar(
        started_at=datetime.fromtimestamp(1763610300, UTC),
        open=Decimal("612.0"),
        high=Decimal("612.9"),
        low=Decimal("611.8"),
        close=Decimal("612.4"),
        volume=48211,
    )
    assert len(bars) == 2


def test_no_bars_may_be_said_in_two_ways():
    assert mapping.read_candles(reply({"s": "ok", "candles": []})) == History()
    assert mapping.read_candles(reply({"s": "no_data"})) == History()


@pytest.mark.parametrize(
    "candles", [["x"], [5], [[1763610300, 1, 1, 1, 1]], [["x", 1, 1, 1, 1, 1]], {}, [[0] * 6] * 21]
)
def test_lines_of_which_none_is_a_candle_are_no_answer(candles):
    with pytest.raises(UnexpectedReply):
        mapping.read_candles(reply({"s": "ok", "candles": candles}))


@given(
    st.datetimes(datetime(2018, 1, 1), datetime(2026, 1, 1), timezones=st.just(UTC)),
    st.timedeltas(timedelta(0), timedelta(days=1200)),
    st.sampled_from(["1m", "5m", "60m", "1d"]),
)
def test_spans_cover_every_second_once_and_keep_to_the_limit(start, length, timeframe):
    end = start + length
    spans = mapping.spans(timeframe, start, end)
    limit = (366 if timeframe == "1d" else 100) * 86400
    assert all(0 <= last - first < limit for first, last in spans)
    assert all(later[0] == earlier[1] + 1 for earlier, later in pairwise(spans))
    if spans:
        assert start.timestamp() <= spans[0][0] < start.timestamp() + 1
        assert end.timestamp() - 1 <= spans[-1][1] < end.timestamp()
    else:
        assert length < timedelta(seconds=1)


def test_an_unknown_timeframe_and_a_naive_instant_are_mistakes_of_the_caller():
    with pytest.raises(ValueError):
        mapping.spans("7m", AT, AT)
    with pytest.raises(ValueError):
        mapping.spans("1m", datetime(2025, 1, 1), AT)


@pytest.mark.parametrize(("state", "is_open"), [("OPEN", True), ("CLOSED", False), ("PREOPEN", False)])
def test_the_cash_market_decides_whether_the_market_is_open(state, is_open):
    lines = [
        {"exchange": 11, "segment": 20, "market_type": "NORMAL", "status": "OPEN"},
        {"exchange": 10, "segment": 10, "market_type": "ODD_LOT", "status": "CLOSED"},
        {"exchange": 10, "segment": 10, "market_type": "NORMAL", "status": state},
    ]
    assert mapping.read_market_open(decoded(lines)) is is_open
    with pytest.raises(UnexpectedReply):
        mapping.read_market_open(decoded(lines[:2]))


def test_a_share_and_an_option_are_read_from_the_master():
    option = master_line(
        symTicker="NSE:NIFTY25NOV24500CE", fyToken="101125112541234", segment=11, exInstType=14, optType="CE",
        underSym="NIFTY", strikePrice=24500.0, expiryDate="1764064800", minLotSize=75, qtyFreeze="1800", isin="",
        upperPrice=0.0, lowerPrice=0.0,
    )  # fmt: skip
    share, call = mapping.read_symbol_master(
        reply({"NSE:SBIN-EQ": master_line(), "NSE:NIFTY25NOV24500CE": option, "NSE:OLD-EQ": master_line(tradeStatus=0)})
    )
    assert (share.segment, share.instrument_type, share.tick_size, share.lot_size) == ("CM", "EQ", Decimal("0.05"), 1)
    assert (share.lower_band, share.upper_band, share.freeze_quantity) == (Decimal("551.2"), Decimal("673.6"), None)
    assert (share.expiry, share.strike, share.option_type) == (None, None, None)
    assert (call.segment, call.instrument_type, call.option_type) == ("FO", "OPTIDX", "CE")
    assert (call.strike, call.expiry, call.freeze_quantity) == (Decimal("24500.0"), date(2025, 11, 25), 1800)
    assert (call.lower_band, call.underlying) == (None, "NIFTY")


def test_an_empty_master_is_not_a_market_without_instruments():
    with pytest.raises(UnexpectedReply):
        mapping.read_symbol_master(reply({}))
