"""A Valkey that has forgotten everything and then neither answers nor refuses, over the real sandbox exchange: the way
out of a trade needs none of it, and is not held up by asking."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

import pytest
from django.utils import timezone

from execution.engine.lease import renew
from execution.models import Group, Intent
from execution.services.override import close_position
from tests.flows.stepped_desk import APP, ARGUMENTS, SECRET, SteppedDesk, stepped_desk
from tests.flows.test_order_path import flat_and_settled
from trading import outbox
from trading.api.throttling import count_calls
from trading.desk.paths import Folders
from trading.desk.valkey import ValkeyServer
from trading.domain.orders import Side
from trading.marketdata import quotes
from trading.marketdata.quotes import Quote, drop_quotes, last_quotes, store_quotes
from trading.portfolio.models import ClosedTrade
from trading.realtime.publish import last_sequence, publish_now, somebody_watches
from trading.valkey import ALONE_S, note_answer

FOR_EVER_S = 120


class OwnValkey:
    """A server that no other test asks anything."""

    def __init__(self, server: ValkeyServer) -> None:
        self.server = server

    def called(self) -> int:
        """Lines that were opened to it since it began, this one too."""
        told = self.server._ask(b"INFO stats\r\n").decode()
        return int(told.split("total_connections_received:")[1].split()[0])

    @contextmanager
    def silent(self) -> Iterator[None]:
        """It forgets everything, and is frozen. Whoever would wait for ever fails instead. Two may ask it at once, and
        one each time that it was left alone for long enough."""
        assert self.server.pid is not None
        assert self.server._ask(b"FLUSHALL\r\n").startswith(b"+OK")
        before, began = self.called(), time.monotonic()
        os.kill(self.server.pid, signal.SIGSTOP)
        somebody_waits = threading.Timer(FOR_EVER_S, os.kill, (self.server.pid, signal.SIGCONT))
        somebody_waits.start()
        try:
            yield
            assert somebody_waits.is_alive(), "something waited for an answer, and would have waited for ever"
        finally:
            somebody_waits.cancel()
            os.kill(self.server.pid, signal.SIGCONT)
        waited = self.called() - before - 1
        assert waited <= 2 + (time.monotonic() - began) / ALONE_S, "who said nothing was asked again and again"


@pytest.fixture
def silence(tmp_path, settings) -> Iterator[OwnValkey]:
    folders = Folders(tmp_path / "var")
    for one in (folders.log, folders.sockets):
        one.mkdir(parents=True, exist_ok=True)
    server = ValkeyServer(folders, durable=False)
    server.start()
    settings.REDIS_URL = f"unix://{folders.valkey_socket}"
    quotes._local.__dict__.clear()  # a line that is kept leads to the server of all the others
    yield OwnValkey(server)
    server.stop()
    quotes._local.__dict__.clear()
    note_answer()


@pytest.fixture
def desk(transactional_db, silence, start_sandbox) -> Iterator[SteppedDesk]:
    sandbox = start_sandbox(*ARGUMENTS, "--app", f"{APP}:{SECRET}:XF00001:1000000")
    with stepped_desk(sandbox.base_url) as found:
        yield found


def state(group: Group) -> str:
    return Group.objects.get(pk=group.pk).state


def step(desk: SteppedDesk) -> None:
    """One tick, and what the engine does at it. Its lease is kept by a thread that does nothing else."""
    renew(desk.account.pk, desk.fence)
    done, _ = desk.venue.step()
    desk.now = max(desk.now, done.venue)
    desk.engine.sweep()
    desk.engine.read_books()
    desk.venue.drain()
    desk.agrees()


@pytest.mark.parametrize("way", ["STOP", "TARGET", "MANUAL"])
def test_fault_46_47_a_trade_ends_while_valkey_is_empty_and_says_nothing(desk, silence, way):
    near, far = "-0.15", "3"
    wish = {
        "STOP": {"stop_price": desk.near(near)},  # traded at the exchange by itself: it must be heard of
        "TARGET": {"side": Side.SELL, "target_price": desk.near(near), "stop_price": desk.near(far)},
        "MANUAL": {},
    }[way]
    group = desk.enter(**wish)
    with silence.silent():
        if way == "MANUAL":
            assert close_position(group_id=group.pk, actor="me", now=desk.now)
        for _ in range(400):  # until the price is there
            if desk.broker_net() == 0 or Group.objects.get(pk=group.pk).close_reason:
                break
            step(desk)
        for _ in range(5):  # and then at once
            step(desk)
            if state(group) == Group.State.CLOSED:
                break
        flat_and_settled(desk)
        assert ClosedTrade.objects.get().exit_reason == way
    there = desk.gateway.orders()
    assert len({one.client_order_id for one in there}) == len(there)
    assert sorted(one.broker_order_id for one in there) == sorted(
        group.orders.values_list("broker_order_id", flat=True)
    )
    traded = [one for one in there if one.filled_quantity]
    assert [one.filled_quantity for one in traded] == [50, 50], "once in and once out"


@pytest.mark.parametrize(
    "ask", [
        lambda: publish_now(1, "order", {}),
        lambda: store_quotes("sandbox", [Quote("NSE:X-EQ", Decimal(1), None, None, None, 1, timezone.now(), 1.0)]),
        lambda: last_quotes("sandbox", ["NSE:X-EQ"]) and None,
        lambda: drop_quotes("sandbox"),
        lambda: somebody_watches(1) is not True,
        lambda: last_sequence(1) or None,
        lambda: count_calls(["a", "b"]) == [1, 1],
        lambda: outbox._ring_far({1: [("engine.books", {"account_id": 1})]}),
    ],
)  # fmt: skip
def test_fault_47_whoever_asks_one_that_says_nothing_goes_on_without_it(silence, ask):
    with silence.silent():
        for _ in range(5):
            assert not ask()


def test_fault_47_nothing_is_entered_meanwhile_and_again_once_it_speaks(desk, silence):
    """It knows the prices of the other processes: without one there is no entry, whoever asks for it."""
    with silence.silent():
        refused = desk.ask()
        assert refused.state == Intent.State.REFUSED, "a price that nobody knows"
        assert not desk.gateway.orders()
    note_answer()  # three seconds later
    desk.enter()
    desk.agrees()
