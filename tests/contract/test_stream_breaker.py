"""Sockets that fail open the breaker of the account's streams; one of them tries, and its fate decides."""

import threading
from dataclasses import dataclass
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from execution.brokers.fyers.credentials import Credentials
from execution.brokers.fyers.endpoints import Endpoints
from execution.brokers.fyers.login import sign_in_sandbox
from execution.brokers.fyers.order_socket import OrderSocket
from execution.brokers.guard import StreamGuard
from execution.brokers.socket_loop import Pace
from risk.circuit_breaker import FAILURES, BreakerClass, ask_leave, note_end, pause_s
from risk.models import Breaker
from tests.contract.conftest import SANDBOX_APP, Heard, running, sandbox, until
from tests.contract.samples import CREDENTIALS
from tests.contract.small_server import free_port
from tests.contract.test_sockets import venue
from tests.factories.people import BrokerAccountFactory
from trading.audit.models import AuditEntry
from trading.monitoring.models import Alert

pytestmark = pytest.mark.django_db(transaction=True)
PACE = Pace(open_timeout=2.0, ping_every=0.5, silence=None, first_delay=0.01, longest_delay=0.05)
STREAM = BreakerClass.STREAM


@pytest.fixture
def account():
    return BrokerAccountFactory()


@dataclass
class InAThread:
    """Runs a socket and gives the thread's database connection back."""

    socket: OrderSocket

    def run(self, stop: threading.Event) -> None:
        try:
            self.socket.run(stop)
        finally:
            connection.close()


def socket_at(endpoints: Endpoints, account, heard: Heard, credentials=CREDENTIALS) -> InAThread:
    socket = OrderSocket(
        endpoints=endpoints, credentials=credentials, on_order=heard.orders.append, on_fill=heard.fills.append,
        on_position=heard.positions.append, on_state=heard.state, pace=PACE, guard=StreamGuard(account.pk),
    )  # fmt: skip
    return InAThread(socket)


def tries(heard: Heard) -> list[str]:
    """Causes of connections that were tried, not of those that rested."""
    return [cause for _, cause in heard.states if "calls rest" not in cause and cause != "stopped"]


def state() -> str:
    return Breaker.objects.values_list("state", flat=True).filter(call_class=STREAM).first() or "CLOSED"


def test_a_venue_that_is_gone_is_knocked_at_five_times_and_then_left_alone(account):
    heard = Heard()
    with running(socket_at(Endpoints.of(f"http://127.0.0.1:{free_port()}"), account, heard)):
        until(lambda: state() == "OPEN")
        resting = until(lambda: [cause for _, cause in heard.states if "calls rest" in cause])
    assert "5 failures in a row" in resting[0]
    assert len(tries(heard)) == FAILURES
    assert Alert.objects.get(code="BREAKER_OPEN").acknowledged_at is None
    assert AuditEntry.objects.filter(action="breaker.open").count() == 1
    assert ask_leave(account_id=account.pk, klass=BreakerClass.READ) == "", "the books are read all the same"


def test_one_429_at_the_handshake_is_enough(account):
    heard = Heard()
    with venue(lambda connection: None, refuse=429) as endpoints, running(socket_at(endpoints, account, heard)):
        until(lambda: state() == "OPEN")
        until(lambda: [cause for _, cause in heard.states if "calls rest" in cause])
    assert len(tries(heard)) == 1


def test_a_sign_in_that_is_not_accepted_is_no_trouble_of_the_line(account):
    heard = Heard()
    with venue(lambda connection: None, refuse=403) as endpoints, running(socket_at(endpoints, account, heard)):
        until(lambda: heard.count("disconnected") > FAILURES + 1)
    assert state() == "CLOSED"


def test_a_line_that_comes_back_closes_it(account, tmp_path):
    """The sandbox itself: sockets dropped on it count, and the first that is let in again clears them."""
    for _ in range(FAILURES):
        note_end(account_id=account.pk, klass=STREAM, end="FAILED", cause="gone")
    assert state() == "OPEN"
    heard = Heard()
    with sandbox(tmp_path, "--stepped") as url:
        endpoints = Endpoints.of(url)
        token = sign_in_sandbox(endpoints=endpoints, app=SANDBOX_APP).access_token
        with running(socket_at(endpoints, account, heard, Credentials(SANDBOX_APP.app_id, token))):
            until(lambda: [cause for _, cause in heard.states if "calls rest" in cause])
            Breaker.objects.update(retry_at=timezone.now() - timedelta(seconds=1))
            until(lambda: heard.count("connected"))
            until(lambda: state() == "CLOSED")
    assert Breaker.objects.get(call_class=STREAM).times_opened == 0


def test_streams_rest_for_less_long_than_calls():
    assert [pause_s(times, jitter=0, klass=STREAM) for times in (1, 2, 3, 4, 5, 99)] == [5, 10, 20, 40, 60, 60]
