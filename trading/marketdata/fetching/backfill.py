"""Backfills: the past of many instruments, fetched in the pace a broker allows, by whichever worker is there.

A worker claims a row by compare-and-swap and beats for it with every call; one that fell silent is followed by another.
"""

import logging
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from django.db.models import Q, QuerySet

from trading.domain.clock import IST
from trading.domain.errors import TradingError
from trading.marketdata.fetching.history import Fetched, Interrupted, ensure_candles, requests_between
from trading.marketdata.models import Backfill, Feed, Instrument
from trading.marketdata.quality.stored import check_stored, judge_again, mark_spikes
from trading.marketdata.sources import DAILY, HistorySource
from trading.outbox import after_commit
from trading.venue.sessions import exchange_date

logger = logging.getLogger(__name__)
BELL: Final = "backfill.work"
LEASE: Final = timedelta(seconds=120)  # a source that asks for patience is waited for within it
MOST_SYMBOLS: Final = 5_000
TIMEFRAMES: Final = (1, 2, 3, 5, 10, 15, 20, 30, 60, 120, 240, 1440)
State = Backfill.State


class BackfillRefused(TradingError):
    """Such a backfill cannot be asked for."""


def backfill_create(
    *, owner: object, feed: Feed, account_id: int, instruments: Sequence[Instrument], timeframe: int, from_date: date,
    to_date: date, wall: datetime,
) -> Backfill:  # fmt: skip
    """Ask for the past of some instruments. One that is open already is given back instead of a second.

    Errors: BackfillRefused NOTHING_TO_FETCH, TOO_MANY_SYMBOLS, UNKNOWN_TIMEFRAME, WRONG_RANGE.
    """
    symbols = sorted({one.symbol for one in instruments})
    if not symbols:
        raise BackfillRefused("NOTHING_TO_FETCH", "There is no instrument to fetch anything of.")
    if len(symbols) > MOST_SYMBOLS:
        raise BackfillRefused(
            "TOO_MANY_SYMBOLS", f"{len(symbols)} instruments at once are too many: {MOST_SYMBOLS} are not."
        )
    if timeframe not in TIMEFRAMES:
        raise BackfillRefused("UNKNOWN_TIMEFRAME", f"Bars of {timeframe} minutes are not to be had.")
    if from_date > to_date:
        raise BackfillRefused("WRONG_RANGE", f"{from_date} is after {to_date}.")
    asked = {
        "owner": owner, "feed": feed, "account_id": account_id, "timeframe": timeframe, "from_date": from_date,
        "to_date": to_date, "symbols": symbols,
    }  # fmt: skip
    known = Backfill.objects.filter(**asked, state__in=Backfill.OPEN).first()
    if known is not None:
        return known
    shown = symbols[0] if len(symbols) == 1 else f"{symbols[0]} and {len(symbols) - 1} more"
    unit = "1d" if timeframe == 1440 else f"{timeframe}m"
    row = Backfill.objects.create(**asked, title=f"{shown} {unit}, {from_date} to {to_date}", created_at=wall)
    after_commit(BELL)
    return row


def backfill_cancel(*, backfill: Backfill, wall: datetime) -> bool:
    """End an open backfill; what was fetched stays. False: it was over already."""
    open_rows = Backfill.objects.filter(pk=backfill.pk, state__in=Backfill.OPEN)
    return bool(open_rows.update(state=State.CANCELLED, finished_at=wall, holder=None, leased_until=None))


def backfill_claim(*, holder: uuid.UUID, wall: datetime, backfill_id: uuid.UUID | None = None) -> Backfill | None:
    """The oldest backfill that nobody works on, now ours."""
    free = Q(state=State.QUEUED) | Q(state=State.RUNNING, leased_until__lt=wall)
    rows = Backfill.objects.filter(free)
    if backfill_id is not None:
        rows = rows.filter(pk=backfill_id)
    for pk in rows.order_by("created_at").values_list("pk", flat=True)[:5]:
        taken = rows.filter(pk=pk).update(state=State.RUNNING, holder=holder, leased_until=wall + LEASE)
        if taken:
            Backfill.objects.filter(pk=pk, started_at=None).update(started_at=wall)
            return Backfill.objects.select_related("feed").get(pk=pk)
    return None


