"""Backfills: within a source's limits, resumable, once, and with calls that were not needed told."""

import multiprocessing
import os
import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection, connections
from django.utils import timezone

from tests.factories import UserFactory
from tests.factories.market import FeedFactory, InstrumentFactory
from trading.domain.clock import IST
from trading.marketdata.builder import Bar
from trading.marketdata.candles import candles_of
from trading.marketdata.fetching.backfill import (
    LEASE,
    BackfillRefused,
    backfill_cancel,
    backfill_claim,
    backfill_create,
    backfill_work,
)
from trading.marketdata.fetching.history import ensure_candles
from trading.marketdata.fetching.ranges import joined
from trading.marketdata.fetching.tally import calls_saved
from trading.marketdata.models import Backfill, CandleCoverage, HistoryTally, QualityDay
from trading.marketdata.sources import Answer, HistoryLimits, HistoryUnavailable
from trading.venue.sessions import exchange_date, session_on

FIRST, LAST = date(2026, 1, 1), date(2026, 3, 30)
NOW = datetime(2026, 4, 6, 12, tzinfo=UTC)
State = Backfill.State


class Source:
    """Half-hour bars of every session since its first day, a limited span a request; notes every question in a file."""

    def __init__(self, noted, *, days: int = 20, since: date = date(2017, 7, 3)) -> None:
        self.noted = noted
        self.limits = HistoryLimits(timedelta(days=days), timedelta(days=365), since)
        self.dies_after: int | None = None
        self.unknown: set[str] = set()

    def history(self, symbol: str, timeframe: int, start: datetime, end: datetime) -> Answer:
        assert end - start <= self.limits.minutes_span and exchange_date(start) >= self.limits.since
        if symbol in self.unknown:
            raise HistoryUnavailable("INVALID_SYMBOL", "never heard of")
        if self.dies_after is not None and len(self.asked()) >= self.dies_after:
            raise KeyboardInterrupt
        with self.noted.open("a") as file:  # one short line: appended as a whole, whoever else writes
            file.write(f"{symbol} {start.isoformat()} {end.isoformat()}\n")
        bars, day = [], exchange_date(start)
        while day <= exchange_date(end):
            session = session_on(day, assume_weekdays=True)
            for at in session.bar_starts(timeframe) if session else []:
                if start <= at < end:
                    bars.append(Bar(symbol, at, *[Decimal(100)] * 4, volume=5))
            day += timedelta(days=1)
        return Answer(bars)

    def asked(self) -> list[str]:
        return self.noted.read_text().splitlines() if self.noted.exists() else []


@pytest.fixture
def source(tmp_path) -> Source:
    return Source(tmp_path / "asked")


@pytest.fixture
def wish(db):
    """What is asked for, with two instruments."""
    return {
        "owner": UserFactory(), "feed": FeedFactory(), "account_id": 1, "timeframe": 30, "from_date": FIRST,
        "instruments": [InstrumentFactory(symbol=f"NSE:{name}-EQ") for name in ("AAA", "BBB")], "to_date": LAST,
        "wall": timezone.now(),
    }  # fmt: skip


def claimed(wish) -> Backfill:
    row = backfill_claim(holder=uuid.uuid4(), wall=timezone.now(), backfill_id=backfill_create(**wish).pk)
    assert row is not None
    return row


def stored(wish) -> int:
    start, end = (datetime.combine(day, datetime.min.time(), IST) for day in (FIRST, LAST + timedelta(days=1)))
    return sum(
        len(candles_of(wish["feed"], one, wish["timeframe"], start=start, end=end)) for one in wish["instruments"]
    )


def half_hours() -> int:
    days = (FIRST + timedelta(days=n) for n in range((LAST - FIRST).days + 1))
    return sum(len(session.bar_starts(30)) for session in map(session_on, days) if session)


