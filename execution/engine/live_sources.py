"""Keeps the prices of one account alive: watches the stream, asks where it is silent, and says where prices are from.

The decision is `trading.marketdata.live`; here are the questions and what follows. A stream that is connected and
brings nothing for a minute of trading is a failure, not a quiet market: it is started over, and quotes are asked for
meanwhile. Before the open the quote API is the only one to know the indicative price.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
from django.utils import timezone

from accounts.models import BrokerAccount
from execution.brokers import port
from execution.brokers.dialect import Prices
from execution.brokers.errors import BrokerError
from execution.brokers.registry import gateway_of
from execution.engine.market import Market
from trading.marketdata.live import SourceKind, SourceSwitch, Switched, stale_symbols
from trading.marketdata.models import Feed, Instrument
from trading.marketdata.quality.trust import sources_name
from trading.marketdata.quotes import Quote
from trading.marketdata.windows import load_window
from trading.monitoring.alerts import Level, clear_alerts, raise_alert
from trading.monitoring.models import Heartbeat
from trading.venue.sessions import Phase, SessionKind, phase_at

logger = logging.getLogger(__name__)
POLL_EVERY_S = 2.0
SYMBOLS_A_CALL = 50  # of the quote API; at most one call a second, for orders come first
PREOPEN_EVERY_S = 5.0
QUIET_S = 60.0  # a symbol without a tick for so long is asked for: it may not trade, or its subscription was lost
QUIET_EVERY_S = 15.0
LAG_S = 5.0  # how much newer the broker's own price must be for the stream to have missed it
TELL_EVERY_S = 2.0
CONNECT_S = 10.0  # a desk that has just started is given so long
MOST_TOLD = 50


class LiveSources:
    """One account's watch over its prices. `look` once a second, from one thread; `close` at the end."""

    def __init__(
        self, *, account: BrokerAccount, feed: Feed, market: Market, gateway: port.BrokerGateway, stream: Prices,
        symbols: Sequence[str], now: Callable[[], datetime], is_connected: Callable[[], bool],
        switch: SourceSwitch | None = None,
    ) -> None:  # fmt: skip
        self.account, self.feed, self.market, self.gateway = account, feed, market, gateway
        self.stream, self.symbols, self._now, self._is_connected = stream, list(symbols), now, is_connected
        self.switch = switch or SourceSwitch(time.time())
        self._second: port.BrokerGateway | None = None
        self._asked: dict[str, float] = {}
        self._told_at = 0.0
        self._lagging = 0
        self._began, self._was_connected = time.time(), False

    def close(self) -> None:
        if self._second is not None:
            self._second.close()

    def look(self) -> Switched | None:
        """One round: hear, ask, judge, act, tell. What changed, if anything did."""
        wall, now = time.time(), self._now()
        simulated = self.feed.kind != Feed.Kind.EXCHANGE
        phase = phase_at(now, kind=SessionKind.EQUITY_DERIVATIVE_STOCK, assume_weekdays=simulated)
        self.feed.refresh_from_db(fields=["speed", "anchored_at"])
        standing = self.feed.anchored_at is not None and self.feed.speed == 0
        expecting = phase is Phase.CONTINUOUS and not standing
        if self._is_connected():
            self._was_connected = True
            self.switch.restored(SourceKind.STREAM)
            if self.market.last_tick_at is not None:
                self.switch.heard(SourceKind.STREAM, self.market.last_tick_at)
        elif self._was_connected or wall - self._began > CONNECT_S:
            self.switch.failed(SourceKind.STREAM, wall, "is not connected")
        if phase is Phase.PREOPEN:
            self._ask(SourceKind.POLL, wall, self.symbols, every_s=PREOPEN_EVERY_S, indicative=True)
        elif expecting:
            for kind in self.switch.wanted():
                if kind is not SourceKind.STREAM:
                    self._ask(kind, wall, self.symbols, every_s=self._pace())
            if self.switch.active is SourceKind.STREAM:
                self._ask_for_quiet_ones(wall)
        switched = self.switch.judge(wall, expecting=expecting)
        if switched is not None:
            self._act(switched)
        if switched is not None or wall - self._told_at >= TELL_EVERY_S:
            self._tell(wall, phase)
        return switched

    def _pace(self) -> float:
        return max(POLL_EVERY_S, float(-(-len(self.symbols) // SYMBOLS_A_CALL)))

    # -- asking ------------------------------------------------------------------------------------------------------

    def _ask(
        self, kind: SourceKind, wall: float, symbols: Sequence[str], *, every_s: float, indicative: bool = False
    ) -> list[Quote]:
        """Ask one source, unless it was asked a moment ago. What it said is taken over."""
        if wall - self._asked.get(kind, 0.0) < every_s or not symbols:
            return []
        self._asked[kind] = wall
        try:
            if kind is SourceKind.CANDLE:
                found = self._last_candles()
            else:
                gateway = self.gateway if kind is SourceKind.POLL else self._second_gateway()
                found = [self._quote(one, kind, indicative) for one in gateway.quotes(symbols)]
        except BrokerError as error:
            self.switch.failed(kind, wall, f"{error.code}: {error.message}"[:120])
            return []
        if found:
            self.market.take_quotes(found)
            self.switch.heard(kind, wall)
        return found

    def _second_gateway(self) -> port.BrokerGateway:
        """Another account of the same person with prices of the same market. BrokerError where there is none."""
        if self._second is None:
            others = BrokerAccount.objects.filter(
                owner_id=self.account.owner_id, feed=self.account.feed, price_source=None,
                auth_state=BrokerAccount.AuthState.AUTHENTICATED,
            ).exclude(pk=self.account.source.pk)  # fmt: skip
            other = others.exclude(broker=self.account.broker).order_by("pk").first() or others.order_by("pk").first()
            if other is None:
                raise BrokerError("NO_SECOND_BROKER", "There is no second account with prices of this market.")
            self._second = gateway_of(other)
        return self._second

    def _quote(self, said: port.Quote, kind: SourceKind, indicative: bool) -> Quote:
        return Quote(
            symbol=said.symbol, last_price=said.last_price, bid=said.bid, ask=said.ask,
            previous_close=said.previous_close, volume=said.volume, traded_at=said.traded_at or self._now(),
            received_at=time.time(), source=kind.value, indicative=indicative,
        )  # fmt: skip

    def _last_candles(self) -> list[Quote]:
        """The last prices there are, marked as no live ones; their age stays what it is."""
        known = self.market.quotes()
        marked = [replace(quote, source=SourceKind.CANDLE.value) for quote in known.values()]
        absent = [symbol for symbol in self.symbols if symbol not in known]
        instruments = list(Instrument.objects.filter(symbol__in=absent))
        if not instruments:
            return marked
        window = load_window(self.feed, instruments, 1, bars=1, until=self._now())
        for row, symbol in enumerate(window.symbols):
            if window.bars and np.isfinite(window.close[row, -1]):
                ended = datetime.fromtimestamp(int(window.starts[-1]) + 60, UTC)
                last = Decimal(str(round(float(window.close[row, -1]), 4)))
                marked.append(
                    Quote(symbol, last, None, None, None, 0, ended, ended.timestamp(), SourceKind.CANDLE.value)
                )
        return marked

    def _ask_for_quiet_ones(self, wall: float) -> None:
        """Symbols that have not ticked for a while: where the broker knows a newer price, the stream misses them."""
        if wall - self._asked.get("QUIET", 0.0) < QUIET_EVERY_S:
            return
        known = self.market.quotes()
        ages = {symbol: quote.age_s for symbol, quote in known.items()}
        quiet = list(stale_symbols(ages, self.symbols, limit_s=QUIET_S))[:SYMBOLS_A_CALL]
        self._asked["QUIET"] = wall
        if not quiet:
            self._lagging = 0
            return
        found = self._ask(SourceKind.POLL, wall, quiet, every_s=0.0)
        behind = [
            one for one in found
            if one.symbol in known and (one.traded_at - known[one.symbol].traded_at).total_seconds() > LAG_S
        ]  # fmt: skip
        self._lagging = self._lagging + 1 if behind else 0
        if self._lagging >= 2:
            self._lagging = 0
            self.stream.start_over(f"{len(behind)} symbols are behind the broker's own quotes")

    # -- acting ------------------------------------------------------------------------------------------------------

    def _act(self, switched: Switched) -> None:
        logger.warning(
            "account %s: prices from %s instead of %s: %s",
            self.account.pk, switched.after, switched.before, switched.why,
        )  # fmt: skip
        if switched.before is SourceKind.STREAM and self._is_connected():
            self.stream.start_over(f"the stream {switched.why}")
        about = str(self.account.pk)
        if switched.after is SourceKind.STREAM:
            clear_alerts("PRICE_SOURCE", owner_id=self.account.owner_id, about=about)
        elif switched.is_worse:
            live = switched.after is not SourceKind.CANDLE
            raise_alert(
                "PRICE_SOURCE",
                f"{self.account.name}: the {switched.before.lower()} {switched.why}; prices now from {switched.after}.",
                level=Level.WARNING if live else Level.SEVERE, owner_id=self.account.owner_id, about=about,
                next_step="Entries wait for fresh prices; look at the connection and the broker's status.",
            )  # fmt: skip

    def _tell(self, wall: float, phase: Phase) -> None:
        ages = {symbol: quote.age_s for symbol, quote in self.market.quotes().items()}
        stale = stale_symbols(ages, self.symbols, limit_s=QUIET_S)
        detail = {
            **self.switch.as_dict(), "feed": self.feed.name, "phase": phase.value, "symbols": len(self.symbols),
            "stale_count": len(stale),
            "stale": {symbol: age and round(age, 1) for symbol, age in list(stale.items())[:MOST_TOLD]},
        }  # fmt: skip
        Heartbeat.objects.update_or_create(
            name=sources_name(self.account.pk), defaults={"at": timezone.now(), "detail": detail}
        )
        self._told_at = wall
