"""A claim whose answer was lost: whatever its backend still does, the order leaves once, at once, and if it may."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.db.models import F
from django.utils import timezone

from execution.brokers.port import CallClass
from execution.brokers.registry import AuthState, set_auth_state
from execution.models import EngineLease, Group, Order
from execution.services.order_cancel import order_cancel
from execution.services.order_claim import Claimed, orders_claim, orders_claim_in_turn
from execution.services.order_submit import orders_place, outcomes_record
from execution.states import PendingOp
from risk.kill_switch import of_portfolio, raise_level
from risk.order_rate import take_turn
from tests.small_desk import SmallDesk, small_desk
from trading.domain.orders import Reason


@pytest.fixture
def desk(transactional_db, valkey) -> SmallDesk:
    desk = small_desk()
    take_turn(desk.account.pk, "order")
    return desk


def database(statement: str, *parameters: object) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []


def wait_until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end, "waited half a minute"
        time.sleep(0.01)


@contextmanager
def held(statement: str, *parameters: object) -> Iterator[None]:
    """Somebody else has the rows of a statement for himself."""
    other = connection.copy()
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute(statement, parameters)
        yield
        other.commit()
    finally:
        other.close()


class Hand:
    """Claims an order in a thread of its own. Its line can be cut so that its backend lives on."""

    def __init__(self, desk: SmallDesk, order: Order, *, in_turn: bool = True) -> None:
        self._desk, self._order, self._in_turn = desk, order, in_turn
        self.claimed: list[Claimed] = []
        self.lost: OperationalError | None = None
        self._connected = threading.Event()
        self._thread = threading.Thread(target=self._claim)
        self._thread.start()
        assert self._connected.wait(30)

    def _claim(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET synchronous_commit = on")
        raw = connection.connection
        self.backend = raw.info.backend_pid
        self._line = socket.socket(fileno=os.dup(raw.pgconn.socket))
        self._connected.set()
        try:
            if self._in_turn:
                self.claimed += orders_claim_in_turn(
                    account_id=self._desk.account.pk, klass=CallClass.ORDER, order_ids=[self._order.pk], fence=1
                ) or []  # fmt: skip
            else:
                self.claimed += orders_claim(order_ids=[self._order.pk], fence=1)
        except OperationalError as lost:
            self.lost = lost
        finally:
            connection.close()

    def waits(self, event: str = "Lock") -> bool:
        sql = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND %s IN (wait_event_type, wait_event)"
        return bool(database(sql, self.backend, event))

    def cut(self) -> None:
        self._line.shutdown(socket.SHUT_RDWR)
        self._line.close()

    def join(self) -> None:
        self._thread.join(30)
        assert not self._thread.is_alive()

    def backend_is_gone(self) -> bool:
        return not database("SELECT 1 FROM pg_stat_activity WHERE pid = %s", self.backend)


def queued(desk: SmallDesk) -> Order:
    return desk.order(desk.ask())


def sent(desk: SmallDesk, claimed: list[Claimed]) -> None:
    for outcomes in orders_place(claimed, gateway=desk.broker, paced=False, price_of=lambda symbol: None):
        outcomes_record(outcomes)


def kinds(order: Order) -> list[str]:
    return [event.kind for event in order.events.all()]


THE_RATE = "LOCK TABLE risk_orderrate IN ACCESS EXCLUSIVE MODE"
THE_ORDER = "SELECT 1 FROM execution_order WHERE id = %s FOR UPDATE"
THE_ORDER_CHANGED = "UPDATE execution_order SET broker_message = 'seen' WHERE id = %s"


@pytest.mark.parametrize("times", [1, 2, 3])
def test_fault_05_a_claim_that_comes_after_it_was_looked_for_takes_nothing(desk, times):
    """It waits for its turn in the rate, has not come to its order, and its line is cut."""
    order = queued(desk)
    hands = []
    with held(THE_RATE):
        for _ in range(times):
            hands.append(hand := Hand(desk, order))
            wait_until(hand.waits)
            hand.cut()
            hand.join()
            assert hand.lost is not None and not hand.claimed
        assert not any(hand.backend_is_gone() for hand in hands), "they live on"
    wait_until(lambda: all(hand.backend_is_gone() for hand in hands))
    order.refresh_from_db()
    assert order.state == "QUEUED" and kinds(order) == ["order.queued"], "nobody holds what they would have claimed"
    desk.engine.sweep()
    order.refresh_from_db()
    assert order.state == "ACKED" and len(desk.broker.book) == 1


def test_a_claim_that_is_void_does_not_bind_the_engine_that_comes_next(desk):
    order = queued(desk)
    with held(THE_RATE):
        hand = Hand(desk, order)
        wait_until(hand.waits)
        hand.cut()
        hand.join()
        EngineLease.objects.update(token=F("token") + 1)
        (claimed,) = orders_claim(order_ids=[order.pk], fence=2)
    wait_until(hand.backend_is_gone)
    order.refresh_from_db()
    assert order.state == "SENDING" and order.claim_token == claimed.token


@pytest.mark.parametrize("in_turn", [False, True])
@pytest.mark.parametrize("statement", [THE_ORDER, THE_ORDER_CHANGED], ids=["held", "changed"])
def test_fault_05_a_claim_that_waits_for_its_order_when_its_line_is_cut_leaves_once(desk, statement, in_turn):
    order = queued(desk)
    with held(statement, order.pk):
        hand = Hand(desk, order, in_turn=in_turn)
        wait_until(hand.waits)
        hand.cut()
        hand.join()
        assert hand.lost is not None and not hand.claimed
    wait_until(hand.backend_is_gone)
    sent(desk, orders_claim(order_ids=[order.pk], fence=1))
    order.refresh_from_db()
    assert order.state == "ACKED" and len(desk.broker.book) == 1
    assert kinds(order) == ["order.queued", "order.claimed", "order.acknowledged"]


@pytest.mark.parametrize("in_turn", [False, True])
def test_what_a_claim_waits_for_while_the_switch_is_pulled_does_not_leave(desk, in_turn):
    order = queued(desk)
    with held(THE_ORDER, order.pk):
        hand = Hand(desk, order, in_turn=in_turn)
        wait_until(hand.waits)
        raise_level(scope=of_portfolio(desk.portfolio), level=1, reason="enough", actor="me")
    hand.join()
    order.refresh_from_db()
    assert not hand.claimed and order.state == "WITHDRAWN" and not desk.broker.book


def test_a_claim_does_not_wait_for_who_takes_his_place_in_the_rate(desk):
    order = queued(desk)

    def claimed() -> list[Claimed] | None:
        return orders_claim_in_turn(
            account_id=desk.account.pk, klass=CallClass.ORDER, order_ids=[order.pk], fence=1
        )  # fmt: skip

    with held("SELECT 1 FROM risk_orderrate FOR UPDATE"):
        assert claimed() is None
    assert [one.order_id for one in claimed() or ()] == [order.pk]


@pytest.mark.parametrize("in_turn", [False, True])
def test_a_claim_that_waited_for_its_order_claims_it_as_it_is_by_then(desk, in_turn):
    order = queued(desk)
    with held(THE_ORDER_CHANGED, order.pk):
        hand = Hand(desk, order, in_turn=in_turn)
        wait_until(hand.waits)
    hand.join()
    order.refresh_from_db()
    assert [one.token for one in hand.claimed] == [order.claim_token]
    assert (order.state, order.broker_message) == ("SENDING", "seen")


# -- claimed, and nobody was told ----------------------------------------------------------------------------------


@pytest.fixture
def waiting_for_a_copy(desk) -> Iterator[None]:
    """A commit that waits for the disk waits for ever: what it wrote has been kept, and nobody is told."""
    try:
        database("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        database("SELECT pg_reload_conf()")
        wait_until(lambda: database("SHOW synchronous_standby_names") == [("nobody",)])
        yield
    finally:
        database("ALTER SYSTEM RESET synchronous_standby_names")
        database("SELECT pg_reload_conf()")


def test_fault_05_a_claim_whose_answer_was_lost_is_found_again_and_leaves_at_once(desk, waiting_for_a_copy):
    order = queued(desk)
    hand = Hand(desk, order)
    wait_until(lambda: hand.waits("SyncRep"))
    database("SELECT pg_terminate_backend(%s)", hand.backend)
    hand.join()
    order.refresh_from_db()
    assert [one.token for one in hand.claimed] == [order.claim_token]
    assert kinds(order) == ["order.queued", "order.claimed"]
    sent(desk, hand.claimed)
    order.refresh_from_db()
    assert order.state == "ACKED" and len(desk.broker.book) == 1


Meanwhile = Callable[[SmallDesk, Order], object]


def cancelled(desk: SmallDesk, order: Order) -> None:
    """Asked for before the claim is looked for: whoever asks waits for the order already."""

    def cancel() -> None:
        order_cancel(order_id=order.pk, actor="me", now=timezone.now())
        connection.close()

    threading.Thread(target=cancel).start()
    sql = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    wait_until(lambda: database(sql))


def killed(level: int) -> Meanwhile:
    return lambda desk, order: raise_level(scope=of_portfolio(desk.portfolio), level=level, reason="enough", actor="me")


def too_late(desk: SmallDesk, order: Order) -> None:
    wait_until(lambda: timezone.now() > order.valid_until)


MEANWHILE: dict[str, tuple[Meanwhile, str]] = {
    "killed": (killed(1), "the kill switch was pulled"),
    "cancelled": (cancelled, "cancelled before it was sent"),
    "late": (too_late, "not sent in time"),
    "paused": (lambda desk, order: EngineLease.objects.update(paused_by="me"), "the engine was paused"),
    "signed out": (
        lambda desk, order: set_auth_state(desk.account, AuthState.EXPIRED, "expired"),
        "nothing may leave for this account",
    ),
    "another engine": (lambda desk, order: EngineLease.objects.update(token=2), "nothing may leave for this account"),
    "no engine": (
        lambda desk, order: EngineLease.objects.update(expires_at=timezone.now()), "nothing may leave for this account"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MEANWHILE)
def test_what_is_found_again_and_may_not_leave_any_more_is_withdrawn_with_its_cause(desk, waiting_for_a_copy, name):
    meanwhile, cause = MEANWHILE[name]
    order = queued(desk)
    if name == "late":
        order.valid_until = timezone.now() + timedelta(seconds=2)
        order.save()
    hand = Hand(desk, order)
    wait_until(lambda: hand.waits("SyncRep"))
    meanwhile(desk, order)
    database("SELECT pg_terminate_backend(%s)", hand.backend)
    hand.join()
    assert hand.claimed == [] and hand.lost is None
    order.refresh_from_db()
    assert (order.state, order.broker_message, order.pending_op) == ("WITHDRAWN", cause, PendingOp.NONE)
    assert order.sent_at is None and order.lease_expires_at is None, "it never left"
    assert [kind for kind in kinds(order) if kind != "cancel.asked"] == [
        "order.queued", "order.claimed", "order.withdrawn",
    ]  # fmt: skip
    desk.turn()
    assert not desk.broker.book and Group.objects.get(pk=order.group_id).state == "CLOSED"


@pytest.mark.parametrize(("level", "leaves"), [(1, True), (5, False)])
def test_a_way_out_that_is_found_again_leaves_unless_nothing_may(desk, waiting_for_a_copy, level, leaves):
    order = queued(desk)
    Order.objects.filter(pk=order.pk).update(reason=Reason.MANUAL)
    hand = Hand(desk, order)
    wait_until(lambda: hand.waits("SyncRep"))
    killed(level)(desk, order)
    database("SELECT pg_terminate_backend(%s)", hand.backend)
    hand.join()
    sent(desk, hand.claimed)
    order.refresh_from_db()
    assert (order.state, len(desk.broker.book)) == (("ACKED", 1) if leaves else ("WITHDRAWN", 0))
