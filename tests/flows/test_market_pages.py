"""Market pages: watchlists, the page of an instrument and its chart, for one person, with all that can go wrong."""

import itertools
from datetime import date, timedelta
from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.factories import FillFactory, GroupFactory, InstrumentFactory, PositionFactory, UserFactory
from tests.factories.execution import IntentFactory, OrderFactory
from tests.factories.world import World, open_market
from trading.domain.clock import IST
from trading.marketdata.builder import Bar
from trading.marketdata.candles import HISTORY, IMPORT, mark_bars, store_bars
from trading.marketdata.clocks import venue_now
from trading.marketdata.files.archive import archive_candles
from trading.marketdata.marks import Mark
from trading.marketdata.models import (
    Backfill,
    CandleCoverage,
    CorporateAction,
    Feed,
    HistoryTally,
    QualityDay,
    RefusedBar,
    Universe,
)
from trading.marketdata.quality.trust import sources_name
from trading.monitoring.models import Heartbeat
from trading.portfolio.models import ChartSettings, Watchlist
from trading.venue.sessions import session_on

pytestmark = pytest.mark.django_db
HTMX = {"HTTP_HX_REQUEST": "true"}


@pytest.fixture
def world(valkey) -> World:
    return open_market()


@pytest.fixture
def client(world) -> Client:
    client = Client()
    client.force_login(world.user)
    return client


def test_the_first_visit_says_what_will_appear_and_offers_the_first_list(client):
    page = client.get("/market/").content.decode()
    assert "Make the list" in page and "watch" in page


def test_a_list_is_made_filled_put_in_order_and_emptied(client, world):
    InstrumentFactory(symbol="NSE:RELIANCE-EQ", name="Reliance Industries")
    made = client.post("/market/watchlists/", {"name": "Banks"}, **HTMX)
    assert made.status_code == 200 and "“Banks” is empty" in made.content.decode()
    mine = Watchlist.objects.get(owner=world.user)
    for symbol in ("NSE:SBIN-EQ", "reliance", "NSE:SBIN-EQ"):  # the second press adds nothing
        assert client.post(f"/market/watchlists/{mine.pk}/add/", {"symbol": symbol}, **HTMX).status_code == 200
    assert order_of(mine) == ["NSE:SBIN-EQ", "NSE:RELIANCE-EQ"]
    shown = client.post(f"/market/watchlists/{mine.pk}/move/", {"symbol": "NSE:RELIANCE-EQ", "way": "up"}, **HTMX)
    assert order_of(mine) == ["NSE:RELIANCE-EQ", "NSE:SBIN-EQ"]
    assert 'data-quote="NSE:SBIN-EQ" data-field="ltp">812.35<' in shown.content.decode()
    client.post(f"/market/watchlists/{mine.pk}/remove/", {"symbol": "NSE:RELIANCE-EQ"})
    client.post(f"/market/watchlists/{mine.pk}/rename/", {"name": "  PSU   banks "})
    mine.refresh_from_db()
    assert (mine.name, order_of(mine)) == ("PSU banks", ["NSE:SBIN-EQ"])
    assert client.post(f"/market/watchlists/{mine.pk}/delete/").status_code == 302
    assert not Watchlist.objects.exists()


def order_of(watchlist: Watchlist) -> list[str]:
    return list(watchlist.items.values_list("instrument__symbol", flat=True))


@pytest.mark.parametrize("name", ["", "   ", "x" * 41, "bell\x07", "two\x00lines"])
def test_a_name_that_cannot_be_read_is_refused_in_words(client, name):
    reply = client.post("/market/watchlists/", {"name": name}, **HTMX)
    assert reply.status_code == 422 and b"WATCHLIST_NAME" in reply.content
    assert not Watchlist.objects.exists()


def test_two_lists_of_one_name_are_one_list_and_a_rename_onto_it_is_refused(client):
    for name in ("Banks", "BANKS"):
        client.post("/market/watchlists/", {"name": name})
    ideas = client.post("/api/v1/watchlists/", {"name": "Ideas"}, content_type="application/json").json()
    assert Watchlist.objects.count() == 2
    reply = client.post(f"/market/watchlists/{ideas['id']}/rename/", {"name": "banks"}, **HTMX)
    assert reply.status_code == 409 and b"WATCHLIST_NAME_TAKEN" in reply.content


