"""Venues for the contract suite: a sandbox of its own for the run, and an account at it for each adapter."""

import json
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

from accounts.secrets import seal
from execution.brokers.control import SandboxControl
from execution.brokers.dialect import Hearers
from execution.brokers.fyers.credentials import Credentials
from execution.brokers.fyers.endpoints import Endpoints
from execution.brokers.fyers.gateway import FyersGateway
from execution.brokers.fyers.login import App, sign_in_sandbox
from execution.brokers.fyers.order_socket import OrderSocket
from execution.brokers.fyers.price_socket import PriceSocket
from execution.brokers.kite import credentials as kite_credentials
from execution.brokers.kite import endpoints as kite_endpoints
from execution.brokers.kite import login as kite_login
from execution.brokers.kite.gateway import KiteGateway
from execution.brokers.kite.order_socket import KiteOrderSocket
from execution.brokers.kite.price_socket import KitePriceSocket
from execution.brokers.port import BookOrder, BrokerGateway, BrokerPosition, Tick
from execution.brokers.registry import order_socket_of, paper_gateway_of, price_socket_of, sign_in
from execution.brokers.socket_loop import Pace
from tests.factories import BrokerAccountFactory
from tests.factories.market import FeedFactory
from tests.factories.people import paper_account_on
from trading.domain.fills import FillFact
from trading.marketdata.listing.instruments import Origin, refresh_instruments

ROOT = Path(__file__).resolve().parents[2]
SANDBOX_APP = App("SANDBOX001-100", "sandbox-secret", "http://127.0.0.1:8000/cb")
QUICK = Pace(open_timeout=3.0, ping_every=1.0, silence=5.0, first_delay=0.05, longest_delay=0.5)


