"""Only what is missing is fetched, once, by one."""

import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from django.db import connection
from django.db.models import Sum

from trading.domain.errors import NotFound
from trading.marketdata.builder import Bar, BarFlag
from trading.marketdata.candles import HISTORY, STREAM, candles_of, store_bars
from trading.marketdata.fetching.history import ensure_candles
from trading.marketdata.marks import Mark
from trading.marketdata.models import CandleBlock, CandleCoverage, Feed, Instrument
from trading.marketdata.sources import NO_LIMITS, Answer, HistoryUnavailable
from trading.marketdata.windows import load_window
from trading.venue.sessions import exchange_date, session_on

OPEN = datetime(2026, 2, 16, 3, 45, tzinfo=UTC)  # a Monday
CLOSE = OPEN + timedelta(minutes=375)


def count() -> int:
    return CandleBlock.objects.aggregate(bars=Sum("bars"))["bars"] or 0


class Tape:
    """A history with a bar in every minute of every session, but for those it lacks. Remembers what it was asked."""

    limits = NO_LIMITS

    def __init__(self, *lacking: datetime) -> None:
        self.lacking = set(lacking)
        self.asked: list[tuple[str, datetime, datetime]] = []
        self.fails = False

    def history(self, symbol: str, timeframe: int, start: datetime, end: datetime) -> Answer:
        return Answer(self.bars(symbol, timeframe, start, end))

    def bars(self, symbol: str, timeframe: int, start: datetime, end: datetime) -> list[Bar]:
        self.asked.append((symbol, start, end))
        if self.fails:
            raise HistoryUnavailable("HISTORY_UNAVAILABLE", "no answer")
        bars, day = [], exchange_date(start)
        while day <= exchange_date(end):
            session = session_on(day)
            for begin in session.bar_starts(timeframe) if session else []:
                if start <= begin < end and begin not in self.lacking:
                    bars.append(Bar(symbol, begin, *[Decimal(100)] * 4, volume=5))
            day += timedelta(days=1)
        return bars


@pytest.fixture
def feed(db) -> Feed:
    return Feed.objects.create(name="TAPE", kind=Feed.Kind.SANDBOX)


@pytest.fixture
def names(db) -> list[Instrument]:
    return [
        Instrument.objects.create(symbol=f"NSE:{name}-EQ", name=name, tick_size=Decimal("0.05"))
        for name in ("AAA", "BBB")
    ]


def test_a_repeated_scan_fetches_nothing(feed, names):
    tape = Tape()
    first = ensure_candles(feed, names, 1, OPEN, CLOSE, tape, now=CLOSE + timedelta(hours=1))
    assert (first.calls, first.stored, first.saved) == (2, 750, 0)
    again = ensure_candles(feed, names, 1, OPEN, CLOSE, tape, now=CLOSE + timedelta(hours=1))
    assert (again.calls, again.saved, again.saved_pct) == (0, 2, 100)
    assert len(tape.asked) == 2


def test_only_the_missing_range_is_asked_for(feed, names):
    tape, at = Tape(), lambda minute: OPEN + timedelta(minutes=minute)
    store_bars(feed, 1, tape.bars("NSE:AAA-EQ", 1, OPEN, at(100)), STREAM)
    store_bars(feed, 1, tape.bars("NSE:AAA-EQ", 1, at(130), CLOSE), STREAM)
    tape.asked.clear()
    ensure_candles(feed, names[:1], 1, OPEN, CLOSE, tape, now=CLOSE)
    assert tape.asked == [("NSE:AAA-EQ", at(100), at(130))]


def test_a_range_known_to_be_empty_is_not_asked_for_again(feed, names):
    tape = Tape(OPEN + timedelta(minutes=7), OPEN + timedelta(minutes=8))
    for _ in range(3):
        ensure_candles(feed, names[:1], 1, OPEN, CLOSE, tape, now=CLOSE + timedelta(days=1))
    assert len(tape.asked) == 1
    assert count() == 373


def test_nights_weekends_and_holidays_make_one_question(feed, names):
    tape = Tape()
    friday, tuesday = OPEN - timedelta(days=3), CLOSE + timedelta(days=1)
    ensure_candles(feed, names[:1], 1, friday, tuesday, tape, now=tuesday)
    assert tape.asked == [("NSE:AAA-EQ", friday, tuesday)]
    assert count() == 3 * 375


