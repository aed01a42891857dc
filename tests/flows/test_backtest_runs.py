"""Long work on past bars as rows: asked for once, done once, resumed, cancelled, and never changed afterwards."""

import io
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from strategies.backtest.errors import BacktestRefused
from strategies.contracts.evidence import backtest_figures
from strategies.failsafes import Bounds, TrackRecord, judge
from strategies.models import BacktestRun, RunChunk, RunResult
from strategies.runs import limits
from strategies.runs.answers import answer_of
from strategies.runs.cancel import run_cancel, run_delete
from strategies.runs.claim import LEASE, claim_chunk, keep_chunk, store_chunk
from strategies.runs.create import run_again, run_create
from strategies.runs.tidy import tidy_runs
from strategies.runs.work import work
from strategies.tasks import research_work_task
from tests.factories import UserFactory
from tests.factories.history import stored_history
from trading.domain.errors import Conflict, NotAllowed

pytestmark = pytest.mark.django_db(transaction=True)

REQUEST = {"contract": "ema-alignment", "symbols": ["SBIN"], "from": "2026-02-17", "to": "2026-02-27"}
WORDS = ("ema-alignment@1", "--symbols", "SBIN", "--from", "2026-02-17", "--to", "2026-02-27")


@pytest.fixture
def user(valkey):
    stored_history()
    return UserFactory()


def ask(user, *, kind="BACKTEST", request=REQUEST, study=None, key=None) -> BacktestRun:
    return run_create(
        owner=user, kind=kind, request=request, study=study, key=key or uuid.uuid4(), wall=timezone.now()
    )  # fmt: skip


def by_command(*words: str) -> str:
    out = io.StringIO()
    call_command("backtest", *words, "--json", "-", stdout=out, stderr=io.StringIO())
    return out.getvalue()


def test_a_run_gives_the_bytes_of_the_command(user):
    run = ask(user, request=REQUEST | {"slippage": "2", "cash": "500000", "parameters": {"fast": "5"}})
    assert run.state == "QUEUED" and run.request["contract"] == "ema-alignment@1"
    research_work_task()
    run.refresh_from_db()
    assert (run.state, run.error, run.done) == ("DONE", "", 1)
    answer = answer_of(run)
    assert answer.text == by_command(*WORDS, "--slippage", "2", "--cash", "500000", "--set", "fast=5")
    assert answer.stored.run_hash == answer.report["run_hash"] and "+" in answer.stored.code_version
    assert answer.stored.figures["trades"] == answer.report["trades"] == len(answer.arrays["trades"]) > 0
    assert answer.arrays["equity"][-1] == round(answer.report["final_equity"] * 10_000)
    assert not run.chunks.exists()


def test_gates_and_fail_safes_go_by_how_deep_it_fell(user):
    """A report counts down from the peak; whoever judges asks how far."""
    asked = ask(user)
    work()
    fell = answer_of(asked).stored.figures["max_drawdown_pct"]
    judged = backtest_figures(asked.version)
    assert judged is not None and judged.max_drawdown_pct == -fell > 0
    tested = judged.max_drawdown_pct
    assert judge(TrackRecord(drawdown_pct=tested, tested_drawdown_pct=tested), Bounds()) is None
    assert judge(TrackRecord(drawdown_pct=2 * tested, tested_drawdown_pct=tested), Bounds()) is not None


def test_the_same_key_is_the_same_wish_and_another_persons_is_not(user):
    key, other = uuid.uuid4(), UserFactory()
    first = ask(user, key=key)
    assert ask(user, key=key).pk == first.pk
    assert ask(other, key=key).pk != first.pk
    with ThreadPoolExecutor(4) as pool:
        keys = list(pool.map(lambda _: _in_thread(lambda: ask(user, key=uuid.UUID(int=5)).pk), range(4)))
    assert len(set(keys)) == 1 and BacktestRun.objects.for_user(user).count() == 2


def _in_thread(act):
    try:
        return act()
    finally:
        connection.close()


