"""Sockets on bad days: a venue that shuts the door, falls silent, speaks nonsense, or goes away."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from websockets.sync.server import ServerConnection, serve

from execution.brokers.fyers.endpoints import Endpoints
from execution.brokers.fyers.order_socket import OrderSocket
from execution.brokers.fyers.price_frames import Feed, Snapshot
from execution.brokers.fyers.price_socket import PriceSocket
from execution.brokers.port import Tick
from execution.brokers.socket_loop import Pace
from tests.contract.conftest import Heard, running, until
from tests.contract.frame_writer import answer_frame, feed_frame
from tests.contract.samples import CREDENTIALS, TOKEN, socket_order, socket_trade
from tests.contract.small_server import answer, serving

PACE = Pace(open_timeout=2.0, ping_every=0.2, silence=None, first_delay=0.02, longest_delay=0.2)
SUBSCRIBED = '{"code":1605,"message":"Successfully subscribed","s":"ok"}'


@contextmanager
def venue(
    talk: Callable[[ServerConnection], None], *, refuse: int | None = None, rest: str = "http://127.0.0.1:1"
) -> Iterator[Endpoints]:
    """A websocket server that does this with each connection; REST, where needed, is somebody else's."""

    def door(connection, request):
        return connection.respond(refuse, "no") if refuse else None

    quiet = logging.getLogger("tests.venue")
    quiet.setLevel(logging.CRITICAL)
    with serve(talk, "127.0.0.1", 0, process_request=door, logger=quiet, ping_interval=None) as server:
        port = server.socket.getsockname()[1]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        here, there = Endpoints.of(f"http://127.0.0.1:{port}"), Endpoints.of(rest)
        try:
            yield Endpoints(
                there.api, there.data, there.public, here.order_socket, here.price_socket, idle_s=there.idle_s
            )
        finally:
            server.shutdown()
            thread.join(5)


def order_socket(endpoints: Endpoints, heard: Heard, pace: Pace = PACE, **changes) -> OrderSocket:
    values = {
        "on_order": heard.orders.append,
        "on_fill": heard.fills.append,
        "on_position": heard.positions.append,
        "on_state": heard.state,
    }
    return OrderSocket(endpoints=endpoints, credentials=CREDENTIALS, pace=pace, **{**values, **changes})


def hear_greeting(connection: ServerConnection) -> None:
    """The ping and the subscription that an order socket begins with."""
    assert [connection.recv(timeout=2), json.loads(connection.recv(timeout=2))["T"]] == ["ping", "SUB_ORD"]


def frame(**said: object) -> str:
    return json.dumps({"s": "ok", **said})


# -- orders --------------------------------------------------------------------------------------------------------


def test_a_frame_that_cannot_be_read_sends_us_back_to_the_books():
    def talk(connection):
        hear_greeting(connection)
        connection.send(SUBSCRIBED)
        connection.send(frame(orders=socket_order()))
        connection.send(frame(orders={"id": "17"}))
        for _ in connection:
            continue

    heard = Heard()
    with venue(talk) as endpoints, running(order_socket(endpoints, heard)):
        until(lambda: heard.count("connected") >= 2 and heard.count("disconnected") >= 1)
    assert len(heard.orders) >= 1
    assert "UNEXPECTED_REPLY" in heard.states[1][1]


@pytest.mark.parametrize("nonsense", ["{", "[]", b"\x00\xff", '{"s":"ok","trades":5}'])
def test_nonsense_ends_the_connection_and_not_the_socket(nonsense):
    calls = []

    def talk(connection):
        calls.append(1)
        hear_greeting(connection)
        if len(calls) == 1:
            connection.send(nonsense)
        else:
            connection.send(SUBSCRIBED)
            connection.send(frame(trades=socket_trade()))
        for _ in connection:
            continue

    heard = Heard()
    with venue(talk) as endpoints, running(order_socket(endpoints, heard)):
        until(lambda: heard.fills)
    assert heard.states[0][0] == "disconnected" and "UNEXPECTED_REPLY" in heard.states[0][1]


def test_a_closed_door_is_reported_as_a_matter_of_access():
    heard = Heard()
    with venue(lambda connection: None, refuse=403) as endpoints, running(order_socket(endpoints, heard)):
        until(lambda: heard.count("disconnected") >= 2)
    assert heard.count("connected") == 0
    assert heard.states[0][1].startswith("AUTH")


def test_a_venue_that_is_away_is_tried_again_ever_less_often():
    heard, at = Heard(), []

    def note(state: str, cause: str) -> None:
        at.append(time.monotonic())
        heard.state(state, cause)

    socket = order_socket(Endpoints.of("http://127.0.0.1:1"), heard, on_state=note)
    with running(socket):
        until(lambda: len(at) >= 7)
    assert {cause for _, cause in heard.states[:7]} == {"ConnectionRefusedError"}
    assert at[1] - at[0] < 0.05
    assert 0.1 < at[6] - at[5] < 0.4


def test_fault_38_silence_is_noticed_where_answers_are_due():
    def say_nothing(connection):
        connection.send(SUBSCRIBED)
        for _ in connection:
            continue

    heard = Heard()
    pace = Pace(ping_every=0.1, silence=0.4, first_delay=0.02, longest_delay=0.1)
    with venue(say_nothing) as endpoints, running(order_socket(endpoints, heard, pace)):
        until(lambda: heard.count("connected") >= 2)
    assert heard.states[1][1].startswith("SILENT")


def test_pongs_keep_a_quiet_line_alive():
    def ponging(connection):
        for said in connection:
            connection.send("pong" if said == "ping" else SUBSCRIBED)

    heard = Heard()
    pace = Pace(ping_every=0.1, silence=0.5, first_delay=0.02, longest_delay=0.1)
    with venue(ponging) as endpoints, running(order_socket(endpoints, heard, pace)):
        until(lambda: heard.count("connected"))
        time.sleep(1.2)
    assert heard.states == [("connected", ""), ("disconnected", "stopped")]


