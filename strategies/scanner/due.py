"""Which bars are waiting to be scanned. A bar is taken by one scanner, and a bar that came too late is marked."""

from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone

from strategies.models import Deployment, ScanSlot
from trading.marketdata.models import Feed
from trading.marketdata.watermark import candles_through
from trading.venue.sessions import SessionKind, exchange_date, session_on

TAKE_OVER_AFTER = timedelta(seconds=30)
State = ScanSlot.State


def closed_bars(feed: Feed, *, timeframe: int, now: datetime) -> list[datetime]:
    """Ends of today's bars that are over and whose candles are all stored, oldest first. `now` is venue time."""
    session = session_on(
        exchange_date(now), kind=SessionKind.EQUITY_DERIVATIVE_STOCK, assume_weekdays=feed.kind != Feed.Kind.EXCHANGE
    )
    if session is None:
        return []
    known = candles_through(feed.name)
    if known is None:
        return []
    until = min(now, known)
    ends = (session.bar_end(start, timeframe) for start in session.bar_starts(timeframe))
    return [end for end in ends if end <= until]


def claim_due(deployment: Deployment, *, feed: Feed, timeframe: int, now: datetime) -> ScanSlot | None:
    """Take the newest bar that nobody has scanned; older ones that were never taken are marked as missed.

    An opinion about an old bar is worth nothing: its price is gone. A claim whose scanner died may be taken over.
    """
    ends = closed_bars(feed, timeframe=timeframe, now=now)
    if not ends:
        return None
    newest = ends[-1]
    wall = timezone.now()
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