@pytest.mark.parametrize("symbol", ["NSE:NOTHERE-EQ", "", "'; drop table", "x" * 400, "NSE:\x00-EQ"])
def test_an_instrument_that_is_not_listed_is_not_added(client, world, symbol):
    mine = Watchlist.objects.create(owner=world.user, name="Banks")
    reply = client.post(f"/market/watchlists/{mine.pk}/add/", {"symbol": symbol}, **HTMX)
    assert reply.status_code == 404 and b"INSTRUMENT_NOT_FOUND" in reply.content


def test_the_search_finds_by_ticker_and_by_name_and_says_when_there_is_none(client):
    InstrumentFactory(symbol="NSE:TCS-EQ", name="Tata Consultancy Services")
    assert "TCS" in client.get("/market/find/", {"q": "tata cons"}, **HTMX).content.decode()
    assert "No instrument like" in client.get("/market/find/", {"q": "<script>"}, **HTMX).content.decode()
    assert client.get("/market/find/", {"q": "\x00\x07"}, **HTMX).status_code == 200
    assert client.get("/market/find/", {"q": "tcs"}).status_code == 200  # without JavaScript: a whole page


# --- the page of an instrument and its chart -------------------------------------------------------------------------


def minutes(world: World, count: int) -> None:
    """One-minute bars of the session so far, up to now."""
    now = venue_now(world.feed.name)
    bars = []
    for back in range(count, 0, -1):
        close = Decimal("812.35") + Decimal(back % 7) / 10
        at = now - timedelta(minutes=back)
        bars.append(Bar(world.instrument.symbol, at, close, close + 1, close - 1, close, 100, ticks=9))
    store_bars(world.feed, 1, bars, HISTORY)


def test_the_chart_holds_closed_bars_the_running_one_indicators_and_ones_own_marks(client, world):
    minutes(world, 100)
    group = GroupFactory(
        portfolio=world.portfolio, instrument=world.instrument, state="ACTIVE", stop_price=Decimal("804.20"),
        target_price=Decimal("830.00"),
    )  # fmt: skip
    PositionFactory(portfolio=world.portfolio, instrument=world.instrument, net_quantity=10, cost_paise=8_120_00)
    order = OrderFactory(intent=IntentFactory(group=group))
    FillFactory(
        order=order, quantity=10, price=Decimal("812.00"), filled_at=venue_now("sandbox") - timedelta(minutes=9)
    )
    address = reverse("web:instrument-candles", args=[world.instrument.symbol])
    chart = client.get(address, {"tf": "5", "span": "1d", "ind": ["ema:5", "rsi:14", "session_vwap:"]}).json()
    starts = [row[0] for row in chart["candles"]]
    assert starts == sorted(starts) and {b - a for a, b in itertools.pairwise(starts)} == {300}
    assert chart["candles"][-1][4] == 812.35  # the running bar ends at the last price
    assert chart["live"]["start"] == starts[-1] and chart["live"]["seconds"] == 300
    assert [(line["name"], line["pane"]) for line in chart["lines"]] == [
        ("EMA 5", "price"), ("RSI 14", "rsi:14"), ("Session VWAP", "price"),
    ]  # fmt: skip
    assert all(len(line["values"]) <= len(starts) for line in chart["lines"])
    assert [mark["text"] for mark in chart["marks"]] == ["Buy 10 at 812.00"]
    assert {level["kind"]: level["price"] for level in chart["levels"]} == {
        "stop": 804.2, "target": 830.0, "entry": 812.0,
    }  # fmt: skip


def test_a_chart_without_candles_is_empty_and_not_an_error(client, world):
    silent = InstrumentFactory(symbol="NSE:SILENT-EQ")
    chart = client.get(reverse("web:instrument-candles", args=[silent.symbol]), {"tf": "1440", "span": "5y"}).json()
    assert chart["candles"] == [] and chart["lines"] == []


@pytest.mark.parametrize(
    "asked",
    [
        {"tf": "7"}, {"tf": "-5"}, {"tf": "٥"}, {"tf": "9" * 50}, {"span": "9y"}, {"ind": "nosuch:1"}, {"ind": "ema:0"},
        {"ind": "ema:1.5"}, {"ind": "ema:nan"}, {"ind": "ema:99999"}, {"ind": "ema:5,6"}, {"ind": "garch"},
        {"ind": "correlation:20"}, {"ind": [f"ema:{n}" for n in range(2, 12)]}, {"ind": "anchored_vwap"},
    ],
)  # fmt: skip
def test_a_view_that_cannot_be_drawn_is_refused_with_a_code(client, world, asked):
    reply = client.get(reverse("web:instrument-candles", args=[world.instrument.symbol]), asked)
    assert reply.status_code == 422 and reply.json()["code"] and reply.json()["detail"]


