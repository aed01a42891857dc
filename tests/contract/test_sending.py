"""An order and the wire: sent once, and three honest endings. Reads: patient, and never taken in."""

import gzip
import json
import logging
import threading
import time
from datetime import UTC, datetime

import pytest

from execution.brokers.errors import (
    AuthError,
    BrokerError,
    BusinessError,
    RateLimited,
    TransientError,
    UnexpectedReply,
    redact,
)
from execution.brokers.fyers.credentials import Credentials
from execution.brokers.fyers.endpoints import Endpoints
from execution.brokers.fyers.gateway import FyersGateway
from execution.brokers.http import HttpClient, Timeouts
from execution.brokers.port import Acknowledged, BrokerGateway, CallClass, Refused, Unknown
from tests.contract.samples import CREDENTIALS, TAG, TOKEN, book_line, master_line, request
from tests.contract.small_server import answer, free_port, hang_up, in_turn, serving

PLACED = json.dumps({"s": "ok", "code": 1101, "message": "Order submitted successfully.", "id": "25112000000017"})
BOOK = json.dumps({"s": "ok", "code": 200, "message": "", "orderBook": [book_line()]})


def gateway_at(url: str, **options) -> FyersGateway:
    return FyersGateway(endpoints=Endpoints.of(url), credentials=CREDENTIALS, **options)


@pytest.fixture
def at():
    """A gateway at an address, closed when the test ends."""
    opened = []

    def open_at(url, **options):
        opened.append(gateway_at(url, **options))
        return opened[-1]

    yield open_at
    for gateway in opened:
        gateway.close()


def test_the_gateway_fills_the_port(at):
    assert isinstance(at("http://127.0.0.1:1"), BrokerGateway)


# -- placing -------------------------------------------------------------------------------------------------------


def test_an_order_goes_out_once_with_its_tag_and_our_name(at):
    with serving(answer(PLACED)) as server:
        assert at(server.url).place(request()) == Acknowledged("25112000000017", "Order submitted successfully.")
    (sent,) = server.requests
    head, _, body = sent.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /api/v3/orders/sync HTTP/1.1")
    assert f"authorization: {CREDENTIALS.header}".encode() in head.replace(b"Authorization", b"authorization")
    assert b"version: 3" in head
    assert json.loads(body)["orderTag"] == TAG


def test_fault_37_where_nobody_listens_nothing_was_sent(at):
    result = at(f"http://127.0.0.1:{free_port()}").place(request())
    assert isinstance(result, Refused) and result.code == "NOT_SENT"


def test_a_line_that_breaks_after_sending_leaves_doubt(at):
    with serving(hang_up) as server:
        assert isinstance(at(server.url).place(request()), Unknown)
    assert len(server.requests) == 1, "a placement is never sent twice"


def test_fault_17_half_an_answer_leaves_doubt(at):
    def stammer(line, _request):
        line.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n" + PLACED.encode())
        hang_up(line, _request)

    with serving(stammer) as server:
        assert isinstance(at(server.url).place(request()), Unknown)
    assert len(server.requests) == 1


def test_an_answer_that_is_no_http_leaves_doubt(at):
    with serving(lambda line, _request: line.sendall(b"\x00\x01garbage\r\n\r\n")) as server:
        assert isinstance(at(server.url).place(request()), Unknown)


def test_an_unusual_status_leaves_doubt_and_is_not_asked_again(at):
    with serving(answer("<html>Bad Gateway</html>", status=502)) as server:
        assert isinstance(at(server.url).place(request()), Unknown)
    assert len(server.requests) == 1


def test_a_redirect_is_not_followed_with_an_order(at):
    with serving(answer("", status=307, headers="location: /elsewhere\r\n")) as server:
        assert isinstance(at(server.url).place(request()), Unknown)
    assert len(server.requests) == 1


def test_silence_after_sending_leaves_doubt_once_the_time_is_up():
    def say_nothing(_line, _request):
        return

    client = HttpClient(timeouts=Timeouts(read=0.2))
    with serving(say_nothing) as server:
        began = time.monotonic()
        with pytest.raises(BrokerError) as error:
            client.send_once("POST", f"{server.url}/x", b"{}", klass=CallClass.ORDER)
        assert error.value.code == "SENT_BUT_UNANSWERED"
        assert time.monotonic() - began < 2
    client.close()


