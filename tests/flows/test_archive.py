"""Old candles leave for Parquet, are read as before, come back when they change; exports; the end of the day."""

import io
import os
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from execution.tasks import day_end_task, end_the_day
from tests.factories import UserFactory
from tests.factories.market import FeedFactory, InstrumentFactory, stored_candles
from trading.domain.clock import IST
from trading.marketdata.candles import HISTORY, STREAM, bars_by_day, candles_of, mark_bars
from trading.marketdata.day_end import day_end, months_before
from trading.marketdata.files import archive as archives
from trading.marketdata.files.archive import ArchiveDamaged, archive_candles, folder
from trading.marketdata.marks import Mark
from trading.marketdata.models import CandleArchive, CandleBlock, Feed
from trading.marketdata.windows import load_window
from trading.monitoring.models import Alert, JobSlot
from trading.venue.sessions import session_on

pytestmark = pytest.mark.django_db
DAYS = (date(2026, 1, 5), date(2026, 1, 6), date(2026, 2, 16))
BEFORE = date(2026, 2, 1)


@pytest.fixture
def feed(db, settings, tmp_path) -> Feed:
    settings.VAR = tmp_path
    return FeedFactory(name="NSE", kind=Feed.Kind.EXCHANGE)


@pytest.fixture
def shares(feed):
    """Two shares with an hour of minutes on three days, and daily bars."""
    found = [InstrumentFactory(symbol=f"NSE:{name}-EQ") for name in ("AAA", "BBB")]
    for place, share in enumerate(found):
        for day in DAYS:
            starts = session_on(day).bar_starts(1)[:60]
            rows = [(f"{100 + place}.{n:02d}", 200, "99.0001", f"{100 + place}.05", n) for n in range(60)]
            stored_candles(feed, share, starts, rows, source=STREAM if day == DAYS[1] else HISTORY)
        opens = [session_on(day).opens_at for day in DAYS]
        stored_candles(feed, share, opens, [(1, 1, 1, 1)] * 3, timeframe=1440)
    return found


