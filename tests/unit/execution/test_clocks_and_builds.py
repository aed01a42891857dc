"""Faults of the machine and of a deployment: wrong clocks, code of two builds, rows that outlive a migration."""

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from accounts.models import BrokerAccount
from accounts.secrets import key_of, reseal, seal, unseal
from execution.brokers.http import HttpClient
from execution.engine.books import ABSENT_BOOKS, ABSENT_SPAN_S
from execution.engine.clock_check import BLOCKED_S, RIGHT, judge_clock, read_clock
from execution.engine.lease import TTL, acquire, renew
from execution.models import EngineLease, Group, Intent, Order, ReconRun
from execution.states import OrderState
from risk.models import Assessment
from tests.contract.small_server import answer, serving
from tests.factories.people import BrokerAccountFactory
from tests.small_broker import VANISHED
from tests.small_desk import small_desk
from trading.build import build_id, digest_of
from trading.domain.clock import IST
from trading.monitoring.models import JobSlot
from trading.monitoring.slots import take_slot
from trading.venue.sessions import exchange_date

# -- 43: clocks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("skew", "told", "blocks"),
    [(0.0, False, False), (0.9, False, False), (-1.4, True, False), (1.9, True, False), (2.1, True, True),
     (-5.0, True, True), (-86_400.0, True, True)],
)  # fmt: skip
def test_fault_43_a_clock_that_is_off_is_told_after_a_second_and_forbids_entries_after_two(skew, told, blocks):
    state = judge_clock({"the database's": skew, "the broker's": 0.2})
    assert (bool(state.cause), state.blocks) == (told, blocks)
    if told:
        assert f"{abs(skew):.1f} s {'behind' if skew > 0 else 'ahead of'} the database's" in state.cause


def test_fault_43_the_worst_of_all_clocks_that_answer_counts():
    assert judge_clock({"the database's": None, "the broker's": None}) is RIGHT
    assert "the broker's" in judge_clock({"the database's": 1.2, "the broker's": -4.0}).cause


@pytest.mark.parametrize("off_s", [-6, 0, 6])
def test_fault_43_a_brokers_replies_tell_how_far_its_clock_is_from_ours(off_s):
    def dated(line, request):
        written = format_datetime(datetime.now(UTC) + timedelta(seconds=off_s), usegmt=True)
        answer("{}", headers=f"date: {written}\r\n")(line, request)

    client = HttpClient()
    with serving(dated) as server:
        assert client.clock_skew_s() is None
        client.read("GET", server.url, understand=lambda reply: reply.json())
    skew = client.clock_skew_s()
    client.close()
    assert skew is not None and skew * off_s >= 0, "never the other way, and never more than it is"
    assert abs(off_s) - 2.5 <= abs(skew) <= abs(off_s)
    assert judge_clock({"the broker's": skew}).blocks is (abs(off_s) > BLOCKED_S)


def test_fault_43_a_date_that_cannot_be_read_says_nothing():
    client = HttpClient()
    with serving(answer("{}", headers="date: yesterday\r\n")) as server:
        client.read("GET", server.url, understand=lambda reply: reply.json())
    assert client.clock_skew_s() is None
    client.close()


class Silent:
    def clock_skew_s(self):
        return None


def test_fault_43_the_database_is_asked_what_time_it_is(db, monkeypatch):
    assert read_clock(Silent()) is RIGHT
    true_now = timezone.now
    monkeypatch.setattr("execution.engine.clock_check.timezone.now", lambda: true_now() + timedelta(seconds=5))
    state = read_clock(Silent())
    assert state.blocks and "ahead of the database's" in state.cause


def test_fault_43_the_exchange_day_turns_at_midnight_in_india():
    midnight = datetime(2026, 2, 17, tzinfo=IST)
    before, after = midnight - timedelta(microseconds=1), midnight
    assert (exchange_date(before).day, exchange_date(after).day) == (16, 17)
    assert (exchange_date(before.astimezone(UTC)).day, exchange_date(after.astimezone(UTC)).day) == (16, 17)


