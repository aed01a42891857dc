"""On which days futures and options end: a weekday by rule, moved to the trading day before where it is a holiday.

The rules are dated data (`data/expiries.csv`, `calendar.Calendar.expiries`). A broker's master names the days that are
listed, and it rules; this says what to expect, for checking a master and for days no master is at hand for. A holiday
that is declared late moves an expiry that was listed: NIFTY's of 2026-03-31 became 2026-03-30.
"""

from datetime import date, timedelta
from typing import Final

from trading.venue.calendar import ExpiryRule, current
from trading.venue.sessions import SessionKind, session_on

WEEKLY, MONTHLY = "WEEKLY", "MONTHLY"
_SEARCH_DAYS: Final = 12


def rule_on(day: date, *, exchange: str, underlying: str, cycle: str) -> ExpiryRule | None:
    """The rule for contracts that end about this day: the underlying's own, else the exchange's; None: no such."""
    best: ExpiryRule | None = None
    for rule in current().expiries:
        if rule.exchange != exchange or rule.cycle != cycle or rule.from_date > day:
            continue
        if rule.underlying in (underlying, "*") and (
            best is None or (rule.underlying != "*", rule.from_date) >= (best.underlying != "*", best.from_date)
        ):
            best = rule
    return None if best is None or best.weekday is None else best


def on_trading_day(day: date) -> date:
    """The day itself, or the last trading day before it. Beyond the known calendar weekdays count as trading days."""
    for back in range(_SEARCH_DAYS + 1):
        earlier = day - timedelta(days=back)
        if session_on(earlier, kind=SessionKind.DERIVATIVES, assume_weekdays=True) is not None:
            return earlier
    raise ValueError(f"no trading day within {_SEARCH_DAYS} days before {day}")


def monthly_expiry(year: int, month: int, *, exchange: str, underlying: str) -> date | None:
    """The last such weekday of a month, or the trading day before it. None where no rule says."""
    last = date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)
    rule = rule_on(last, exchange=exchange, underlying=underlying, cycle=MONTHLY)
    if rule is None or rule.weekday is None:
        return None
    return on_trading_day(last - timedelta(days=(last.weekday() - rule.weekday) % 7))


def weekly_expiry(day: date, *, exchange: str, underlying: str) -> date | None:
    """The weekly expiry at or after a day. None where the underlying has no weekly contracts then."""
    for week in range(2):
        monday = day - timedelta(days=day.weekday()) + timedelta(weeks=week)
        rule = rule_on(monday + timedelta(days=6), exchange=exchange, underlying=underlying, cycle=WEEKLY)
        if rule is None or rule.weekday is None:
            continue
        expiry = on_trading_day(monday + timedelta(days=rule.weekday))
        if expiry >= day:
            return expiry
    return None


def next_expiry(day: date, *, exchange: str, underlying: str) -> date | None:
    """The nearest expiry at or after a day, weekly or monthly."""
    ahead = [monthly_expiry(day.year + (day.month + more - 1) // 12, (day.month + more - 1) % 12 + 1,
                            exchange=exchange, underlying=underlying) for more in range(2)]  # fmt: skip
    found = [
        one for one in (*ahead, weekly_expiry(day, exchange=exchange, underlying=underlying)) if one and one >= day
    ]
    return min(found, default=None)