def everything(feed, shares):
    start, end = datetime(2020, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    return [candles_of(feed, one, timeframe, start=start, end=end) for one in shares for timeframe in (1, 1440)]


def at(day: date, minute: int) -> datetime:
    return session_on(day).opens_at + timedelta(minutes=minute)


def test_what_is_archived_is_read_as_before(feed, shares):
    before = everything(feed, shares)
    until = at(DAYS[-1], 60)
    window = load_window(feed, shares, 1, bars=500, until=until)
    longer = load_window(feed, shares, 15, bars=500, until=until)
    (moved,) = archive_candles(feed, before=BEFORE, wall=timezone.now())
    assert (moved.timeframe, moved.first_day, moved.bars) == (1, date(2026, 1, 1), 240)
    assert CandleBlock.objects.filter(series__timeframe=1).count() == 2  # of February
    assert everything(feed, shares) == before
    for old, timeframe in ((window, 1), (longer, 15)):
        again = load_window(feed, shares, timeframe, bars=500, until=until)
        assert np.array_equal(again.starts, old.starts) and np.array_equal(again.close, old.close)
    counts = bars_by_day(feed, shares, 1, first=DAYS[0], last=DAYS[-1])
    assert counts == {(one.pk, day): 60 for one in shares for day in DAYS}
    assert archive_candles(feed, before=BEFORE, wall=timezone.now()) == []


def test_anybodys_tools_can_read_the_file(feed, shares):
    (moved,) = archive_candles(feed, before=BEFORE, wall=timezone.now())
    asked = "SELECT symbol, count(*), min(start), max(open)::VARCHAR, min(low)::VARCHAR FROM read_parquet(?)"
    with duckdb.connect() as database:
        found = database.execute(f"{asked} GROUP BY 1 ORDER BY 1", [moved.path]).fetchall()
    opens = session_on(DAYS[0]).opens_at.replace(tzinfo=None)
    assert found == [
        ("NSE:AAA-EQ", 120, opens, "100.5900", "99.0001"),
        ("NSE:BBB-EQ", 120, opens, "101.5900", "99.0001"),
    ]


def test_an_archived_block_that_changes_comes_back_and_is_archived_again(feed, shares):
    archive_candles(feed, before=BEFORE, wall=timezone.now())
    assert stored_candles(feed, shares[0], [at(DAYS[1], 3), at(DAYS[1], 70)], [(7, 7, 7, 7)] * 2, source=HISTORY) == 2
    assert stored_candles(feed, shares[0], [at(DAYS[0], 3)], [(8, 8, 8, 8)], source=HISTORY) == 0  # known better
    assert mark_bars(feed, shares[1], 1, {at(DAYS[0], 5): Mark.OUTLIER}) == 1
    changed = everything(feed, shares)
    assert [bar.close for bar in changed[0] if bar.close == 7] == [7, 7] and len(changed[0]) == 181
    assert [bar.started_at for bar in changed[2] if bar.mark] == [at(DAYS[0], 5)]
    (moved,) = archive_candles(feed, before=BEFORE, wall=timezone.now())
    assert moved.bars == 241 and everything(feed, shares) == changed
    assert CandleArchive.objects.count() == 1
    archives.verify(CandleArchive.objects.get())


class BadDisk:
    """Does something to the next new file at the moment it is to be synced: what is read back is what the disk kept."""

    listening = False

    def __init__(self) -> None:
        self.damage: Callable[[Path], None] | None = None

    def hears(self, event: str, given: tuple[object, ...]) -> None:
        if self.damage is not None and event == "open" and str(given[0]).endswith(".new"):
            damage, self.damage = self.damage, None
            damage(Path(str(given[0])))


DISK = BadDisk()


def loses_a_bar(path: Path) -> None:
    with duckdb.connect() as database:
        database.execute(f"COPY (SELECT * FROM read_parquet('{path}') OFFSET 1) TO '{path}' (FORMAT PARQUET)")


def loses_its_end(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 40)


def turns_some_bytes(path: Path) -> None:
    kept = bytearray(path.read_bytes())
    kept[64:96] = bytes(byte ^ 0xFF for byte in kept[64:96])
    path.write_bytes(kept)


@pytest.mark.parametrize("damage", [loses_a_bar, loses_its_end, turns_some_bytes])
def test_a_file_that_does_not_read_back_deletes_nothing(feed, shares, damage):
    before = everything(feed, shares)
    if not BadDisk.listening:
        sys.addaudithook(DISK.hears)
        BadDisk.listening = True
    DISK.damage = damage
    with pytest.raises(ArchiveDamaged, match="read back"):
        archive_candles(feed, before=BEFORE, wall=timezone.now())
    assert DISK.damage is None
    assert everything(feed, shares) == before and not CandleArchive.objects.exists()
    assert not [path for path in folder().rglob("*") if path.is_file()]


def test_what_a_killed_run_left_half_written_is_cleared_and_a_running_ones_is_not(feed, shares):
    wall = timezone.now()
    month = folder() / f"{feed.pk}-NSE" / "1m"
    month.mkdir(parents=True)
    old, running = month / "2026-01.77.new", month / "2026-01.78.new"
    for one in (old, running):
        one.write_bytes(b"PAR1")
    os.utime(old, (wall.timestamp() - 2 * 86_400,) * 2)
    os.utime(running, (wall.timestamp() - 60,) * 2)
    archive_candles(feed, before=BEFORE, wall=wall)
    assert (old.exists(), running.exists(), (month / "2026-01.parquet").exists()) == (False, True, True)


def test_a_lost_or_damaged_file_is_told_and_not_taken_for_no_candles(feed, shares):
    archive_candles(feed, before=BEFORE, wall=timezone.now())
    call_command("archive", "--verify", stdout=io.StringIO())
    path = folder() / CandleArchive.objects.get().path
    path.write_bytes(path.read_bytes() + b"x")
    out = io.StringIO()
    with pytest.raises(SystemExit):
        call_command("archive", "--verify", stdout=out)
    assert "DAMAGED" in out.getvalue()
    path.unlink()
    with pytest.raises(ArchiveDamaged, match="missing"):
        everything(feed, shares)


def test_the_command_says_what_it_would_do_and_does_it(feed, shares):
    out = io.StringIO()
    call_command("archive", "--months", "2", "--dry-run", stdout=out)
    call_command("archive", "--months", "2", stdout=out)
    call_command("archive", "--list", stdout=out)
    assert "dry run" in out.getvalue() and CandleArchive.objects.exists()
    with pytest.raises(CommandError, match="TOO_RECENT"):
        call_command("archive", "--months", "0")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_an_export_can_be_imported_again(feed, shares, tmp_path, ending):
    archive_candles(feed, before=BEFORE, wall=timezone.now())
    path = tmp_path / f"AAA.{ending}"
    call_command("export_candles", "NSE:AAA-EQ", "--out", str(path), stdout=io.StringIO())
    other = FeedFactory(name="other", kind=Feed.Kind.EXCHANGE)
    zone = "UTC" if ending == "parquet" else "Asia/Kolkata"
    call_command(
        "import_candles", str(path), "--feed", "other", "--tz", zone, stdout=io.StringIO(), stderr=io.StringIO()
    )
    ours, theirs = everything(feed, shares[:1])[0], everything(other, shares[:1])[0]
    assert len(ours) == 180
    assert [(b.started_at, b.open, b.low, b.volume) for b in ours] == [
        (b.started_at, b.open, b.low, b.volume) for b in theirs
    ]


def test_candles_can_be_downloaded(feed, shares):
    client = Client()
    client.force_login(UserFactory())
    asked = {"symbol": "NSE:AAA-EQ", "from_date": "2026-01-05", "to_date": "2026-01-05"}
    reply = client.get("/api/v1/candles/", asked)
    text = b"".join(reply.streaming_content).decode().splitlines()
    assert text[0] == "symbol,ts,open,high,low,close,volume,source,marks" and len(text) == 61
    assert text[6] == "NSE:AAA-EQ,2026-01-05T09:20:00+05:30,100.05,200.00,99.0001,100.05,5,HISTORY,"
    assert client.get("/api/v1/candles/", asked | {"file": "parquet"}).content[:4] == b"PAR1"
    assert client.get("/api/v1/candles/", asked | {"from_date": "2020-01-01"}).status_code == 422
    assert client.get("/api/v1/candles/", asked | {"symbol": "NSE:NOBODY-EQ"}).status_code == 404
    assert Client().get("/api/v1/candles/", asked).status_code == 401


def test_the_day_is_closed_once_and_says_what_was_short(feed, shares, valkey):
    now = datetime(2026, 2, 16, 19, 10, tzinfo=IST)
    told = day_end(now=now, wall=timezone.now(), months=1)
    assert told.day == DAYS[-1] and told.done
    assert told.steps["quality NSE"] == {
        "instruments": 2,
        "bars": 120,
        "short": 2,
        "such_as": ["NSE:AAA-EQ", "NSE:BBB-EQ"],
    }
    assert told.steps["archive NSE"] == {"files": 0, "bars": 0}
    assert day_end(now=now + timedelta(hours=3), wall=timezone.now()) is None
    assert day_end(now=now + timedelta(hours=3), wall=timezone.now(), again=True).done
    told = day_end(now=datetime(2026, 3, 2, 19, 10, tzinfo=IST), wall=timezone.now(), months=1)
    assert told.steps["archive NSE"] == {"files": 1, "bars": 240}


def test_a_step_that_fails_gives_the_day_back(feed, shares, valkey):
    now = datetime(2026, 2, 16, 19, 10, tzinfo=IST)

    def fails():
        raise ConnectionError

    with pytest.raises(ConnectionError):
        day_end(now=now, wall=timezone.now(), more={"masters": fails})
    assert Alert.objects.filter(code="DAY_END_FAILED").count() == 1
    assert day_end(now=now, wall=timezone.now(), more={"masters": dict}).steps["masters"] == {}


def test_beat_and_a_person_close_the_same_day_once(feed, shares, valkey):
    day_end_task()
    assert JobSlot.objects.get(name="day_end").last_slot > 0
    assert end_the_day() is None
    out = io.StringIO()
    call_command("daily", stdout=out)
    call_command("daily", "--again", stdout=out)
    assert "closed already" in out.getvalue() and "quality NSE" in out.getvalue()


def test_months_are_counted_back_over_years():
    assert months_before(date(2026, 2, 16), 3) == date(2025, 11, 1)
    assert months_before(date(2026, 12, 31), 24) == date(2024, 12, 1)
