"""Which time it is at a venue. Read once, at the edge, and handed down as `now`."""

import time
from datetime import datetime

from django.utils import timezone

from trading.domain.clock import VirtualClock
from trading.marketdata.calendars import sync_calendar
from trading.marketdata.models import Feed

REREAD_S = 1.0
_known: dict[str, tuple[float, VirtualClock | None]] = {}


def venue_now(feed_name: str) -> datetime:
    """Venue time of a feed, UTC. A feed that is not there runs on wall time.

    The anchor is re-read from the database once a second: at 60× a stale second is a minute of the market. So is the
    calendar, every other second: who asks for the time goes by the days and hours that hold now.
    """
    read_at, clock = _known.get(feed_name, (float("-inf"), None))
    if time.monotonic() - read_at > REREAD_S:
        sync_calendar()
        feed = Feed.objects.filter(name=feed_name).first()
        clock = feed.clock() if feed else None
        _known[feed_name] = (time.monotonic(), clock)
    wall = timezone.now()
    return clock.at(wall) if clock else wall


def anchor(feed: Feed, *, wall: datetime, venue: datetime, speed: float, phase: str, session_date) -> None:
    """Set a feed's clock from a reading of the venue's own."""
    feed.anchored_at, feed.venue_at, feed.speed = wall, venue, speed
    feed.phase, feed.session_date = phase, session_date
    feed.save(update_fields=["anchored_at", "venue_at", "speed", "phase", "session_date"])
    forget(feed.name)


def forget(feed_name: str | None = None) -> None:
    """Drop what was remembered, so that the next reading comes from the database."""
    if feed_name is None:
        _known.clear()
    else:
        _known.pop(feed_name, None)