def test_a_drip_of_bytes_cannot_hold_us_for_ever():
    def drip(line, _request):
        line.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        for _ in range(100):
            line.sendall(b" ")
            time.sleep(0.02)

    client = HttpClient(timeouts=Timeouts(read=1.0, total=0.3))
    with serving(drip) as server:
        began = time.monotonic()
        with pytest.raises(BrokerError) as error:
            client.send_once("POST", f"{server.url}/x", b"{}", klass=CallClass.ORDER)
        assert error.value.code == "SENT_BUT_UNANSWERED"
        assert time.monotonic() - began < 1
    client.close()


def test_an_order_without_a_tag_never_leaves(at):
    with serving(answer(PLACED)) as server:
        result = at(server.url).place(request(client_order_id="no good"))
    assert isinstance(result, Refused) and result.code == "INVALID_REQUEST"
    assert server.requests == []


def test_a_change_and_a_cancel_know_doubt_too(at):
    with serving(hang_up) as server:
        gateway = at(server.url)
        assert isinstance(gateway.cancel("17"), Unknown)
        assert isinstance(gateway.modify("17", order_type=request().order_type, quantity=5), Unknown)
    assert [sent.split()[0] for sent in server.requests] == [b"DELETE", b"PATCH"]


def test_a_change_need_not_repeat_its_order(at):
    with serving(answer('{"s":"ok","code":1102,"message":"Successfully modified order"}')) as server:
        changed = at(server.url).modify("17", order_type=request().order_type, quantity=5)
    assert changed == Acknowledged("17", "Successfully modified order")


def test_a_line_closed_while_it_was_idle_costs_no_order(at):
    has_left = threading.Semaphore(0)

    def answer_and_leave(line, sent):
        answer(PLACED)(line, sent)
        hang_up(line, sent)
        has_left.release()

    with serving(answer_and_leave) as server:
        gateway = at(server.url)
        for _ in range(5):
            assert isinstance(gateway.place(request()), Acknowledged)
            assert has_left.acquire(timeout=30)
    assert len(server.requests) == len(server.lines) == 5


def test_a_line_is_kept_for_whoever_asks_next(at):
    with serving(in_turn(answer(PLACED), answer(BOOK), answer(PLACED, headers="connection: close\r\n"))) as server:
        gateway = at(server.url)
        gateway.place(request())
        gateway.orders()
        gateway.place(request())
        assert len(server.lines) == 1
        gateway.place(request())
    assert len(server.requests) == 4 and len(server.lines) == 2, "a server that closes has said so"


def test_our_own_bucket_may_refuse_before_anything_is_sent(at):
    def full(klass):
        raise RateLimited("the bucket is empty", retry_after=0.5)

    with serving(answer(PLACED)) as server:
        result = at(server.url, before_call=full).place(request())
    assert isinstance(result, Refused) and result.code == "RATE_LIMITED"
    assert server.requests == []


def test_every_call_says_what_it_is_for(at):
    heard = []
    with serving(in_turn(answer(PLACED), answer(PLACED), answer(PLACED), answer(BOOK))) as server:
        gateway = at(server.url, before_call=heard.append)
        gateway.place(request())
        gateway.place(request(), klass=CallClass.EXIT)
        gateway.cancel("17")
        gateway.orders()
    assert heard == ["order", "exit", "cancel", "read"]


