"""Operators keep the calendar: what they enter holds at once, is checked, is on record, and can be taken back."""

from datetime import UTC, date, datetime

import pytest

from tests.factories import UserFactory
from trading.audit.models import AuditEntry
from trading.domain.errors import NotAllowed
from trading.marketdata import calendars
from trading.marketdata.calendars import calendar_drop, calendar_set, sync_calendar
from trading.marketdata.models import CalendarDay, CalendarYear, ExpiryRuleRow, SessionPlan
from trading.venue.expiries import weekly_expiry
from trading.venue.sessions import SessionKind, session_on

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 2, 16, 3, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def shipped_calendar():
    calendars.forget()
    yield
    calendars.forget()


def put(row):
    calendar_set(row=row, actor="operator", now=NOW)
    sync_calendar(at_once=True)
    return row


def test_a_holiday_declared_today_closes_its_day_and_moves_its_expiry():
    tuesday = date(2026, 8, 18)
    assert session_on(tuesday) is not None
    row = put(CalendarDay(date=tuesday, kind="CLOSED", name="Declared late", source="notice of 2026-08-15"))
    assert session_on(tuesday) is None
    assert weekly_expiry(date(2026, 8, 14), exchange="NSE", underlying="NIFTY") == date(2026, 8, 17)
    calendar_drop(row=row, actor="operator")
    sync_calendar(at_once=True)
    assert session_on(tuesday) is not None
    actions = AuditEntry.objects.order_by("id").values_list("action", "actor")
    assert list(actions) == [("calendar.set", "operator"), ("calendar.dropped", "operator")]


def test_hours_of_a_special_session_are_corrected_by_a_row():
    diwali = date(2026, 11, 8)
    assert session_on(diwali).assumed
    put(CalendarDay(date=diwali, kind="HOURS", name="Muhurat", hours="13:45-14:45", source="circular"))
    session = session_on(diwali)
    assert (session.minutes, session.assumed) == (60, False)
    assert session.opens_at == datetime(2026, 11, 8, 8, 15, tzinfo=UTC)


def test_a_year_is_unknown_and_closed_until_its_holidays_are_entered():
    first_friday = date(2027, 1, 1)
    assert session_on(first_friday) is None
    put(CalendarYear(year=2027, source="circular of December 2026"))
    assert session_on(first_friday) is not None
    assert session_on(date(2028, 1, 3)) is None


def test_a_year_that_does_not_follow_the_known_ones_stays_unknown():
    put(CalendarYear(year=2028, source="too early"))
    assert session_on(date(2028, 1, 3)) is None


def test_hours_change_from_a_day_on():
    put(SessionPlan(kind="DERIVATIVES", from_date=date(2026, 10, 1), phases="CONTINUOUS 09:00-17:00", source="notice"))
    assert session_on(date(2026, 9, 30), kind=SessionKind.DERIVATIVES).minutes == 385
    assert session_on(date(2026, 10, 1), kind=SessionKind.DERIVATIVES).minutes == 480


def test_an_expiry_rule_holds_from_its_day():
    put(ExpiryRuleRow(
        from_date=date(2026, 10, 1), exchange="NSE", underlying="NIFTY", cycle="WEEKLY", weekday="FRI", source="notice"
    ))  # fmt: skip
    assert weekly_expiry(date(2026, 9, 21), exchange="NSE", underlying="NIFTY") == date(2026, 9, 22)
    assert weekly_expiry(date(2026, 10, 5), exchange="NSE", underlying="NIFTY") == date(2026, 10, 9)


@pytest.mark.parametrize(
    "row",
    [
        CalendarDay(date=date(2026, 8, 18), kind="HOURS", name="x", hours="", source="x"),
        CalendarDay(date=date(2026, 8, 18), kind="HOURS", name="x", hours="15:00-14:00", source="x"),
        CalendarDay(date=date(2026, 8, 18), kind="CLOSED", name="x", hours="15:00-16:00", source="x"),
        CalendarDay(date=date(2026, 8, 18), kind="FULL", name="x", source="x"),
        SessionPlan(kind="EQUITY", from_date=date(2026, 8, 18), phases="PREOPEN_ENTRY 09:00-09:08", source="x"),
        SessionPlan(kind="EQUITY", from_date=date(2026, 8, 18), phases="LUNCH 12:00-13:00", source="x"),
        CalendarYear(year=1999, source="x"),
    ],
)
def test_a_row_that_cannot_be_is_refused(row):
    with pytest.raises(NotAllowed, match="BAD_CALENDAR_ROW"):
        calendar_set(row=row, actor="operator", now=NOW)
    assert not type(row).objects.exists()


def test_an_operator_enters_a_holiday_in_the_console_and_nonsense_is_told(client):
    client.force_login(UserFactory(operator=True))
    given = {
        "date": "2026-08-18",
        "kind": "CLOSED",
        "name": "Declared late",
        "hours": "",
        "certain": "on",
        "source": "n",
    }
    wrong = client.post("/console/marketdata/calendarday/add/", {**given, "hours": "10:00-11:00"})
    assert wrong.status_code == 200 and b"hours belong to a day of the kind HOURS" in wrong.content
    assert client.post("/console/marketdata/calendarday/add/", given).status_code == 302
    row = CalendarDay.objects.get()
    assert row.changed_by and AuditEntry.objects.filter(action="calendar.set").exists()
    gone = client.post(f"/console/marketdata/calendarday/{row.pk}/delete/", {"post": "yes"})
    assert gone.status_code == 302 and not CalendarDay.objects.exists()
