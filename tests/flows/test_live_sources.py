"""Prices keep coming when the stream does not: over a real exchange's own sockets and quotes, with its own clock."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.utils import timezone

from execution.brokers.control import SandboxControl
from execution.brokers.fyers.credentials import Credentials
from execution.brokers.fyers.endpoints import Endpoints
from execution.brokers.fyers.gateway import FyersGateway
from execution.brokers.fyers.login import App, sign_in_sandbox
from execution.brokers.fyers.price_socket import PriceSocket
from execution.brokers.socket_loop import Pace
from execution.engine.live_sources import LiveSources
from execution.engine.market import Market
from tests.factories import BrokerAccountFactory, FeedFactory
from trading.marketdata import clocks
from trading.marketdata.live import Limits, SourceKind, SourceSwitch
from trading.marketdata.quality.trust import sources_state
from trading.monitoring.models import Alert

pytestmark = pytest.mark.django_db(transaction=True)
APP = App("SANDBOX001-100", "sandbox-secret", "http://127.0.0.1:8000/cb")
SYMBOLS = ["NSE:SBIN-EQ", "NSE:RELIANCE-EQ", "NSE:NIFTY50-INDEX"]
QUICK = Pace(open_timeout=3.0, ping_every=1.0, silence=3.0, first_delay=0.05, longest_delay=0.3)
LIMITS = Limits(
    silent_s={SourceKind.STREAM: 1.5, SourceKind.POLL: 20.0, SourceKind.SECOND: 20.0}, return_s=1.0
)  # a minute of silence, in the time of a test


class Scene:
    """One account's prices, live: the socket in its thread, and `look` by hand."""

    def __init__(self, base_url: str) -> None:
        endpoints = Endpoints.of(base_url)
        tokens = sign_in_sandbox(endpoints=endpoints, app=APP)
        credentials = Credentials(APP.app_id, tokens.access_token)
        self.control = SandboxControl(control_url=f"{base_url}/sandbox")
        self.account = BrokerAccountFactory(feed="SANDBOX")
        self.feed = FeedFactory(name="SANDBOX")
        self.gateway = FyersGateway(endpoints=endpoints, credentials=credentials)
        self.market = Market(self.feed, on_guard=lambda *_: None)
        self.state: list[str] = []
        self.socket = PriceSocket(
            endpoints=endpoints, credentials=credentials, on_ticks=self.market.hear,
            on_state=lambda state, cause: self.state.append(state), symbols=SYMBOLS, pace=QUICK,
        )  # fmt: skip
        self.sources = LiveSources(
            account=self.account, feed=self.feed, market=self.market, gateway=self.gateway, stream=self.socket,
            symbols=SYMBOLS, now=self.now, is_connected=lambda: bool(self.state) and self.state[-1] == "connected",
            switch=SourceSwitch(time.time(), limits=LIMITS),
        )  # fmt: skip

    def now(self):
        return clocks.venue_now("SANDBOX")

    def follow_the_clock(self) -> None:
        reading = self.control.clock()
        clocks.anchor(
            self.feed, wall=timezone.now(), venue=reading.venue, speed=reading.speed, phase=reading.phase,
            session_date=reading.session_date,
        )  # fmt: skip

    def look_until(self, truth, within_s: float = 20.0):
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            self.sources.look()
            if found := truth():
                return found
            time.sleep(0.1)
        raise AssertionError(f"it did not happen: {self.sources.switch.as_dict()}")


@contextmanager
def scene(base_url: str) -> Iterator[Scene]:
    one = Scene(base_url)
    one.follow_the_clock()
    stop = threading.Event()
    thread = threading.Thread(target=one.socket.run, args=(stop,), daemon=True)
    thread.start()
    try:
        yield one
    finally:
        stop.set()
        thread.join(5)
        one.sources.close()
        one.gateway.close()
        one.control.close()


def active(one: Scene) -> SourceKind:
    return one.sources.switch.active


