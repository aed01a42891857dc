"""What is known about how far market data can be trusted: plain reads for pages, reports and the API."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from django.db.models import Avg, Count, Sum

from trading.marketdata.models import CorporateAction, Feed, Instrument, InstrumentRefresh, QualityDay
from trading.marketdata.quality.stored import meaning_of
from trading.monitoring.models import Heartbeat


@dataclass(frozen=True, slots=True)
class DayTrust:
    """One judged day of one instrument. `defects`: (code, meaning in words, bars it concerns), worst first."""

    instrument_id: int
    day: date
    score: int
    expected: int
    present: int
    untrusted: int
    defects: tuple[tuple[str, str, int], ...]
    largest_gap: int
    gap_from: str
    checked_at: datetime


def judged_days(
    feed: Feed, instruments: Sequence[Instrument], timeframe: int, *, first: date, last: date
) -> dict[tuple[int, date], DayTrust]:
    """Reports by (instrument id, day); a day that was never judged is absent."""
    rows = QualityDay.objects.filter(
        feed=feed, timeframe=timeframe, instrument__in=instruments, day__range=(first, last)
    )
    return {
        (row.instrument_id, row.day): DayTrust(
            row.instrument_id, row.day, row.score, row.expected, row.present, row.untrusted,
            tuple(
                (code, meaning_of(code), count)
                for code, count in sorted(row.defects.items(), key=lambda item: (-item[1], item[0]))
            ),
            row.largest_gap, row.gap_from, row.checked_at,
        )
        for row in rows
    }  # fmt: skip


def quality_summary(feed: Feed, timeframe: int, *, first: date, last: date) -> list[dict[str, Any]]:
    """Instruments with their mean score over these days, worst first: symbol, score, days, untrusted bars, missing."""
    rows = (
        QualityDay.objects.filter(feed=feed, timeframe=timeframe, day__range=(first, last))
        .values("instrument__symbol")
        .annotate(
            score=Avg("score"), days=Count("pk"), untrusted=Sum("untrusted"), expected=Sum("expected"),
            present=Sum("present"),
        )
        .order_by("score", "instrument__symbol")
    )  # fmt: skip
    return [
        {
            "symbol": row["instrument__symbol"], "score": round(row["score"], 1), "days": row["days"],
            "untrusted": row["untrusted"], "missing": max(0, row["expected"] - row["present"]),
        }
        for row in rows
    ]  # fmt: skip


def undecided_actions(instruments: Sequence[Instrument] | None = None) -> list[CorporateAction]:
    """Corporate actions that wait for a person, or for a price, newest first; of these instruments, or of all."""
    rows = CorporateAction.objects.filter(state__in=CorporateAction.UNDECIDED).select_related("instrument")
    if instruments is not None:
        rows = rows.filter(instrument__in=instruments)
    return list(rows.order_by("-ex_date"))


def masters_state() -> list[InstrumentRefresh]:
    """The newest refresh of each market, refused ones too: how fresh what is known of instruments is."""
    newest: dict[tuple[str, str], InstrumentRefresh] = {}
    for row in InstrumentRefresh.objects.order_by("-at")[:200]:
        newest.setdefault((row.source, row.markets or row.file_name), row)
    return list(newest.values())


@dataclass(frozen=True, slots=True)
class SourcesState:
    """Where an account's prices come from. `active`: STREAM, POLL, SECOND or CANDLE (stale); `since`: wall time.

    `sources`: kind → heard_at, good_since, failed_at (UNIX), why. `stale`: symbol → age in seconds (None: never), at
    most fifty of `stale_count`. `told_at`: when the engine said so; an old one means the engine is not running.
    """

    active: str
    since: datetime
    why: str
    feed: str
    phase: str
    sources: dict[str, dict[str, Any]]
    symbols: int
    stale_count: int
    stale: dict[str, float | None]
    told_at: datetime


def sources_name(account_id: int) -> str:
    """Under which name an engine tells of its sources."""
    return f"sources:{account_id}"


def sources_state(account_id: int) -> SourcesState | None:
    """What the engine of an account last said about its price sources; None: it never ran."""
    beat = Heartbeat.objects.filter(name=sources_name(account_id)).first()
    if beat is None:
        return None
    said = beat.detail
    return SourcesState(
        said["active"], datetime.fromtimestamp(said["since"], UTC), said["why"], said["feed"], said["phase"],
        said["sources"], said["symbols"], said["stale_count"], said["stale"], beat.at,
    )  # fmt: skip
