"""Faults of the catalogue that need no process of their own. Each test carries the number of its fault.

The others are where their subject is; `pytest -k fault_` runs them all.
"""

import inspect
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection
from django.utils import timezone

from accounts.models import BrokerAccount
from execution.brokers.errors import AuthError, TransientError
from execution.brokers.fyers.mapping import read_send_reply
from execution.brokers.http import Reply
from execution.brokers.port import Acknowledged, Refused, Unknown
from execution.brokers.registry import set_auth_state, sign_in
from execution.engine.job_watch import watch_jobs
from execution.models import Fill, Group, Intent, Order, OrderEvent, ReconRun
from execution.services.fill_apply import fill_apply
from execution.services.fill_bust import fill_bust, fill_correct
from execution.services.group_exit import group_exit
from execution.services.order_cancel import order_cancel
from execution.services.order_claim import orders_claim
from execution.services.order_submit import Outcome, order_submit, outcomes_record
from execution.states import OrderState, PendingOp
from risk.models import RiskBucket
from tests.factories import FillFactFactory
from tests.prove.rough_broker import TIMED_OUT
from tests.races.test_races import race
from tests.small_broker import LOST, Refuse
from tests.small_desk import small_desk
from trading.desk.postgres import PostgresServer, durability
from trading.domain.orders import Reason
from trading.marketdata.models import Feed
from trading.monitoring.models import Alert, JobSlot
from trading.monitoring.slots import SAFETY_JOBS, take_slot
from trading.portfolio.models import LedgerEntry, Position
from trading.schedule import BEAT_SCHEDULE

CLOSED = Group.State.CLOSED


def placed(desk) -> int:
    return sum(call.startswith("place") for call in desk.broker.calls)


def rested(desk, **changes) -> Order:
    """An entry that rests at the broker."""
    order = desk.order(desk.ask(**changes))
    desk.turn()
    order.refresh_from_db()
    assert order.state == OrderState.OPEN
    return order


def test_fault_16_a_400_that_says_timed_out_is_doubt_and_the_order_is_adopted(desk):
    assert isinstance(read_send_reply(TIMED_OUT), Unknown)
    desk.broker.answers.append(LOST)  # what the desk makes of such an answer
    order = desk.order(desk.ask())
    desk.turn(2)
    order.refresh_from_db()
    assert (order.state, order.broker_order_id, placed(desk)) == (OrderState.OPEN, "B000001", 1)


@pytest.mark.parametrize(
    "body", [b"", b"<!doctype html>", b'{"s":"ok","id":"26', b"[]", b'"ok"', b'{"s":"ok"}', b"\xff\xfe", b"null"]
)
def test_fault_17_an_answer_of_no_known_shape_is_doubt(body):
    assert isinstance(read_send_reply(Reply(200, {}, body)), Unknown)


def test_fault_20_an_answer_with_the_number_of_another_order_is_not_believed(desk):
    first = rested(desk)
    group = Group.objects.get(pk=first.group_id)
    desk.broker.fill(first.broker_order_id, 10, "812.30")
    place = desk.broker.place

    def confused(request, **how):
        result = place(request, **how)
        return Acknowledged(first.broker_order_id) if isinstance(result, Acknowledged) else result

    desk.broker.place = confused
    desk.engine.read_books()
    desk.engine.sweep()
    stop = group.orders.get(reason="STOP")
    assert OrderEvent.objects.filter(order=stop, kind="broker.id_taken", applied=False).exists()
    desk.turn()
    stop.refresh_from_db()
    assert (stop.state, stop.broker_order_id) == (OrderState.OPEN, desk.broker.newest()), "found by its tag"
    assert Alert.objects.filter(code="BROKER_ID_CONFLICT").exists() and placed(desk) == 2