def test_a_warm_placement_costs_us_little(at):
    """Our own share is about 0.3 ms here; the bound leaves room for a busy machine."""
    with serving(answer(PLACED)) as server:
        gateway = at(server.url)
        spent = []
        for _ in range(200):
            began = time.perf_counter()
            assert isinstance(gateway.place(request()), Acknowledged)
            spent.append(time.perf_counter() - began)
    assert sorted(spent)[len(spent) // 2] < 0.005


# -- several at once -----------------------------------------------------------------------------------------------


def several(count: int) -> list:
    return [request(client_order_id=f"{TAG[:-1]}{number}") for number in range(count)]


def tag_in(sent: bytes) -> str:
    return json.loads(sent.partition(b"\r\n\r\n")[2])["orderTag"]


def test_orders_are_on_the_wire_side_by_side_before_one_is_answered(at):
    all_here = threading.Barrier(3)

    def say(line, sent):
        all_here.wait(20)
        answer(json.dumps({"s": "ok", "code": 1101, "message": "", "id": f"N{tag_in(sent)}"}))(line, sent)

    with serving(say) as server:
        told = [one for some in at(server.url).place_together(several(3)) for one in some]
    assert dict(told) == {place: Acknowledged(f"N{one.client_order_id}", "") for place, one in enumerate(several(3))}
    assert len(server.requests) == 3


def test_what_is_odd_about_one_of_several_is_of_that_one(at):
    odd = {0: hang_up, 2: answer("<html>", status=502), 3: lambda line, _: line.sendall(b"garbage\r\n\r\n")}
    asked = [*several(5), request(client_order_id="no good")]

    def say(line, sent):
        odd.get(int(tag_in(sent)[-1]), answer(PLACED))(line, sent)

    heard = []

    def bucket(klass):
        heard.append(klass)
        if len(heard) == 5:
            raise RateLimited("the bucket is empty", retry_after=0.5)

    with serving(say) as server:
        told = dict(one for some in at(server.url, before_call=bucket).place_together(asked) for one in some)
    assert [type(told[place]) for place in range(6)] == [Unknown, Acknowledged, Unknown, Unknown, Refused, Refused]
    assert told[4].code == "RATE_LIMITED" and told[5].code == "INVALID_REQUEST"
    assert len(server.requests) == 4, "none is sent twice"


def test_nobody_waits_for_the_answer_to_another(at):
    go_on = threading.Event()

    def say(line, sent):
        if tag_in(sent).endswith("1"):
            assert go_on.wait(20)
        answer(PLACED)(line, sent)

    with serving(say) as server:
        told = iter(at(server.url).place_together(several(3)))
        first = {place for place, _ in next(told)}
        while len(first) < 2:
            first |= {place for place, _ in next(told)}
        go_on.set()
        assert first == {0, 2} and [place for some in told for place, _ in some] == [1]


def test_where_nobody_listens_one_look_is_enough_for_all(at):
    told = [one for some in at(f"http://127.0.0.1:{free_port()}").place_together(several(4)) for one in some]
    assert [result.code for _, result in sorted(told)] == ["NOT_SENT"] * 4


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b"
        % (len(PLACED), PLACED.encode()),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(PLACED), PLACED.encode()),
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\ncontent-length: %d\r\n\r\n%b"
        % (len(gzip.compress(PLACED.encode())), gzip.compress(PLACED.encode())),
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + PLACED.encode(),
    ],
)
def test_an_answer_is_read_however_it_is_wrapped(at, raw):
    def say(line, sent):
        for byte in range(0, len(raw), 7):  # in whatever pieces
            line.sendall(raw[byte : byte + 7])
        if b"Connection: close" in raw:
            hang_up(line, sent)

    with serving(say) as server:
        gateway = at(server.url)
        assert isinstance(gateway.place(request()), Acknowledged)
        assert isinstance(gateway.place(request()), Acknowledged), "and the line, or another, is good for the next"


# -- reading -------------------------------------------------------------------------------------------------------


def test_a_read_is_repeated_while_the_trouble_looks_passing(at):
    with serving(in_turn(hang_up, answer("busy", status=503), answer(BOOK))) as server:
        (order,) = at(server.url).orders()
    assert order.client_order_id == TAG
    assert len(server.requests) == 3


def test_a_read_gives_up_with_an_error_and_not_with_an_empty_list(at):
    with serving(answer("busy", status=503)) as server:
        with pytest.raises(TransientError):
            at(server.url).orders()
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ('{"s":"error","code":-16,"message":"Could not authenticate the user"}', 401, AuthError),
        ('{"s":"error","code":-429,"message":"slow down"}', 429, RateLimited),
        ('{"s":"error","code":-50,"message":"invalid"}', 400, BusinessError),
        ('{"s":"ok"}', 200, UnexpectedReply),
        ("<html>", 200, UnexpectedReply),
    ],
)
def test_what_will_not_pass_by_itself_is_asked_once(at, body, status, error):
    with serving(answer(body, status=status)) as server:
        gateway = at(server.url)
        for read in (gateway.orders, gateway.trades, gateway.positions, gateway.funds, gateway.profile):
            with pytest.raises(error):
                read()
    assert len(server.requests) == 5