def test_what_one_chose_to_see_is_remembered_on_every_chart_and_for_oneself_alone(client, world):
    other = InstrumentFactory(symbol="NSE:M&M-EQ", name="Mahindra & Mahindra")
    change = reverse("web:instrument-chart", args=[world.instrument.symbol])
    client.post(change, {"tf": "15"}, **HTMX)
    client.post(change, {"add": "macd", "constants": ""}, **HTMX)
    client.post(change, {"add": "macd", "constants": "12, 26"}, **HTMX)  # the same one: drawn once
    client.post(change, {"add": "ema", "constants": "50"})
    page = client.get(reverse("web:instrument", args=[other.symbol])).content.decode()
    assert "tf=15&amp;span=5d&amp;ind=macd%3A12%2C26&amp;ind=ema%3A50" in page
    client.post(change, {"remove": "macd:12,26"}, **HTMX)
    assert ChartSettings.objects.get(owner=world.user).indicators == [["ema", [50]]]
    stranger = Client()
    stranger.force_login(UserFactory())
    assert "ema%3A50" not in stranger.get(reverse("web:instrument", args=[other.symbol])).content.decode()


def test_an_indicator_that_cannot_be_is_refused_and_nothing_is_remembered(client, world):
    reply = client.post(
        reverse("web:instrument-chart", args=[world.instrument.symbol]), {"add": "ema", "constants": "0"}, **HTMX
    )
    assert reply.status_code == 422 and b"INDICATOR_CONSTANTS" in reply.content
    assert not ChartSettings.objects.exists()


def test_a_choice_that_is_no_longer_offered_is_left_out(client, world):
    ChartSettings.objects.create(owner=world.user, timeframe=7, span="2d", indicators=[["gone", [1]], ["sma", [20]]])
    page = client.get(reverse("web:instrument", args=[world.instrument.symbol])).content.decode()
    assert "tf=5&amp;span=5d&amp;ind=sma%3A20" in page


def test_an_instrument_that_is_not_there_is_not_found(client):
    for symbol in ("NSE:NOTHERE-EQ", "A:" + "B" * 300, "NSE:\x00"):
        assert client.get(reverse("web:instrument", args=[symbol])).status_code == 404


def test_every_indicator_that_is_offered_can_be_drawn(client, world):
    from trading.web.chart_lines import choices

    minutes(world, 100)
    address = reverse("web:instrument-candles", args=[world.instrument.symbol])
    for one in choices():
        constants = {"garch": "0.1,0.1,0.8"}.get(one["name"], "5" if one["constants"] == "period" else "")
        reply = client.get(address, {"tf": "1", "span": "1d", "ind": f"{one['name']}:{constants}"})
        assert reply.status_code == 200, (one["name"], reply.content)


# --- the same by program ----------------------------------------------------------------------------------------------


def test_a_program_keeps_watchlists_too(client, world):
    def ask(method: str, path: str, body: object = None):
        return getattr(client, method)(f"/api/v1/watchlists/{path}", body, content_type="application/json")

    InstrumentFactory(symbol="NSE:RELIANCE-EQ")
    made = ask("post", "", {"name": "Banks"})
    assert made.status_code == 201 and made.json()["symbols"] == []
    number = made.json()["id"]
    ask("post", f"{number}/items/", {"symbol": "NSE:SBIN-EQ"})
    both = ask("post", f"{number}/items/", {"symbol": "NSE:RELIANCE-EQ"})
    assert both.status_code == 201 and both.json()["symbols"] == ["NSE:SBIN-EQ", "NSE:RELIANCE-EQ"]
    turned = ask("put", f"{number}/items/", {"symbols": ["NSE:RELIANCE-EQ", "NSE:SBIN-EQ"]})
    assert turned.json()["symbols"] == ["NSE:RELIANCE-EQ", "NSE:SBIN-EQ"]
    for wrong in (["NSE:SBIN-EQ"], ["NSE:SBIN-EQ"] * 2, []):
        late = ask("put", f"{number}/items/", {"symbols": wrong})
        assert (late.status_code, late.json()["code"]) == (409, "WATCHLIST_CHANGED")
    assert ask("patch", f"{number}/", {"name": "PSU"}).json()["name"] == "PSU"
    assert ask("delete", f"{number}/items/NSE:SBIN-EQ/").json()["symbols"] == ["NSE:RELIANCE-EQ"]
    assert [one["name"] for one in client.get("/api/v1/watchlists/").json()["results"]] == ["PSU"]
    for wrong, code in (({}, 400), ({"name": 5, "x": 1}, 400), ({"name": ""}, 400), ({"name": "a\tb\x00"}, 400)):
        assert ask("patch", f"{number}/", wrong).status_code == code
    assert ask("delete", f"{number}/").status_code == 204
    assert ask("delete", f"{number}/").json()["code"] == "WATCHLIST_NOT_FOUND"


