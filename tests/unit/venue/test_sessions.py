"""The exchange's days and hours."""

from datetime import UTC, date, datetime, timedelta

import pytest

from trading.domain.clock import IST
from trading.venue.expiries import monthly_expiry, next_expiry, weekly_expiry
from trading.venue.sessions import (
    Phase,
    SessionKind,
    bar_start,
    entry_window,
    exchange_date,
    next_session,
    phase_at,
    previous_session,
    session_on,
    square_off_at,
)


def ist(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=IST)


def test_an_ordinary_day_runs_from_quarter_past_nine_to_half_past_three():
    session = session_on(date(2026, 2, 16))
    assert session is not None
    assert session.opens_at == ist("2026-02-16 09:15")
    assert session.opens_at.tzinfo is UTC
    assert session.closes_at == ist("2026-02-16 15:30")
    assert not session.assumed


@pytest.mark.parametrize(
    "holiday",
    ["2026-01-15", "2026-01-26", "2025-10-22", "2025-12-25", "2024-11-20", "2023-06-29", "2022-10-26", "2021-11-05",
     "2026-12-25", "2026-02-14", "2026-02-15"],
)  # fmt: skip
def test_holidays_and_plain_weekends_are_closed(holiday):
    assert session_on(date.fromisoformat(holiday)) is None


@pytest.mark.parametrize("day", ["2024-01-20", "2025-02-01", "2026-02-01"])
def test_special_weekend_days_are_full_sessions(day):
    session = session_on(date.fromisoformat(day))
    assert session is not None and session.bar_starts(1)[-1] == ist(f"{day} 15:29")


def test_the_year_2025_had_249_sessions():
    days = (date(2025, 1, 1) + timedelta(days=ahead) for ahead in range(365))
    assert sum(session_on(day) is not None for day in days) == 249


def test_the_outage_day_of_2021_has_two_segments_and_a_pause():
    session = session_on(date(2021, 2, 24))
    assert session is not None
    assert [segment.opens_at for segment in session.segments] == [ist("2021-02-24 09:15"), ist("2021-02-24 15:45")]
    assert session.closes_at == ist("2021-02-24 17:00")
    assert session.minutes == 145 + 75
    assert session.phase_at(ist("2021-02-24 12:00")) is Phase.CLOSED
    assert session.phase_at(ist("2021-02-24 15:35")) is Phase.PREOPEN
    assert session.phase_at(ist("2021-02-24 16:59")) is Phase.CONTINUOUS
    assert ist("2021-02-24 15:45") in session.bar_starts(15)
    assert bar_start(ist("2021-02-24 12:00"), session, 5) is None


def test_a_bar_cut_short_by_the_end_of_its_segment_ends_there():
    session = session_on(date(2021, 2, 24))
    assert session is not None
    assert session.bar_starts(60)[2] == ist("2021-02-24 11:15")
    assert session.bar_end(ist("2021-02-24 11:15"), 60) == ist("2021-02-24 11:40")


@pytest.mark.parametrize(("day", "opens"), [("2021-11-04", "18:15"), ("2024-11-01", "18:00"), ("2025-10-21", "13:45")])
def test_muhurat_is_one_hour_at_the_hour_of_its_circular(day, opens):
    session = session_on(date.fromisoformat(day))
    assert session is not None
    assert (session.name, session.minutes, session.opens_at) == ("Muhurat", 60, ist(f"{day} {opens}"))


def test_a_muhurat_whose_hours_were_not_confirmed_says_so():
    future = session_on(date(2026, 11, 8))
    seen_in_the_data = session_on(date(2021, 11, 4))
    assert future is not None and future.assumed
    assert seen_in_the_data is not None and not seen_in_the_data.assumed


def test_from_august_2026_derivative_stocks_stop_early_and_derivatives_run_on():
    before, after = date(2026, 7, 31), date(2026, 8, 3)
    closes = {
        (day, kind): session_on(day, kind=kind).closes_at.astimezone(IST).strftime("%H:%M")
        for day in (before, after)
        for kind in SessionKind
    }
    assert closes == {
        (before, SessionKind.EQUITY): "15:30",
        (before, SessionKind.EQUITY_DERIVATIVE_STOCK): "15:30",
        (before, SessionKind.DERIVATIVES): "15:30",
        (after, SessionKind.EQUITY): "15:30",
        (after, SessionKind.EQUITY_DERIVATIVE_STOCK): "15:15",
        (after, SessionKind.DERIVATIVES): "15:40",
    }


@pytest.mark.parametrize(
    ("at", "phase"),
    [
        ("08:59", Phase.CLOSED), ("09:00", Phase.PREOPEN), ("09:14", Phase.PREOPEN), ("09:15", Phase.CONTINUOUS),
        ("15:14", Phase.CONTINUOUS), ("15:15", Phase.CLOSING_AUCTION), ("15:34", Phase.CLOSING_AUCTION),
        ("15:35", Phase.CLOSED), ("15:50", Phase.POST_CLOSE), ("16:00", Phase.CLOSED),
    ],
)  # fmt: skip
def test_phases_of_a_derivative_stock_with_a_closing_auction(at, phase):
    kind = SessionKind.EQUITY_DERIVATIVE_STOCK
    assert phase_at(ist(f"2026-08-03 {at}"), kind=kind) is phase


