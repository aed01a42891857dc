"""The broker's master is taken over, and every change is on record."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from trading.audit.models import AuditEntry
from trading.marketdata.listing.instruments import refresh_instruments
from trading.marketdata.listing.universes import gone_members, members
from trading.marketdata.models import Instrument, Universe, UniverseMember
from trading.monitoring.models import Alert

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 2, 16, 3, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Line:
    symbol: str
    name: str = "State Bank of India"
    exchange: str = "NSE"
    segment: str = "CM"
    instrument_type: str = "EQ"
    fy_token: str = "10100000003045"
    isin: str = "INE062A01020"
    tick_size: Decimal = Decimal("0.05")
    lot_size: int = 1
    freeze_quantity: int | None = None
    sector: str | None = None


SBIN = Line("NSE:SBIN-EQ")


def test_new_lines_become_instruments_and_are_on_record():
    diff = refresh_instruments([SBIN, Line("NSE:ITC-EQ", sector="FMCG")], now=NOW)
    assert diff.added == ["NSE:ITC-EQ", "NSE:SBIN-EQ"]
    assert Instrument.objects.get(symbol="NSE:ITC-EQ").sector == "FMCG"
    assert Instrument.objects.get(symbol="NSE:SBIN-EQ").master_date == date(2026, 2, 16)
    assert AuditEntry.objects.get().detail["added"] == diff.added


def test_the_same_master_again_changes_nothing_and_says_nothing():
    refresh_instruments([SBIN], now=NOW)
    assert not refresh_instruments([SBIN], now=NOW)
    assert AuditEntry.objects.count() == 1


def test_fault_45_a_changed_tick_is_taken_over_with_before_and_after():
    refresh_instruments([SBIN], now=NOW)
    diff = refresh_instruments([replace(SBIN, tick_size=Decimal("0.10"))], now=NOW)
    assert diff.changed == {"NSE:SBIN-EQ": {"tick_size": ("0.0500", "0.10")}}
    assert Instrument.objects.get().tick_size == Decimal("0.10")


def test_a_sector_the_master_does_not_know_stays():
    refresh_instruments([replace(SBIN, sector="Banks")], now=NOW)
    refresh_instruments([SBIN], now=NOW)
    assert Instrument.objects.get().sector == "Banks"


def test_what_is_listed_no_more_is_put_out_of_use_and_may_come_back():
    refresh_instruments([SBIN, Line("NSE:ITC-EQ"), Line("BSE:SENSEX-INDEX", exchange="BSE")], now=NOW)
    assert refresh_instruments([SBIN], now=NOW, retire=True).retired == ["NSE:ITC-EQ"]
    assert Instrument.objects.get(symbol="BSE:SENSEX-INDEX").active
    assert refresh_instruments([SBIN, Line("NSE:ITC-EQ")], now=NOW).returned == ["NSE:ITC-EQ"]


@pytest.mark.parametrize(
    "wrong", [{"tick_size": Decimal(0)}, {"tick_size": Decimal("NaN")}, {"lot_size": 0}, {"name": "x" * 200}]
)
def test_a_line_that_cannot_be_true_is_refused_and_the_others_are_taken(wrong):
    diff = refresh_instruments([replace(SBIN, **wrong), Line("NSE:ITC-EQ")], now=NOW)
    assert diff.added == ["NSE:ITC-EQ"]
    assert list(diff.refused) == ["NSE:SBIN-EQ"]


def test_membership_is_a_matter_of_the_day():
    refresh_instruments([SBIN, Line("NSE:ITC-EQ")], now=NOW)
    universe = Universe.objects.create(name="nifty50")
    sbin, itc = Instrument.objects.get(symbol="NSE:SBIN-EQ"), Instrument.objects.get(symbol="NSE:ITC-EQ")
    UniverseMember.objects.create(universe=universe, instrument=sbin, from_date=date(2026, 1, 1))
    UniverseMember.objects.create(
        universe=universe, instrument=itc, from_date=date(2025, 1, 1), to_date=date(2026, 1, 31)
    )
    assert members(universe, date(2025, 6, 1)) == [itc]
    assert members(universe, date(2026, 1, 31)) == [itc, sbin]
    assert members(universe, date(2026, 2, 1)) == [sbin]


def test_a_member_of_a_list_that_no_master_knows_any_more_is_told_and_forgotten_when_it_is_back():
    """Renamed in a way that nothing tells: neither its token, nor its ISIN, nor the list of renames."""
    old = Line("NSE:OLDBANK-EQ", name="New Era Bank", fy_token="1", isin="INE001A01011")
    others = [Line(f"NSE:S{n}-EQ", name=f"Share {n}", fy_token=f"9{n}", isin=f"INE9{n:02}A01010") for n in range(9)]
    refresh_instruments([old, *others], now=NOW, retire=True)
    universe = Universe.objects.create(name="banks")
    member = Instrument.objects.get(symbol="NSE:OLDBANK-EQ")
    UniverseMember.objects.create(universe=universe, instrument=member, from_date=date(2020, 1, 1))
    new = Line("NSE:NEWBANK-EQ", name="New Era Bank", fy_token="2", isin="INE555Z01012")
    refresh_instruments([new, *others], now=NOW, retire=True)
    assert [(one.universe, one.symbol, one.perhaps) for one in gone_members(NOW.date())] == [
        ("banks", "NSE:OLDBANK-EQ", "NSE:NEWBANK-EQ")
    ]  # fmt: skip
    (alert,) = Alert.objects.filter(code="MEMBERS_GONE", acknowledged_at=None)
    assert "NSE:OLDBANK-EQ (now NSE:NEWBANK-EQ?)" in alert.message
    refresh_instruments([old, new, *others], now=NOW, retire=True)
    assert gone_members(NOW.date()) == []
    assert not Alert.objects.filter(code="MEMBERS_GONE", acknowledged_at=None).exists()