def test_a_venue_that_quotes_nothing_we_asked_for_is_an_error(at):
    with serving(answer('{"s":"ok","d":[]}')) as server:
        gateway = at(server.url)
        assert gateway.quotes([]) == []
        with pytest.raises(BusinessError):
            gateway.quotes(["NSE:NO-EQ"])


def test_many_quotes_are_asked_for_in_pieces_of_fifty(at):
    good = {"n": "NSE:A&B-EQ", "s": "ok", "v": {"lp": 1.5}}
    with serving(answer(json.dumps({"s": "ok", "d": [good]}))) as server:
        at(server.url).quotes(f"NSE:S{n}&T-EQ" for n in range(120))
    assert [sent.split(b" HTTP")[0].count(b"%2C") + 1 for sent in server.requests] == [50, 50, 20]
    assert b"%26" in server.requests[0]


def test_a_long_history_is_asked_for_in_pieces_and_comes_back_as_one(at):
    def tell(line, sent):
        query = dict(pair.split("=") for pair in sent.split(b" ")[1].decode().partition("?")[2].split("&"))
        first, last = int(query["range_from"]), int(query["range_to"])
        candles = [[last - 59, 1, 1, 1, 1, 7], [first, 1, 2, 1, 1, 5]]
        answer(json.dumps({"s": "ok", "candles": candles}))(line, sent)

    start, end = datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 9, 1, tzinfo=UTC)
    with serving(tell) as server:
        bars = at(server.url).history("NSE:SBIN-EQ", timeframe="1m", start=start, end=end).bars
    assert len(server.requests) == 3 and len(bars) == 6
    assert [bar.started_at for bar in bars] == sorted(bar.started_at for bar in bars)
    assert bars[0].started_at == start and bars[-1].started_at < end


# -- secrets -------------------------------------------------------------------------------------------------------


def test_no_error_log_or_repr_shows_what_opens_the_account(at, caplog):
    caplog.set_level(logging.DEBUG)
    echo = json.dumps({"s": "error", "code": -99, "message": f"bad header {CREDENTIALS.header} access_token={TOKEN}"})
    told: list[object] = [CREDENTIALS]
    with serving(in_turn(hang_up, answer(echo, status=400))) as server:
        gateway = at(server.url)
        told += [gateway, gateway._http, gateway.place(request()), gateway.place(request())]
        for read in (gateway.orders, gateway.funds):
            with pytest.raises(BrokerError) as error:
                read()
            seen: BaseException | None = error.value
            while seen is not None:
                told.append(seen)
                seen = seen.__cause__ or seen.__context__
    away = at(f"http://127.0.0.1:{free_port()}")
    for fail in (
        away.orders,
        lambda: away._http.send_once("POST", away.endpoints.orders, b"{}", klass=CallClass.ORDER),
    ):
        with pytest.raises(TransientError) as unsent:
            fail()
        told += [unsent.value, unsent.value.__cause__, unsent.value.__context__]
    odd = FyersGateway(endpoints=Endpoints.of(server.url), credentials=Credentials("APP", "secret\r\nbreak"))
    told.append(odd.place(request()))
    odd.close()
    text = " ".join(f"{thing} {thing!r}" for thing in told) + caplog.text
    signature = TOKEN.rsplit(".", 1)[1]
    for secret in (TOKEN, signature, "secret\r\n", "secret\\r\\n"):
        assert secret not in text


def test_a_text_is_scrubbed_of_tokens_and_codes():
    for text in (TOKEN, f"auth_code={TOKEN}&x", "Authorization: APP-100:abcdef", '"refresh_token": "abcdef"'):
        assert "abcdef" not in redact(text) and TOKEN not in redact(text)
    assert redact("RED:Margin Shortfall:INR 1,234.50") == "RED:Margin Shortfall:INR 1,234.50"


def test_the_instrument_files_are_fetched_without_showing_a_token(at):
    with serving(answer(json.dumps({"NSE:SBIN-EQ": master_line()}))) as server:
        (listed,) = at(server.url).instruments()
    assert listed.symbol == "NSE:SBIN-EQ"
    assert b"authorization" not in server.requests[0].lower()
