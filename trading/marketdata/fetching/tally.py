"""Calls saved: how many requests to a history were not needed, because what was wanted is in the database."""

from datetime import date

from django.db import connection
from django.db.models import Sum

from trading.marketdata.models import Feed, HistoryTally


def tally(feed: Feed, day: date, *, needed: int, calls: int, bars: int) -> None:
    """Add to the day's account of a feed."""
    if not needed and not calls:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO marketdata_historytally AS t (feed_id, date, needed, calls, bars) VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT (feed_id, date) DO UPDATE SET needed = t.needed + excluded.needed,"
            " calls = t.calls + excluded.calls, bars = t.bars + excluded.bars",
            [feed.pk, day, needed, calls, bars],
        )


def calls_saved(feed: Feed, *, first: date, last: date) -> HistoryTally:
    """The account of several days as one, not stored."""
    sums = HistoryTally.objects.filter(feed=feed, date__range=(first, last)).aggregate(
        needed=Sum("needed", default=0), calls=Sum("calls", default=0), bars=Sum("bars", default=0)
    )
    return HistoryTally(feed=feed, date=last, **sums)