@contextmanager
def sandbox(state_dir: Path, *options: str) -> Iterator[str]:
    """A sandbox process of our own on a free port; yields its address and ends it by its id."""
    command = [sys.executable, "-m", "execution.sandbox", "--host", "127.0.0.1", "--port", "0", "--print-port"]
    command += ["--state-dir", str(state_dir), "--seed", "3", "--no-rate-limit", *options]
    with (state_dir / "stderr.txt").open("w") as complaints:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=complaints, text=True)
        try:
            assert process.stdout is not None
            ready, _, _ = select.select([process.stdout], [], [], 30)
            first = process.stdout.readline() if ready else ""
            assert first, f"the sandbox did not start: {(state_dir / 'stderr.txt').read_text()}"
            yield f"http://127.0.0.1:{json.loads(first)['port']}"
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@dataclass
class Heard:
    """What sockets told us, in order. Callbacks come from their threads; a list append is safe."""

    orders: list[BookOrder] = field(default_factory=list)
    fills: list[FillFact] = field(default_factory=list)
    positions: list[BrokerPosition] = field(default_factory=list)
    frames: list[list[Tick]] = field(default_factory=list)
    states: list[tuple[str, str]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def state(self, state: str, cause: str) -> None:
        self.states.append((state, cause))

    def count(self, state: str) -> int:
        return sum(1 for seen, _ in self.states if seen == state)

    @property
    def ticks(self) -> list[Tick]:
        return [tick for frame in self.frames for tick in frame]


class Runs(Protocol):
    def run(self, stop: threading.Event) -> None: ...


@contextmanager
def running(socket: Runs) -> Iterator[None]:
    """The socket in its thread, and the proof that it ends when told to."""
    stop, failures = threading.Event(), []

    def run() -> None:
        try:
            socket.run(stop)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(5)
    assert not thread.is_alive(), "the socket did not stop"
    assert not failures, failures


def until(condition: Callable[[], Any], *, within_s: float = 10.0) -> Any:
    """The first truth of this; fails when the time is up."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError("it did not happen in time")


@dataclass
class Venue:
    """One adapter's account at a running venue, and the symbols that the suite trades there."""

    name: str
    gateway: BrokerGateway
    stranger: BrokerGateway
    control: SandboxControl
    share: str
    other_share: str
    index: str
    order_socket: Callable[[Heard], Runs]
    price_socket: Callable[[Heard, list[str]], Any]
    fills_carry_the_tag: bool = True  # else a fill is known by the number of its order alone
    lists_tokens_of_fyers: bool = True
    orders_go_over_a_wire: bool = True  # else no reply and no line of theirs can be lost


def fyers_at(url: str) -> Iterator[Venue]:
    endpoints = Endpoints.of(url)
    credentials = Credentials(SANDBOX_APP.app_id, sign_in_sandbox(endpoints=endpoints, app=SANDBOX_APP).access_token)
    gateway = FyersGateway(endpoints=endpoints, credentials=credentials)
    stranger = FyersGateway(endpoints=endpoints, credentials=Credentials(SANDBOX_APP.app_id, "not.a.token"))
    assert endpoints.control is not None
    control = SandboxControl(control_url=endpoints.control)
    yield Venue(
        name="fyers",
        gateway=gateway,
        stranger=stranger,
        control=control,
        share="NSE:SBIN-EQ",
        other_share="NSE:RELIANCE-EQ",
        index="NSE:NIFTY50-INDEX",
        order_socket=lambda heard: OrderSocket(
            endpoints=endpoints,
            credentials=credentials,
            on_order=heard.orders.append,
            on_fill=heard.fills.append,
            on_position=heard.positions.append,
            on_state=heard.state,
            pace=QUICK,
        ),
        price_socket=lambda heard, symbols: PriceSocket(
            endpoints=endpoints,
            credentials=credentials,
            on_ticks=heard.frames.append,
            on_state=heard.state,
            on_refused=heard.refused.extend,
            symbols=symbols,
            pace=QUICK,
        ),
    )
    for client in (gateway, stranger, control):
        client.close()


def kite_at(url: str) -> Iterator[Venue]:
    endpoints = kite_endpoints.Endpoints.of(url)
    app = kite_login.App(SANDBOX_APP.app_id, SANDBOX_APP.secret)
    tokens = kite_login.sign_in_sandbox(endpoints=endpoints, app=app)
    credentials = kite_credentials.Credentials(app.api_key, tokens.access_token)
    gateway = KiteGateway(endpoints=endpoints, credentials=credentials)
    stranger = KiteGateway(endpoints=endpoints, credentials=kite_credentials.Credentials(app.api_key, "no-token"))
    assert endpoints.control is not None
    control = SandboxControl(control_url=endpoints.control)
    yield Venue(
        name="kite",
        gateway=gateway,
        stranger=stranger,
        control=control,
        share="NSE:SBIN-EQ",
        other_share="NSE:RELIANCE-EQ",
        index="NSE:NIFTY50-INDEX",
        order_socket=lambda heard: KiteOrderSocket(
            endpoints=endpoints,
            credentials=credentials,
            gateway=gateway,
            on_order=heard.orders.append,
            on_fill=heard.fills.append,
            on_position=heard.positions.append,
            on_state=heard.state,
            pace=QUICK,
        ),
        price_socket=lambda heard, symbols: KitePriceSocket(
            endpoints=endpoints,
            credentials=credentials,
            gateway=gateway,
            on_ticks=heard.frames.append,
            on_state=heard.state,
            on_refused=heard.refused.extend,
            symbols=symbols,
            pace=QUICK,
        ),
        fills_carry_the_tag=False,
        lists_tokens_of_fyers=False,
    )
    for client in (gateway, stranger, control):
        client.close()


def paper_at(url: str) -> Iterator[Venue]:
    """A paper account on the prices of an account at the sandbox. Needs the database."""
    control = SandboxControl(control_url=f"{url}/sandbox")
    source = BrokerAccountFactory(
        base_url=url, app_id=SANDBOX_APP.app_id, access_token_sealed=None, app_secret_sealed=b"-", feed="contract"
    )
    source.app_secret_sealed = seal(SANDBOX_APP.secret, owner_id=source.owner_id, purpose="app_secret")
    source.save()
    FeedFactory(name=source.feed, speed=control.clock().speed)
    account = paper_account_on(sign_in(source))
    stranger = paper_account_on(BrokerAccountFactory(access_token_sealed=None, base_url=url, feed=source.feed))
    gateway, outside = (
        paper_gateway_of(one, paced=False, now=lambda: control.clock().venue, ask_every_s=0.0)
        for one in (account, stranger)
    )
    listed = gateway.instruments()
    refresh_instruments(listed, now=control.clock().venue, actor="test", origin=Origin("FYERS"))
    yield Venue(
        name="paper",
        gateway=gateway,
        stranger=outside,
        control=control,
        share="NSE:SBIN-EQ",
        other_share="NSE:RELIANCE-EQ",
        index="NSE:NIFTY50-INDEX",
        order_socket=lambda heard: order_socket_of(
            account,
            gateway=gateway,
            hearers=Hearers(heard.orders.append, heard.fills.append, heard.state, heard.positions.append),
            pace=QUICK,
        ),
        price_socket=lambda heard, symbols: price_socket_of(
            account,
            gateway=gateway,
            on_ticks=heard.frames.append,
            on_state=heard.state,
            on_refused=heard.refused.extend,
            symbols=symbols,
            pace=QUICK,
        ),
        orders_go_over_a_wire=False,
    )
    for client in (gateway, outside, control):
        client.close()


ADAPTERS = {"fyers": fyers_at, "kite": kite_at, "paper": paper_at}
ON_A_WIRE = ("fyers", "kite")
EACH = [
    *ON_A_WIRE,
    pytest.param("paper", marks=pytest.mark.django_db(transaction=True)),  # it keeps its book in the database
]


@pytest.fixture(scope="session")
def sandbox_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with sandbox(tmp_path_factory.mktemp("sandbox"), "--speed", "60") as url:
        yield url


@pytest.fixture(params=EACH)
def venue(request: pytest.FixtureRequest, sandbox_url: str) -> Iterator[Venue]:
    """An open market at sixty times its pace, seen through each adapter in turn."""
    yield from ADAPTERS[request.param](sandbox_url)
