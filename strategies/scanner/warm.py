"""Before the first bar: kernels compiled or loaded, rules compiled, windows filled. A scan then takes milliseconds."""

import logging
import time

from django.db import Error as DatabaseError
from django.db import connection
from django.utils import timezone

from strategies.models import Deployment
from strategies.scanner.scan_bar import cache, compile_deployment, scan
from trading.domain.errors import TradingError
from trading.indicators.registry import warm_cache
from trading.marketdata.clocks import venue_now
from trading.marketdata.models import Feed
from trading.marketdata.universes import members
from trading.venue.sessions import exchange_date

logger = logging.getLogger(__name__)


def warm_scanner() -> None:
    """Do at the start of a process what the first scan would otherwise wait for. Changes no row."""
    began = time.monotonic()
    warm_cache()
    try:
        _fill_windows()
    except (DatabaseError, TradingError) as error:
        logger.warning("the scanner was not warmed: %s", type(error).__name__)  # the first scan does it then
    finally:
        connection.close()
    logger.info("the scanner is warm after %.1f s", time.monotonic() - began)


def _fill_windows() -> None:
    deployments = Deployment.objects.filter(state=Deployment.State.ACTIVE).select_related(
        "portfolio__account", "version__contract", "universe"
    )
    for deployment in deployments:
        feed = Feed.objects.exclude(kind=Feed.Kind.REPLAY).filter(name=deployment.portfolio.account.feed).first()
        if feed is None:
            continue
        now = venue_now(feed.name)
        contract = compile_deployment(deployment)
        instruments = [one for one in members(deployment.universe, exchange_date(now)) if one.is_tradable]
        prices = cache.window(feed, instruments, contract.body.timeframe_minutes, bars=contract.bars, until=now)
        scan(contract, prices=prices, instruments=instruments, key="warm", bar_at=timezone.now())