def test_fault_20_an_answer_with_a_number_that_the_book_does_not_have_is_put_right_by_the_tag(desk):
    place = desk.broker.place

    def confused(request, **how):
        place(request, **how)
        return Acknowledged("Z000001")  # of another client

    desk.broker.place = confused
    order = desk.order(desk.ask())
    desk.engine.sweep()
    desk.broker.fill("B000001", 10, "812.30")
    desk.broker.place = place
    desk.turn(3)
    order.refresh_from_db()
    assert (order.state, order.broker_order_id, desk.held(), desk.working()) == (OrderState.FILLED, "B000001", 10, 10)
    assert Alert.objects.filter(code="BROKER_ID_CONFLICT").exists() and placed(desk) == 2


@pytest.mark.parametrize("heard", [True, False])
def test_fault_20_a_second_order_with_our_tag_takes_the_place_of_none_that_was_heard_of_or_is_shown(desk, heard):
    order = desk.order(desk.ask())
    desk.engine.sweep()
    if heard:
        desk.engine.read_books()
        desk.broker.hidden.add("B000001")  # by now the book has lost it
    twin = replace(desk.broker.book["B000001"], broker_order_id="A000001")
    desk.broker.book = {"A000001": twin, **desk.broker.book}
    desk.turn(2)
    order.refresh_from_db()
    assert (order.broker_order_id, order.state) == ("B000001", OrderState.OPEN)
    assert Alert.objects.filter(code="BROKER_ID_CONFLICT").exists() and Group.objects.get().quarantined


def test_fault_22_the_same_idea_under_another_key_is_refused_while_the_first_lives(desk):
    rested(desk)
    assert desk.ask().refusal_code in ("ALREADY_POSITIONED", "DUPLICATE_ORDER", "OPPOSITE_ORDER")
    assert Order.objects.count() == 1


def test_fault_23_an_end_asked_for_before_the_entry_filled_leaves_no_short(desk):
    order = rested(desk)
    desk.broker.fill(order.broker_order_id, 3, "812.30")
    group_exit(group_id=order.group_id, reason=Reason.MANUAL, actor="me")
    desk.turn(3)
    assert desk.working() <= 3
    desk.broker.fill(desk.broker.newest(), 3, "812.00")
    desk.turn(3)
    assert desk.net_at_broker() == desk.held() == 0
    assert Group.objects.get().state == CLOSED


def test_fault_24_an_order_is_stored_and_answered_for_without_a_word_to_the_broker(desk):
    assert desk.ask().state == Intent.State.APPROVED
    assert desk.broker.calls == [] and Order.objects.get().state == OrderState.QUEUED


def test_fault_29_a_cancel_that_races_the_full_fill_ends_filled_with_nothing_under_way(desk):
    order = rested(desk)
    order_cancel(order_id=order.pk, actor="me", now=desk.now[0])
    desk.broker.answers.append("slow")
    desk.engine.sweep()
    desk.broker.fill(order.broker_order_id, 10, "812.30")
    desk.turn(2)
    order.refresh_from_db()
    assert (order.state, order.pending_op, order.filled_quantity) == (OrderState.FILLED, PendingOp.NONE, 10)
    assert desk.working() == 10, "and it is protected"


def test_fault_30_the_twenty_sixth_change_is_a_new_order(desk):
    group = desk.enter(filled=4)
    stop = desk.stop_of(group)
    for seq in range(24):
        OrderEvent.objects.create(
            order=stop, seq=1000 + seq, kind="change.asked", source="ENGINE", from_state="OPEN", to_state="OPEN",
            at=timezone.now(),
        )  # fmt: skip
    entry = group.orders.get(reason="ENTRY")
    desk.broker.fill(entry.broker_order_id, 6, "812.30")
    desk.turn(4)
    assert "modify 10" not in desk.broker.calls
    stop.refresh_from_db()
    assert stop.state == OrderState.CANCELLED
    assert (desk.stop_of(group).quantity, desk.working()) == (10, 10)


