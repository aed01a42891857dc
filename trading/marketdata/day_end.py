"""The end of an exchange day: what is stored of it is judged, what is old is archived. Once a day, whoever asks."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Final

from django.db.models import Count
from django.utils import timezone

from trading.audit.record import record
from trading.marketdata.candles import bars_by_day
from trading.marketdata.files.archive import archive_candles
from trading.marketdata.models import CandleSeries, Feed, Instrument, RefusedBar
from trading.marketdata.sessions import session_kind
from trading.monitoring.alerts import Level, clear_alerts, raise_alert
from trading.monitoring.models import JobSlot
from trading.venue.sessions import exchange_date, previous_session, session_on

KEPT_MONTHS: Final = 24
COMPLETE_FROM: Final = 0.97  # of a day's minutes; below that an instrument counts as short


@dataclass(slots=True)
class DayEnd:
    """What the day's end did, step by step."""

    day: date
    done: bool = False
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)


def months_before(day: date, months: int) -> date:
    """The first of the month that lies so many months before a day's month."""
    number = day.year * 12 + day.month - 1 - months
    return date(number // 12, number % 12 + 1, 1)


def last_day(now: datetime) -> date | None:
    """The exchange day that ended last."""
    session = previous_session(now, assume_weekdays=True)
    return session.date if session is not None else None


def day_end(
    *, now: datetime, wall: datetime, months: int = KEPT_MONTHS, again: bool = False,
    more: dict[str, Callable[[], dict[str, Any]]] | None = None,
) -> DayEnd | None:  # fmt: skip
    """Close the exchange day that ended last. None: it was closed already, or there is none.

    `now` is venue time; `more` are steps of the floors above. A step that fails gives the slot back, so that the next
    ring tries again; the others are safe to repeat.
    """
    day = last_day(now)
    if day is None or not (_take(day) or again):
        return None
    told = DayEnd(day)
    try:
        for feed in Feed.objects.filter(kind=Feed.Kind.EXCHANGE).order_by("name"):
            told.steps[f"quality {feed.name}"] = judge_day(feed, day)
            moved = archive_candles(feed, before=months_before(exchange_date(now), months), wall=wall)
            told.steps[f"archive {feed.name}"] = {"files": len(moved), "bars": sum(one.bars for one in moved)}
        for name, step in (more or {}).items():
            told.steps[name] = step()
    except Exception as error:
        _give_back(day)
        raise_alert(
            "DAY_END_FAILED", f"The end of {day} did not go through: {type(error).__name__}.", level=Level.WARNING,
            about=day.isoformat(), next_step="See the log; manage.py daily --again repeats it.",
        )  # fmt: skip
        raise
    told.done = True
    clear_alerts("DAY_END_FAILED", owner_id=None, about=day.isoformat())
    record("day.ended", actor="daily", subject=day.isoformat(), steps=told.steps)
    return told


def judge_day(feed: Feed, day: date) -> dict[str, Any]:
    """How much of a day's minutes is stored, of every instrument that has any in the week before."""
    recent = CandleSeries.objects.filter(feed=feed, timeframe=1, newest_at__gte=timezone.make_aware(
        datetime.combine(day - timedelta(days=7), datetime.min.time()))).values("instrument")  # fmt: skip
    instruments = list(Instrument.objects.filter(pk__in=recent))
    counts = bars_by_day(feed, instruments, 1, first=day, last=day)
    short, bars = [], 0
    for one in instruments:
        session = session_on(day, kind=session_kind(one), assume_weekdays=True)
        there = counts.get((one.pk, day), 0)
        bars += there
        if session is not None and there < COMPLETE_FROM * session.minutes:
            short.append(one.symbol)
    told = {"instruments": len(instruments), "bars": bars, "short": len(short), "such_as": short[:10]}
    return told | _refused_bars(feed)


def _refused_bars(feed: Feed) -> dict[str, Any]:
    """Bars that the history told and that cannot be, of any day, of which no good one came so far."""
    rows = RefusedBar.objects.filter(feed=feed, state__in=RefusedBar.UNSETTLED)
    count = rows.count()
    if not count:
        return {}
    worst = rows.values_list("instrument__symbol").annotate(bars=Count("pk")).order_by("-bars", "instrument__symbol")
    given_up = rows.filter(state=RefusedBar.State.GIVEN_UP).count()
    return {"refused": count, "given_up": given_up, "refused_of": dict(worst[:10])}


def _take(day: date) -> bool:
    JobSlot.objects.get_or_create(name="day_end")
    taken = JobSlot.objects.filter(name="day_end", last_slot__lt=day.toordinal())
    return bool(taken.update(last_slot=day.toordinal(), taken_at=timezone.now()))


def _give_back(day: date) -> None:
    JobSlot.objects.filter(name="day_end", last_slot=day.toordinal()).update(last_slot=day.toordinal() - 1)