# --- the state of the data --------------------------------------------------------------------------------------------


def test_the_data_page_says_what_is_stored_what_is_missing_and_why(client, world):
    now = venue_now(world.feed.name)
    minutes(world, 40)
    yesterday = session_on(now.date() - timedelta(days=3), assume_weekdays=True)  # the 16th is a Monday
    whole = [
        Bar(world.instrument.symbol, at, Decimal(800), Decimal(801), Decimal(799), Decimal(800), 9, ticks=9)
        for at in yesterday.bar_starts(1)
    ]
    store_bars(world.feed, 1, whole[:100] + whole[110:], HISTORY)
    page = client.get("/market/data/").content.decode()
    assert "13 Feb: 365 of 375 minutes, missing" in page
    assert "16 Feb: 40 of 105 minutes, missing" in page
    assert "No minute of any" not in page
    day = {"symbol": world.instrument.symbol, "day": "2026-02-13"}
    gap = client.get("/market/data/missing/", day, **HTMX).content.decode()
    assert "10:55:00" in gap and ">10<" in gap


def test_doubtful_minutes_are_told_apart_from_missing_ones(client, world):
    minutes(world, 30)
    first = venue_now(world.feed.name).replace(second=0, microsecond=0) - timedelta(minutes=30)
    at = {n: first + timedelta(minutes=n) for n in range(30)}
    mark_bars(world.feed, world.instrument, 1, {at[3]: Mark.OUTLIER, at[4]: Mark.OUTLIER, at[9]: Mark.BROKEN})
    RefusedBar.objects.create(
        feed=world.feed, instrument=world.instrument, timeframe=1, started_at=at[9], why="HIGH_BELOW_LOW",
        raw="[1, 2, 3, 1, 7]", found_at=at[20], next_ask_at=at[22],
    )  # fmt: skip
    gap = {"symbol": world.instrument.symbol, "day": venue_now(world.feed.name).astimezone(IST).date().isoformat()}
    told = client.get("/market/data/missing/", gap, **HTMX).content.decode()
    missing, doubtful = told.split("Stored, and not traded on")
    assert "a price that those around it contradict" in doubtful and "its numbers cannot be" in doubtful
    assert "contradict" not in missing
    assert "[1, 2, 3, 1, 7]" in doubtful and "High below low" in doubtful


def test_a_bar_that_cannot_be_is_shown_with_its_numbers_and_asked_for_again_at_a_press(client, world):
    minutes(world, 30)
    at = venue_now(world.feed.name).replace(second=0, microsecond=0) - timedelta(minutes=21)
    assert "Bars that cannot be" not in client.get("/market/data/").content.decode()
    row = RefusedBar.objects.create(
        feed=world.feed, instrument=world.instrument, timeframe=1, started_at=at, why="NO_PRICE", state="GIVEN_UP",
        raw='["<b>", 0]', asked=5, found_at=at,
    )  # fmt: skip
    page = client.get("/market/data/").content.decode()
    assert "Bars that cannot be" in page and "&lt;b&gt;" in page and "no more by itself" in page
    day = at.astimezone(IST).date().isoformat()
    sent = client.post(
        "/market/data/download/",
        asked(again=str(row.pk), symbols=world.instrument.symbol, **{"from": day, "to": day}),
        **HTMX,
    )  # fmt: skip
    assert sent.status_code == 200 and Backfill.objects.count() == 1
    row.refresh_from_db()
    assert row.state == "OPEN" and row.next_ask_at is not None
    for nonsense in ("x", "9" * 30, "٣", "-1"):
        assert client.post("/market/data/download/", asked(again=nonsense), **HTMX).status_code in (200, 409)