def test_fault_31_a_correction_reverses_the_old_trade_and_books_the_new(desk):
    desk.enter()
    fill = Fill.objects.get()
    wrong = FillFactFactory(
        broker_order_id=fill.order.broker_order_id, broker_trade_id="C1", symbol=desk.instrument.symbol, quantity=10,
        price=Decimal("811.00"), filled_at=fill.filled_at,
    )  # fmt: skip
    assert fill_correct(fill_id=fill.pk, corrected=wrong, actor="me", now=desk.now[0]) is not None
    assert fill_correct(fill_id=fill.pk, corrected=wrong, actor="me", now=desk.now[0]) is None
    assert fill_bust(fill_id=fill.pk, reason="again", actor="me", now=desk.now[0]) is None
    position = Position.objects.get(portfolio=desk.portfolio)
    assert (position.net_quantity, position.cost_paise) == (10, 8_110_00)
    assert sum(LedgerEntry.objects.values_list("amount_paise", flat=True)) == 0
    order = Order.objects.get(pk=fill.order_id)
    assert (order.filled_quantity, order.fill_value_paise) == (10, 8_110_00)


def test_fault_33_an_order_refused_for_its_token_is_not_sent_again_and_an_exit_is(desk):
    desk.broker.answers.append(Refuse("AUTH", "Your token has expired."))
    order = desk.order(desk.ask())
    desk.turn(3)
    order.refresh_from_db()
    assert (order.state, placed(desk)) == (OrderState.REJECTED, 1)
    account = BrokerAccount.objects.get(pk=desk.account.pk)
    assert account.auth_state == BrokerAccount.AuthState.EXPIRED and Alert.objects.filter(code="NEEDS_LOGIN").exists()
    desk.portfolio.refresh_from_db()
    assert desk.ask().refusal_code == "BROKER_AUTH", "nothing more is entered with a token that has died"
    set_auth_state(account, BrokerAccount.AuthState.AUTHENTICATED, "")
    desk.portfolio.refresh_from_db()
    group = desk.enter()
    desk.broker.answers.extend(["as asked", Refuse("AUTH", "Your token has expired.")])
    group_exit(group_id=group.pk, reason=Reason.MANUAL, actor="me")
    desk.turn(4)
    assert Order.objects.filter(reason="MANUAL").earliest("pk").state == OrderState.REJECTED
    second = Order.objects.filter(reason="MANUAL").latest("pk")
    assert (second.state, desk.working()) == (OrderState.QUEUED, 0), "it waits for the sign-in, and its owner knows"
    assert Alert.objects.filter(code="EXITS_WAIT_FOR_LOGIN", acknowledged_at=None).exists()
    set_auth_state(account, BrokerAccount.AuthState.AUTHENTICATED, "")
    desk.turn(2)
    assert Order.objects.filter(reason="MANUAL").count() == 2 and desk.working() == 10


def test_fault_33_a_refusal_of_the_old_token_says_nothing_of_the_new_one(desk):
    order = desk.order(desk.ask())
    (claimed,) = orders_claim(order_ids=[order.pk], fence=1)
    BrokerAccount.objects.filter(pk=desk.account.pk).update(validated_at=timezone.now() + timedelta(seconds=1))
    outcomes_record([Outcome(order.pk, claimed.token, Refused("AUTH", "Your token has expired."))])
    assert BrokerAccount.objects.get(pk=desk.account.pk).auth_state == BrokerAccount.AuthState.AUTHENTICATED


def test_fault_34_a_live_account_is_never_signed_in_by_itself(desk):
    BrokerAccount.objects.filter(pk=desk.account.pk).update(environment=BrokerAccount.Environment.LIVE)
    account = BrokerAccount.objects.get(pk=desk.account.pk)
    for _ in range(3):
        with pytest.raises(AuthError):
            sign_in(account)
    account.refresh_from_db()
    assert account.auth_state == BrokerAccount.AuthState.NEEDS_LOGIN
    assert Alert.objects.filter(code="NEEDS_LOGIN").count() == 1