def test_an_answer_cannot_be_changed_but_goes_with_its_run(user):
    run = ask(user)
    work()
    with pytest.raises(DatabaseError), transaction.atomic():
        RunResult.objects.filter(run=run).update(figures={"trades": 999})
    again = run_again(run=run, key=uuid.uuid4(), wall=timezone.now())
    work()
    assert answer_of(again).text == answer_of(run).text
    run_delete(run=run)
    assert not BacktestRun.objects.filter(pk=run.pk).exists() and not RunResult.objects.filter(run=run.pk).exists()


def test_a_person_may_only_ask_for_so_much_at_once(user, monkeypatch):
    monkeypatch.setattr(limits, "OPEN_RUNS", 2)
    ask(user), ask(user)
    with pytest.raises(NotAllowed, match="TOO_MANY_RUNS"):
        ask(user)
    assert ask(UserFactory()).state == "QUEUED"
    monkeypatch.setattr(limits, "MOST_BARS", 100)
    with pytest.raises(BacktestRefused, match="TOO_LARGE"):
        ask(UserFactory())


NONSENSE = [
    ({"contract": "ema-alignmend"}, "UNKNOWN_CONTRACT"),
    ({"contract": 7}, "UNKNOWN_CONTRACT"),
    ({"symbols": ["SBI"]}, "UNKNOWN_SYMBOL"),
    ({"symbols": 7}, "ARGUMENTS"),
    ({"from": "2026-02-31"}, "NOT_A_DATE"),
    ({"to": None}, "EMPTY_RANGE"),
    ({"from": "2026-02-27", "to": "2026-02-17"}, "EMPTY_RANGE"),
    ({"cash": "NaN"}, "NOT_A_NUMBER"),
    ({"cash": "-1"}, "CASH"),
    ({"slots": "2.5"}, "NOT_A_NUMBER"),
    ({"slots": 0}, "SLOTS"),
    ({"sizing": "half"}, "UNKNOWN_SIZING"),
    ({"charges": "free"}, "UNKNOWN_CHARGES"),
    ({"rank": "close >"}, "RULE_"),
    ({"timeframe": "15m"}, "TIMEFRAME_NOT_ALLOWED"),
    ({"feed": "MARS"}, "UNKNOWN_FEED"),
    ({"parameters": {"fats": "9"}}, "UNKNOWN_PARAMETER"),
    ({"parameters": [1]}, "ARGUMENTS"),
    ({"slipage": "1"}, "UNKNOWN_FIELD"),
]


@pytest.mark.django_db
def test_nonsense_is_refused_at_the_door(user):
    for change, code in NONSENSE:
        with pytest.raises(BacktestRefused, match=code):
            ask(user, request=REQUEST | change)
    assert not BacktestRun.objects.exists()


def test_what_only_the_candles_can_tell_ends_the_run_with_its_code(user):
    run = ask(user, request=REQUEST | {"from": "2026-02-21", "to": "2026-02-22"})
    work()
    run.refresh_from_db()
    assert (run.state, run.error_code) == ("FAILED", "NO_CANDLES") and "2026-02-21" in run.error
    with pytest.raises(Conflict, match="NOT_DONE"):
        answer_of(run)


def test_a_cancelled_run_stops_its_worker_and_keeps_no_answer(user):
    run = ask(user)
    chunk = claim_chunk(holder=uuid.uuid4(), wall=timezone.now())
    assert chunk.run_id == run.pk
    assert run_cancel(run=run, actor=user.username, wall=timezone.now())
    assert not run_cancel(run=run, actor=user.username, wall=timezone.now())
    assert not keep_chunk(chunk.pk, holder=chunk.holder, done=1, wall=timezone.now())
    assert not store_chunk(chunk.pk, holder=chunk.holder, done=1, result=b"x")
    assert work() == 0
    run.refresh_from_db()
    assert (run.state, run.ended_by) == ("CANCELLED", user.username) and run.finished_at


