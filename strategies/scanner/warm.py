"""Before the first bar: kernels compiled or loaded, rules compiled, windows filled. A scan then takes milliseconds."""

import logging
import time

import numpy as np
from django.db import Error as DatabaseError
from django.db import connection

from strategies.models import Deployment
from strategies.rules.columns import warm as warm_rules
from strategies.scanner.scan_bar import cache, compile_deployment, scan
from trading.domain.errors import TradingError
from trading.domain.heap import loading
from trading.indicators.registry import warm_cache
from trading.marketdata.clocks import venue_now
from trading.marketdata.listing.universes import members
from trading.marketdata.models import Feed
from trading.marketdata.windows import PriceWindow
from trading.venue.sessions import exchange_date

logger = logging.getLogger(__name__)


def warm_scanner() -> None:
    """Do at the start of a process what the first scan would otherwise wait for. Changes no row."""
    began = time.monotonic()
    try:
        with loading():
            _try_contracts()
    except (DatabaseError, TradingError) as error:
        logger.warning("the scanner was not warmed: %s", type(error).__name__)  # the first scan does it then
    finally:
        connection.close()
    logger.info("the scanner is warm after %.1f s", time.monotonic() - began)
    with loading():
        warm_rules()
        warm_cache()  # what other contracts may ask for, once those at work are served


def _try_contracts() -> None:
    """Run what is deployed, first on a made-up market (there may be no candle yet), then on the window it will scan."""
    deployments = Deployment.objects.at_work().select_related("portfolio__account", "version__contract", "universe")
    for deployment in deployments:
        feed = Feed.objects.exclude(kind=Feed.Kind.REPLAY).filter(name=deployment.portfolio.account.feed).first()
        if feed is None:
            continue
        now = venue_now(feed.name)
        contract = compile_deployment(deployment)
        instruments = [one for one in members(deployment.universe, exchange_date(now)) if one.is_tradable]
        made_up = _made_up(contract.bars, contract.body.timeframe_minutes)
        scan(contract, prices=made_up, instruments=instruments[:1], key="warm", bar_at=now)
        cache.window(feed, instruments, contract.body.timeframe_minutes, bars=contract.bars, until=now)


def _made_up(bars: int, timeframe: int) -> PriceWindow:
    """One instrument that rises and falls. Read-only arrays, as a real window has: kernels are compiled for these."""
    starts = np.arange(bars, dtype=np.int64) * 60 * timeframe
    close = (100 + 5 * np.sin(np.arange(bars) / 7)).reshape(1, bars)
    volume = np.full((1, bars), 10_000.0)
    parts = {"open": close, "high": close + 1, "low": close - 1, "close": close.copy(), "volume": volume}
    for array in (starts, *parts.values()):
        array.setflags(write=False)
    return PriceWindow(("MADE UP",), (0,), timeframe, starts, **parts)