def test_a_gap_that_the_history_was_asked_about_never_was(client, world):
    day = session_on(venue_now(world.feed.name).date() - timedelta(days=3), assume_weekdays=True)
    CandleCoverage.objects.create(
        feed=world.feed, instrument=world.instrument, timeframe=1, from_at=day.opens_at, to_at=day.closes_at
    )
    minutes(world, 1)
    assert "13 Feb: 0 of 375 minutes, never was" in client.get("/market/data/").content.decode()


def test_the_data_page_of_an_empty_desk_and_of_wrong_questions(client):
    assert "No minute of any instrument is stored yet" in client.get("/market/data/").content.decode()
    for query in ({"list": "x"}, {"list": "9" * 30}, {"list": "٣"}, {"page": "-1"}, {"page": "abc"}):
        assert client.get("/market/data/", query).status_code == 200
    for wrong in ({}, {"symbol": "NSE:SBIN-EQ"}, {"symbol": "NSE:SBIN-EQ", "day": "yesterday"}, {"day": "2026-02-13"}):
        assert client.get("/market/data/missing/", wrong).status_code == 404


def test_a_day_that_lacks_minutes_says_so_though_others_of_it_are_doubtful(client, world):
    day = session_on(venue_now(world.feed.name).date() - timedelta(days=3), assume_weekdays=True)
    bars = [
        Bar(world.instrument.symbol, at, Decimal(800), Decimal(801), Decimal(799), Decimal(800), 9)
        for at in day.bar_starts(1)[:300]
    ]
    store_bars(world.feed, 1, bars, HISTORY)
    mark_bars(world.feed, world.instrument, 1, {bars[7].started_at: Mark.OUTLIER})
    page = client.get("/market/data/").content.decode()
    assert "13 Feb: 300 of 375 minutes, 1 doubtful, missing" in page


def test_days_and_other_lengths_have_their_coverage_too(client, world):
    """Daily candles by month, longer bars by day; a switch where more than minutes are stored."""
    minutes(world, 5)
    assert 'name="tf"' not in client.get("/market/data/").content.decode()
    name, ten = world.instrument.symbol, [Decimal(10)] * 4
    sessions = [session_on(date(2026, 1, day), assume_weekdays=True) for day in range(1, 31)]
    days = [Bar(name, one.opens_at, *ten, volume=1) for one in sessions if one is not None]
    store_bars(world.feed, 1440, days[:5] + days[7:], HISTORY)
    mark_bars(world.feed, world.instrument, 1440, {days[9].started_at: Mark.OUTLIER})
    friday = session_on(date(2026, 2, 13), assume_weekdays=True)
    quarters = [Bar(name, at, *ten, volume=1) for at in friday.bar_starts(15)]
    store_bars(world.feed, 15, quarters[:20], HISTORY)
    page = client.get("/market/data/", {"tf": "1440"}).content.decode()
    assert (
        f"Jan 2026: {len(days) - 2} of {len(days)} days, 1 doubtful, missing" in page and "days of each month" in page
    )
    told = client.get(
        "/market/data/missing/", {"symbol": name, "day": "2026-01-31", "tf": "1440"}, **HTMX
    ).content.decode()
    assert f"{days[5].started_at.astimezone(IST).date():%-d %b %Y}" in told and ">2<" in told
    assert "a price that those around it contradict" in told
    page = client.get("/market/data/", {"tf": "15"}).content.decode()
    assert "13 Feb: 20 of 25 bars, missing" in page and '<option value="15" selected>15 min</option>' in page
    told = client.get(
        "/market/data/missing/", {"symbol": name, "day": "2026-02-13", "tf": "15"}, **HTMX
    ).content.decode()
    assert "14:15:00" in told and ">5<" in told
    for wrong in ("7", "0", "x", "9" * 30, "٣", "-5"):
        assert "minutes of each day" in client.get("/market/data/", {"tf": wrong}).content.decode()


