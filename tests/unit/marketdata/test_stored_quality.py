"""Stored candles are judged, marked and reported; what is not trusted is traded on by nobody, and somebody is told."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import numpy as np
import pytest

from tests.factories import FeedFactory, InstrumentFactory, UserFactory
from tests.factories.world import open_feed
from tests.unit.marketdata.test_day_quality import MONDAY, day_of
from trading.audit.models import AuditEntry
from trading.domain.clock import IST
from trading.domain.errors import NotAllowed
from trading.marketdata.builder import Bar
from trading.marketdata.candles import candles_of, store_bars
from trading.marketdata.listing.actions import Suspicion, confirm_action, dismiss_action, suspect_actions
from trading.marketdata.marks import Mark
from trading.marketdata.models import CorporateAction, QualityDay
from trading.marketdata.quality.stored import check_stored, distrusted, doubts_about, mark_spikes
from trading.marketdata.quality.trust import judged_days, quality_summary, undecided_actions
from trading.marketdata.tasks import mark_today
from trading.marketdata.windows import WindowCache, load_window
from trading.venue.sessions import session_on

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
NOW = datetime(2026, 2, 17, 12, 0, tzinfo=UTC)


@pytest.fixture
def feed():
    return FeedFactory(name="NSE", kind="EXCHANGE")


@pytest.fixture
def share():
    return InstrumentFactory(symbol="NSE:ABC-EQ")


def store(feed, share, day: date = MONDAY, *, spike: int | None = None, price: float = 800.0, skip=()) -> list[Bar]:
    bars = day_of(day, price=price)
    if spike is not None:
        bars.high[spike] = round(bars.high[spike] * 1.2, 2)
    rows = [
        Bar(
            share.symbol, datetime.fromtimestamp(int(bars.starts[n]), UTC),
            *(Decimal(str(round(float(getattr(bars, name)[n]), 2))) for name in ("open", "high", "low", "close")),
            int(bars.volume[n]),
        )
        for n in range(bars.starts.size) if n not in skip
    ]  # fmt: skip
    store_bars(feed, 1, rows, "HISTORY")
    return rows


def check(feed, share, first: date = MONDAY, last: date = MONDAY):
    (report,) = check_stored(feed=feed, instruments=[share], timeframe=1, first=first, last=last, now=NOW)
    return report


def test_a_day_is_judged_stored_and_read_back(feed, share):
    store(feed, share, skip=(5, 6))
    report = check(feed, share)
    assert report.defects == {"MISSING_BARS": 2}
    row = QualityDay.objects.get()
    assert (row.score, row.present, row.expected, row.gap_from) == (99, 373, 375, "09:20")
    found = judged_days(feed, [share], 1, first=MONDAY, last=MONDAY)[share.pk, MONDAY]
    (defect,) = found.defects
    assert (defect[0], defect[2]) == ("MISSING_BARS", 2) and "not there" in defect[1]
    assert quality_summary(feed, 1, first=MONDAY, last=MONDAY)[0]["missing"] == 2


def test_an_untrusted_bar_is_marked_left_out_of_windows_and_explained(feed, share):
    rows = store(feed, share, spike=100)
    report = check(feed, share)
    assert (report.untrusted, report.marked) == (1, 1)
    at = rows[100].started_at
    assert candles_of(feed, share, 1, start=at, end=at + timedelta(minutes=1))[0].mark == Mark.OUTLIER
    until = rows[100].started_at + timedelta(minutes=1)
    assert np.isnan(load_window(feed, [share], 1, bars=10, until=until).close[0, -1])
    told = distrusted(feed, [share], 5, start=until - timedelta(minutes=5), end=until)
    assert told == {share.pk: "a price that those around it contradict"}


def test_a_spike_of_today_is_marked_with_the_next_bar_and_a_move_is_not(share):
    feed = open_feed(at=datetime.combine(MONDAY, time(11), tzinfo=IST))
    moves = InstrumentFactory(symbol="NSE:MOVES-EQ")
    store(feed, moves, skip=range(100, 375))
    store(feed, moves, price=1000.0, skip=range(100))
    rows = store(feed, share, spike=100, skip=range(101, 375))
    at = rows[-1].started_at

    def mark() -> Mark:
        mark_today(forced=True)
        return candles_of(feed, share, 1, start=at, end=at + timedelta(minutes=1))[0].mark

    assert mark() == Mark.NONE  # nothing contradicts it yet: it may be the beginning of a move
    store(feed, share, spike=100, skip=range(102, 375))
    assert mark() == mark() == Mark.OUTLIER
    assert not any(one.mark for one in candles_of(feed, moves, 1, start=at - timedelta(hours=2), end=at + DAY))
    assert np.isnan(load_window(feed, [share], 1, bars=2, until=at + timedelta(minutes=2)).close[0]).tolist() == [1, 0]


def test_a_daily_bar_that_its_neighbours_contradict_is_marked(feed, share):
    days = [one for at in range(30) if session_on(one := date(2026, 2, 1) + timedelta(at))][:15]
    prices = [Decimal(800 + at % 3) for at in range(len(days))]
    prices[7] *= 2
    bars = [
        Bar(share.symbol, session_on(day).opens_at, price, price + 4, price - 4, price, 10_000)
        for day, price in zip(days, prices, strict=True)
    ]
    store_bars(feed, 1440, bars, "HISTORY")
    among = {"feed": feed, "instruments": [share], "timeframe": 1440, "first": days[0], "last": days[-1]}
    assert mark_spikes(**among) == {share.symbol: 1} and mark_spikes(**among) == {}
    kept = candles_of(feed, share, 1440, start=bars[0].started_at, end=bars[-1].started_at + DAY)
    assert [at for at, one in enumerate(kept) if one.mark] == [7]


def test_judged_again_after_a_correction_the_mark_is_gone(feed, share):
    store(feed, share, spike=100)
    check(feed, share)
    assert check(feed, share).marked == 0
    from trading.marketdata.candles import mark_bars

    plain = day_of()
    lie = datetime.fromtimestamp(int(plain.starts[7]), UTC)
    mark_bars(feed, share, 1, {lie: Mark.BROKEN})
    assert check(feed, share).marked == 1  # the bar is sound: its doubt is taken away
    assert candles_of(feed, share, 1, start=lie, end=lie + timedelta(minutes=1))[0].mark == Mark.NONE


def suspected(share, ex_date: date = date(2026, 2, 17), factor: float = 0.5) -> CorporateAction:
    found = [Suspicion(ex_date, factor, "SPLIT_OR_BONUS", "800 opened at 400")]
    (row,) = suspect_actions(instrument=share, suspicions=found, source="end-of-day file", now=NOW)
    assert suspect_actions(instrument=share, suspicions=found, source="end-of-day file", now=NOW) == []
    return row


def test_only_a_confirmed_action_adjusts_and_the_view_of_the_day_before_knows_nothing_of_it(feed, share):
    store(feed, share)
    store(feed, share, date(2026, 2, 17), price=400.0)
    row = suspected(share)
    end = datetime(2026, 2, 17, 10, 0, tzinfo=UTC)
    cache = WindowCache()
    raw = load_window(feed, [share], 1, bars=750, until=end)
    assert np.array_equal(load_window(feed, [share], 1, bars=750, until=end, adjusted=True).close, raw.close)
    confirm_action(
        action_id=row.pk, factor=Decimal("0.5"), kind="SPLIT_OR_BONUS", actor="operator", source="circular", note="",
        now=NOW,
    )  # fmt: skip
    adjusted = load_window(feed, [share], 1, bars=750, until=end, adjusted=True)
    assert np.allclose(adjusted.close[0, :375], raw.close[0, :375] / 2)
    assert np.allclose(adjusted.volume[0, :375], raw.volume[0, :375] * 2)
    assert np.array_equal(adjusted.close[0, 375:], raw.close[0, 375:])
    assert np.array_equal(cache.window(feed, [share], 1, bars=750, until=end, adjusted=True).close, adjusted.close)
    before = datetime(2026, 2, 16, 10, 0, tzinfo=UTC)
    assert np.array_equal(
        load_window(feed, [share], 1, bars=375, until=before, adjusted=True).close,
        load_window(feed, [share], 1, bars=375, until=before).close,
    )


def test_an_undecided_action_within_the_window_is_a_doubt_until_somebody_decides(feed, share):
    store(feed, share, date(2026, 2, 17), price=400.0)
    row = suspected(share)
    bar_at = datetime(2026, 2, 17, 5, 0, tzinfo=UTC)
    doubts = doubts_about(feed, [share], 1, bar_at=bar_at, since=bar_at - timedelta(days=5))
    assert doubts == {share.pk: "a suspected corporate action of 2026-02-17 is not decided"}
    assert undecided_actions([share]) == [row]
    dismiss_action(action_id=row.pk, actor="operator", note="a crash", now=NOW)
    assert doubts_about(feed, [share], 1, bar_at=bar_at, since=bar_at - timedelta(days=5)) == {}
    assert list(AuditEntry.objects.order_by("id").values_list("action", flat=True)) == [
        "action.suspected", "action.dismissed",
    ]  # fmt: skip


@pytest.mark.parametrize(("factor", "source"), [("0", "x"), ("NaN", "x"), ("5000", "x"), ("0.5", " ")])
def test_a_factor_without_sense_or_source_is_refused(share, factor, source):
    row = suspected(share)
    with pytest.raises(NotAllowed):
        confirm_action(
            action_id=row.pk, factor=Decimal(factor), kind="OTHER", actor="operator", source=source, note="", now=NOW
        )
    row.refresh_from_db()
    assert row.state == "SUSPECTED"


def test_an_operator_decides_in_the_console(client, share):
    row = suspected(share)
    client.force_login(UserFactory(operator=True))
    page = f"/console/marketdata/corporateaction/{row.pk}/decide/"
    assert b"800 opened at 400" in client.get(page).content
    given = {"decision": "confirm", "kind": "SPLIT_OR_BONUS", "factor": "0.5", "source": "circular of the exchange"}
    assert client.post(page, given).status_code == 302
    row.refresh_from_db()
    assert (row.state, row.source) == ("CONFIRMED", "circular of the exchange")
    looker = UserFactory(is_staff=True)
    client.force_login(looker)
    assert client.get(page).status_code == 403
