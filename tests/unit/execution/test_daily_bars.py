"""A daily contract at work: what yesterday's bar says is done at today's open, once, and not later."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from strategies.contracts.publish import publish_contract
from strategies.contracts.schema import load_library
from strategies.models import ScanSlot, Signal
from strategies.scanner.run import scan_due
from strategies.scanner.scan_bar import cache
from tests.factories import DeploymentFactory
from tests.factories.market import UniverseFactory, stored_candles
from tests.factories.world import open_market
from trading.domain.clock import IST
from trading.marketdata.models import CorporateAction, UniverseMember
from trading.marketdata.watermark import set_candles_through
from trading.venue.sessions import previous_day, session_on

pytestmark = pytest.mark.django_db

TODAY = datetime(2026, 2, 16, 9, 15, tzinfo=IST)  # a Monday: the bar before is Friday's


@pytest.fixture
def desk(db, valkey):
    cache.clear()
    world = open_market()
    body = load_library()["momentum_surfer"].as_mapping() | {
        "rules": {"long_entry": "close > open * 1.02 and close < 2 * sma(close, 20)"}, "parameters": {},
    }  # fmt: skip
    version = publish_contract(owner=world.user, slug="daily", body=body, actor="me")
    universe = UniverseFactory(name="nifty50")
    UniverseMember.objects.create(universe=universe, instrument=world.instrument, from_date=datetime(2020, 1, 1))
    world.deployment = DeploymentFactory(portfolio=world.portfolio, version=version, universe=universe)
    return world


def friday(desk, *, last: tuple[float, ...] = (800, 830, 795, 825), days: int = 140, until: int = 0) -> None:
    """Daily candles up to Friday; the watermark is in this morning."""
    starts, day = [], TODAY.date()
    while len(starts) < days:
        day = previous_day(day)
        starts.append(session_on(day).opens_at)
    rows = [(800, 805, 795, 800)] * (days - 1) + [last]
    stored_candles(desk.feed, desk.instrument, starts[::-1][: days - until], rows[: days - until], timeframe=1440)
    set_candles_through(desk.feed.name, TODAY + timedelta(minutes=1))


def at(minutes: float) -> datetime:
    return TODAY + timedelta(minutes=minutes)


def scan(desk, minutes: float) -> int:
    return scan_due(feed_name=desk.feed.name, now=at(minutes))


def test_fridays_bar_is_scanned_on_monday_when_entries_are_allowed_and_once(desk):
    friday(desk)
    assert scan(desk, -30) == scan(desk, 2) == 0 and not ScanSlot.objects.exists()
    assert scan(desk, 5) == 1
    assert scan(desk, 6) == 0
    signal = Signal.objects.get()
    assert (signal.entry, signal.bar_at) == (Decimal("825"), datetime(2026, 2, 13, 15, 30, tzinfo=IST))
    assert ScanSlot.objects.get().state == "DONE" and signal.dedupe_key.startswith(f"d{desk.deployment.pk}:")


def test_a_desk_that_comes_too_late_marks_the_bar_as_missed(desk):
    friday(desk)
    ScanSlot.objects.create(
        deployment=desk.deployment, bar_at=datetime(2026, 2, 12, 15, 30, tzinfo=IST), claimed_at=timezone.now(),
        state=ScanSlot.State.DONE,
    )  # fmt: skip
    assert scan(desk, 36) == 0
    assert list(ScanSlot.objects.values_list("state", flat=True)) == ["MISSED", "DONE"]


def test_a_day_whose_candle_is_not_there_is_not_judged_on_the_day_before(desk):
    friday(desk, until=1)
    assert scan(desk, 6) == 0
    assert ScanSlot.objects.get().note == "no daily candle of 2026-02-13: not judged"


def test_a_split_of_this_morning_is_in_the_prices_of_the_signal(desk):
    friday(desk)
    CorporateAction.objects.create(
        instrument=desk.instrument, ex_date=TODAY.date(), kind="SPLIT_OR_BONUS", factor=Decimal("0.5"),
        state="CONFIRMED", source="circular", found_at=timezone.now(),
    )  # fmt: skip
    assert scan(desk, 6) == 1
    assert Signal.objects.get().entry == Decimal("412.50")