def step_the_clock(monkeypatch, seconds: float) -> None:
    """What a correction of the time service does to every process of the machine but the database's."""
    wall, now = time.time, timezone.now
    monkeypatch.setattr("time.time", lambda: wall() + seconds)
    monkeypatch.setattr("django.utils.timezone.now", lambda: now() + timedelta(seconds=seconds))


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_fault_43_a_stepped_clock_neither_takes_a_lease_that_is_held_nor_shortens_ones_own(db, monkeypatch, seconds):
    account = BrokerAccountFactory().pk
    fence = acquire(account, "another machine:1")
    step_the_clock(monkeypatch, seconds)
    assert acquire(account, "this machine:2") is None
    assert renew(account, fence)
    assert EngineLease.objects.filter(expires_at__gt=Now(), expires_at__lte=Now() + TTL).exists()


def test_fault_43_minutes_that_did_not_pass_prove_no_absence(desk, monkeypatch):
    desk.broker.answers.append(VANISHED)
    order = desk.order(desk.ask())
    desk.turn(ABSENT_BOOKS)
    step_the_clock(monkeypatch, 600)
    for _ in range(3):
        desk.engine.read_books()
    order.refresh_from_db()
    assert (order.state, order.absent_books) == (OrderState.UNKNOWN, 3), "looked for as if the doubt had just begun"
    Order.objects.filter(pk=order.pk).update(unknown_since=timezone.now() - timedelta(seconds=ABSENT_SPAN_S))
    for _ in range(ABSENT_BOOKS):
        desk.engine.read_books()
    order.refresh_from_db()
    assert order.state == OrderState.NOT_PLACED, "and once they have passed they do"


def test_fault_43_a_clock_that_is_put_back_leaves_a_doubt_a_doubt(desk, monkeypatch):
    """What was sent after the hour that a book was asked for, as it now seems, may be missing in it."""
    desk.broker.answers.append(VANISHED)
    order = desk.order(desk.ask())
    desk.turn(ABSENT_BOOKS)
    step_the_clock(monkeypatch, -600)
    for _ in range(3 * ABSENT_BOOKS):
        desk.engine.read_books()
    order.refresh_from_db()
    assert (order.state, order.absent_books) == (OrderState.UNKNOWN, 0)


def test_fault_43_a_job_has_one_turn_in_a_period_and_goes_on_after_a_clock_that_was_ahead(db, monkeypatch):
    assert take_slot("a job", every_s=1e9)
    step_the_clock(monkeypatch, 2 * 3600)
    assert not take_slot("a job", every_s=1e9), "one process's own clock makes no period"
    JobSlot.objects.update(last_slot=F("last_slot") + 24)
    assert take_slot("a job", every_s=1e9), "a day ahead of the present: no day is waited for"
    assert not take_slot("a job", every_s=1e9)


# -- 57: builds ----------------------------------------------------------------------------------------------------


def test_fault_57_a_build_is_what_its_sources_are(tmp_path):
    (tmp_path / "risk").mkdir()
    (tmp_path / "risk" / "gates.py").write_text("LIMIT = 5\n")
    before = digest_of(tmp_path)
    assert digest_of(tmp_path) == before and len(before) == 16
    (tmp_path / "risk" / "gates.py").write_text("LIMIT = 6\n")
    assert digest_of(tmp_path) != before


def test_fault_57_an_engine_says_which_build_it_runs(db):
    account = BrokerAccountFactory()
    assert acquire(account.pk, "test") == 1
    assert EngineLease.objects.get(account=account).build == build_id()


def test_fault_57_nothing_is_entered_between_two_builds_and_what_is_open_is_still_closed(desk):
    group = desk.enter()
    EngineLease.objects.update(build="0123456789abcdef")
    refused = desk.ask()
    assert (refused.state, refused.refusal_code) == (Intent.State.REFUSED, "ENGINE_READY")
    assert "another build (01234567)" in refused.refusal
    desk.broker.fill(desk.stop_of(group).broker_order_id, 10, "804.00")
    desk.turn(2)
    assert desk.held() == 0

    EngineLease.objects.update(build=build_id())
    assert desk.ask().refusal_code != "ENGINE_READY"


