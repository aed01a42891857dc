"""One writer's block, many writers, and what nothing is traded on."""

import importlib
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from tests.factories.market import FeedFactory, InstrumentFactory, stored_candles
from trading.marketdata.builder import Bar, BarFlag
from trading.marketdata.candles import (
    HISTORY,
    STREAM,
    ImpossibleCandle,
    bars_by_day,
    candles_of,
    columns_from,
    forget_candles,
    mark_bars,
    store_bars,
    store_columns,
)
from trading.marketdata.marks import Mark, Source
from trading.marketdata.models import CandleBlock, CandleSeries
from trading.marketdata.windows import WindowCache, load_window
from trading.venue.sessions import session_on

OPEN = datetime(2026, 2, 16, 3, 45, tzinfo=UTC)  # a Monday
CLOSE = OPEN + timedelta(minutes=375)


def at(minute: int) -> datetime:
    return OPEN + timedelta(minutes=minute)


@pytest.fixture
def feed(db):
    return FeedFactory()


@pytest.fixture
def share(db):
    return InstrumentFactory()


def flat(feed, share, minutes, price="100", **more) -> int:
    minutes = list(minutes)
    return stored_candles(feed, share, map(at, minutes), [(price,) * 4] * len(minutes), **more)


def test_history_fills_and_corrects_the_block_the_stream_began(feed, share):
    flat(feed, share, range(100), source=STREAM)
    flat(feed, share, range(110, 120), source=STREAM)
    assert flat(feed, share, range(90, 130), "101", source=HISTORY) == 40
    found = candles_of(feed, share, 1, start=OPEN, end=CLOSE)
    assert [bar.started_at for bar in found] == [at(minute) for minute in range(130)]
    assert {bar.source for bar in found[:90]} == {STREAM} and {bar.source for bar in found[90:]} == {HISTORY}
    assert {bar.close for bar in found[90:]} == {Decimal(101)}
    block = CandleBlock.objects.get()
    assert (block.bars, block.streamed) == (130, 90)


def test_the_revision_counts_changes_of_the_past_and_nothing_else(feed, share):
    def revision() -> int:
        return CandleSeries.objects.get().revision

    flat(feed, share, range(5), source=STREAM)
    flat(feed, share, range(5, 9), source=STREAM)
    assert revision() == 0
    flat(feed, share, range(9), source=HISTORY)  # the same numbers from a better source
    assert revision() == 0
    flat(feed, share, [20], source=STREAM)
    flat(feed, share, [12], source=HISTORY)
    assert revision() == 1
    flat(feed, share, [20], "99", source=HISTORY)
    assert revision() == 2
    flat(feed, share, range(9), "98", source=HISTORY)  # known better already
    assert revision() == 2


def test_an_untrusted_bar_is_missing_unless_it_is_asked_for(feed, share):
    flat(feed, share, range(10))
    cache = WindowCache()
    cache.window(feed, [share], 1, bars=10, until=at(10))
    assert mark_bars(feed, share, 1, {at(3): Mark.OUTLIER, at(4): Mark.NOISE, at(400): Mark.BROKEN}) == 2
    for window in (
        load_window(feed, [share], 1, bars=10, until=at(10)),
        cache.window(feed, [share], 1, bars=10, until=at(10)),
    ):
        assert np.flatnonzero(np.isnan(window.close[0])).tolist() == [3]
        assert np.isnan(window.volume[0, 3])
    assert not np.isnan(load_window(feed, [share], 1, bars=10, until=at(10), with_untrusted=True).close).any()
    assert CandleBlock.objects.get().untrusted == 1
    assert [bar.mark for bar in candles_of(feed, share, 1, start=at(3), end=at(5))] == [Mark.OUTLIER, Mark.NOISE]
    assert mark_bars(feed, share, 1, {at(3): Mark.NONE}, clear=Mark.OUTLIER) == 1
    assert not np.isnan(cache.window(feed, [share], 1, bars=10, until=at(10)).close).any()


def test_a_longer_bar_does_without_the_minute_that_is_not_trusted(feed, share):
    flat(feed, share, [0, 1, 3, 4])
    flat(feed, share, [2], "500", mark=Mark.OUTLIER)
    assert load_window(feed, [share], 5, bars=1, until=at(5)).high.tolist() == [[100]]


def test_volume_that_was_caught_up_is_noted(feed, share):
    caught = Bar(share.symbol, OPEN, *[Decimal(100)] * 4, volume=9, flags=BarFlag.CATCH_UP)
    store_bars(feed, 1, [caught], STREAM)
    assert candles_of(feed, share, 1, start=OPEN, end=CLOSE)[0].mark == Mark.CATCH_UP


@pytest.mark.parametrize(
    ("start", "row"),
    [
        (0, (10_000, 9_999, 9_000, 9_500, 1)),  # high below open
        (0, (10_000, 11_000, 10_001, 10_500, 1)),  # low above open
        (0, (0, 0, 0, 0, 1)),
        (0, (10_000, 10_000, -1, 10_000, 1)),
        (0, (10_000, 10_000, 10_000, 10_000, -1)),
        (0, (10_000, 10**14 + 1, 10_000, 10_000, 1)),
        (30, (10_000, 10_000, 10_000, 10_000, 1)),  # half a minute
    ],
)
def test_numbers_that_cannot_be_are_refused_and_nothing_is_stored(feed, share, start, row):
    stamp = int(OPEN.timestamp())
    bars = np.array([(stamp, *[10_000] * 4, 1), (stamp + 60 + start, *row)], np.int64).T
    with pytest.raises(ImpossibleCandle, match="IMPOSSIBLE_CANDLE"):
        store_columns(feed, 1, columns_from(share.pk, bars, Source.HISTORY))
    assert not CandleSeries.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_many_writers_of_one_block_lose_nothing_and_do_not_wait_crosswise():
    feed, shares = FeedFactory(), [InstrumentFactory() for _ in range(3)]
    together, errors = threading.Barrier(6), []

    def write(number: int) -> None:
        """Every writer has its own minutes of the same day; half of them also what the stream saw of all of it."""
        try:
            together.wait(10)
            for minute in range(number, 60, 6):
                for share in shares if number % 2 else reversed(shares):
                    flat(feed, share, [minute], "101", source=HISTORY)
                    if number % 2:
                        flat(feed, share, range(60), source=STREAM)
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    for share in shares:
        found = candles_of(feed, share, 1, start=OPEN, end=CLOSE)
        assert [bar.started_at for bar in found] == [at(minute) for minute in range(60)]
        assert {(bar.source, bar.close) for bar in found} == {(HISTORY, Decimal(101))}
    assert CandleBlock.objects.count() == 3