def backfill_work(
    backfill: Backfill, history: HistorySource, *, now: datetime, wall: Callable[[], datetime],
    goes_on: Callable[[], bool] = lambda: True, told: Callable[[Backfill], None] = lambda _: None,
) -> State:  # fmt: skip
    """Fetch what is missing of a claimed backfill, instrument by instrument. Returns the state it is left in.

    `now` is venue time. `goes_on` is asked after every call: False gives the row back to the queue. `told` sees it
    after every step.
    """
    start = datetime.combine(backfill.from_date, datetime.min.time(), IST).astimezone(UTC)
    end = datetime.combine(backfill.to_date + timedelta(days=1), datetime.min.time(), IST).astimezone(UTC)
    instruments = {one.symbol: one for one in Instrument.objects.filter(symbol__in=backfill.symbols)}
    each = {
        symbol: requests_between(instruments[symbol], backfill.timeframe, start, min(end, now), history.limits)
        if symbol in instruments else 0
        for symbol in backfill.symbols
    }  # fmt: skip
    backfill.needed = sum(each.values())
    backfill.settled = sum(each[symbol] for symbol in backfill.symbols[: backfill.position])
    before = _Before(backfill)
    try:
        for symbol in backfill.symbols[backfill.position :]:
            settled = backfill.settled

            def watch(so_far: Fetched, settled: int = settled, symbol: str = symbol) -> None:
                before.add(so_far)
                backfill.settled = settled + min(so_far.calls, each[symbol])
                _keep(backfill, wall())
                told(backfill)
                if not goes_on():
                    raise Interrupted

            if symbol not in instruments:
                backfill.failed[symbol] = "UNKNOWN_INSTRUMENT"
            else:
                before.mark()
                fetched = ensure_candles(
                    backfill.feed, [instruments[symbol]], backfill.timeframe, start, end, history, now=now, watch=watch
                )
                before.add(fetched)
                backfill.failed |= fetched.failed
                if fetched.stored:
                    _judge(backfill, instruments[symbol], now)
            backfill.settled = settled + each[symbol]
            backfill.position += 1
            _keep(backfill, wall())
            told(backfill)
            if not goes_on():
                raise Interrupted
    except _Lost:
        return State(Backfill.objects.values_list("state", flat=True).get(pk=backfill.pk))
    except Interrupted:
        _mine(backfill).update(state=State.QUEUED, holder=None, leased_until=None)
        return State.QUEUED
    state = State.FAILED if len(backfill.failed) == len(backfill.symbols) else State.DONE
    code = next(iter(backfill.failed.values()), "")
    _mine(backfill).update(
        state=state, finished_at=wall(), holder=None, leased_until=None,
        error=f"{code}: no history of any instrument" if state == State.FAILED else "",
    )  # fmt: skip
    backfill.refresh_from_db()
    return state


def _judge(backfill: Backfill, instrument: Instrument, now: datetime) -> None:
    """Mark what is doubtful in the days that are over: the evening's check does not look so far back."""
    last = min(backfill.to_date, exchange_date(now) - timedelta(days=1))
    if backfill.from_date > last:
        return
    if backfill.timeframe < DAILY:
        check_stored(
            feed=backfill.feed, instruments=[instrument], timeframe=backfill.timeframe, first=backfill.from_date,
            last=last, now=now,
        )  # fmt: skip
    else:
        among: dict[str, Any] = {
            "feed": backfill.feed, "instruments": [instrument], "first": backfill.from_date, "last": last,
        }  # fmt: skip
        mark_spikes(**among, timeframe=DAILY)
        judge_again(**among, now=now)


class _Lost(Exception):
    """The row is not ours any more: cancelled, or taken over."""


class _Before:
    """Adds what the calls of one instrument bring to the sums of the row."""

    def __init__(self, backfill: Backfill) -> None:
        self.backfill = backfill
        self.mark()

    def mark(self) -> None:
        self.sums = (self.backfill.calls, self.backfill.bars, self.backfill.stored)

    def add(self, so_far: Fetched) -> None:
        calls, bars, stored = self.sums
        self.backfill.calls, self.backfill.bars = calls + so_far.calls, bars + so_far.bars
        self.backfill.stored = stored + so_far.stored


def _mine(backfill: Backfill) -> QuerySet[Backfill]:
    return Backfill.objects.filter(pk=backfill.pk, holder=backfill.holder, state=State.RUNNING)


_KEPT = ("position", "needed", "settled", "calls", "bars", "stored", "failed")


def _keep(backfill: Backfill, wall: datetime) -> None:
    """Say how far we are, and that we are still at it."""
    kept = {name: getattr(backfill, name) for name in _KEPT}
    if not _mine(backfill).update(**kept, leased_until=wall + LEASE):
        raise _Lost
