"""A broker in trouble is left alone, by every process, for longer each time; exits keep a way of their own."""

from datetime import timedelta

import pytest
from django.utils import timezone

from risk.circuit_breaker import BreakerClass, CallEnd, CircuitBreaker, ask_leave, close_by_hand, note_end, pause_s
from risk.models import Breaker
from tests.factories import BrokerAccountFactory
from trading.audit.models import AuditEntry
from trading.monitoring.models import Alert

pytestmark = pytest.mark.django_db
WRITE = BreakerClass.ORDER_WRITE


@pytest.fixture
def account():
    return BrokerAccountFactory()


def fail(account, times=1, end=CallEnd.FAILED, **more):
    for _ in range(times):
        state = note_end(account_id=account.pk, klass=WRITE, end=end, cause="HTTP 502", **more)
    return state


def let_time_pass(account):
    Breaker.objects.filter(account=account).update(retry_at=timezone.now() - timedelta(seconds=1), probe_until=None)


def test_pauses_double_with_jitter_up_to_ten_minutes():
    assert [pause_s(times, jitter=0) for times in (1, 2, 3, 6, 7, 99)] == [15, 30, 60, 480, 600, 600]
    assert pause_s(1, jitter=1) == 30 and pause_s(9, jitter=1) == 600


def test_five_failures_in_a_row_open_it_and_a_good_call_in_between_does_not(account):
    fail(account, 4)
    note_end(account_id=account.pk, klass=WRITE, end=CallEnd.GOOD)
    assert fail(account, 4) == "CLOSED"
    assert fail(account) == "OPEN"
    assert "502" in ask_leave(account_id=account.pk, klass=WRITE)
    assert ask_leave(account_id=account.pk, klass=BreakerClass.READ) == "", "reads fail apart"
    assert Alert.objects.get(code="BREAKER_OPEN").acknowledged_at is None
    assert AuditEntry.objects.filter(action="breaker.open").count() == 1


def test_one_429_opens_it_for_as_long_as_the_broker_asks(account):
    fail(account, end=CallEnd.THROTTLED, retry_after_s=240)
    left = (Breaker.objects.get().retry_at - timezone.now()).total_seconds()
    assert 238 < left <= 240


def test_one_call_of_all_processes_tries_and_its_fate_decides(account):
    fail(account, 5)
    let_time_pass(account)
    answers = [ask_leave(account_id=account.pk, klass=WRITE) for _ in range(3)]
    assert answers[0] == "" and all(answers[1:])
    assert fail(account) == "OPEN" and Breaker.objects.get().times_opened == 2
    let_time_pass(account)
    assert ask_leave(account_id=account.pk, klass=WRITE) == ""
    note_end(account_id=account.pk, klass=WRITE, end=CallEnd.GOOD)
    assert Breaker.objects.get().state == "CLOSED" and ask_leave(account_id=account.pk, klass=WRITE) == ""
    assert Alert.objects.get(code="BREAKER_OPEN").acknowledged_at is not None


def test_a_probe_that_died_on_the_way_does_not_hold_the_door(account):
    fail(account, 5)
    let_time_pass(account)
    assert ask_leave(account_id=account.pk, klass=WRITE) == ""
    assert ask_leave(account_id=account.pk, klass=WRITE)
    Breaker.objects.update(probe_until=timezone.now() - timedelta(seconds=1))
    assert ask_leave(account_id=account.pk, klass=WRITE) == ""


def test_an_exit_has_a_budget_of_its_own_and_proves_nothing_for_entries(account):
    fail(account, 5)
    exits = [ask_leave(account_id=account.pk, klass=WRITE, protects=True) for _ in range(3)]
    assert exits[0] == "" and all(exits[1:])
    assert note_end(account_id=account.pk, klass=WRITE, end=CallEnd.GOOD) == "OPEN"
    Breaker.objects.update(exit_free_at=timezone.now() - timedelta(seconds=1))
    assert ask_leave(account_id=account.pk, klass=WRITE, protects=True) == ""


def test_what_one_process_sees_another_believes(account):
    first, second = CircuitBreaker(account.pk), CircuitBreaker(account.pk)
    assert first.may_call(WRITE) == "" == second.may_call(WRITE)
    for _ in range(5):
        first.ended(WRITE, CallEnd.FAILED, cause="no connection")
    assert first.may_call(WRITE)
    second._beliefs.clear()  # half a second later
    assert "no connection" in second.may_call(WRITE)


def test_a_person_may_close_it(account):
    fail(account, 5)
    row = Breaker.objects.get()
    assert close_by_hand(breaker_id=row.pk, actor="me") and not close_by_hand(breaker_id=row.pk, actor="me")
    assert ask_leave(account_id=account.pk, klass=WRITE) == ""


def test_who_keeps_believing_spares_the_next_call_its_look(account, django_assert_num_queries):
    breaker = CircuitBreaker(account.pk)
    assert breaker.may_call(BreakerClass.ORDER_WRITE) == ""
    for belief in breaker._beliefs.values():
        object.__setattr__(belief, "read_at", belief.read_at - 60)
    Breaker.objects.create(account=account, call_class=BreakerClass.ORDER_WRITE, failures=3)
    CircuitBreaker.keep_believing(account.pk)
    with django_assert_num_queries(0):
        assert breaker.may_call(BreakerClass.ORDER_WRITE) == ""
    assert breaker._beliefs[BreakerClass.ORDER_WRITE].failures == 3