def test_an_open_socket_without_ticks_is_found_out_and_quotes_are_asked_for_until_it_is_good_again(
    valkey, start_sandbox
):
    sandbox = start_sandbox("--seed", "7", "--speed", "5", "--start", "2026-11-20T11:00", "--no-rate-limit")
    with scene(sandbox.base_url) as one:
        one.look_until(lambda: len(one.market.quotes()) == len(SYMBOLS))
        one.look_until(lambda: active(one) is SourceKind.STREAM)
        one.look_until(lambda: {quote.source for quote in one.market.quotes().values()} == {"STREAM"})
        sandbox.ask("/sandbox/faults", kind="silence", seconds=600)
        lost = one.state.count("disconnected")
        one.look_until(lambda: active(one) is SourceKind.POLL)
        one.look_until(lambda: one.market.quotes()["NSE:SBIN-EQ"].source == "POLL")
        one.look_until(lambda: one.state.count("disconnected") > lost)  # it was started over, and is silent still
        assert one.market.quotes()["NSE:SBIN-EQ"].age_s < 10
        told = sources_state(one.account.pk)
        assert (told.active, told.phase, told.feed) == ("POLL", "CONTINUOUS", "SANDBOX")
        assert "brought no price" in told.why
        assert Alert.objects.get(code="PRICE_SOURCE").owner_id == one.account.owner_id
        one.control.good_day()
        one.look_until(lambda: active(one) is SourceKind.STREAM)
        one.look_until(lambda: one.market.quotes()["NSE:SBIN-EQ"].source == "STREAM")
        assert Alert.objects.get(code="PRICE_SOURCE").acknowledged_at is not None


def test_when_nobody_answers_the_last_prices_stand_marked_and_grow_old(valkey, start_sandbox):
    sandbox = start_sandbox("--seed", "7", "--speed", "5", "--start", "2026-11-20T11:00", "--no-rate-limit")
    with scene(sandbox.base_url) as one:
        one.look_until(lambda: len(one.market.quotes()) == len(SYMBOLS))
        sandbox.stop()
        one.look_until(lambda: active(one) is SourceKind.CANDLE, within_s=40)
        one.look_until(lambda: one.market.quotes()["NSE:SBIN-EQ"].is_stale)
        one.look_until(lambda: one.market.quotes()["NSE:SBIN-EQ"].age_s > 2.0)  # asked again and again, it stays old
        assert sources_state(one.account.pk).sources["SECOND"]["why"].startswith("NO_SECOND_BROKER")


def test_before_the_open_the_quote_api_brings_the_indicative_price(valkey, start_sandbox):
    sandbox = start_sandbox("--seed", "7", "--speed", "1", "--start", "2026-11-20T09:05", "--no-rate-limit")
    with scene(sandbox.base_url) as one:
        one.look_until(lambda: any(quote.indicative for quote in one.market.quotes().values()))
        assert sources_state(one.account.pk).phase == "PREOPEN"
        assert active(one) is SourceKind.STREAM  # silence before the bell is no failure


def test_candles_made_of_the_stream_are_those_of_the_exchanges_history(valkey, start_sandbox):
    sandbox = start_sandbox("--seed", "7", "--stepped", "--start", "2026-11-20T10:59", "--no-rate-limit")
    with scene(sandbox.base_url) as one:
        end = time.monotonic() + 10
        while "connected" not in one.state and time.monotonic() < end:
            time.sleep(0.02)
        made = {}
        for _ in range(26):  # a quarter of a minute each
            venue = one.control.clock().venue
            said = one.control.step(until=venue + timedelta(seconds=15))
            end = time.monotonic() + 10
            while one.socket.heard < said.price_frames and time.monotonic() < end:
                time.sleep(0.005)
            for bar in one.market.closed_bars(said.venue):
                made[bar.symbol, bar.started_at] = bar
        whole = {key: bar for key, bar in made.items() if bar.is_whole}
        checked = 0
        for symbol in SYMBOLS[:2]:
            mine = {at: bar for (name, at), bar in whole.items() if name == symbol}
            first, last = min(mine), max(mine)
            history = one.gateway.history(symbol, timeframe="1m", start=first, end=last + timedelta(minutes=1)).bars
            for bar in history:
                if bar.started_at in mine:
                    own = mine[bar.started_at]
                    assert (own.open, own.high, own.low, own.close, own.volume) == (
                        bar.open, bar.high, bar.low, bar.close, bar.volume,
                    )  # fmt: skip
                    checked += 1
        assert checked >= 6