def test_days_that_were_archived_are_there(client, world, settings, tmp_path):
    settings.VAR = tmp_path
    feed = Feed.objects.create(name="NSE", kind=Feed.Kind.EXCHANGE)
    starts = session_on(date(2021, 4, 7)).bar_starts(1)[:80]
    numbers = Decimal(800), Decimal(801), Decimal(799), Decimal(800), 9
    store_bars(feed, 1, [Bar(world.instrument.symbol, at, *numbers) for at in starts], IMPORT)
    mark_bars(feed, world.instrument, 1, {starts[7]: Mark.OUTLIER})
    (moved,) = archive_candles(feed, before=date(2021, 5, 1), wall=timezone.now())
    page = client.get("/market/data/", {"feed": feed.pk, "until": "2021-04-09"}).content.decode()
    assert moved.bars == 80 and "7 Apr: 80 of 375 minutes, 1 doubtful, missing" in page
    assert "80 more archived" in page


def test_the_data_page_goes_back_to_days_that_were_and_to_other_feeds(client, world):
    feed = Feed.objects.create(name="NSE", kind=Feed.Kind.EXCHANGE)
    for day in (date(2021, 4, 7), date(2016, 8, 16)):
        session = session_on(day, assume_weekdays=True)
        bars = [
            Bar(world.instrument.symbol, at, Decimal(800), Decimal(801), Decimal(799), Decimal(800), 9)
            for at in session.bar_starts(1)[:80]
        ]
        store_bars(feed, 1, bars, IMPORT)
    here = client.get("/market/data/").content.decode()
    assert "7 Apr" not in here and f'<option value="{feed.pk}">NSE' in here
    page = client.get("/market/data/", {"feed": feed.pk, "until": "2021-04-09"}).content.decode()
    assert "7 Apr: 80 of 375 minutes" in page and "9 Apr: 0 of 375 minutes" in page
    assert "until=2021-04-08" not in page and 'rel="prev"' in page and 'rel="next"' in page
    assert "Download candles" not in page  # they would be those of the desk's own feed
    old = client.get("/market/data/", {"feed": feed.pk, "until": "2016-08-17"}).content.decode()
    assert "16 Aug: 80 of 375 minutes" in old
    gap = {"symbol": world.instrument.symbol, "day": "2021-04-07", "feed": feed.pk}
    assert ">295<" in client.get("/market/data/missing/", gap, **HTMX).content.decode()
    for query in (
        {"feed": "9" * 30},
        {"feed": "x"},
        {"until": "soon"},
        {"until": "1889-01-01"},
        {"until": "2999-01-01"},
    ):
        assert client.get("/market/data/", query).status_code == 200


def test_the_data_page_shows_fetches_saved_calls_and_judged_days_and_the_chart_can_be_adjusted(client, world):
    minutes(world, 60)
    now = venue_now(world.feed.name)
    HistoryTally.objects.create(feed=world.feed, date=now.date(), needed=120, calls=7, bars=2625)
    asked = {
        "feed": world.feed, "account_id": world.portfolio.account_id, "symbols": [world.instrument.symbol],
        "timeframe": 1, "from_date": now.date(), "to_date": now.date(), "created_at": now,
    }  # fmt: skip
    Backfill.objects.create(owner=world.user, title="SBIN of the year", state="RUNNING", needed=10, settled=4, **asked)
    Backfill.objects.create(owner=UserFactory(), title="of somebody else", **asked)
    QualityDay.objects.create(
        feed=world.feed, instrument=world.instrument, timeframe=1, day=now.date(), score=83, expected=105, present=60,
        defects={"MISSING": 45}, largest_gap=45, gap_from="09:15", checked_at=now,
    )  # fmt: skip
    CorporateAction.objects.create(
        instrument=world.instrument, ex_date=now.date(), kind="SPLIT_OR_BONUS", factor=Decimal("0.5"),
        state="CONFIRMED", source="test", found_at=now,
    )  # fmt: skip
    page = client.get("/market/data/").content.decode()
    assert "113" in page and "7 asked of the broker" in page
    assert "SBIN of the year" in page and "40 %" in page and "of somebody else" not in page
    assert "missing 45" in page and "45 from 09:15" in page
    change = reverse("web:instrument-chart", args=[world.instrument.symbol])
    assert "adj=1" in client.post(change, {"adj": "1"}, **HTMX).content.decode()
    shown = client.get(reverse("web:instrument", args=[world.instrument.symbol])).content.decode()
    assert "adj=1" in shown and "split or bonus" in shown
    chart = client.get(reverse("web:instrument-candles", args=[world.instrument.symbol]), {"adj": "1"})
    assert chart.status_code == 200 and chart.json()["candles"]