def test_a_listener_that_fails_is_heard_of_and_not_swallowed():
    def talk(connection):
        hear_greeting(connection)
        connection.send(SUBSCRIBED)
        connection.send(frame(orders=socket_order()))
        for _ in connection:
            continue

    def fail(_order):
        raise ConnectionError("our own trouble, not the venue's")

    heard = Heard()
    with venue(talk) as endpoints:
        with pytest.raises(ConnectionError, match="our own trouble"):
            order_socket(endpoints, heard, on_order=fail).run(threading.Event())
    assert heard.states[-1] == ("disconnected", "a listener failed")


def test_no_log_shows_the_token_of_a_handshake(caplog):
    caplog.set_level(logging.DEBUG)
    shown = []

    def talk(connection):
        shown.append(connection.request.headers["authorization"])
        hear_greeting(connection)
        connection.send(SUBSCRIBED)
        for _ in connection:
            continue

    heard = Heard()
    with venue(talk) as endpoints, running(order_socket(endpoints, heard)):
        until(lambda: heard.count("connected"))
    with venue(lambda connection: None, refuse=403) as endpoints, running(order_socket(endpoints, heard)):
        until(lambda: heard.count("disconnected") >= 2)
    assert shown[0] == CREDENTIALS.header
    assert TOKEN not in caplog.text and TOKEN not in str(heard.states)


# -- prices --------------------------------------------------------------------------------------------------------

TOKENS = json.dumps({"s": "ok", "code": 200, "validSymbol": {"NSE:SBIN-EQ": "10100000003045"}, "invalidSymbol": []})
SNAPSHOT = Snapshot(b"\x07\x00", "sf|nse_cm|3045", (61240, 100, 1763610300), 1, 2, "NSE", "3045", "SBIN-EQ")


def price_socket(endpoints: Endpoints, heard: Heard, **changes) -> PriceSocket:
    values = {"on_ticks": heard.frames.append, "on_state": heard.state, "symbols": ["NSE:SBIN-EQ"], "pace": PACE}
    return PriceSocket(endpoints=endpoints, credentials=CREDENTIALS, **{**values, **changes})


def test_every_nth_frame_is_acknowledged_by_its_number():
    said: list[bytes] = []

    def talk(connection):
        connection.send(answer_frame(1, {1: b"K", 2: (3).to_bytes(4, "big")}))
        for number in range(10, 17):
            connection.send(feed_frame(Feed(number, (SNAPSHOT,))))
        for message in connection:
            said.append(message)

    heard = Heard()
    with serving(answer(TOKENS)) as rest, venue(talk, rest=rest.url) as endpoints:
        with running(price_socket(endpoints, heard)):
            until(lambda: len(heard.frames) == 7)
            until(lambda: len([message for message in said if message[2] == 3]) == 2)
    acknowledged = [int.from_bytes(message[-4:], "big") for message in said if message[2] == 3]
    assert acknowledged == [12, 15]
    assert [message[2] for message in said][:3] == [11, 1, 12], "a ping, who we are, and how much we want"
    assert b"ab" * 28 in said[1] and TOKEN.encode() not in b"".join(said)
    assert any(message[2] == 4 and b"\x0esf|nse_cm|3045" in message for message in said)
    assert isinstance(heard.frames[0][0], Tick)
    assert f"authorization: {TOKEN}\r\n".encode() in rest.requests[0] + b"\r\n", "the bare token resolves symbols"


def test_a_price_socket_that_is_not_let_in_says_so():
    def talk(connection):
        connection.send(answer_frame(1, {1: b"X", 2: bytes(4)}))
        for _ in connection:
            continue

    heard = Heard()
    with venue(talk) as endpoints, running(price_socket(endpoints, heard)):
        until(lambda: heard.count("disconnected"))
    assert heard.count("connected") == 0 and heard.states[0][1].startswith("AUTH")


def test_symbols_that_cannot_be_resolved_now_are_tried_again():
    def talk(connection):
        connection.send(answer_frame(1, {1: b"K", 2: bytes(4)}))
        for message in connection:
            if message[2] == 4:
                connection.send(feed_frame(Feed(1, (SNAPSHOT,))))

    heard = Heard()
    with venue(talk) as alone, running(price_socket(alone, heard)):
        until(lambda: heard.count("disconnected") >= 2)
    assert heard.count("connected") == 0 and "NOT_SENT" in heard.states[0][1]


@pytest.mark.parametrize("nonsense", [b"\x00", "text", b"\0\0\x06\0\0\0\1\0\1Z", feed_frame(Feed(1, (SNAPSHOT,)))[:-3]])
def test_a_price_frame_that_makes_no_sense_starts_afresh(nonsense):
    calls = []

    def talk(connection):
        calls.append(1)
        connection.send(answer_frame(1, {1: b"K", 2: bytes(4)}))
        connection.send(nonsense if len(calls) == 1 else feed_frame(Feed(1, (SNAPSHOT,))))
        for _ in connection:
            continue

    heard = Heard()
    with serving(answer(TOKENS)) as rest, venue(talk, rest=rest.url) as endpoints:
        with running(price_socket(endpoints, heard)):
            until(lambda: heard.frames)
    assert [state for state, _ in heard.states[:3]] == ["connected", "disconnected", "connected"]


def test_too_many_symbols_are_a_mistake_of_the_caller():
    with pytest.raises(ValueError):
        price_socket(Endpoints.of("http://127.0.0.1:1"), Heard(), symbols=[f"NSE:S{n}-EQ" for n in range(5001)])
