"""Scan whatever is due, now."""

from datetime import datetime

from strategies.models import Deployment
from strategies.scanner.due import claim_due
from strategies.scanner.scan_bar import compile_deployment, scan_slot
from trading.marketdata.clocks import venue_now
from trading.marketdata.listing.universes import members
from trading.marketdata.models import Feed
from trading.venue.sessions import exchange_date


def scan_due(
    *, feed_name: str | None = None, now: datetime | None = None, symbols: frozenset[str] | None = None
) -> int:
    """Scan the newest complete bar of every active deployment that has not been scanned; returns signals made.

    A replay steps one feed by hand: `feed_name` names it, `now` is its venue time, `symbols` are those it has.
    """
    deployments = Deployment.objects.at_work().select_related("portfolio__account", "version__contract", "universe")
    if feed_name is not None:
        deployments = deployments.filter(portfolio__account__feed=feed_name)
    else:
        replays = Feed.objects.filter(kind=Feed.Kind.REPLAY).values("name")
        deployments = deployments.exclude(portfolio__account__feed__in=replays)
    made = 0
    for deployment in deployments.order_by("pk"):
        feed = Feed.objects.filter(name=deployment.portfolio.account.feed).first()
        if feed is None:
            continue
        at = now or venue_now(feed.name)
        minutes = compile_deployment(deployment).body.timeframe_minutes
        slot = claim_due(deployment, feed=feed, timeframe=minutes, now=at)
        if slot is None:
            continue
        slot.deployment = deployment
        instruments = [one for one in members(deployment.universe, exchange_date(at)) if one.is_tradable]
        if symbols is not None:
            instruments = [one for one in instruments if one.symbol in symbols]
        made += scan_slot(slot, feed=feed, instruments=instruments)
    return made
