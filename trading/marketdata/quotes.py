"""The last price of everything, with its age. Lives in Valkey: a quote that is lost is back with the next tick,
and until then it is stale, and nothing is entered on a stale price."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import redis
from django.conf import settings

from trading.valkey import Errand, heard_out, run_errands

logger = logging.getLogger(__name__)
_local = threading.local()


@dataclass(frozen=True, slots=True)
class Quote:
    """Rupees a unit; `traded_at` is venue time, `received_at` wall time as a UNIX timestamp."""

    symbol: str
    last_price: Decimal
    bid: Decimal | None
    ask: Decimal | None
    previous_close: Decimal | None
    volume: int
    traded_at: datetime
    received_at: float
    source: str = "STREAM"  # STREAM, POLL, SECOND, CANDLE: see `live`
    indicative: bool = False  # of the pre-open auction: nothing was traded at it

    @property
    def is_stale(self) -> bool:
        """Whether it is no live price at all: the close of the last candle, shown for want of a better one."""
        return self.source == "CANDLE"

    @property
    def age_s(self) -> float:
        """Wall seconds since it arrived."""
        return time.time() - self.received_at

    @property
    def change_pct(self) -> Decimal | None:
        if not self.previous_close:
            return None
        return (self.last_price - self.previous_close) / self.previous_close * 100


def _connection() -> redis.Redis:
    if not hasattr(_local, "redis"):
        _local.redis = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1)
    return _local.redis


def _key(feed_name: str) -> str:
    return f"{settings.REDIS_PREFIX}:quotes:{feed_name}"


def _plain(price: Decimal | None) -> str | None:
    return None if price is None else str(price)


def store_quotes(feed_name: str, quotes: Iterable[Quote]) -> None:
    """Remember the newest quotes of a feed. Failure is logged: the quotes then grow old and block entries."""
    rows = {
        quote.symbol: json.dumps(
            [
                str(quote.last_price), _plain(quote.bid), _plain(quote.ask), _plain(quote.previous_close),
                quote.volume, quote.traded_at.timestamp(), quote.received_at, quote.source, quote.indicative,
            ]
        )
        for quote in quotes
    }  # fmt: skip
    if not rows:
        return
    try:
        with heard_out():
            _connection().hset(_key(feed_name), mapping=rows)  # type: ignore[arg-type]
    except redis.RedisError as error:
        logger.warning("quotes of %s were not stored: %s", feed_name, type(error).__name__)


def _read(symbol: str, raw: bytes) -> Quote:
    last, bid, ask, previous, volume, traded_at, received_at, *more = json.loads(raw)
    return Quote(
        symbol=symbol,
        last_price=Decimal(last),
        bid=Decimal(bid) if bid else None,
        ask=Decimal(ask) if ask else None,
        previous_close=Decimal(previous) if previous else None,
        volume=volume,
        traded_at=datetime.fromtimestamp(traded_at, UTC),
        received_at=received_at,
        source=more[0] if more else "STREAM",
        indicative=bool(more[1]) if len(more) > 1 else False,
    )


def last_quotes(feed_name: str, symbols: Iterable[str] | None = None) -> Mapping[str, Quote]:
    """The newest known quotes by symbol. Empty where nothing is known or Valkey cannot be reached."""
    found: dict[str, Quote] = {}
    if symbols is None:
        run_errands(
            Errand(f"quotes of {feed_name}", [("HGETALL", _key(feed_name))], lambda told: found.update(_all(told)))
        )
    elif wanted := list(dict.fromkeys(symbols)):
        run_errands(asking_quotes(feed_name, wanted, found.update))
    return found


def asking_quotes(feed_name: str, symbols: Sequence[str], take: Callable[[dict[str, Quote]], None]) -> Errand:
    """The same as an errand that others go with; `take` is given what is known."""

    def read(told: Sequence[Any] | None) -> None:
        rows = zip(symbols, told[0], strict=True) if told else ()
        take({symbol: _read(symbol, raw) for symbol, raw in rows if raw is not None})

    return Errand(f"quotes of {feed_name}", [("HMGET", _key(feed_name), *symbols)], read)


def _all(told: Sequence[Any] | None) -> dict[str, Quote]:
    """Of a hash with all of its fields, as one list or as a dict (by the protocol spoken)."""
    if told is None:
        return {}
    (stored,) = told
    pairs = stored.items() if isinstance(stored, dict) else zip(stored[::2], stored[1::2], strict=True)
    return {key.decode(): _read(key.decode(), raw) for key, raw in pairs}


def last_quote(feed_name: str, symbol: str) -> Quote | None:
    return last_quotes(feed_name, [symbol]).get(symbol)


def drop_quotes(feed_name: str) -> None:
    """Forget the quotes of a feed that is over."""
    try:
        with heard_out():
            _connection().delete(_key(feed_name))
    except redis.RedisError as error:
        logger.warning("quotes of %s were not dropped: %s", feed_name, type(error).__name__)