def test_fault_44_days_outside_the_calendar_are_closed_unless_weekdays_are_assumed():
    assert session_on(date(2016, 8, 16)) is None
    assumed = session_on(date(2016, 8, 16), assume_weekdays=True)
    assert assumed is not None and assumed.assumed and assumed.minutes == 375
    assert session_on(date(2016, 8, 20), assume_weekdays=True) is None  # a Saturday
    assert session_on(date(2026, 1, 26), assume_weekdays=True) is None  # a known holiday stays one


def test_next_and_previous_step_over_weekends_and_holidays():
    friday_evening = ist("2026-01-23 20:00")
    assert next_session(friday_evening).date == date(2026, 1, 27)  # Monday is Republic Day
    assert previous_session(ist("2026-01-27 10:00")).date == date(2026, 1, 23)
    assert next_session(ist("2026-01-23 09:00")).date == date(2026, 1, 23)
    assert next_session(ist("2026-12-31 16:00")) is None
    assert next_session(ist("2026-12-31 16:00"), assume_weekdays=True).date == date(2027, 1, 1)


def test_entries_stop_before_square_off_and_square_off_before_the_close():
    session = session_on(date(2026, 8, 3), kind=SessionKind.EQUITY_DERIVATIVE_STOCK)
    assert session is not None
    assert entry_window(session) == (ist("2026-08-03 09:20"), ist("2026-08-03 14:45"))
    assert square_off_at(session) == ist("2026-08-03 15:00")
    first, last = entry_window(session, after_open_minutes=300, before_close_minutes=300)
    assert first == last


def test_bars_are_counted_from_the_open():
    session = session_on(date(2026, 2, 16))
    assert session is not None
    assert bar_start(ist("2026-02-16 09:19:59"), session, 5) == session.opens_at
    assert bar_start(ist("2026-02-16 10:20"), session, 60) == ist("2026-02-16 10:15")
    assert bar_start(session.closes_at, session, 5) is None
    assert session.bar_starts(5)[-1] == ist("2026-02-16 15:25")
    assert session.bar_end(ist("2026-02-16 15:15"), 60) == session.closes_at


def test_a_naive_instant_is_refused():
    with pytest.raises(ValueError, match="time zone"):
        exchange_date(datetime(2026, 2, 16, 9, 15))


@pytest.mark.parametrize(
    ("at", "phase"),
    [
        ("2026-09-04 09:04", "PREOPEN_ENTRY"), ("2026-09-04 09:07", "PREOPEN_ENTRY"),
        ("2026-09-07 09:04", "PREOPEN_ENTRY"), ("2026-09-07 09:07", "PREOPEN_LIMIT_ONLY"),
        ("2026-09-07 09:11", "PREOPEN_MATCHING"), ("2026-09-07 09:13", "PREOPEN_BUFFER"),
        ("2026-09-07 15:16", "REFERENCE_PRICE"), ("2026-09-07 15:21", "AUCTION_ENTRY"),
        ("2026-09-07 15:26", "AUCTION_LIMIT_ONLY"), ("2026-09-07 15:32", "AUCTION_MATCHING"),
        ("2026-09-07 15:45", None), ("2026-09-07 15:55", "POST_CLOSE"),
    ],
)  # fmt: skip
def test_phases_to_the_minute_and_their_change_of_september_2026(at, phase):
    session = session_on(ist(at).date(), kind=SessionKind.EQUITY_DERIVATIVE_STOCK)
    span = session.span_at(ist(at))
    assert (span.phase.value if span else None) == phase


def test_a_random_end_is_told_with_the_phase():
    session = session_on(date(2026, 9, 7), kind=SessionKind.EQUITY_DERIVATIVE_STOCK)
    entry = session.span_at(ist("2026-09-07 09:07"))
    assert (entry.may_end_at, entry.closes_at) == (ist("2026-09-07 09:08"), ist("2026-09-07 09:10"))


def test_a_muhurat_has_its_pre_open_before_its_own_bell():
    session = session_on(date(2021, 11, 4))
    assert session.phase_at(ist("2021-11-04 18:05")) is Phase.PREOPEN
    assert session.phase_at(ist("2021-11-04 09:05")) is Phase.CLOSED
    assert session.post_close is None


@pytest.mark.parametrize(
    ("exchange", "underlying", "year", "month", "day"),
    [
        ("NSE", "NIFTY", 2026, 3, "2026-03-30"),  # the 31st was a holiday
        ("NSE", "NIFTY", 2025, 8, "2025-08-28"),  # the last Thursday expiry
        ("NSE", "RELIANCE", 2025, 9, "2025-09-30"),
        ("BSE", "SENSEX", 2026, 8, "2026-08-27"),
    ],
)
def test_monthly_contracts_end_on_the_weekday_of_their_time(exchange, underlying, year, month, day):
    assert monthly_expiry(year, month, exchange=exchange, underlying=underlying) == date.fromisoformat(day)


def test_weekly_contracts_move_before_a_holiday_and_only_one_index_of_an_exchange_has_them():
    assert weekly_expiry(date(2026, 1, 12), exchange="BSE", underlying="SENSEX") == date(2026, 1, 14)
    assert weekly_expiry(date(2026, 1, 12), exchange="NSE", underlying="BANKNIFTY") is None
    assert next_expiry(date(2026, 8, 19), exchange="NSE", underlying="BANKNIFTY") == date(2026, 8, 25)
    assert next_expiry(date(2026, 8, 19), exchange="MCX", underlying="GOLD") is None
