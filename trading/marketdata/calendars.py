"""The calendar in force: what ships with the desk and what its operators entered, handed to `trading.venue`.

Rows are read again when they changed, at the edge where a process reads its clock (`clocks.venue_now`), so that a
holiday declared today is known to every process within a second or two. Nothing below asks the database for a day.
"""

import logging
import threading
import time
from datetime import date, datetime
from typing import Any

from django.db import Error as DatabaseError
from django.db import connection, transaction
from django.db.models import Model

from trading.audit.record import record
from trading.domain.errors import NotAllowed
from trading.marketdata.models import CalendarDay, CalendarYear, ExpiryRuleRow, SessionPlan
from trading.venue import calendar
from trading.venue.calendar import Calendar, ExpiryRule, SessionKind, day_of, parse_plan, parse_weekday

logger = logging.getLogger(__name__)
REREAD_S = 2.0
TABLES: tuple[type[Model], ...] = (CalendarDay, CalendarYear, SessionPlan, ExpiryRuleRow)
_lock = threading.Lock()
_read_at = float("-inf")
_seen: tuple[Any, ...] | None = None

_FINGERPRINT = " UNION ALL ".join(
    f"SELECT count(*), max(id), max(changed_at) FROM {table._meta.db_table}"  # noqa: S608 - our own names
    for table in TABLES
)


def sync_calendar(*, at_once: bool = False) -> bool:
    """Bring this process's calendar up to date; True when it changed. Cheap to call: looks every two seconds.

    A database that does not answer leaves the calendar as it is: it was right a moment ago.
    """
    global _read_at, _seen
    if not at_once and time.monotonic() - _read_at < REREAD_S:
        return False
    with _lock:
        _read_at = time.monotonic()
        try:
            with connection.cursor() as cursor:
                cursor.execute(_FINGERPRINT)
                now_there = tuple(cursor.fetchall())
            if now_there == _seen:
                return False
            found = stored_calendar()
        except DatabaseError as error:
            if connection.in_atomic_block:
                raise  # the caller's transaction is broken: not for us to hide
            logger.warning("the calendar was not read again: %s", type(error).__name__)
            return False
        changed = _seen is not None or any(count for count, *_ in now_there)
        _seen = now_there
        if changed:
            calendar.use(found)
        return changed


def forget() -> None:
    """Back to the shipped calendar, and read afresh at the next call."""
    global _read_at, _seen
    with _lock:
        _read_at, _seen = float("-inf"), None
        calendar.use(None)


def stored_calendar() -> Calendar:
    """The shipped calendar with the rows of the database. A row that cannot be read is left out and logged."""
    years = set(CalendarYear.objects.values_list("year", flat=True))
    shipped = calendar.shipped()
    known_to = shipped.known_to
    while known_to.year + 1 in years:
        known_to = date(known_to.year + 1, 12, 31)
    days, plans, rules = {}, [], []
    for day in CalendarDay.objects.all():
        try:
            days[day.date] = day_of(
                kind=day.kind, name=day.name, hours=day.hours, certain=day.certain, source=day.source
            )
        except ValueError as error:
            logger.error("calendar day %s cannot be read: %s", day.date, error)
    for plan in SessionPlan.objects.all():
        try:
            plans.append((plan.from_date, SessionKind(plan.kind), parse_plan(plan.phases)))
        except ValueError as error:
            logger.error("session plan %s cannot be read: %s", plan, error)
    for row in ExpiryRuleRow.objects.all():
        rules.append(
            ExpiryRule(row.from_date, row.exchange, row.underlying, row.cycle, parse_weekday(row.weekday), row.source)
        )
    return shipped.with_rows(days=days, plans=plans, expiries=rules, known_to=known_to)


def check_row(row: Model) -> None:
    """Whether a calendar row says something that can be. NotAllowed (BAD_CALENDAR_ROW) with the reason."""
    try:
        if isinstance(row, CalendarDay):
            day_of(kind=row.kind, name=row.name, hours=row.hours, certain=row.certain, source=row.source)
            if row.kind == CalendarDay.Kind.FULL and row.date.weekday() < 5:
                raise ValueError("a weekday trades by itself: only a weekend day is entered as one with ordinary hours")
        elif isinstance(row, SessionPlan):
            parse_plan(row.phases)
        elif isinstance(row, ExpiryRuleRow):
            parse_weekday(row.weekday)
        elif isinstance(row, CalendarYear) and not 2021 <= row.year <= 2100:
            raise ValueError(f"{row.year} is no year of this calendar")
    except ValueError as error:
        raise NotAllowed("BAD_CALENDAR_ROW", str(error)) from None


@transaction.atomic
def calendar_set(*, row: Model, actor: str, now: datetime) -> Model:
    """Enter or change one dated fact of the calendar; on record with what it was before. Errors: NotAllowed."""
    if not isinstance(row, TABLES):
        raise NotAllowed("BAD_CALENDAR_ROW", f"{type(row).__name__} is no row of the calendar")
    check_row(row)
    before = type(row)._default_manager.filter(pk=row.pk).first() if row.pk else None
    row.changed_by, row.changed_at = actor, now  # type: ignore[attr-defined]
    row.save()
    record(
        "calendar.set", actor=actor, subject=str(row), table=row._meta.model_name, after=_facts(row),
        before=_facts(before) if before else None,
    )  # fmt: skip
    transaction.on_commit(lambda: sync_calendar(at_once=True), robust=True)
    return row


@transaction.atomic
def calendar_drop(*, row: Model, actor: str) -> None:
    """Take back a row: the shipped table holds again. On record."""
    record("calendar.dropped", actor=actor, subject=str(row), table=row._meta.model_name, before=_facts(row))
    row.delete()
    transaction.on_commit(lambda: sync_calendar(at_once=True), robust=True)


def _facts(row: Model) -> dict[str, str]:
    return {field.name: str(getattr(row, field.name)) for field in row._meta.concrete_fields if field.name != "id"}
