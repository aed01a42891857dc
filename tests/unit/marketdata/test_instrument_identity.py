"""An instrument keeps its row when its name, its ISIN or its series changes, and what is dated is read by date."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from tests.unit.marketdata.test_instrument_refresh import Line
from trading.marketdata.listing.identities import (
    contracts_of,
    expiries_of,
    had_derivatives_on,
    instrument_named,
    names_of,
    sector_on,
    terms_on,
)
from trading.marketdata.listing.instruments import MasterRefused, Origin, refresh_instruments, set_sectors
from trading.marketdata.listing.matching import Identity, Matcher
from trading.marketdata.listing.universes import members, set_members
from trading.marketdata.models import Instrument, InstrumentChange, InstrumentRefresh, Universe, UniverseMember

pytestmark = pytest.mark.django_db
MONDAY, TUESDAY = datetime(2026, 2, 16, 3, 0, tzinfo=UTC), datetime(2026, 2, 17, 3, 0, tzinfo=UTC)
OLD = Line("NSE:OLDNAME-EQ", isin="INE111A01011", fy_token="10100000000111")


@dataclass(frozen=True)
class Contract(Line):
    """A line of a derivatives master."""

    segment: str = "FO"
    instrument_type: str = "OPTIDX"
    isin: str = ""
    fy_token: str = ""
    lot_size: int = 65
    underlying: str = "NIFTY"
    underlying_token: str = "101000000026000"
    expiry: date | None = None
    strike: Decimal | None = None
    option_type: str | None = None


def test_a_renamed_share_keeps_its_row_its_membership_and_answers_to_both_names():
    refresh_instruments([OLD], now=MONDAY)
    row = Instrument.objects.get()
    universe = Universe.objects.create(name="nifty50")
    UniverseMember.objects.create(universe=universe, instrument=row, from_date=date(2026, 1, 1))
    diff = refresh_instruments([replace(OLD, symbol="NSE:NEWNAME-EQ")], now=TUESDAY)
    row.refresh_from_db()
    assert diff.renamed == {"NSE:NEWNAME-EQ": "NSE:OLDNAME-EQ"}
    assert (diff.added, diff.retired, row.symbol) == ([], [], "NSE:NEWNAME-EQ")
    assert members(universe, date(2026, 2, 17)) == [row]
    assert instrument_named("NSE:OLDNAME-EQ") == instrument_named("NSE:NEWNAME-EQ") == row
    assert names_of(row) == [("NSE:NEWNAME-EQ", None), ("NSE:OLDNAME-EQ", date(2026, 2, 16))]


def test_a_change_of_series_is_told_by_the_isin_though_the_token_is_new():
    refresh_instruments([OLD], now=MONDAY)
    diff = refresh_instruments([replace(OLD, symbol="NSE:OLDNAME-BE", fy_token="10100000000999")], now=TUESDAY)
    assert diff.renamed == {"NSE:OLDNAME-BE": "NSE:OLDNAME-EQ"}
    assert Instrument.objects.count() == 1


def test_a_split_changes_the_isin_and_nothing_else():
    refresh_instruments([OLD], now=MONDAY)
    diff = refresh_instruments([replace(OLD, isin="INE111A01029")], now=TUESDAY)
    row = Instrument.objects.get()
    assert diff.changed == {"NSE:OLDNAME-EQ": {"isin": ("INE111A01011", "INE111A01029")}}
    assert row.former.get().isin == "INE111A01011"


def test_a_name_given_to_another_company_makes_another_instrument():
    refresh_instruments([OLD], now=MONDAY)
    first = Instrument.objects.get()
    other = replace(OLD, isin="INE222B01012", fy_token="10100000000222")
    diff = refresh_instruments([other], now=TUESDAY, retire=True)
    first.refresh_from_db()
    assert diff.added == ["NSE:OLDNAME-EQ"] and not first.active
    assert instrument_named("NSE:OLDNAME-EQ") != first
    assert instrument_named("NSE:OLDNAME-EQ", date(2026, 2, 10)) == first


def test_names_exchanged_in_one_night_make_new_instruments_rather_than_a_guess():
    other = Line("NSE:OTHER-EQ", isin="INE333C01013", fy_token="10100000000333")
    refresh_instruments([OLD, other], now=MONDAY)
    before = {row.isin: row.pk for row in Instrument.objects.all()}
    refresh_instruments([replace(OLD, symbol="NSE:OTHER-EQ"), replace(other, symbol="NSE:OLDNAME-EQ")], now=TUESDAY)
    assert Instrument.objects.get(symbol="NSE:OTHER-EQ").isin == OLD.isin
    assert Instrument.objects.count() == len(before) + 2


def test_a_share_known_by_its_name_alone_follows_the_list_of_renames():
    refresh_instruments([replace(OLD, symbol="NSE:ZOMATO-EQ", isin="", fy_token="")], now=MONDAY)
    diff = refresh_instruments([Line("NSE:ETERNAL-EQ", isin="INE758T01015")], now=TUESDAY)
    assert diff.renamed == {"NSE:ETERNAL-EQ": "NSE:ZOMATO-EQ"}
    assert Instrument.objects.get().former.get().until_date == date(2025, 4, 8)


def test_a_share_renamed_twice_since_the_last_master_keeps_its_row_and_both_names():
    refresh_instruments([replace(OLD, symbol="NSE:LTI-EQ", isin="", fy_token="")], now=MONDAY)
    row = Instrument.objects.get()
    diff = refresh_instruments([Line("NSE:LTM-EQ", isin="INE214T01019")], now=datetime(2026, 3, 2, 3, 0, tzinfo=UTC))
    assert (diff.renamed, diff.added) == ({"NSE:LTM-EQ": "NSE:LTI-EQ"}, [])
    row.refresh_from_db()
    assert names_of(row) == [
        ("NSE:LTM-EQ", None), ("NSE:LTIM-EQ", date(2026, 2, 26)), ("NSE:LTI-EQ", date(2022, 12, 4)),
    ]  # fmt: skip
    assert instrument_named("NSE:LTIM-EQ", date(2024, 1, 1)) == instrument_named("NSE:LTI-EQ") == row


def test_a_token_given_to_another_issuer_is_no_rename():
    known = [Identity(1, "NSE:GONE-EQ", "NSE CM", "INE111A01011", "T1")]
    matcher = Matcher(known, listed={"NSE:NEW-EQ"}, renames={})
    found, holder = matcher.find(symbol="NSE:NEW-EQ", market="NSE CM", isin="INE999Z01010", token="T1")
    assert found is None and holder is None


def test_tick_and_lot_are_those_of_the_day():
    refresh_instruments([OLD], now=MONDAY)
    refresh_instruments([replace(OLD, tick_size=Decimal("0.10"), lot_size=5)], now=TUESDAY)
    row = Instrument.objects.get()
    assert terms_on(row, date(2026, 2, 16)).tick_size == Decimal("0.05")
    assert terms_on(row, date(2026, 2, 17)).lot_size == 5
    before = terms_on(row, date(2020, 1, 1))
    assert before.tick_size == Decimal("0.05") and before.assumed


def test_contracts_are_tied_to_their_underlying_and_found_by_expiry():
    index = Line("NSE:NIFTY50-INDEX", instrument_type="INDEX", isin="", fy_token="101000000026000")
    july, august = date(2026, 7, 28), date(2026, 8, 25)
    refresh_instruments([index], now=MONDAY)
    lines = [
        Contract("NSE:NIFTY26JULFUT", expiry=july, instrument_type="FUTIDX"),
        Contract("NSE:NIFTY26AUG24000CE", expiry=august, strike=Decimal(24000), option_type="CE"),
        Contract("NSE:NIFTY26AUG24000PE", expiry=august, strike=Decimal(24000), option_type="PE"),
    ]
    refresh_instruments(lines, now=MONDAY)
    call, put = contracts_of("NIFTY", expiry=august)
    assert (call.option_type, put.strike, call.underlying.symbol) == ("CE", Decimal(24000), "NSE:NIFTY50-INDEX")
    assert expiries_of("NIFTY", from_date=date(2026, 7, 1)) == [july, august]
    assert Instrument.objects.get(symbol="NSE:NIFTY50-INDEX").has_derivatives
    assert had_derivatives_on(call.underlying, date(2026, 2, 16))
    assert terms_on(call, date(2026, 2, 16)).freeze_quantity == 1800  # the exchange's table, where the master is silent
    late = datetime(2026, 8, 3, 3, 0, tzinfo=UTC)
    diff = refresh_instruments(lines[1:], now=late, retire=True)
    assert (diff.expired, diff.retired) == (1, [])
    assert not Instrument.objects.get(symbol="NSE:NIFTY26JULFUT").active


def test_sectors_are_a_matter_of_the_day():
    refresh_instruments([OLD], now=MONDAY)
    set_sectors({"NSE:OLDNAME-EQ": "Power"}, day=date(2026, 1, 1), source="list")
    set_sectors({"NSE:OLDNAME-EQ": "Realty"}, day=date(2026, 2, 1), source="list")
    row = Instrument.objects.get()
    assert (sector_on(row, date(2026, 1, 31)), sector_on(row, date(2026, 2, 1)), row.sector) == (
        "Power", "Realty", "Realty",
    )  # fmt: skip
    assert sector_on(row, date(2025, 12, 31)) == ""


def test_leaving_a_list_ends_the_stay_the_day_before():
    refresh_instruments([OLD, Line("NSE:ITC-EQ", isin="INE154A01025", fy_token="T2")], now=MONDAY)
    old, itc = Instrument.objects.order_by("-symbol")
    universe = Universe.objects.create(name="ten")
    set_members(universe, [old.pk], day=date(2026, 1, 1))
    moves = set_members(universe, [itc.pk], day=date(2026, 2, 1))
    assert (moves.joined, moves.left) == ((itc.pk,), (old.pk,))
    assert members(universe, date(2026, 1, 31)) == [old]
    assert members(universe, date(2026, 2, 1)) == [itc]
    assert not set_members(universe, [itc.pk], day=date(2026, 2, 2))


def many(count: int) -> list[Line]:
    return [Line(f"NSE:S{n}-EQ", isin=f"INE{n:06d}010", fy_token=f"T{n}") for n in range(count)]


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("EMPTY_MASTER", []),
        ("DUPLICATE_LINES", [OLD, OLD]),
        ("TOO_MANY_WRONG_LINES", [replace(one, lot_size=0) for one in many(6)]),
        ("SHRUNK_MASTER", many(100)),
    ],
)
def test_a_master_that_cannot_be_is_refused_as_a_whole_and_on_record(code, lines):
    refresh_instruments(many(300), now=MONDAY, retire=True)
    with pytest.raises(MasterRefused) as refused:
        refresh_instruments(lines, now=TUESDAY, retire=True)
    assert refused.value.code == code
    assert Instrument.objects.filter(active=True).count() == 300
    assert InstrumentRefresh.objects.latest("pk").code == code


def test_an_older_master_is_refused_unless_forced():
    refresh_instruments([OLD], now=TUESDAY, origin=Origin(as_of=date(2026, 2, 17)))
    with pytest.raises(MasterRefused, match="OLDER_MASTER"):
        refresh_instruments([OLD], now=TUESDAY, origin=Origin(as_of=date(2025, 2, 17)))
    refresh_instruments([OLD], now=TUESDAY, origin=Origin(as_of=date(2025, 2, 17)), force=True)


def test_what_a_refresh_changed_is_kept_row_by_row():
    refresh_instruments([OLD], now=MONDAY)
    refresh_instruments([replace(OLD, symbol="NSE:NEWNAME-EQ", tick_size=Decimal("0.10"))], now=TUESDAY)
    kinds = InstrumentChange.objects.order_by("pk").values_list("kind", "symbol", "field", "after")
    assert list(kinds) == [
        ("ADDED", "NSE:OLDNAME-EQ", "", ""),
        ("RENAMED", "NSE:NEWNAME-EQ", "symbol", "NSE:NEWNAME-EQ"),
        ("CHANGED", "NSE:NEWNAME-EQ", "tick_size", "0.10"),
    ]
