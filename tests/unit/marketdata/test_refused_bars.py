"""A bar of a history that cannot be: the others are stored, its minute is not traded on, and it is asked for again."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from execution.brokers.fyers.endpoints import Endpoints
from execution.brokers.fyers.gateway import FyersGateway
from execution.brokers.sources import BrokerHistory
from tests.contract.samples import CREDENTIALS
from tests.contract.small_server import answer, in_turn, serving
from tests.factories.market import FeedFactory, InstrumentFactory
from trading.audit.models import AuditEntry
from trading.marketdata.builder import Bar
from trading.marketdata.candles import HISTORY, IMPORT, STREAM, candles_of, store_bars
from trading.marketdata.fetching.history import ensure_candles
from trading.marketdata.fetching.refused import WAITS, ask_again
from trading.marketdata.marks import Mark
from trading.marketdata.models import QualityDay, RefusedBar
from trading.marketdata.quality.impossible import Impossible, RefusedLine
from trading.marketdata.quality.stored import check_stored, distrusted
from trading.marketdata.sources import NO_LIMITS, Answer
from trading.marketdata.windows import load_window
from trading.venue.sessions import session_on

OPEN = datetime(2026, 2, 16, 3, 45, tzinfo=UTC)  # a Monday
CLOSE, EVENING = OPEN + timedelta(minutes=375), OPEN + timedelta(hours=8)
ODD = OPEN + timedelta(minutes=100)
pytestmark = pytest.mark.django_db


class Source:
    """A history that tells one minute wrong until it is mended. Counts what it is asked."""

    limits = NO_LIMITS

    def __init__(self, *odd: datetime) -> None:
        self.odd = set(odd)
        self.calls: list[tuple[datetime, datetime]] = []

    def history(self, symbol, timeframe, start, end):
        self.calls.append((start, end))
        starts = [at for at in session_on(OPEN.date()).bar_starts(timeframe) if start <= at < end]
        bars = [
            Bar(symbol, at, *[Decimal(100 + n % 7)] * 4, volume=5) for n, at in enumerate(starts) if at not in self.odd
        ]
        return Answer(
            bars, [RefusedLine(at, Impossible.HIGH_BELOW_LOW, "[1, 2, 3, 1, 7]") for at in starts if at in self.odd]
        )


@pytest.fixture
def feed():
    return FeedFactory(name="NSE")


@pytest.fixture
def share():
    return InstrumentFactory(symbol="NSE:AAA-EQ")


def fetch(feed, share, source, *, now=EVENING, timeframe=1):
    return ensure_candles(feed, [share], timeframe, OPEN, CLOSE, source, now=now)


def bar_at(feed, share, at):
    (found,) = candles_of(feed, share, 1, start=at, end=at + timedelta(minutes=1))
    return found


def test_a_broker_s_reply_with_one_impossible_candle_brings_all_the_others(feed, share):
    """Through the adapter, over the wire."""
    stamps = [int(OPEN.timestamp()) + 60 * n for n in range(375)]
    lines = [f"[{at}, 100.0, 101.0, 99.0, 100.5, 7]" for at in stamps]
    lines[100] = f"[{stamps[100]}, 100.0, NaN, 99.0, 100.5, 7]"
    lines[200] = f"[{stamps[200]}, 100.0, 99.0, 101.0, 100.5, -7]"
    odd = f'{{"s": "ok", "candles": [{", ".join(lines)}]}}'
    good = json.dumps({"s": "ok", "candles": [[stamps[n], 100.0, 101.0, 99.0, 100.5, 9] for n in range(375)]})
    with serving(in_turn(answer(odd), answer(good))) as server:
        gateway = FyersGateway(endpoints=Endpoints.of(server.url), credentials=CREDENTIALS)
        source = BrokerHistory(gateway)
        fetched = fetch(feed, share, source)
        assert (fetched.failed, fetched.bars, fetched.refused, fetched.calls) == ({}, 373, 2, 1)
        told = list(RefusedBar.objects.order_by("started_at").values_list("started_at", "why", "raw"))
        assert [one[:2] for one in told] == [
            (OPEN + timedelta(minutes=100), "NO_NUMBER"), (OPEN + timedelta(minutes=200), "HIGH_BELOW_LOW"),
        ]  # fmt: skip
        assert "NaN" in told[0][2] and "-7" in told[1][2]
        assert fetch(feed, share, source, now=EVENING + timedelta(days=2)).calls == 2
        gateway.close()
    assert not RefusedBar.objects.exclude(state="SETTLED").exists()
    assert (bar_at(feed, share, ODD).volume, bar_at(feed, share, ODD).mark) == (9, Mark.NONE)


def test_its_minute_is_never_traded_on_silently(feed, share):
    fetch(feed, share, Source(ODD))
    assert distrusted(feed, [share], 5, start=ODD, end=ODD + timedelta(minutes=5)) == {
        share.pk: "its numbers cannot be"
    }  # fmt: skip
    window = load_window(feed, [share], 1, bars=375, until=CLOSE)
    assert np.isnan(window.close[0]).sum() == 1 and np.isnan(window.close[0, 100])
    held = bar_at(feed, share, ODD)
    assert (held.mark, held.volume, held.close) == (
        Mark.BROKEN,
        0,
        bar_at(feed, share, ODD - timedelta(minutes=1)).close,
    )


def test_the_evening_s_check_tells_of_it_and_takes_no_doubt_away(feed, share):
    fetch(feed, share, Source(ODD))
    for _ in range(2):
        check_stored(feed=feed, instruments=[share], timeframe=1, first=OPEN.date(), last=OPEN.date(), now=EVENING)
        day = QualityDay.objects.get()
        assert (day.defects, day.untrusted) == ({"IMPOSSIBLE_BARS": 1}, 1)
        assert bar_at(feed, share, ODD).mark == Mark.BROKEN


def test_it_is_asked_for_again_later_and_only_so_often(feed, share):
    source, now = Source(ODD), EVENING
    fetch(feed, share, source, now=now)
    assert fetch(feed, share, source, now=now).calls == 0, "not before its time"
    for wait in WAITS:
        now += wait
        assert fetch(feed, share, source, now=now).calls == 1
        assert source.calls[-1] == (ODD, ODD + timedelta(minutes=1))
        assert fetch(feed, share, source, now=now).calls == 0
    row = RefusedBar.objects.get()
    assert (row.state, row.asked, row.next_ask_at) == ("GIVEN_UP", len(WAITS) + 1, None)
    assert fetch(feed, share, source, now=now + timedelta(days=900)).calls == 0
    assert bar_at(feed, share, ODD).mark == Mark.BROKEN, "given up is not forgiven"


def test_a_person_may_have_it_asked_for_once_more(feed, share):
    source = Source(ODD)
    fetch(feed, share, source)
    RefusedBar.objects.update(state="GIVEN_UP", next_ask_at=None, asked=9)
    source.odd.clear()
    assert ask_again(rows=[RefusedBar.objects.get().pk], actor="op", now=EVENING) == 1
    assert fetch(feed, share, source).calls == 1
    assert RefusedBar.objects.get().state == "SETTLED"
    assert bar_at(feed, share, ODD).mark == Mark.NONE
    assert ask_again(rows=[RefusedBar.objects.get().pk], actor="op", now=EVENING) == 0, "there is nothing to ask"
    assert AuditEntry.objects.filter(action="candles.asked_again").count() == 1


def test_a_file_that_has_the_bar_settles_it(feed, share):
    fetch(feed, share, Source(ODD))
    store_bars(feed, 1, [Bar(share.symbol, ODD, *[Decimal(103)] * 4, volume=8)], IMPORT)
    check_stored(feed=feed, instruments=[share], timeframe=1, first=OPEN.date(), last=OPEN.date(), now=EVENING)
    assert RefusedBar.objects.get().state == "SETTLED"
    assert (bar_at(feed, share, ODD).close, bar_at(feed, share, ODD).mark) == (103, Mark.NONE)


def test_what_our_own_ticks_made_of_the_minute_stays_and_is_disputed(feed, share):
    ours = [ODD + timedelta(minutes=30 * n) for n in range(5)]  # so many holes between them are one question
    store_bars(feed, 1, [Bar(share.symbol, at, *[Decimal(104)] * 4, volume=3) for at in ours], STREAM)
    fetch(feed, share, Source(ODD))
    assert (bar_at(feed, share, ODD).close, bar_at(feed, share, ODD).mark) == (104, Mark.DISPUTED)
    check_stored(feed=feed, instruments=[share], timeframe=1, first=OPEN.date(), last=OPEN.date(), now=EVENING)
    assert bar_at(feed, share, ODD).mark == Mark.DISPUTED
    assert QualityDay.objects.get().defects == {"DISPUTED_BARS": 1}


def test_a_good_bar_that_is_stored_does_not_give_way_to_one_that_cannot_be(feed, share):
    store_bars(feed, 1, [Bar(share.symbol, ODD, *[Decimal(104)] * 4, volume=3)], HISTORY)
    fetch(feed, share, Source(ODD))
    assert not RefusedBar.objects.exists()
    assert (bar_at(feed, share, ODD).close, bar_at(feed, share, ODD).mark) == (104, Mark.NONE)


def test_the_only_bar_of_an_answer_holds_its_place_by_the_price_before(feed, share):
    at = OPEN + timedelta(minutes=10)
    ensure_candles(feed, [share], 1, OPEN, at, Source(), now=at)
    ensure_candles(feed, [share], 1, at, at + timedelta(minutes=1), Source(at), now=at + timedelta(minutes=5))
    held = bar_at(feed, share, at)
    assert (held.mark, held.close) == (Mark.BROKEN, bar_at(feed, share, at - timedelta(minutes=1)).close)


def test_whatever_a_source_lets_through_is_set_aside_too(feed, share):
    source = Source()
    bars = source.history(share.symbol, 1, OPEN, CLOSE).bars
    bars[100].high = Decimal(1)
    bars[101].volume = -1
    bars[102].low = Decimal("NaN")
    source.history = lambda *_: Answer(bars)
    fetch(feed, share, source)
    assert list(RefusedBar.objects.order_by("started_at").values_list("why", flat=True)) == [
        "HIGH_BELOW_LOW", "NEGATIVE_VOLUME", "NO_NUMBER",
    ]  # fmt: skip


def test_daily_bars_and_longer_ones_are_set_aside_in_the_same_way(feed, share):
    opens = session_on(OPEN.date()).opens_at
    for timeframe in (15, 1440):
        source = Source()
        source.history = lambda symbol, *_, tf=timeframe: Answer(
            [], [RefusedLine(opens.replace(hour=0, minute=0) if tf == 1440 else opens, Impossible.NO_PRICE, "[0]")]
        )
        fetch(feed, share, source, timeframe=timeframe)
    assert list(RefusedBar.objects.order_by("timeframe").values_list("timeframe", "started_at")) == [
        (15, opens), (1440, opens),
    ]  # fmt: skip
