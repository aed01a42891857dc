"""Days and hours of the cash segment, as far as the simulation needs them. Instants are epoch seconds."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

IST = ZoneInfo("Asia/Kolkata")
AUCTION_CLOSE_FROM = date(2026, 8, 3)  # continuous trading of derivative stocks ends 15:15 (NSE/CMTR/74466)
OPEN_AT = time(9, 15)

HOLIDAYS = frozenset(
    date.fromisoformat(day)
    for day in [
        "2024-01-22",
        "2024-01-26",
        "2024-03-08",
        "2024-03-25",
        "2024-03-29",
        "2024-04-11",
        "2024-04-17",
        "2024-05-01",
        "2024-05-20",
        "2024-06-17",
        "2024-07-17",
        "2024-08-15",
        "2024-10-02",
        "2024-11-01",
        "2024-11-15",
        "2024-11-20",
        "2024-12-25",
        "2025-02-26",
        "2025-03-14",
        "2025-03-31",
        "2025-04-10",
        "2025-04-14",
        "2025-04-18",
        "2025-05-01",
        "2025-08-15",
        "2025-08-27",
        "2025-10-02",
        "2025-10-21",
        "2025-10-22",
        "2025-11-05",
        "2025-12-25",
        "2026-01-15",
        "2026-01-26",
        "2026-03-03",
        "2026-03-26",
        "2026-03-31",
        "2026-04-03",
        "2026-04-14",
        "2026-05-01",
        "2026-05-28",
        "2026-06-26",
        "2026-09-14",
        "2026-10-02",
        "2026-10-20",
        "2026-11-10",
        "2026-11-24",
        "2026-12-25",
    ]
)


def is_trading_day(day: date) -> bool:
    """A weekday that is no known holiday. Special weekend sessions are not simulated."""
    return day.weekday() < 5 and day not in HOLIDAYS


def trading_day_from(day: date) -> date:
    """The first trading day on or after `day`."""
    while not is_trading_day(day):
        day += timedelta(days=1)
    return day


def next_trading_day(day: date) -> date:
    return trading_day_from(day + timedelta(days=1))


def previous_trading_day(day: date) -> date:
    day -= timedelta(days=1)
    while not is_trading_day(day):
        day -= timedelta(days=1)
    return day


def at_ist(day: date, clock: time) -> int:
    """Epoch seconds of an IST wall time."""
    return int(datetime.combine(day, clock, IST).timestamp())


def close_time(day: date) -> time:
    return time(15, 15) if day >= AUCTION_CLOSE_FROM else time(15, 30)


def session_hours(day: date) -> tuple[int, int]:
    """Start and end of continuous trading, end exclusive."""
    return at_ist(day, OPEN_AT), at_ist(day, close_time(day))


def ist(epoch: float) -> datetime:
    return datetime.fromtimestamp(epoch, UTC).astimezone(IST)