def test_all_is_fetched_within_the_limits_and_told(wish, source):
    told = []
    row = claimed(wish)
    state = backfill_work(
        row, source, now=NOW, wall=timezone.now, told=lambda one: told.append((one.percent, one.calls))
    )
    assert state == State.DONE
    assert stored(wish) == row.bars == row.stored == 2 * half_hours()
    assert len(source.asked()) == row.calls == row.needed == row.settled == 10
    assert (row.percent, row.saved, row.position) == (100, 0, 2)
    judged = QualityDay.objects.filter(timeframe=30, day__range=(FIRST, LAST), untrusted=0)
    assert judged.count() == 2 * half_hours() // 13  # what it brought is judged at once, day by day
    assert [calls for _, calls in told] == sorted(calls for _, calls in told)
    rate, left_s = row.pace(timezone.now())
    assert rate > 0 and left_s == 0


def test_a_second_time_makes_no_call_and_saves_them_all(wish, source):
    backfill_work(claimed(wish), source, now=NOW, wall=timezone.now)
    again = claimed(wish)
    assert backfill_work(again, source, now=NOW, wall=timezone.now) == State.DONE
    assert (again.calls, again.saved, again.needed) == (0, 10, 10)
    sums = calls_saved(wish["feed"], first=FIRST, last=date(2026, 4, 30))
    assert (sums.needed, sums.calls, sums.saved, sums.saved_pct) == (20, 10, 10, 50)
    assert HistoryTally.objects.count() == 1


def test_a_killed_worker_is_followed_by_one_that_asks_for_nothing_twice(wish, source):
    row = claimed(wish)
    source.dies_after = 7
    with pytest.raises(KeyboardInterrupt):
        backfill_work(row, source, now=NOW, wall=timezone.now)
    assert Backfill.objects.get().state == State.RUNNING
    assert backfill_claim(holder=uuid.uuid4(), wall=timezone.now()) is None  # its lease still holds
    source.dies_after = None
    follower = backfill_claim(holder=uuid.uuid4(), wall=timezone.now() + LEASE * 2)
    assert backfill_work(follower, source, now=NOW, wall=timezone.now) == State.DONE
    assert len(source.asked()) == len(set(source.asked())) == 10
    assert stored(wish) == 2 * half_hours()


def test_one_that_is_told_to_stop_goes_back_and_is_gone_on_with(wish, source):
    row = claimed(wish)
    assert (
        backfill_work(row, source, now=NOW, wall=timezone.now, goes_on=lambda: len(source.asked()) < 6) == State.QUEUED
    )
    kept = Backfill.objects.get()
    assert (kept.state, kept.position, kept.calls, kept.holder) == (State.QUEUED, 1, 6, None)
    row = backfill_claim(holder=uuid.uuid4(), wall=timezone.now())
    assert backfill_work(row, source, now=NOW, wall=timezone.now) == State.DONE
    assert (len(source.asked()), Backfill.objects.get().calls) == (10, 10)


def test_a_cancelled_one_ends_after_the_call_that_runs(wish, source):
    row = claimed(wish)

    def cancel(one: Backfill) -> None:
        backfill_cancel(backfill=one, wall=timezone.now())

    assert backfill_work(row, source, now=NOW, wall=timezone.now, told=cancel) == State.CANCELLED
    assert len(source.asked()) == 2
    assert not backfill_cancel(backfill=row, wall=timezone.now())


def test_one_unknown_symbol_does_not_keep_the_others_out(wish, source):
    source.unknown = {"NSE:AAA-EQ"}
    row = claimed(wish)
    assert backfill_work(row, source, now=NOW, wall=timezone.now) == State.DONE
    assert row.failed == {"NSE:AAA-EQ": "INVALID_SYMBOL"} and stored(wish) == half_hours()
    source.unknown |= {"NSE:BBB-EQ"}
    row = claimed(wish | {"to_date": LAST + timedelta(days=4)})
    assert backfill_work(row, source, now=NOW, wall=timezone.now) == State.FAILED
    assert row.error.startswith("INVALID_SYMBOL")


