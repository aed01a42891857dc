"""Arrays out of stored candles: exact, aligned, and quick to keep up to date."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from trading.marketdata.builder import Bar
from trading.marketdata.candles import HISTORY, IMPORT, STREAM, candles_of, store_bars
from trading.marketdata.models import Feed, Instrument
from trading.marketdata.packing import window_files
from trading.marketdata.windows import WindowCache, load_window
from trading.venue.sessions import session_on

pytestmark = pytest.mark.django_db
OPEN = datetime(2026, 2, 16, 3, 45, tzinfo=UTC)


def at(minute: int) -> datetime:
    return OPEN + timedelta(minutes=minute)


def bar(symbol: str, minute: int, close: str = "100", volume: int = 10) -> Bar:
    price = Decimal(close)
    return Bar(symbol, at(minute), price, price + 1, price - Decimal("0.05"), price, volume)


@pytest.fixture
def feed() -> Feed:
    return Feed.objects.create(name="TAPE", kind=Feed.Kind.SANDBOX)


@pytest.fixture
def names() -> list[Instrument]:
    return [
        Instrument.objects.create(symbol=f"NSE:{name}-EQ", name=name, tick_size=Decimal("0.05"))
        for name in ("AAA", "BBB")
    ]


def test_a_window_has_common_starts_and_nan_where_a_name_has_no_bar(feed, names):
    store_bars(feed, 1, [bar("NSE:AAA-EQ", 0), bar("NSE:AAA-EQ", 1, "101.05"), bar("NSE:BBB-EQ", 1, "7", 3)], STREAM)
    window = load_window(feed, names, 1, bars=10, until=at(2))
    assert window.symbols == ("NSE:AAA-EQ", "NSE:BBB-EQ")
    assert window.starts.tolist() == [int(at(0).timestamp()), int(at(1).timestamp())]
    np.testing.assert_array_equal(window.close, [[100, 101.05], [np.nan, 7]])
    np.testing.assert_array_equal(window.volume, [[10, 10], [np.nan, 3]])
    assert window.close.flags.c_contiguous and not window.close.flags.writeable


@pytest.mark.parametrize(
    "price",
    [
        "0.0001",
        "0.05",
        "1",
        "9999.9999",
        "10000",
        "10000.0001",
        "84677.83",
        "99990000",
        "9999999998.9999",
        "1000000.05",
    ],
)
def test_a_price_passes_the_door_unharmed(feed, names, price):
    exact = Decimal(price)
    store_bars(feed, 1, [Bar("NSE:AAA-EQ", at(0), exact, exact, exact, exact, 2**40 + 1)], STREAM)
    window = load_window(feed, names[:1], 1, bars=1, until=at(1))
    assert window.open[0, 0] == window.close[0, 0] == float(exact)
    assert window.volume[0, 0] == 2**40 + 1


def test_the_last_bars_are_taken_and_the_running_one_is_not(feed, names):
    store_bars(feed, 1, [bar("NSE:AAA-EQ", minute, str(100 + minute)) for minute in range(6)], HISTORY)
    window = load_window(feed, names[:1], 1, bars=3, until=at(5) + timedelta(seconds=30))
    assert window.close.tolist() == [[102, 103, 104]]
    assert window.last_start == at(4)


def test_minutes_become_longer_bars_counted_from_the_open(feed, names):
    store_bars(feed, 1, [bar("NSE:AAA-EQ", minute, str(100 + minute)) for minute in range(13) if minute != 5], HISTORY)
    window = load_window(feed, names[:1], 5, bars=10, until=at(13))
    assert window.starts.tolist() == [int(at(0).timestamp()), int(at(5).timestamp())]  # 10 to 15 still runs
    assert window.open.tolist() == [[100, 106]]
    assert window.high.tolist() == [[105, 110]]
    assert window.close.tolist() == [[104, 109]]
    assert window.volume.tolist() == [[50, 40]]


def test_the_short_last_bar_of_a_session_is_over_at_the_close(feed, names):
    session = session_on(date(2026, 2, 16))
    store_bars(feed, 1, [bar("NSE:AAA-EQ", minute) for minute in range(375)], HISTORY)
    window = load_window(feed, names[:1], 60, bars=10, until=session.closes_at)
    assert window.starts.tolist() == [int(start.timestamp()) for start in session.bar_starts(60)]
    assert window.volume[0, -1] == 150


def test_feeds_never_mix(feed, names):
    other = Feed.objects.create(name="OTHER", kind=Feed.Kind.EXCHANGE)
    store_bars(other, 1, [bar("NSE:AAA-EQ", 0)], STREAM)
    assert load_window(feed, names, 1, bars=5, until=at(9)).bars == 0


def same(left, right) -> bool:
    return np.array_equal(left.starts, right.starts) and all(
        np.array_equal(getattr(left, name), getattr(right, name), equal_nan=True)
        for name in ("open", "high", "low", "close", "volume")
    )


@pytest.mark.parametrize("timeframe", [1, 5])
def test_a_kept_window_stays_equal_to_a_fresh_one(feed, names, timeframe):
    cache = WindowCache()
    for minute in range(60):
        bars = [bar("NSE:AAA-EQ", minute, str(100 + minute))]
        if minute % 7:
            bars.append(bar("NSE:BBB-EQ", minute, str(50 + minute)))
        store_bars(feed, 1, bars, STREAM)
        kept = cache.window(feed, names, timeframe, bars=8, until=at(minute + 1))
        assert same(kept, load_window(feed, names, timeframe, bars=8, until=at(minute + 1)))


def test_a_kept_window_without_news_is_the_same_object(feed, names):
    store_bars(feed, 1, [bar("NSE:AAA-EQ", minute) for minute in range(9)], STREAM)
    cache = WindowCache()
    first = cache.window(feed, names, 1, bars=8, until=at(9))
    assert cache.window(feed, names, 1, bars=8, until=at(9) + timedelta(seconds=20)) is first


def test_a_corrected_bar_and_a_filled_gap_reach_a_kept_window(feed, names):
    store_bars(feed, 1, [bar("NSE:AAA-EQ", minute) for minute in range(40) if minute != 11], STREAM)
    cache = WindowCache()
    cache.window(feed, names, 1, bars=50, until=at(40))
    store_bars(feed, 1, [bar("NSE:AAA-EQ", 10, "95"), bar("NSE:AAA-EQ", 11, "96")], HISTORY)
    kept = cache.window(feed, names, 1, bars=50, until=at(40))
    assert kept.close[0, 10:12].tolist() == [95, 96]


def test_history_corrects_the_stream_and_nothing_else_is_overwritten(feed, names):
    assert store_bars(feed, 1, [bar("NSE:AAA-EQ", 0, "100")], STREAM) == 1
    assert store_bars(feed, 1, [bar("NSE:AAA-EQ", 0, "999")], STREAM) == 0
    assert store_bars(feed, 1, [bar("NSE:AAA-EQ", 0, "101")], HISTORY) == 1
    assert store_bars(feed, 1, [bar("NSE:AAA-EQ", 0, "102")], IMPORT) == 0
    assert store_bars(feed, 1, [bar("NSE:AAA-EQ", 0, "103")], STREAM) == 0
    assert [one.close for one in candles_of(feed, names[0], 1, start=at(0), end=at(9))] == [101]


def test_many_bars_are_stored_once(feed, names):
    bars = [bar("NSE:AAA-EQ", minute) for minute in range(375)] + [bar("NSE:BBB-EQ", minute) for minute in range(375)]
    assert store_bars(feed, 1, bars + bars[:5], HISTORY) == 750
    assert store_bars(feed, 1, bars, HISTORY) == 0


# -- what one process leaves to the next -------------------------------------------------------------------------------


@pytest.fixture
def files(settings, tmp_path, monkeypatch):
    """Windows of any size are kept as files, in a folder of their own."""
    settings.VAR = tmp_path
    monkeypatch.setattr(window_files, "LEAST_CELLS", 1)
    return lambda: sorted((tmp_path / "windows").glob("*"))


def test_a_process_that_starts_maps_what_the_last_one_left(feed, names, files):
    store_bars(feed, 1, [bar("NSE:AAA-EQ", minute, str(100 + minute)) for minute in range(40)], STREAM)
    WindowCache().window(feed, names, 1, bars=30, until=at(40))
    assert len(files()) == 1
    store_bars(feed, 1, [bar("NSE:AAA-EQ", minute, str(100 + minute)) for minute in range(40, 45)], STREAM)
    again = WindowCache().window(feed, names, 1, bars=30, until=at(45))
    assert same(again, load_window(feed, names, 1, bars=30, until=at(45)))
    mapped = WindowCache().window(feed, names, 1, bars=30, until=at(40))
    assert not mapped.close.flags.owndata
    assert not mapped.close.flags.writeable and mapped.close.flags.c_contiguous


def test_a_file_of_another_past_is_not_served(feed, names, files):
    store_bars(feed, 1, [bar("NSE:AAA-EQ", minute) for minute in range(40) if minute != 11], STREAM)
    WindowCache().window(feed, names, 1, bars=50, until=at(40))
    store_bars(feed, 1, [bar("NSE:AAA-EQ", 10, "95"), bar("NSE:AAA-EQ", 11, "96")], HISTORY)
    assert WindowCache().window(feed, names, 1, bars=50, until=at(40)).close[0, 10:12].tolist() == [95, 96]


@pytest.mark.parametrize("damage", [b"", b"TZWINDOW1\n", b"something else entirely", None])
def test_a_damaged_file_is_read_past(feed, names, files, damage):
    store_bars(feed, 1, [bar("NSE:AAA-EQ", minute) for minute in range(40)], STREAM)
    whole = WindowCache().window(feed, names, 1, bars=30, until=at(40))
    (path,) = files()
    path.write_bytes(path.read_bytes()[:-500] if damage is None else damage)
    assert same(WindowCache().window(feed, names, 1, bars=30, until=at(40)), whole)
    assert len(files()) == 1


def test_files_keep_within_their_room(feed, names, files, monkeypatch):
    store_bars(feed, 1, [bar("NSE:AAA-EQ", minute) for minute in range(40)], STREAM)
    monkeypatch.setattr(window_files, "MOST_BYTES", 5_000)
    for bars in range(10, 30):
        WindowCache().window(feed, names, 1, bars=bars, until=at(40))
    assert sum(path.stat().st_size for path in files()) <= 5_000


def test_a_disk_that_cannot_be_written_costs_the_file_alone(feed, names, files, settings, tmp_path):
    (tmp_path / "windows").write_text("a file where a folder should be")
    store_bars(feed, 1, [bar("NSE:AAA-EQ", minute) for minute in range(40)], STREAM)
    assert WindowCache().window(feed, names, 1, bars=30, until=at(40)).bars == 30