# Downloads


def asked(**more: str) -> dict[str, str]:
    return {"symbols": "", "list": "", "timeframe": "1", "from": "2026-02-09", "to": "2026-02-13"} | more


def test_candles_are_asked_for_with_a_button_once_and_their_progress_is_shown(client, world):
    page = client.get("/market/data/").content.decode()
    assert "Download candles" in page and "Nothing was asked of the history yet" in page
    shown = client.post("/market/data/download/", asked(symbols="sbin"), **HTMX).content.decode()
    row = Backfill.objects.get()
    assert (row.symbols, row.timeframe, row.owner_id) == (["NSE:SBIN-EQ"], 1, world.user.pk)
    assert row.title in shown and "every 2s" in shown and "Cancel" in shown
    client.post("/market/data/download/", asked(symbols="NSE:SBIN-EQ"), **HTMX)
    assert Backfill.objects.count() == 1, "a second press is the same download"
    Backfill.objects.update(state="RUNNING", needed=4, settled=1, calls=1, stored=375)
    assert 'value="25"' in client.get("/market/data/fetches/", **HTMX).content.decode()
    ended = client.post(f"/market/data/download/{row.pk}/cancel/", **HTMX).content.decode()
    row.refresh_from_db()
    assert row.state == "CANCELLED" and "every 2s" not in ended and "Cancelled" in ended
    assert client.get("/market/data/fetches/").status_code == 302


def test_a_whole_list_or_all_that_is_stored_may_be_downloaded(client, world):
    universe = Universe.objects.create(name="nifty50")
    universe.members.create(instrument=world.instrument, from_date="2020-01-01")
    client.post("/market/data/download/", asked(list="nifty50", timeframe="1440"))
    now = venue_now(world.feed.name)
    store_bars(
        world.feed, 1, [Bar(world.instrument.symbol, now - timedelta(minutes=2), *[Decimal(800)] * 4, 1)], HISTORY
    )
    client.post("/market/data/download/", asked())
    assert sorted(Backfill.objects.values_list("timeframe", "symbols")) == [
        (1, ["NSE:SBIN-EQ"]), (1440, ["NSE:SBIN-EQ"]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "status", "said"),
    [
        ({"symbols": "NOBODY"}, 404, "UNKNOWN_INSTRUMENT"), ({"list": "nobody"}, 404, "UNKNOWN_UNIVERSE"),
        ({"symbols": "SBIN", "timeframe": "7"}, 422, "UNKNOWN_TIMEFRAME"),
        ({"symbols": "SBIN", "from": "soon"}, 422, "NOT_A_DATE"),
        ({"symbols": "SBIN", "from": "2026-02-14"}, 422, "WRONG_RANGE"), ({}, 422, "NOTHING_TO_FETCH"),
    ],
)  # fmt: skip
def test_a_download_of_nonsense_says_why(client, given, status, said):
    reply = client.post("/market/data/download/", asked(**given))
    assert reply.status_code == status and said in reply.content.decode()
    assert not Backfill.objects.exists()


def test_the_sources_of_prices_are_what_the_engine_last_said(client, world):
    assert "The engine has not run for this account yet" in client.get("/market/data/").content.decode()
    wall = timezone.now().timestamp()
    heard = {"heard_at": wall - 3, "good_since": wall - 9, "failed_at": None, "why": ""}
    failed = {"heard_at": wall - 90, "good_since": None, "failed_at": wall - 80, "why": "brought no price for 60 s"}
    detail = {
        "active": "POLL", "since": wall - 80, "why": "STREAM brought no price for 60 s", "feed": world.feed.name,
        "phase": "CONTINUOUS", "sources": {"STREAM": failed, "POLL": heard}, "symbols": 50, "stale_count": 2,
        "stale": {"NSE:SBIN-EQ": 70.0, "NSE:ITC-EQ": None},
    }  # fmt: skip
    name = sources_name(world.portfolio.account_id)
    beat = Heartbeat.objects.create(name=name, at=timezone.now(), detail=detail)
    page = client.get("/market/data/").content.decode()
    assert "brought no price for 60 s" in page and "in use" in page and "2 of 50 instruments are silent" in page
    Heartbeat.objects.filter(pk=beat.pk).update(at=timezone.now() - timedelta(minutes=5))
    assert "no word from the engine" in client.get("/market/data/").content.decode()