def test_fault_35_an_entry_turned_away_for_its_rate_is_over_and_gives_its_room_back(desk):
    desk.broker.answers.append(Refuse("RATE_LIMITED", "429"))
    order = desk.order(desk.ask())
    desk.turn(4)
    order.refresh_from_db()
    assert (order.state, placed(desk)) == (OrderState.REJECTED, 1)
    assert not RiskBucket.objects.exclude(reserved=0).exists()


def test_fault_36_a_broker_that_is_down_changes_nothing_and_is_taken_up_where_it_stood(desk):
    order = rested(desk)
    trades = desk.broker.trades

    def down():
        raise TransientError("BROKER_UNAVAILABLE", "HTTP 503.")

    desk.broker.trades = down
    desk.broker.fill(order.broker_order_id, 10, "812.30")
    for _ in range(3):
        with pytest.raises(TransientError):
            desk.engine.read_books()
        assert desk.engine.reconcile(ReconRun.Cause.PERIODIC).outcome == ReconRun.Outcome.INVALID
    assert desk.held() == 0
    desk.broker.trades = trades
    desk.turn(2)
    assert desk.held() == 10 == desk.working()


def test_fault_39_a_frame_that_was_lost_is_in_the_next_book(desk):
    order = rested(desk)
    desk.broker.fill(order.broker_order_id, 10, "812.30")  # the socket says nothing of it
    desk.engine.read_books()
    assert desk.held() == 10


def test_fault_41_nothing_is_entered_on_a_price_that_is_old(desk, valkey):
    desk.world.still_running()
    valkey.flushdb()
    desk.world.still_running = lambda: None  # the engine runs; no price arrives any more
    intent = desk.ask()
    assert intent.state == Intent.State.REFUSED and not Order.objects.exists()


def _hears(desk, price: str, **changes) -> str:
    """What of an open trade is asked for once its engine has heard a price."""
    desk.engine.hear_ticks([replace(desk.ticks("812.30")[0], last_price=Decimal(price), **changes)])
    return Group.objects.get().close_reason


def test_fault_41_one_odd_print_closes_nothing_and_a_second_one_is_believed(desk):
    desk.enter(target_price=Decimal("830.00"))
    assert not _hears(desk, "812.30")
    for odd in ("0", "NaN", "-812.30", "81.23", "8123.00"):
        assert not _hears(desk, odd) and not _hears(desk, "812.40"), odd
    assert desk.engine.market.quotes()[desk.instrument.symbol].last_price == Decimal("812.40")
    assert not _hears(desk, "640.00")
    assert _hears(desk, "641.00") == Reason.STOP, "the market is there"


def test_fault_41_a_crossed_book_has_no_middle(desk):
    desk.enter()
    _hears(desk, "812.30", bid=Decimal("900.00"), ask=Decimal("800.00"))
    assert desk.engine.market.middle_of(desk.instrument.symbol) == Decimal("812.30")


def test_fault_40_a_frame_of_before_that_comes_again_moves_no_stop(desk):
    desk.enter()
    desk.engine.market.feed.kind = Feed.Kind.EXCHANGE
    assert not _hears(desk, "812.30")
    assert not _hears(desk, "799.00", traded_at=desk.now[0] - timedelta(minutes=5))
    assert desk.engine.market.quotes()[desk.instrument.symbol].last_price == Decimal("812.30")
    assert _hears(desk, "799.00") == Reason.STOP


def test_fault_46_an_empty_valkey_in_mid_trade_loses_and_doubles_nothing(desk, valkey):
    order = desk.order(desk.ask())
    valkey.flushall()
    desk.turn()
    desk.broker.fill(order.broker_order_id or desk.broker.newest(), 10, "812.30")
    valkey.flushall()
    desk.turn(3)
    assert (desk.held(), desk.working(), placed(desk)) == (10, 10, 2)


