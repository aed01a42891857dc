"""Orders handed to an engine that has no time for them: late is late, wherever they waited, and ways out come first."""

import threading
import time
from contextlib import contextmanager

from django.db import connection

from execution.engine.dispatch import Dispatch
from execution.models import Order
from execution.services import intent_create, order_hand
from execution.services.order_hand import Handed
from risk.kill_switch import of_portfolio, raise_level
from risk.models import OrderRate
from risk.order_rate import take_turn
from tests.factories import InstrumentFactory
from tests.factories.world import quote
from tests.unit.execution.test_order_hand import (  # noqa: F401
    all_turns_come,
    at_the_door,
    desk,
    grow_older,
    hand,
    state,
)  # fmt: skip
from trading.domain.clock import running_s


def test_claims_that_nobody_heard_leave_in_their_turn(desk):  # noqa: F811
    """An engine that slept a few seconds finds many: its broker counts them as of now."""
    orders = []
    for _ in range(4):
        all_turns_come(desk)
        share = InstrumentFactory()
        quote(desk.world.feed, share)
        order, _ = hand(desk, symbol=share.symbol)
        assert order.state == "SENDING"
        orders.append(order)
    for order in orders:
        grow_older(order, 2)
    desk.engine.sweep()
    placed = [one for one in desk.broker.calls if one.startswith("place")]
    assert len(placed) <= 2, placed


def test_a_bell_of_another_machines_clock_is_no_fresh_one(desk):  # noqa: F811
    """Seconds since the machine was started say nothing on another machine: there the bell seems to come too early."""
    _, (handed,) = hand(desk)
    ahead = Handed(
        type(handed.claimed)(
            handed.claimed.order_id, handed.claimed.token, handed.claimed.request, handed.claimed.klass,
            running_s() + 1000,
        ),
        handed.fence, handed.owner_id, handed.group_id,
    )  # fmt: skip
    desk.engine.handed.hear([ahead])
    assert not desk.broker.calls


def test_a_web_process_that_stops_before_its_commit_holds_up_no_way_out(desk, monkeypatch):  # noqa: F811
    """The places in the rate are locked by a statement that leaves together with the commit."""
    seen = []
    written = intent_create.store_verdicts

    def stopped(verdicts):
        written(verdicts)
        time.sleep(0.3)  # the database does all that has left by now

        def look():
            with connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM (SELECT 1 FROM risk_orderrate FOR UPDATE SKIP LOCKED) one")
                seen.append(cursor.fetchone()[0])
            connection.close()

        looker = threading.Thread(target=look)
        looker.start()
        looker.join()

    monkeypatch.setattr(intent_create, "store_verdicts", stopped)
    order, kept = hand(desk)
    assert order.state == "SENDING" and kept

    assert seen == [OrderRate.objects.count()]


def test_a_claim_from_before_the_clock_was_set_back_does_not_wait_for_the_clock(desk):  # noqa: F811
    order, _ = hand(desk)
    grow_older(order, -3600)
    desk.engine.handed.find()
    assert state(order) == "ACKED"


class Busy:
    """A broker that is slow to answer its first call."""

    def __init__(self, broker) -> None:
        self.broker, self.asked, self.answer = broker, threading.Event(), threading.Event()

    def place(self, *args, **kwargs):
        self.asked.set()
        assert self.answer.wait(60)
        return self.broker.place(*args, **kwargs)

    def __getattr__(self, name):
        return getattr(self.broker, name)


@contextmanager
def one_hand(desk):  # noqa: F811
    """An engine with one hand, which waits for what the broker says of another order."""
    failures = []

    def guarded(work) -> None:
        try:
            work()
        except Exception as error:
            failures.append(error)

    busy = Busy(desk.broker)
    desk.engine.dispatch = Dispatch(
        account_id=desk.account.pk, gateway=busy, fence=1, price_of=lambda symbol: None, guarded=guarded, hands=1,
        on_recorded=desk.engine.handed.forget, on_late=desk.engine.handed.give_back,
    )  # fmt: skip
    share = InstrumentFactory(symbol="NSE:FIRST-EQ")
    quote(desk.world.feed, share)
    order, first = hand(desk, symbol=share.symbol)
    assert desk.engine.handed.hear(first) and busy.asked.wait(60)
    all_turns_come(desk)
    yield busy
    busy.answer.set()
    desk.engine.dispatch.close()
    assert not failures and state(order) == "ACKED"


def test_ways_out_leave_before_entries_that_were_handed_in(desk, monkeypatch):  # noqa: F811
    monkeypatch.setattr(order_hand, "HANDED_WITHIN_S", 60.0)
    entry = desk.order(desk.ask())
    desk.turn()
    all_turns_come(desk)
    take_turn(desk.account.pk, "exit")
    before = len(desk.broker.calls)
    with one_hand(desk) as busy:
        share = InstrumentFactory()
        quote(desk.world.feed, share)
        _, handed = hand(desk, symbol=share.symbol)
        desk.engine.handed.hear(handed)
        desk.broker.fill(Order.objects.get(pk=entry.pk).broker_order_id, 10, "812.30")
        desk.engine.read_books()
        desk.engine.advance_groups()
        all_turns_come(desk)
        assert desk.engine.send_queued() == 1, "its stop"
        busy.answer.set()
        end = time.monotonic() + 60
        while len(desk.broker.calls) < before + 3 and time.monotonic() < end:
            time.sleep(0.01)
    assert [one.split()[1] for one in desk.broker.calls[before:]] == ["BUY", "SELL", "BUY"]


def test_what_no_hand_was_free_for_is_asked_anew(desk):  # noqa: F811
    with one_hand(desk) as busy:
        share = InstrumentFactory()
        quote(desk.world.feed, share)
        order, handed = hand(desk, symbol=share.symbol)
        desk.engine.handed.hear(handed)
        raise_level(scope=of_portfolio(desk.portfolio), level=1, reason="enough", actor="me")
        time.sleep(0.3)
        busy.answer.set()
    assert len(desk.broker.book) == 1 and state(order) == "SENDING"
    grow_older(order, 2)
    desk.engine.handed.find()
    assert state(order) == "WITHDRAWN"
