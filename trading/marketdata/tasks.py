"""Bells that beat rings for market data."""

import logging
from datetime import datetime, time, timedelta

from celery import shared_task

from trading.domain.clock import IST
from trading.marketdata.clocks import venue_now
from trading.marketdata.listing.announcements import complete_announced
from trading.marketdata.models import CandleSeries, Feed, Instrument
from trading.marketdata.quality.stored import check_stored, mark_spikes
from trading.marketdata.sources import DAILY
from trading.monitoring.alerts import clear_alerts, raise_alert
from trading.monitoring.slots import take_slot
from trading.venue.sessions import exchange_date

logger = logging.getLogger(__name__)
QUALITY_EVERY_S = 20 * 3600.0
SPIKES_EVERY_S = 50.0
JUDGED_MONTHS = timedelta(days=92)  # of daily bars: they come late, and a few more cost nothing
JUDGED_DAYS = timedelta(days=3)  # a history may correct the days before
POOR = 80  # a day's score below which somebody is told


@shared_task(name="marketdata.mark_spikes", ignore_result=True)
def mark_today(*, forced: bool = False, **_from_newer_callers: object) -> None:
    """While a day goes on: mark minutes that their neighbours contradict, before more is traded on them."""
    if not forced and not take_slot("mark_spikes", every_s=SPIKES_EVERY_S):
        return
    for feed in Feed.objects.filter(kind__in=[Feed.Kind.EXCHANGE, Feed.Kind.SANDBOX]):
        today = exchange_date(venue_now(feed.name))
        of_today = CandleSeries.objects.filter(
            feed=feed, timeframe=1, newest_at__gte=datetime.combine(today, time(), tzinfo=IST)
        )
        instruments = list(Instrument.objects.filter(pk__in=of_today.values("instrument_id")))
        if instruments:
            found = mark_spikes(feed=feed, instruments=instruments, timeframe=1, first=today, last=today)
            for symbol, bars in found.items():
                logger.warning("%s %s: %d bars of today are contradicted by those around them", feed.name, symbol, bars)


@shared_task(name="marketdata.check_quality", ignore_result=True)
def check_quality(*, forced: bool = False, **_from_newer_callers: object) -> None:
    """After the close: judge the stored candles of the last days of every feed that follows an exchange."""
    if not forced and not take_slot("check_quality", every_s=QUALITY_EVERY_S):
        return
    for row in complete_announced(now=venue_now("NSE")):
        logger.info("the announced action of %s, %s, has its factor: %s", row.instrument, row.ex_date, row.factor)
    for feed in Feed.objects.filter(kind=Feed.Kind.EXCHANGE):
        now = venue_now(feed.name)
        since = now - JUDGED_DAYS
        for timeframe in (
            CandleSeries.objects.filter(feed=feed, timeframe__lt=1440, newest_at__gte=since)
            .order_by("timeframe").values_list("timeframe", flat=True).distinct()
        ):  # fmt: skip
            series = CandleSeries.objects.filter(feed=feed, timeframe=timeframe, newest_at__gte=since)
            instruments = list(Instrument.objects.filter(pk__in=series.values("instrument_id")))
            reports = check_stored(
                feed=feed, instruments=instruments, timeframe=timeframe, first=exchange_date(since),
                last=exchange_date(now), now=now,
            )  # fmt: skip
            poor = [one for one in reports if one.score < POOR]
            about = f"{feed.name}:{timeframe}"
            if poor:
                names = ", ".join(one.symbol for one in poor[:5])
                raise_alert(
                    "DATA_POOR", f"{len(poor)} of {len(reports)} instruments of {feed.name} have poor candles: {names}",
                    about=about, next_step="Look at the quality page; fetch what is missing.",
                )  # fmt: skip
            else:
                clear_alerts("DATA_POOR", about=about)
            logger.info("candles of %s, %d m: %d series judged, %d poor", feed.name, timeframe, len(reports), len(poor))
        daily = CandleSeries.objects.filter(feed=feed, timeframe=DAILY, newest_at__gte=now - JUDGED_MONTHS)
        mark_spikes(
            feed=feed, instruments=list(Instrument.objects.filter(pk__in=daily.values("instrument_id"))),
            timeframe=DAILY, first=exchange_date(now - JUDGED_MONTHS), last=exchange_date(now),
        )  # fmt: skip