def test_the_running_bar_is_not_stored_and_the_newest_are_asked_for_until_they_are_there(feed, names):
    now = OPEN + timedelta(minutes=10, seconds=30)
    slow = Tape(OPEN + timedelta(minutes=9))
    ensure_candles(feed, names[:1], 1, OPEN, CLOSE, slow, now=now)
    assert count() == 9
    slow.lacking.clear()
    ensure_candles(feed, names[:1], 1, OPEN, CLOSE, slow, now=now)
    assert slow.asked[-1] == ("NSE:AAA-EQ", OPEN + timedelta(minutes=9), OPEN + timedelta(minutes=10))
    assert count() == 10


def test_what_was_asked_piece_by_piece_is_remembered_as_one(feed, names):
    tape, end = Tape(), OPEN
    while end < CLOSE:
        end += timedelta(minutes=75)
        ensure_candles(feed, names[:1], 1, OPEN, end, tape, now=CLOSE + timedelta(days=1))
    assert count() == 375
    covered = CandleCoverage.objects.get()
    assert (covered.from_at, covered.to_at) == (OPEN, CLOSE)


def test_a_source_that_does_not_answer_is_told_and_asked_again(feed, names):
    tape = Tape()
    tape.fails = True
    result = ensure_candles(feed, names, 1, OPEN, CLOSE, tape, now=CLOSE)
    assert result.failed == {"NSE:AAA-EQ": "HISTORY_UNAVAILABLE", "NSE:BBB-EQ": "HISTORY_UNAVAILABLE"}
    assert not CandleCoverage.objects.exists()
    tape.fails = False
    assert ensure_candles(feed, names, 1, OPEN, CLOSE, tape, now=CLOSE).stored == 750


def test_the_future_is_not_asked_for(feed, names):
    tape = Tape()
    assert ensure_candles(feed, names, 1, CLOSE, CLOSE + timedelta(days=1), tape, now=OPEN).calls == 0
    assert tape.asked == []


def test_a_bar_that_is_not_whole_waits_for_history(feed, names):
    bar = Bar("NSE:AAA-EQ", OPEN, *[Decimal(100)] * 4, volume=1, flags=BarFlag.PARTIAL)
    assert store_bars(feed, 1, [bar], STREAM) == 0
    ensure_candles(feed, names[:1], 1, OPEN, OPEN + timedelta(minutes=1), Tape(), now=CLOSE)
    assert [one.volume for one in candles_of(feed, names[0], 1, start=OPEN, end=CLOSE)] == [5]


def test_an_impossible_bar_is_left_out_and_the_others_are_stored(feed, names):
    sound = Bar("NSE:AAA-EQ", OPEN, *[Decimal(100)] * 4, volume=1)
    upside_down = Bar("NSE:AAA-EQ", OPEN + timedelta(minutes=1), Decimal(1), Decimal(1), Decimal(2), Decimal(1), 1)
    assert store_bars(feed, 1, [sound, upside_down], HISTORY) == 1


def test_an_unknown_instrument_is_an_error_and_nothing_is_stored(feed, names):
    bars = [Bar(symbol, OPEN, *[Decimal(100)] * 4, volume=1) for symbol in ("NSE:AAA-EQ", "NSE:NOBODY-EQ")]
    with pytest.raises(NotFound, match="UNKNOWN_INSTRUMENT"):
        store_bars(feed, 1, bars, HISTORY)
    assert count() == 0


@pytest.mark.django_db(transaction=True)
def test_two_who_want_the_same_range_fetch_it_once():
    feed = Feed.objects.create(name="TAPE", kind=Feed.Kind.SANDBOX)
    name = Instrument.objects.create(symbol="NSE:AAA-EQ", name="AAA", tick_size=Decimal("0.05"))
    tape, start = Tape(), threading.Barrier(4)
    errors: list[BaseException] = []

    def fetch() -> None:
        try:
            start.wait(10)
            ensure_candles(feed, [name], 1, OPEN, CLOSE, tape, now=CLOSE + timedelta(hours=1))
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=fetch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    assert len(tape.asked) == 1
    assert count() == 375


def test_a_share_that_closes_by_auction_is_not_missing_its_last_quarter_of_an_hour(feed, names):
    opens = datetime(2026, 9, 15, 3, 45, tzinfo=UTC)
    name, tape = names[0], Tape()
    name.has_derivatives = True
    store_bars(feed, 1, tape.bars(name.symbol, 1, opens, opens + timedelta(minutes=360)), STREAM)
    result = ensure_candles(feed, [name], 1, opens, opens + timedelta(minutes=375), tape, now=opens + timedelta(days=1))
    assert (result.calls, result.saved) == (0, 1)