# -- 56: migrations ------------------------------------------------------------------------------------------------

# The tables of the last build that these tests go back to; moved on when a later migration cannot be undone.
LAST = [("execution", "0012_offset_plans"), ("risk", "0006_points_and_reports"), ("marketdata", "0011_candle_archives")]


@pytest.mark.django_db(transaction=True)
def test_fault_56_an_order_that_is_open_while_the_tables_change_is_there_afterwards(valkey):
    """Back to the tables of the last build and forward again, with a trade open: nothing of it is lost or doubled."""
    desk = small_desk()
    group = desk.enter(filled=4)
    before, said = list(Order.objects.order_by("pk").values()), list(Assessment.objects.order_by("pk").values())
    assert desk.engine.reconcile(ReconRun.Cause.PERIODIC).outcome == ReconRun.Outcome.CLEAN
    newest = [node for node in MigrationExecutor(connection).loader.graph.leaf_nodes() if node[0] in dict(LAST)]
    try:
        MigrationExecutor(connection).migrate(LAST)
    finally:
        MigrationExecutor(connection).migrate(newest)
    assert list(Order.objects.order_by("pk").values()) == before
    assert list(Assessment.objects.order_by("pk").values()) == said
    run = desk.engine.reconcile(ReconRun.Cause.PERIODIC)
    assert run.outcome == ReconRun.Outcome.CLEAN and not run.differences
    desk.broker.fill(group.orders.get(reason="ENTRY").broker_order_id, 6, "812.30")
    desk.turn(3)
    assert desk.held() == 10 == desk.working()


@pytest.mark.django_db(transaction=True)
def test_fault_56_code_of_the_last_build_writes_into_the_tables_of_this_one(valkey):
    """A worker that was not restarted yet knows nothing of new columns: what it leaves out has a default."""
    desk = small_desk()
    desk.enter()
    old = MigrationExecutor(connection).loader.project_state(LAST[:1]).apps
    account = BrokerAccountFactory()
    written = old.get_model("execution", "EngineLease").objects.create(account_id=account.pk, holder="old")
    assert EngineLease.objects.get(pk=written.pk).build == ""
    for name, model in (("Order", Order), ("Group", Group), ("Intent", Intent)):
        row = old.get_model("execution", name).objects.order_by("pk").last()
        row.save()
        assert model.objects.get(pk=row.pk) is not None
    assert Order.objects.exclude(state=OrderState.QUEUED).count() == Order.objects.count()
    assert desk.engine.reconcile(ReconRun.Cause.PERIODIC).outcome == ReconRun.Outcome.CLEAN


# -- 13: tokens that move to another key ---------------------------------------------------------------------------


@pytest.mark.django_db
def test_fault_13_a_rotation_that_was_killed_half_way_goes_on_where_it_stood(settings):
    """One account moved and the next did not: both open meanwhile; the next run moves the rest, and nothing twice."""
    accounts = [BrokerAccountFactory() for _ in range(3)]
    for number, account in enumerate(accounts):
        account.app_secret_sealed = seal(f"secret {number}", owner_id=account.owner_id, purpose="app_secret")
        account.save(update_fields=["app_secret_sealed"])
    settings.DATA_KEYS = {"k2": bytes(range(32, 64)), **settings.DATA_KEYS}
    first = accounts[0]
    moved = reseal(first.app_secret_sealed, owner_id=first.owner_id, purpose="app_secret")
    BrokerAccount.objects.filter(pk=first.pk).update(app_secret_sealed=moved)  # as far as the killed one came

    def keys() -> list[str]:
        return [key_of(row.app_secret_sealed) for row in BrokerAccount.objects.order_by("pk")]

    assert keys()[0] == "k2" and "k2" not in keys()[1:]
    for number, row in enumerate(BrokerAccount.objects.order_by("pk")):
        assert unseal(row.app_secret_sealed, owner_id=row.owner_id, purpose="app_secret") == f"secret {number}"
    call_command("rotate_secrets")
    assert keys() == ["k2"] * 3 and bytes(BrokerAccount.objects.get(pk=first.pk).app_secret_sealed) == moved