def test_a_day_of_each_is_counted_without_reading_it(feed, share):
    flat(feed, share, range(7))
    flat(feed, share, [0, 5], timeframe=5)
    for timeframe, bars in ((1, 7), (5, 2)):
        assert bars_by_day(feed, [share], timeframe, first=OPEN.date(), last=OPEN.date()) == {
            (share.pk, OPEN.date()): bars
        }


def test_a_feed_that_is_over_leaves_nothing_behind(feed, share):
    other = FeedFactory(name="other")
    flat(feed, share, range(7))
    flat(other, share, range(3))
    forget_candles(feed)
    assert [(one.series.feed_id, one.bars) for one in CandleBlock.objects.all()] == [(other.pk, 3)]


# -- longer bars -----------------------------------------------------------------------------------------------------


def test_stored_longer_bars_and_minutes_make_one_window(feed, share):
    """Five-minute bars were imported up to yesterday, today there are minutes: neither hides the other."""
    flat(feed, share, range(0, 375, 5), timeframe=5)
    tuesday = 24 * 60
    flat(feed, share, range(tuesday, tuesday + 15), "102")
    flat(feed, share, range(5), "999")  # of which there is a longer bar already
    window = load_window(feed, [share], 5, bars=500, until=at(tuesday + 15))
    assert window.bars == 78
    assert window.close[0, 0] == 100 and window.close[0, -3:].tolist() == [102] * 3


def test_a_daily_bar_is_one_session_however_long(feed, share):
    muhurat, outage = session_on(datetime(2021, 11, 4).date()), session_on(datetime(2021, 2, 24).date())
    for session, price in ((outage, "50"), (muhurat, "60")):
        starts = session.bar_starts(1)
        stored_candles(feed, share, starts, [(price,) * 4] * len(starts), volume=1)
    window = load_window(feed, [share], 1440, bars=5, until=muhurat.closes_at)
    assert len(outage.segments) == 2
    assert window.volume.tolist() == [[outage.minutes, muhurat.minutes]]
    assert window.starts.tolist() == [int(one.opens_at.timestamp()) for one in (outage, muhurat)]


def test_a_bar_of_shares_that_close_by_auction_is_over_when_they_close(feed, share):
    opens = datetime(2026, 9, 15, 3, 45, tzinfo=UTC)
    share.has_derivatives = True
    share.save()
    starts = [opens + timedelta(minutes=minute) for minute in range(360)]
    stored_candles(feed, share, starts, [("7",) * 4] * 360)
    assert load_window(feed, [share], 240, bars=5, until=opens + timedelta(minutes=360)).bars == 2
    assert load_window(feed, [share, InstrumentFactory()], 240, bars=5, until=opens + timedelta(minutes=360)).bars == 1


def test_a_window_reaches_over_holes_as_far_as_there_is_something(feed, share):
    for years in range(4):
        flat(feed, share, [minute - years * 365 * 1440 for minute in range(3)])
    window = load_window(feed, [share], 1, bars=11, until=at(10_000_000))
    assert window.bars == 11


# -- the table that was ----------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_candles_of_the_old_table_are_carried_over():
    migration = importlib.import_module("trading.marketdata.migrations.0005_candles_are_packed")
    feed, share = FeedFactory(), InstrumentFactory()
    apps = MigrationLoader(connection).project_state(("marketdata", "0005_candles_are_packed")).apps
    old = apps.get_model("marketdata", "Candle")
    with connection.schema_editor() as editor:
        editor.create_model(old)
    try:
        expected: dict[int, list] = {}
        for timeframe in (1, 15, 1440):
            for number in range(40):
                price = Decimal("812.35") + number * Decimal("0.05")
                row = (OPEN + timedelta(minutes=timeframe * number), price, price + 3, price - Decimal("1.0001"), price)
                source = ("STREAM", "HISTORY", "IMPORT")[number % 3 if timeframe == 15 else 1]
                expected.setdefault(timeframe, []).append((*row, number * 70_000, source))
                old.objects.create(
                    feed_id=feed.pk, instrument_id=share.pk, timeframe=timeframe, volume=number * 70_000, source=source,
                    **dict(zip(("started_at", "open", "high", "low", "close"), row, strict=True)),
                )  # fmt: skip
        migration.carry_over(apps, None)
    finally:
        with connection.schema_editor() as editor:
            editor.delete_model(old)
    for timeframe, rows in expected.items():
        found = candles_of(feed, share, timeframe, start=OPEN, end=OPEN + timedelta(days=60))
        assert [(b.started_at, b.open, b.high, b.low, b.close, b.volume, b.source) for b in found] == rows
        series = CandleSeries.objects.get(timeframe=timeframe)
        assert series.newest_at == rows[-1][0]
    assert flat(feed, share, range(40), source=HISTORY) == 0
