"""Keeps the day's price bands of what an account follows: all of them when a day begins, then again and again.

Bands are relaxed within a day when a price comes near. Where a broker tells the bands of many symbols in one call all
are asked for; where each is a call of its own, what is traded comes first and the others take turns.
"""

import itertools
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime

from django.utils import timezone

from accounts.models import BrokerAccount
from execution.brokers.errors import BrokerError
from execution.brokers.port import BrokerGateway, ListedInstrument
from execution.models import Group
from trading.marketdata.listing.bands import store_bands
from trading.marketdata.models import Feed
from trading.venue.sessions import exchange_date

logger = logging.getLogger(__name__)
EVERY_S = 30.0
CALLS_A_TURN = 5  # a thirtieth of what the stricter broker allows in a minute


class BandKeeper:
    """`look` once a second, from one thread. `symbols` are asked for anew at each turn."""

    def __init__(
        self, *, account: BrokerAccount, feed: Feed, gateway: BrokerGateway, now: Callable[[], datetime],
        symbols: Callable[[], Sequence[str]],
    ) -> None:  # fmt: skip
        self.account, self.feed, self.gateway = account, feed, gateway
        self._now, self._symbols = now, symbols
        self._day: date | None = None
        self._asked_at = 0.0
        self._turn = 0

    def look(self) -> int:
        """One turn, if it is time for one; how many bands are new."""
        day = exchange_date(self._now())
        if time.monotonic() - self._asked_at < EVERY_S and day == self._day:
            return 0
        self._asked_at = time.monotonic()
        try:
            changed = 0
            if day != self._day:
                changed = self.take_master(self.gateway.instruments(), day=day)
                self._day = day
            return changed + self._ask(day)
        except BrokerError as error:
            logger.warning("bands of account %s: %s", self.account.pk, error)
            return 0

    def take_master(self, listed: Iterable[ListedInstrument], *, day: date) -> int:
        """What a master says of the day's bands; some say nothing."""
        bands = {
            one.symbol: (one.lower_band, one.upper_band)
            for one in listed
            if one.lower_band is not None and one.upper_band is not None
        }
        return len(store_bands(self.feed, session_date=day, bands=bands, source="MASTER", heard_at=timezone.now()))

    def _ask(self, day: date) -> int:
        wanted = self._next_symbols()
        bands = self.gateway.bands(wanted) if wanted else {}
        return len(store_bands(self.feed, session_date=day, bands=bands, source="BOOK", heard_at=timezone.now()))

    def _next_symbols(self) -> list[str]:
        room = CALLS_A_TURN * self.gateway.bands_a_call
        traded = list(
            Group.objects.filter(portfolio__account=self.account).exclude(state=Group.State.CLOSED)
            .order_by("-created_at").values_list("instrument__symbol", flat=True)[: room // 2 + 1]
        )  # fmt: skip
        others = [symbol for symbol in self._symbols() if symbol not in traded]
        if len(others) > room - len(traded):
            start = self._turn % len(others)
            others = list(itertools.islice(itertools.cycle(others), start, start + max(0, room - len(traded))))
            self._turn = start + len(others)
        return [*dict.fromkeys(traded), *others]