def test_many_small_holes_are_one_question(feed, names):
    tape = Tape(*[OPEN + timedelta(minutes=minute) for minute in range(10, 300, 10)])
    store_bars(feed, 1, tape.bars("NSE:AAA-EQ", 1, OPEN, CLOSE), STREAM)
    tape.lacking.clear()
    tape.asked.clear()
    ensure_candles(feed, names[:1], 1, OPEN, CLOSE, tape, now=CLOSE)
    assert tape.asked == [("NSE:AAA-EQ", OPEN + timedelta(minutes=10), OPEN + timedelta(minutes=291))]
    assert count() == 375


class Said(Tape):
    """A history that answers with these bars, whatever it is asked for, and then as a tape does."""

    def __init__(self, *answers: list[Bar]) -> None:
        super().__init__()
        self.answers = list(answers)

    def bars(self, symbol: str, timeframe: int, start: datetime, end: datetime) -> list[Bar]:
        told = super().bars(symbol, timeframe, start, end)
        return self.answers.pop(0) if self.answers else told


def test_a_stamp_between_two_minutes_is_not_traded_on_and_the_others_are_stored(feed, names):
    bars = Tape().bars("NSE:AAA-EQ", 1, OPEN, CLOSE)
    bars[7].started_at += timedelta(seconds=30)
    fetched = ensure_candles(feed, names[:1], 1, OPEN, CLOSE, Said(bars), now=CLOSE + timedelta(days=1))
    assert (fetched.failed, fetched.stored, fetched.refused, count()) == ({}, 374, 1, 375)
    window = load_window(feed, names[:1], 1, bars=375, until=CLOSE)
    assert np.flatnonzero(np.isnan(window.close[0])).tolist() == [7]


def test_bars_out_of_order_twice_and_of_other_times_are_stored_once_and_in_order(feed, names):
    bars = Tape().bars("NSE:AAA-EQ", 1, OPEN - timedelta(days=3), CLOSE)
    fetched = ensure_candles(feed, names[:1], 1, OPEN, CLOSE, Said([*bars[::-1], *bars]), now=CLOSE + timedelta(days=1))
    found = candles_of(feed, names[0], 1, start=OPEN - timedelta(days=9), end=CLOSE)
    assert (fetched.stored, len(found)) == (375, 375)
    assert [bar.started_at for bar in found] == sorted(bar.started_at for bar in found)


def test_bars_of_another_share_are_no_answer(feed, names):
    bars = Tape().bars("NSE:BBB-EQ", 1, OPEN, CLOSE)
    fetched = ensure_candles(feed, names[:1], 1, OPEN, CLOSE, Said(bars), now=CLOSE + timedelta(days=1))
    assert (fetched.failed, count()) == ({"NSE:AAA-EQ": "OTHER_SYMBOL"}, 0)
    assert not CandleCoverage.objects.exists()


@pytest.mark.parametrize("half", [slice(None, 800), slice(800, None)])
def test_what_half_an_answer_lacks_is_asked_for_again(feed, names, half):
    first = OPEN - timedelta(days=7)
    source = Said(Tape().bars("NSE:AAA-EQ", 1, first, CLOSE)[half])
    ensure_candles(feed, names[:1], 1, first, CLOSE, source, now=CLOSE + timedelta(days=1))
    assert count() == 6 * 375
    assert len(source.asked) == 2


def test_what_two_answers_lack_was_never_there_and_is_not_asked_for_again(feed, names):
    first = OPEN - timedelta(days=7)
    listed = [bar for bar in Tape().bars("NSE:AAA-EQ", 1, first, CLOSE) if bar.started_at >= OPEN]
    source = Said(listed, [])
    for _ in range(3):
        ensure_candles(feed, names[:1], 1, first, CLOSE, source, now=CLOSE + timedelta(days=1))
    assert (count(), len(source.asked)) == (375, 2)


def test_bars_outside_the_session_are_not_traded_on_from_the_start(feed, names):
    """What sources let slip in of a Saturday's test session, of the pre-open and of after the close."""
    friday = OPEN - timedelta(days=3)
    bars = Tape().bars("NSE:AAA-EQ", 1, friday, CLOSE)
    stray = [OPEN - timedelta(days=2), OPEN - timedelta(minutes=7), CLOSE - timedelta(days=3)]
    bars += [Bar("NSE:AAA-EQ", at, *[Decimal(500)] * 4, volume=5) for at in stray]
    ensure_candles(feed, names[:1], 1, friday, CLOSE, Said(bars), now=CLOSE + timedelta(days=1))
    stored = candles_of(feed, names[0], 1, start=friday, end=CLOSE)
    assert sorted(bar.started_at for bar in stored if bar.mark & Mark.MISPLACED) == sorted(stray)
    window = load_window(feed, names[:1], 1, bars=750, until=CLOSE)
    assert (window.bars, float(np.nanmax(window.close))) == (750, 100.0)