def test_a_cancel_reaches_a_worker_within_a_second(user, monkeypatch):
    from strategies.runs.studies import backtest

    heard: list[float] = []

    def endless(run, spec, job):
        while job.remaining():
            time.sleep(0.01)
        heard.append(time.monotonic())
        job.advance()

    monkeypatch.setattr(backtest, "STUDY", backtest.Study(backtest.plan, endless, backtest.collect))
    run = ask(user)
    worker = threading.Thread(target=lambda: _in_thread(work))
    worker.start()
    while not RunChunk.objects.filter(state="RUNNING").exists():
        time.sleep(0.02)
    asked = time.monotonic()
    assert run_cancel(run=run, actor="me", wall=timezone.now())
    worker.join(timeout=10)
    assert heard and heard[0] - asked < 2  # 0.35 s and a busy machine
    run.refresh_from_db()
    assert run.state == "CANCELLED"


def test_a_chunk_is_never_in_two_hands_and_a_lost_worker_is_followed_once(user):
    run = ask(user)
    now = timezone.now()
    first = claim_chunk(holder=uuid.uuid4(), wall=now)
    assert claim_chunk(holder=uuid.uuid4(), wall=now) is None
    later = now + LEASE + timedelta(seconds=1)
    second = claim_chunk(holder=uuid.uuid4(), wall=later)
    assert second.pk == first.pk and second.attempts == 2
    assert not store_chunk(first.pk, holder=first.holder, done=1, result=b"late")  # the first comes back too late
    RunChunk.objects.update(leased_until=now - timedelta(seconds=1))
    work()  # twice is enough: whatever kills a worker must not kill them all
    run.refresh_from_db()
    assert (run.state, run.error_code) == ("FAILED", "WORKER_LOST")


def test_a_lost_worker_is_followed_by_one_that_finishes(user):
    run = ask(user)
    claim_chunk(holder=uuid.uuid4(), wall=timezone.now() - 2 * LEASE)
    work()
    run.refresh_from_db()
    assert run.state == "DONE"


def test_many_workers_do_each_chunk_once(user):
    runs = [ask(user) for _ in range(6)]
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: _in_thread(work), range(4)))
    assert sum(done) == 6
    assert set(BacktestRun.objects.filter(pk__in=[run.pk for run in runs]).values_list("state", flat=True)) == {"DONE"}


def test_a_person_with_few_runs_does_not_wait_behind_one_with_many(user):
    many = [ask(user) for _ in range(3)]
    few = ask(UserFactory())
    now = timezone.now()
    taken = [claim_chunk(holder=uuid.uuid4(), wall=now).run_id for _ in range(2)]
    assert taken == [many[0].pk, few.pk]


def test_old_runs_go_and_open_ones_stay(user, monkeypatch):
    old, failed, kept = ask(user), ask(user), ask(user)
    work()
    now = timezone.now()
    BacktestRun.objects.filter(pk=old.pk).update(finished_at=now - limits.KEPT_FOR - timedelta(days=1))
    BacktestRun.objects.filter(pk=failed.pk).update(
        finished_at=now - limits.FAILED_KEPT_FOR - timedelta(days=1), state="FAILED"
    )
    waiting = ask(user)
    assert tidy_runs(wall=now) == 2
    assert set(BacktestRun.objects.values_list("pk", flat=True)) == {kept.pk, waiting.pk}
    monkeypatch.setattr(limits, "KEPT_RUNS", 0)
    assert tidy_runs(wall=now) == 1
    assert BacktestRun.objects.get().pk == waiting.pk
    with pytest.raises(Conflict, match="RUN_IS_OPEN"):
        run_delete(run=waiting)


def test_a_cancel_and_a_claim_of_one_run_do_not_wait_for_each_other(user):
    """A claim holds its chunk and goes for the run; whoever cancels comes the same way."""
    run = ask(user)

    def cancel() -> bool:
        try:
            return run_cancel(run=run, actor="me", wall=timezone.now())
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as beside:
        with transaction.atomic():
            RunChunk.objects.select_for_update().get(run=run)
            cancelled = beside.submit(cancel)
            with connection.cursor() as cursor:
                waiting = 0
                while not waiting:
                    cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
                    waiting = cursor.fetchone()[0]
            BacktestRun.objects.filter(pk=run.pk).update(started_at=timezone.now())
        assert cancelled.result(timeout=30)
    assert not RunChunk.objects.filter(run=run).exists()
