"""One trading day as arrays: what was traded at every tick instant, for every listed name."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
MINUTE_S = 60


@dataclass(frozen=True)
class SymbolDay:
    """The tape of one name on one day, one entry per tick instant. Prices in paise, volume in shares traded then.

    `at_ask[k]` says whether the last trade lifted the offer (the bid is then below it) or hit the bid.
    """

    price: Ints
    volume: Ints
    at_ask: NDArray[np.bool_]
    spread_ticks: NDArray[np.int8]
    prev_close: int
    level_size: int
    started: int = 0  # first tick with a trade; replayed names may start late
    printed: NDArray[np.bool_] | None = None  # ticks at which this name traded; None: all of them
    cum_volume: Ints = field(init=False)
    cum_turnover: Ints = field(init=False)
    high: Ints = field(init=False)
    low: Ints = field(init=False)

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "cum_volume", np.cumsum(self.volume))
        set_(self, "cum_turnover", np.cumsum(self.volume * self.price))
        set_(self, "high", np.maximum.accumulate(self.price))
        set_(self, "low", np.minimum.accumulate(self.price))

    def traded_at(self, tick: int) -> bool:
        return tick >= self.started and (self.printed is None or bool(self.printed[tick]))

    def average_paise(self, tick: int) -> int:
        volume = int(self.cum_volume[tick])
        return int(self.cum_turnover[tick]) // volume if volume else int(self.price[tick])


@dataclass(frozen=True)
class Session:
    """A day of the whole market. `instants` are the epoch seconds at which something is published, ascending."""

    day: date
    opens_at: int
    closes_at: int
    instants: Ints
    names: dict[str, SymbolDay]

    def tick_at(self, venue: float) -> int:
        """Index of the last tick at or before `venue`; -1 before the first."""
        return int(np.searchsorted(self.instants, venue, side="right")) - 1


Candles = NDArray[np.int64]  # rows of [start, open, high, low, close, volume], paise and shares


def candles_of(instants: Ints, day: SymbolDay, *, bucket_s: int, origin: int, last_tick: int) -> Candles:
    """Candles from the open to tick `last_tick`, stamped with their start. A bucket without a trade has no candle."""
    count = last_tick + 1
    traded = np.arange(day.started, count) if day.printed is None else np.flatnonzero(day.printed[:count])
    if traded.size == 0:
        return np.empty((0, 6), dtype=np.int64)
    price, volume = day.price[traded], day.volume[traded]
    bucket = (instants[traded] - origin) // bucket_s
    first = np.flatnonzero(np.diff(bucket, prepend=bucket[0] - 1))
    last = np.append(first[1:], traded.size) - 1
    return np.column_stack(
        (
            origin + bucket[first] * bucket_s,
            price[first],
            np.maximum.reduceat(price, first),
            np.minimum.reduceat(price, first),
            price[last],
            np.add.reduceat(volume, first),
        )
    )


def resample(candles: Candles, *, bucket_s: int, origin: int) -> Candles:
    """Coarser candles of one day, counted from the open. Input rows ascend."""
    if len(candles) == 0:
        return candles
    bucket = (candles[:, 0] - origin) // bucket_s
    first = np.flatnonzero(np.diff(bucket, prepend=bucket[0] - 1))
    last = np.append(first[1:], len(candles)) - 1
    return np.column_stack(
        (
            origin + bucket[first] * bucket_s,
            candles[first, 1],
            np.maximum.reduceat(candles[:, 2], first),
            np.minimum.reduceat(candles[:, 3], first),
            candles[last, 4],
            np.add.reduceat(candles[:, 5], first),
        )
    )
