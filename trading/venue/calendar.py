"""The dated days of the exchange: holidays, weekend sessions and days with unusual hours.

Coverage: 1 October 2020 to 31 December 2026, NSE equity and F&O.

- To 21 August 2026 every closed weekday and every weekend session is confirmed by the absence or presence of that
  day in the exchange's own price archive. Later days of 2026 follow NSE's holiday circular of 2025-12-12.
- Ordinary hours are certain. Unusual hours marked `HOURS_ASSUMED` come from press reports or habit, and the sessions
  made of them say so (`Session.assumed`).
- 2026-01-15 was declared a holiday three days before: a calendar known in advance is never final.

Days outside the coverage are unknown, not open: see `sessions.session_on`.
"""

from __future__ import annotations

from datetime import date, time
from typing import Final, TypeAlias

Hours: TypeAlias = tuple[tuple[time, time], ...]

KNOWN_FROM: Final = date(2020, 10, 1)
KNOWN_TO: Final = date(2026, 12, 31)

# Derivative stocks close by auction, and derivatives trade on to 15:40, from this day
# (SEBI circular 2026-01-16; NSE/CMTR/74466 and NSE/FAOP/74467, 2026-05-29).
CLOSING_AUCTION_FROM: Final = date(2026, 8, 3)

# Derivatives have a pre-open of their own from this day.
DERIVATIVES_PREOPEN_FROM: Final = date(2025, 12, 8)


def _days(year: int, listed: str) -> set[date]:
    """Days written as `MM-DD MM-DD …`."""
    return {date(year, int(day[:2]), int(day[3:])) for day in listed.split()}


CLOSED_WEEKDAYS: Final[frozenset[date]] = frozenset(
    _days(2020, "10-02 11-16 11-30 12-25")
    | _days(2021, "01-26 03-11 03-29 04-02 04-14 04-21 05-13 07-21 08-19 09-10 10-15 11-05 11-19")
    | _days(2022, "01-26 03-01 03-18 04-14 04-15 05-03 08-09 08-15 08-31 10-05 10-26 11-08")
    | _days(2023, "01-26 03-07 03-30 04-04 04-07 04-14 05-01 06-29 08-15 09-19 10-02 10-24 11-14 11-27 12-25")
    | _days(2024, "01-22 01-26 03-08 03-25 03-29 04-11 04-17 05-01 05-20 06-17 07-17 08-15 10-02 11-15 11-20 12-25")
    | _days(2025, "02-26 03-14 03-31 04-10 04-14 04-18 05-01 08-15 08-27 10-02 10-22 11-05 12-25")
    | _days(2026, "01-15 01-26 03-03 03-26 03-31 04-03 04-14 05-01 05-28 06-26 09-14 10-02 10-20 11-10 11-24 12-25")
)

FULL_WEEKEND_DAYS: Final[dict[date, str]] = {
    date(2024, 1, 20): "Saturday session",
    date(2025, 2, 1): "Budget Saturday",
    date(2026, 2, 1): "Budget Sunday",
}

_MUHURAT_1815: Final[Hours] = ((time(18, 15), time(19, 15)),)
_MUHURAT_1800: Final[Hours] = ((time(18, 0), time(19, 0)),)
_MUHURAT_1345: Final[Hours] = ((time(13, 45), time(14, 45)),)

UNUSUAL_HOURS: Final[dict[date, tuple[str, Hours]]] = {
    date(2020, 11, 14): ("Muhurat", _MUHURAT_1815),
    # The exchange stopped at 11:40 and came back for the evening.
    date(2021, 2, 24): ("Outage day", ((time(9, 15), time(11, 40)), (time(15, 45), time(17, 0)))),
    date(2021, 11, 4): ("Muhurat", _MUHURAT_1815),
    date(2022, 10, 24): ("Muhurat", _MUHURAT_1815),
    date(2023, 11, 12): ("Muhurat", _MUHURAT_1815),
    date(2024, 3, 2): ("Disaster-recovery drill", ((time(9, 15), time(10, 0)), (time(11, 30), time(12, 30)))),
    date(2024, 5, 18): ("Disaster-recovery drill", ((time(9, 15), time(10, 0)), (time(11, 45), time(12, 40)))),
    date(2024, 11, 1): ("Muhurat", _MUHURAT_1800),
    date(2025, 10, 21): ("Muhurat", _MUHURAT_1345),
    date(2026, 11, 8): ("Muhurat", _MUHURAT_1800),
}

HOURS_ASSUMED: Final[frozenset[date]] = frozenset(
    {
        date(2020, 11, 14), date(2022, 10, 24), date(2023, 11, 12), date(2024, 3, 2), date(2024, 5, 18),
        date(2024, 11, 1), date(2025, 10, 21), date(2026, 11, 8),
    }
)  # fmt: skip
