"""What the past of an instrument says about trading it now: how it moves, how much of it trades, what it moves with.

Read from candles at most once a minute (correlations: once a day) and kept: a decision must not wait for the past.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np

from risk.gates.concentration import CORRELATION_DAYS, LEAST_DAYS
from risk.gates.market_quality import BAR_MIN, BARS
from trading.marketdata.models import Feed, Instrument
from trading.marketdata.sessions import session_at
from trading.marketdata.windows import load_window
from trading.portfolio.valuation import Holding
from trading.venue.sessions import exchange_date

DAILY = 1440
_KEPT = 4096


@dataclass(frozen=True, slots=True)
class MarketFacts:
    """Rupees and units; None where fewer than twenty bars, or no open, are known."""

    close_deviation: Decimal | None = None
    bar_volume: int | None = None
    mean_volume: int | None = None
    opening_gap_pct: Decimal | None = None
    correlations: tuple[tuple[str, float], ...] = ()


NOTHING_MEASURED = MarketFacts()


class _Kept:
    """The newest answers, by question. Safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, ask: Callable[[], Any]) -> Any:
        with self._lock:
            if key in self._answers:
                return self._answers[key]
        answer = ask()
        with self._lock:
            self._answers[key] = answer
            while len(self._answers) > _KEPT:
                self._answers.popitem(last=False)
        return answer


_kept = _Kept()


def market_facts(
    feed_name: str, instrument: Instrument, *, sign: int, held: Sequence[Holding], now: datetime,
    previous_close: Decimal | None,
) -> MarketFacts:  # fmt: skip
    """For an entry on the side of `sign` (+1 buy) beside what is held; `now` is venue time."""
    minute = now.replace(second=0, microsecond=0)
    bars = _kept.get(
        ("bars", feed_name, instrument.pk, minute),
        lambda: _bars(Feed.objects.get(name=feed_name), instrument, now, previous_close),
    )
    day, own = exchange_date(now), _bet_on(instrument.pk)
    signed = []
    for other in held:
        if other.instrument_id == instrument.pk:
            continue
        theirs = _bet_on(other.instrument_id)
        alike = 1.0 if own.on == theirs.on else _kept.get(
            ("pair", feed_name, (min(own.on, theirs.on), max(own.on, theirs.on)), day),
            partial(_correlation, feed_name, (min(own.on, theirs.on), max(own.on, theirs.on)), now),
        )  # fmt: skip
        if alike is not None:
            way = sign * own.sign * theirs.sign * (1 if other.net_quantity > 0 else -1)
            signed.append((other.symbol, alike * way))
    deviation, volume, mean_volume, gap = bars
    return MarketFacts(deviation, volume, mean_volume, gap, tuple(signed))


@dataclass(frozen=True, slots=True)
class Bet:
    """What a long position is a bet on: for a future or an option its underlying, `sign` -1 where it should fall."""

    on: int
    sign: int


def _bet_on(instrument_id: int) -> Bet:
    return _kept.get(("bet", instrument_id), partial(_read_bet, instrument_id))  # type: ignore[no-any-return]


def _read_bet(instrument_id: int) -> Bet:
    under, kind = Instrument.objects.values_list("underlying_id", "option_type").get(pk=instrument_id)
    return Bet(under or instrument_id, -1 if kind == "PE" else 1)


def _bars(
    feed: Feed, instrument: Instrument, now: datetime, previous_close: Decimal | None
) -> tuple[Decimal | None, int | None, int | None, Decimal | None]:
    """Deviation of the last closes, volume of the last bar, mean of today's last, and the opening gap in percent."""
    window = load_window(feed, [instrument], BAR_MIN, bars=2 * BARS, until=now, adjusted=True)
    session = session_at(feed, instrument, now)
    opens_s = None if session is None else int(session.opens_at.timestamp())
    return *usual_bars(window.close[0], window.volume[0], window.starts, opens_s), _gap(
        feed, instrument, now, previous_close
    )