def test_fault_47_no_wait_for_valkey_is_without_an_end(desk, settings):
    from trading import outbox, valkey
    from trading.marketdata import quotes
    from trading.realtime import publish

    for module in (outbox, quotes, publish):
        options = module._connection().connection_pool.connection_kwargs
        assert 0 < options["socket_timeout"] <= 3 and 0 < options["socket_connect_timeout"] <= 3
    line = valkey._Line(settings.REDIS_URL)._connection
    assert 0 < line.socket_timeout <= 3 and 0 < line.socket_connect_timeout <= 3


def test_fault_48_a_second_delivery_of_an_order_finds_nothing_to_do(desk):
    order = desk.order(desk.ask())
    for _ in range(3):
        order_submit(order_id=order.pk, gateway=desk.broker, fence=1)
    assert placed(desk) == 1
    Order.objects.filter(pk=order.pk).update(
        state=OrderState.QUEUED, valid_until=timezone.now() - timedelta(seconds=1), broker_order_id=None
    )
    order_submit(order_id=order.pk, gateway=desk.broker, fence=1)
    order.refresh_from_db()
    assert (order.state, placed(desk)) == (OrderState.WITHDRAWN, 1)


@pytest.mark.django_db(transaction=True)
def test_fault_51_eight_processes_that_ring_at_once_do_a_job_once(transactional_db):
    turns = race(lambda number: [take_slot("a job", every_s=1e9) for _ in range(3)])
    assert sorted(turn for own in turns for turn in own) == [False] * 23 + [True]
    assert JobSlot.objects.get().taken_at is not None


def test_fault_51_safety_jobs_are_looked_for_by_the_periods_of_the_schedule():
    known = {one["task"].split(".")[-1]: one["schedule"] for one in BEAT_SCHEDULE.values()}
    assert {name: known[name] for name in SAFETY_JOBS} == SAFETY_JOBS


def test_fault_51_jobs_that_stop_are_told_by_the_engine_until_they_run_again(db):
    for name, every_s in SAFETY_JOBS.items():
        assert take_slot(name, every_s=every_s)
    assert watch_jobs(up_s=600) == []
    JobSlot.objects.filter(name="keep_risk").update(taken_at=timezone.now() - timedelta(seconds=31), last_slot=1)
    assert watch_jobs(up_s=5) == [], "an engine that has just begun has not waited for anybody"
    assert watch_jobs(up_s=600) == ["keep_risk"], "its beat or its worker is dead"
    alert = Alert.objects.get(code="JOBS_MISSED", acknowledged_at=None)
    assert alert.level == "SEVERE" and "keep_risk" in alert.message
    assert take_slot("keep_risk", every_s=5)
    assert watch_jobs(up_s=600) == [] and not Alert.objects.filter(acknowledged_at=None).exists()
    JobSlot.objects.all().delete()
    assert watch_jobs(up_s=600) == list(SAFETY_JOBS), "a beat that never began is dead too"


@pytest.mark.django_db(transaction=True)
def test_fault_55_what_cannot_be_written_down_is_not_sent(transactional_db, valkey):
    desk = small_desk()
    order = desk.order(desk.ask())
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device'; END $$"
        )
        cursor.execute(
            "CREATE TRIGGER no_space BEFORE INSERT ON execution_orderevent FOR EACH ROW EXECUTE FUNCTION no_space()"
        )
    with pytest.raises(DatabaseError, match="No space left"):
        order_submit(order_id=order.pk, gateway=desk.broker, fence=1)
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION no_space CASCADE")
    order.refresh_from_db()
    assert (order.state, placed(desk)) == (OrderState.QUEUED, 0)


def test_fault_62_what_postgresql_has_promised_is_on_the_disk():
    assert set(durability(True).values()) == {"on"} and {"fsync", "synchronous_commit"} <= durability(True).keys()
    assert inspect.signature(PostgresServer).parameters["durable"].default is True


def test_a_fill_and_its_acknowledgement_at_once_are_one_fill(desk):
    order = rested(desk)
    fact = desk.broker.fill(order.broker_order_id, 10, "812.30")
    for _ in range(3):
        fill_apply(account_id=desk.account.pk, fact=fact, source="SOCKET")
    assert Fill.objects.count() == 1