def test_what_is_older_than_the_source_is_not_asked_for_but_known_to_be_absent(wish, source):
    source.limits = HistoryLimits(timedelta(days=99), timedelta(days=365), date(2026, 3, 2))
    row = claimed(wish)
    assert backfill_work(row, source, now=NOW, wall=timezone.now) == State.DONE
    assert len(source.asked()) == 2
    again = claimed(wish)
    backfill_work(again, source, now=NOW, wall=timezone.now)
    assert again.calls == 0
    assert CandleCoverage.objects.order_by("from_at").first().from_at < datetime(2026, 1, 2, tzinfo=UTC)


def test_daily_bars_begin_with_their_session_whatever_they_are_labelled(wish, source):
    def history(symbol, timeframe, start, end):
        midnight = datetime(2026, 2, 16, tzinfo=UTC)  # as some label a day: half past five in India
        days = (midnight + timedelta(days=n) for n in range(5))
        return Answer([Bar(symbol, at, *[Decimal(7)] * 4, volume=1) for at in days if start <= at < end])

    source.history = history
    one = wish["instruments"][0]
    begin, end = datetime(2026, 2, 16, tzinfo=IST), datetime(2026, 2, 21, tzinfo=IST)
    fetched = ensure_candles(wish["feed"], [one], 1440, begin, end, source, now=NOW)
    assert (fetched.calls, fetched.stored) == (1, 5)
    found = candles_of(wish["feed"], one, 1440, start=begin, end=end)
    assert [bar.started_at.astimezone(IST).strftime("%d %H:%M") for bar in found][::4] == ["16 09:15", "20 09:15"]
    assert ensure_candles(wish["feed"], [one], 1440, begin, end, source, now=NOW).calls == 0


def test_the_same_wish_is_one_backfill_while_it_is_open(wish):
    first = backfill_create(**wish)
    assert backfill_create(**wish).pk == first.pk
    backfill_cancel(backfill=first, wall=timezone.now())
    assert backfill_create(**wish).pk != first.pk


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"instruments": []}, "NOTHING_TO_FETCH"), ({"timeframe": 7}, "UNKNOWN_TIMEFRAME"),
        ({"from_date": LAST + timedelta(days=1)}, "WRONG_RANGE"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(wish, more, code):
    with pytest.raises(BackfillRefused, match=code):
        backfill_create(**(wish | more))


def test_many_days_are_joined_in_no_time():
    """Eight years of days: every step over all of them would be felt."""
    days = [datetime(2018, 1, 1, 4, tzinfo=UTC) + timedelta(days=n) for n in range(3000)]
    ranges = [(day, day + timedelta(hours=6)) for day in days]
    assert joined(ranges, ranges) == [(ranges[0][0], ranges[-1][1])]
    assert joined([*ranges[:5], *ranges[6:]], ranges) == [(ranges[0][0], ranges[4][1]), (ranges[6][0], ranges[-1][1])]


def _in_a_process_of_its_own(source: Source, feed_id: int, instrument_ids: list[int], failed) -> None:
    from trading.marketdata.models import Feed, Instrument

    try:
        start, end = (datetime.combine(day, datetime.min.time(), IST) for day in (FIRST, LAST))
        instruments = list(Instrument.objects.filter(pk__in=instrument_ids).order_by("pk"))
        ensure_candles(Feed.objects.get(pk=feed_id), instruments, 30, start, end, source, now=NOW)
        connection.close()
    except BaseException as error:
        failed.put(repr(error))
        os._exit(1)
    os._exit(0)


@pytest.mark.django_db(transaction=True)
def test_many_processes_that_want_the_same_fetch_it_once(wish, source):
    ways = multiprocessing.get_context("fork")
    failed = ways.SimpleQueue()
    ids = [one.pk for one in wish["instruments"]]
    connections.close_all()  # a connection must not be shared with a child
    workers = [
        ways.Process(target=_in_a_process_of_its_own, args=(source, wish["feed"].pk, ids, failed)) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert failed.empty(), failed.get()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert len(source.asked()) == len(set(source.asked())) == 10
    sums = calls_saved(wish["feed"], first=FIRST, last=date(2026, 4, 30))
    assert (sums.needed, sums.calls) == (40, 10)