def usual_bars(
    closes: np.ndarray, volumes: np.ndarray, starts: np.ndarray, opens_s: int | None
) -> tuple[Decimal | None, int | None, int | None]:
    """Deviation of the last twenty closes in rupees, volume of the last bar, mean of the last twenty since `opens_s`.

    float64[bars] each, NaN: no such bar; None where twenty are not known. Pure.
    """
    known = np.isfinite(closes)
    deviation = volume = mean = None
    if np.count_nonzero(known) >= BARS:
        last = closes[known][-BARS:]
        deviation = Decimal(str(round(float(np.std(last, ddof=1)), 4)))
    if opens_s is not None:
        # The last bars of a day and the first of the next trade many times what its middle does: a bar is held against
        # those of its own session, and before there are twenty of them nothing is measured.
        traded = volumes[known & (starts >= opens_s)][-BARS:]
        if traded.size == BARS:
            volume, mean = int(traded[-1]), int(np.mean(traded))
    return deviation, volume, mean


def _gap(feed: Feed, instrument: Instrument, now: datetime, previous_close: Decimal | None) -> Decimal | None:
    session = session_at(feed, instrument, now)
    if session is None or not previous_close or now < session.opens_at + timedelta(minutes=1):
        return None
    first = _kept.get(
        ("open", feed.name, instrument.pk, session.date), lambda: _first_open(feed, instrument, session.opens_at)
    )
    return None if first is None else (first - previous_close) * 100 / previous_close


def _first_open(feed: Feed, instrument: Instrument, opens_at: datetime) -> Decimal | None:
    window = load_window(feed, [instrument], 1, bars=1, until=opens_at + timedelta(minutes=1))
    if not window.bars or int(window.starts[-1]) != int(opens_at.timestamp()) or not np.isfinite(window.open[0, -1]):
        return None
    return Decimal(str(round(float(window.open[0, -1]), 4)))


def _correlation(feed_name: str, pair: tuple[int, int], now: datetime) -> float | None:
    """Of sixty daily returns; None where fewer than twenty are common."""
    feed = Feed.objects.get(name=feed_name)
    instruments = list(Instrument.objects.filter(pk__in=pair).order_by("pk"))
    # A split is no move: without it two of a kind would look like strangers for sixty days.
    window = load_window(feed, instruments, DAILY, bars=CORRELATION_DAYS + 1, until=now, adjusted=True)
    return correlation(window.close[0], window.close[1]) if len(instruments) == 2 and window.bars > 1 else None


def daily_returns(feed: Feed, instruments: Sequence[Instrument], *, now: datetime, days: int = 250) -> np.ndarray:
    """Returns of up to so many days, float64[instruments, days]; NaN: no such day. Read once a day and kept."""
    day = exchange_date(now)
    key = ("returns", feed.name, tuple(one.pk for one in instruments), day, days)
    return _kept.get(key, lambda: _returns(feed, instruments, now, days))


def _returns(feed: Feed, instruments: Sequence[Instrument], now: datetime, days: int) -> np.ndarray:
    window = load_window(feed, instruments, DAILY, bars=days + 1, until=now, adjusted=True)
    if window.bars < 2:
        return np.empty((len(instruments), 0))
    return window.close[:, 1:] / window.close[:, :-1] - 1


def correlation(first: np.ndarray, second: np.ndarray) -> float | None:
    """Pearson, of the returns of two series of closes on common days, float64[days] each; None: too few, or still."""
    one, two = (series[1:] / series[:-1] - 1 for series in (first, second))
    known = np.isfinite(one) & np.isfinite(two)
    if np.count_nonzero(known) < LEAST_DAYS:
        return None
    one, two = one[known], two[known]
    if one.std() == 0 or two.std() == 0:
        return None
    return float(np.corrcoef(one, two)[0, 1])
