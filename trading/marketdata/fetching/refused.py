"""Bars of a history that cannot be: set aside, kept out of trading, asked for again a few times, settled by a good one.

The numbers as they came are in RefusedBar. So that nothing is made of a minute without it (a longer bar, an indicator),
the store holds a bar in its place that is marked BROKEN: the price before it, no volume. It gives way to a good bar of
a history or a file. Where our own ticks made a bar of that minute it stays, marked DISPUTED.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from django.db import transaction

from trading.audit.record import record
from trading.marketdata.builder import Bar
from trading.marketdata.candles import HISTORY, candles_of, columns_of, mark_bars, store_bars
from trading.marketdata.fetching.ranges import Range
from trading.marketdata.marks import Mark, Source
from trading.marketdata.models import Feed, Instrument, RefusedBar
from trading.marketdata.quality.impossible import Impossible, RefusedLine, what_is_wrong

State = RefusedBar.State
WAITS: Final = (timedelta(minutes=2), timedelta(minutes=20), timedelta(hours=2), timedelta(days=1))
LOOK_BACK: Final = timedelta(days=30)  # for the price before a refused bar


def told_apart(bars: Iterable[Bar]) -> tuple[list[Bar], list[RefusedLine]]:
    """Bars that can be, and lines of those that cannot: whatever the source let through."""
    good: list[Bar] = []
    refused: list[RefusedLine] = []
    for bar in bars:
        at = bar.started_at
        why = what_is_wrong(bar.open, bar.high, bar.low, bar.close, bar.volume)
        if why is None and (at.second or at.microsecond):
            why = Impossible.OFF_MINUTE
        if why is None:
            good.append(bar)
        else:
            raw = f"[{at.isoformat()}, {bar.open}, {bar.high}, {bar.low}, {bar.close}, {bar.volume}]"
            refused.append(RefusedLine(at.replace(second=0, microsecond=0), why, raw))
    return good, refused


def set_aside(
    *, feed: Feed, instrument: Instrument, timeframe: int, asked: Range, bars: Sequence[Bar],
    refused: Sequence[RefusedLine], in_session: Iterable[datetime], now: datetime,
) -> int:  # fmt: skip
    """Keep what an answer refused, settle what it mended; how many bars are set aside anew.

    `bars` are stored already; `in_session`: the starts of refused lines at which a bar is due. Call it in the
    transaction that stores the bars, under the fetcher's lock. A refused line of a minute that is stored and good is
    not kept: nothing is lost.
    """
    known = {
        row.started_at: row
        for row in RefusedBar.objects.filter(
            feed=feed, instrument=instrument, timeframe=timeframe, started_at__gte=asked[0], started_at__lt=asked[1]
        )
    }
    if not refused and not known:
        return 0
    good = _settle(feed, instrument, timeframe, asked, list(known.values()), now=now)
    lines = {one.started_at or asked[0]: one for one in reversed(refused)}
    for at, row in known.items():
        if row.state == State.OPEN and at not in good:
            _ask_later(row, lines.get(at), now)
    fresh = [one for at, one in sorted(lines.items()) if at not in known and at not in good]
    RefusedBar.objects.bulk_create(
        [
            RefusedBar(
                feed=feed, instrument=instrument, timeframe=timeframe, started_at=one.started_at or asked[0],
                why=one.why, raw=one.raw[:300], found_at=now,
                state=State.GIVEN_UP if one.started_at is None else State.OPEN,
                next_ask_at=None if one.started_at is None else now + WAITS[0],
            )
            for one in fresh
        ],
        ignore_conflicts=True,
    )  # fmt: skip
    due = set(in_session)
    _hold_places(feed, instrument, timeframe, [at for at in lines if at in due and at not in good], bars)
    return len(fresh)


def due_again(feed: Feed, instrument_ids: Sequence[int], timeframe: int, *, now: datetime) -> dict[int, list[Range]]:
    """Bars that were refused and may be asked for again now, by instrument id."""
    rows = RefusedBar.objects.filter(
        feed=feed, timeframe=timeframe, instrument_id__in=instrument_ids, state=State.OPEN, next_ask_at__lte=now
    ).values_list("instrument_id", "started_at")
    found: dict[int, list[Range]] = {}
    for pk, at in rows:
        found.setdefault(pk, []).append((at, at + timedelta(minutes=timeframe)))
    return found


def unsettled(
    feed: Feed, instrument: Instrument, timeframe: int, *, start: datetime, end: datetime, now: datetime
) -> list[datetime]:
    """Starts of refused bars in [start, end) of which no good bar came so far. Those that one came of are settled."""
    rows = list(
        RefusedBar.objects.filter(
            feed=feed, instrument=instrument, timeframe=timeframe, state__in=RefusedBar.UNSETTLED,
            started_at__gte=start, started_at__lt=end,
        )
    )  # fmt: skip
    if not rows:
        return []
    good = _settle(feed, instrument, timeframe, (start, end), rows, now=now)
    return sorted(row.started_at for row in rows if row.started_at not in good and row.why != Impossible.NO_TIME)


@transaction.atomic
def ask_again(*, rows: Iterable[int], actor: str, now: datetime) -> int:
    """Let these refused bars be asked for at the next fetch of their minutes, given up or not. Audited."""
    found = RefusedBar.objects.select_for_update().filter(
        pk__in=list(rows), state__in=RefusedBar.UNSETTLED
    ).exclude(why=Impossible.NO_TIME)  # fmt: skip
    told = [f"{one}" for one in found.select_related("instrument")]
    count = found.update(state=State.OPEN, next_ask_at=now)
    if count:
        record("candles.asked_again", actor=actor, subject="refused bars", bars=told[:50], count=count)
    return count


def _settle(
    feed: Feed, instrument: Instrument, timeframe: int, within: Range, rows: list[RefusedBar], *, now: datetime
) -> set[datetime]:
    """Starts within a range of which a good bar of a history or a file is stored; rows of those are settled."""
    stored = columns_of(feed, [instrument], timeframe, start=within[0], end=within[1])
    sound = (stored.source != Source.STREAM) & ((stored.mark & int(Mark.BROKEN)) == 0)
    good = {datetime.fromtimestamp(at, UTC) for at in stored.starts[sound].tolist()}
    over = [row.pk for row in rows if row.started_at in good and row.state != State.SETTLED]
    if over:
        RefusedBar.objects.filter(pk__in=over).update(state=State.SETTLED, next_ask_at=None, settled_at=now)
    return good


def _ask_later(row: RefusedBar, line: RefusedLine | None, now: datetime) -> None:
    """It was asked for, and no good bar came."""
    if line is not None:
        row.why, row.raw = line.why, line.raw[:300]
    row.asked += 1
    if row.asked > len(WAITS):
        row.state, row.next_ask_at = State.GIVEN_UP, None
    else:
        row.next_ask_at = now + WAITS[row.asked - 1]
    row.save(update_fields=["why", "raw", "asked", "state", "next_ask_at"])


def _hold_places(
    feed: Feed, instrument: Instrument, timeframe: int, starts: list[datetime], bars: Sequence[Bar]
) -> None:
    """A broken bar at each of these starts where none is stored; what our own ticks made of it is disputed."""
    if not starts:
        return
    there = candles_of(feed, instrument, timeframe, start=min(starts), end=max(starts) + timedelta(minutes=timeframe))
    ours = {bar.started_at for bar in there if bar.source == Source.STREAM.name}
    mark_bars(feed, instrument, timeframe, {at: Mark.DISPUTED for at in starts if at in ours})
    taken = {bar.started_at for bar in there}
    around = sorted(bars, key=lambda bar: bar.started_at)
    begins = [bar.started_at for bar in around]
    places = []
    for at in sorted(set(starts) - taken):
        place = bisect_right(begins, at)
        if place:
            price: Decimal | None = around[place - 1].close
        else:
            price = _price_before(feed, instrument, timeframe, at)
            if price is None and around:
                price = around[0].open
        if price is not None:
            places.append(Bar(instrument.symbol, at, price, price, price, price, 0, mark=Mark.BROKEN))
    store_bars(feed, timeframe, places, HISTORY)


def _price_before(feed: Feed, instrument: Instrument, timeframe: int, at: datetime) -> Decimal | None:
    before = candles_of(feed, instrument, timeframe, start=at - LOOK_BACK, end=at)
    return before[-1].close if before else None
