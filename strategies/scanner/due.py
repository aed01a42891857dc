"""Which bars are waiting to be scanned. A bar is taken by one scanner, and a bar that came too late is marked."""

from datetime import date, datetime, timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone

from risk.policies import active_policy
from strategies.models import Deployment, ScanSlot
from strategies.rules.window import DAILY
from trading.marketdata.models import Feed
from trading.marketdata.watermark import candles_through
from trading.venue.sessions import Session, SessionKind, exchange_date, session_on

TAKE_OVER_AFTER = timedelta(seconds=30)
OPENING = timedelta(minutes=30)  # of the hours for entries: what a daily bar said is old afterwards
LONGEST_BREAK = 15  # days without a session
KINDS = (SessionKind.EQUITY, SessionKind.EQUITY_DERIVATIVE_STOCK)
State = ScanSlot.State


def _sessions(feed: Feed, day: date) -> list[Session]:
    """Of all kinds of shares on a day; none: it does not trade."""
    found = [session_on(day, kind=one, assume_weekdays=feed.kind != Feed.Kind.EXCHANGE) for one in KINDS]
    return [one for one in found if one is not None]


def _next_sessions(feed: Feed, day: date, step: int) -> list[Session]:
    """Those of the nearest trading day after (1) or before (-1) a day; none: the calendar does not reach."""
    for away in range(1, LONGEST_BREAK + 1):
        if found := _sessions(feed, day + timedelta(days=step * away)):
            return found
    return []


def scanned_until(feed: Feed, *, timeframe: int, bar_at: datetime) -> datetime:
    """Up to which instant a scan of a bar looks, venue time: to its end; for a daily bar to the open that follows,
    where its orders are given, so that prices are in the shares of that morning."""
    if timeframe < DAILY:
        return bar_at
    following = _next_sessions(feed, exchange_date(bar_at), 1)
    return following[0].opens_at if following else bar_at


def closed_bars(feed: Feed, *, timeframe: int, now: datetime) -> list[datetime]:
    """Ends of today's bars that are over and whose candles are all stored, oldest first. `now` is venue time.

    A daily bar is complete when the market has closed: it is given while the next session is open, when something can
    be done about it.
    """
    day = exchange_date(now)
    sessions = _sessions(feed, day)
    known = candles_through(feed.name)
    if not sessions or known is None:
        return []
    until = min(now, known)
    session = sessions[-1]
    if timeframe >= DAILY:
        before = _next_sessions(feed, day, -1) if now >= session.opens_at else []
        ends = [max(one.closes_at for one in before)] if before else []
    else:
        ends = [session.bar_end(start, timeframe) for start in session.bar_starts(timeframe)]
    return [end for end in ends if end <= until]


def entries_of_the_opening(deployment: Deployment, feed: Feed, now: datetime) -> tuple[datetime, datetime]:
    """When the signals of a daily bar may be made: as soon as entries are allowed, and not much later."""
    begins = _sessions(feed, exchange_date(now))[0].opens_at
    begins += timedelta(minutes=active_policy(deployment.portfolio_id).entry_after_open_min)
    return begins, begins + OPENING


def claim_due(deployment: Deployment, *, feed: Feed, timeframe: int, now: datetime) -> ScanSlot | None:
    """Take the newest bar that nobody has scanned; older ones that were never taken are marked as missed.

    An opinion about an old bar is worth nothing: its price is gone. A claim whose scanner died may be taken over.
    """
    ends = closed_bars(feed, timeframe=timeframe, now=now)
    if not ends:
        return None
    newest = ends[-1]
    wall = timezone.now()
    if timeframe >= DAILY:
        begins, too_late = entries_of_the_opening(deployment, feed, now)
        if now >= too_late:
            _mark_missed(deployment, ends, wall)
        if not begins <= now < too_late:
            return None
    # Asked every second, and nearly always it is there: an INSERT that fails would fill the database's log.
    slot = ScanSlot.objects.filter(deployment=deployment, bar_at=newest).first()
    if slot is None:
        try:
            with transaction.atomic():
                slot = ScanSlot.objects.create(deployment=deployment, bar_at=newest, claimed_at=wall)
        except IntegrityError:
            return None  # another scanner was faster by a moment
        _mark_missed(deployment, ends[:-1], wall)
        return slot
    stuck = ScanSlot.objects.filter(pk=slot.pk, state=State.CLAIMED, claimed_at__lt=wall - TAKE_OVER_AFTER)
    return slot if stuck.update(claimed_at=wall) else None


def _mark_missed(deployment: Deployment, ends: list[datetime], wall: datetime) -> None:
    """Bars between the last scanned one and the newest. Before the first scan of a deployment nothing was missed.

    A bar whose scanner died is missed too, once it is no longer the newest.
    """
    slots = ScanSlot.objects.filter(deployment=deployment)
    died = slots.filter(state=State.CLAIMED, claimed_at__lt=wall - TAKE_OVER_AFTER)
    died.update(state=State.MISSED, note="its scanner ended half-way")
    if not ends:
        return
    before = slots.filter(bar_at__lte=ends[-1]).order_by("-bar_at").values_list("bar_at", flat=True).first()
    if before is None:
        return
    ScanSlot.objects.bulk_create(
        (
            ScanSlot(deployment=deployment, bar_at=end, claimed_at=wall, state=State.MISSED, note="came too late")
            for end in ends
            if end > before
        ),
        ignore_conflicts=True,
    )
