"""The state of the market data: how much is stored, what is missing and why, where it comes from and how old it is."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from execution.models import EngineLease
from trading.domain.clock import IST
from trading.marketdata.clocks import venue_now
from trading.marketdata.fetching.tally import calls_saved
from trading.marketdata.listing.universes import gone_members, members
from trading.marketdata.live import SourceKind
from trading.marketdata.models import Feed, Instrument, InstrumentRefresh, QualityDay, Universe
from trading.marketdata.quality.trust import SourcesState, sources_state
from trading.marketdata.selectors import (
    MINUTE,
    Cell,
    GapClass,
    Span,
    coverage,
    feeds_with_candles,
    followed_instruments,
    lacking_bars,
    refused_bars,
    spans_until,
    stored,
    timeframes_of,
)
from trading.marketdata.sources import DAILY
from trading.marketdata.watermark import candles_through
from trading.venue.sessions import exchange_date
from trading.web.access import signed_in
from trading.web.desk import DeskRequest
from trading.web.pages.market_download import fetches_of, form_of

ROWS = 50
DAYS = 20
MOST_GAPS = 60
MOST_JUDGED = 12
MOST_REFUSED = 30
BEHIND_S = 180
EARLIEST = date(1990, 2, 1)
TOLD_WITHIN = timedelta(seconds=60)  # the engine speaks of its sources more often than that
WHY = {
    GapClass.MISSING: ("missing", "The history has not been asked for all of it: a backfill may bring the rest."),
    GapClass.NO_DATA: ("no data", "Not one bar, and the history was not asked."),
    GapClass.NEVER_WAS: ("never was", "The history was asked and had no more."),
    GapClass.DOUBTFUL: ("doubtful", "Some bars are marked: nothing is traded on those."),
}


@require_safe
@signed_in
def market_data(request: DeskRequest) -> HttpResponse:
    desk = request.desk
    feed, now = _feed(request)
    if feed is None:
        return render(request, "market/data.html", {"feed": None})
    timeframes = timeframes_of(feed)
    timeframe = _timeframe(request, timeframes)
    spans = spans_until(feed, timeframe, until=_until(request, now), count=DAYS)
    days = [spans[0].first, spans[-1].last] if spans else []
    chosen, instruments = _chosen(request, feed, days, timeframe)
    page = Paginator(instruments, ROWS).get_page(request.GET.get("page"))
    shown = list(page.object_list)
    covered = coverage(feed, shown, spans, timeframe=timeframe, now=now)
    rows = [(one, covered[one.pk]) for one in shown]
    gaps = _gaps(rows)
    refused = refused_bars(feed)
    context = {
        "feed": feed,
        "feeds": sorted({feed, *([desk.feed] if desk.feed else []), *feeds_with_candles()}, key=lambda one: one.name),
        "is_own": feed == desk.feed,
        "days": days,
        "spans": spans,
        "timeframe": timeframe,
        "lengths": sorted({MINUTE, timeframe, *timeframes}),
        "by_month": timeframe >= DAILY,
        **_places(feed, chosen, days, timeframe, now),
        "page": page,
        "rows": rows,
        "gaps": gaps[:MOST_GAPS],
        "gap_count": len(gaps),
        "whole": sum(1 for _, cells in rows for cell in cells if not cell.missing and cell.bars),
        "cells": sum(len(cells) for _, cells in rows),
        "universes": Universe.objects.order_by("name"),
        "gone": [one for one in gone_members(exchange_date(now)) if chosen is None or one.universe == chosen.name],
        "chosen": chosen,
        "stored": stored(feed),
        "refused": refused[:MOST_REFUSED],
        "refused_count": refused.count(),
        "sources": _sources(request, feed),
        "saved": calls_saved(feed, first=exchange_date(now) - timedelta(days=30), last=exchange_date(now)),
        "judged": QualityDay.objects.filter(
            feed=feed, instrument__in=shown, score__lt=100, day__lte=days[-1] if days else exchange_date(now)
        ).select_related("instrument")[:MOST_JUDGED],
        **fetches_of(request, feed),
        **form_of(request, days),
    }
    return render(request, "market/data.html", context)


@require_safe
@signed_in
def missing(request: DeskRequest) -> HttpResponse:
    """Which minutes of one day of one instrument are not there, and which are and are not trusted."""
    feed, now = _feed(request)
    symbol, day = request.GET.get("symbol", "")[:60], request.GET.get("day", "")
    row = Instrument.objects.filter(symbol=symbol).first() if symbol.isprintable() else None
    minutes = request.GET.get("tf", "1")
    timeframe = int(minutes) if _is_number(minutes) and 1 <= int(minutes) <= DAILY else MINUTE
    try:
        on = date.fromisoformat(day)
    except ValueError:
        raise Http404 from None
    if row is None or feed is None or not 1990 <= on.year <= 2100:
        raise Http404
    span = _month(on) if timeframe >= DAILY else Span(on, on)
    runs = lacking_bars(feed, row, span, timeframe=timeframe, now=now)
    opens, ends = (datetime.combine(at, time(), IST) for at in (span.first, span.last + timedelta(days=1)))
    refused = refused_bars(feed, [row]).filter(timeframe=timeframe, started_at__gte=opens, started_at__lt=ends)
    return render(request, "market/_missing.html", {
        "instrument": row, "day": on, "timeframe": timeframe, "by_month": timeframe >= DAILY,
        "missing": [run for run in runs if not run.doubt], "doubtful": [run for run in runs if run.doubt],
        "refused": refused.order_by("started_at")[:MOST_REFUSED],
    })  # fmt: skip


def _month(day: date) -> Span:
    first = day.replace(day=1)
    return Span(first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1))


def _feed(request: DeskRequest) -> tuple[Feed | None, datetime]:
    """The feed that was asked for, else the desk's own, and its venue time."""
    desk, wanted = request.desk, request.GET.get("feed", "")
    feed = Feed.objects.filter(pk=wanted).first() if _is_number(wanted) else None
    return (desk.feed, desk.now) if feed is None or feed == desk.feed else (feed, venue_now(feed.name))


def _until(request: DeskRequest, now: datetime) -> datetime:
    """The end of the last day to be shown: now, or the one that was asked for."""
    try:
        day = date.fromisoformat(request.GET.get("until", ""))
    except ValueError:
        return now
    if not EARLIEST <= day < exchange_date(now):
        return now
    return datetime.combine(day, time(12), IST)


def _timeframe(request: DeskRequest, stored: list[int]) -> int:
    """The length of candles that was asked for, if any are stored; else minutes, or the shortest there is."""
    wanted = request.GET.get("tf", "")
    if _is_number(wanted) and int(wanted) in stored:
        return int(wanted)
    return MINUTE if MINUTE in stored or not stored else stored[0]


def _places(feed: Feed, chosen: Universe | None, days: list[date], timeframe: int, now: datetime) -> dict[str, object]:
    """Where else one may look: the same of earlier and of later days, as queries."""
    if not days:
        return {}
    asked = {"feed": feed.pk, "list": chosen.pk if chosen else "", "tf": timeframe}
    span = days[-1] - days[0] + timedelta(days=1)
    later = min(days[-1] + span, exchange_date(now))
    return {
        "here": urlencode({**asked, "until": days[-1].isoformat()}),
        "earlier": urlencode({**asked, "until": (days[0] - timedelta(days=1)).isoformat()}),
        "later": urlencode({**asked, "until": later.isoformat()}) if later > days[-1] else "",
    }


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _chosen(
    request: DeskRequest, feed: Feed, days: list[date], timeframe: int
) -> tuple[Universe | None, list[Instrument]]:
    """The instruments of the list that was asked for, else all of which bars of this timeframe are stored."""
    wanted = request.GET.get("list", "")
    universe = Universe.objects.filter(pk=wanted).first() if _is_number(wanted) else None
    if universe is None:
        return None, followed_instruments(feed, timeframe)
    return universe, members(universe, days[-1] if days else request.desk.today)


@dataclass(slots=True)
class Gap:
    """Days in a row, or months, of one instrument that lack bars or have doubtful ones, for one reason. Newest last."""

    instrument: Instrument
    kind: GapClass
    first: date
    last: date
    days: int
    missing: int
    untrusted: int

    @property
    def called(self) -> str:
        return WHY[self.kind][0]

    @property
    def is_fetchable(self) -> bool:
        """Whether the history may have what is missing."""
        return self.kind in (GapClass.MISSING, GapClass.NO_DATA)

    @property
    def why(self) -> str:
        return WHY[self.kind][1]


def _gaps(rows: list[tuple[Instrument, list[Cell]]]) -> list[Gap]:
    """What is not whole, newest first; whole days without a bar are told together."""
    found: list[Gap] = []
    for one, cells in rows:
        running: Gap | None = None
        for cell in cells:
            if cell.kind not in WHY:
                running = None
                continue
            if running is not None and not cell.bars and running.kind == cell.kind:
                running.last, running.days = cell.span.last, running.days + 1
                running.missing += cell.missing
                continue
            gap = Gap(one, cell.kind, cell.span.first, cell.span.last, 1, cell.missing, cell.untrusted)
            running = gap if not cell.bars else None
            found.append(gap)
    return sorted(found, key=lambda gap: (-gap.last.toordinal(), -gap.missing, gap.instrument.symbol))


PRICES = {
    SourceKind.STREAM: ("Price stream", "Ticks through the engine: quotes and today’s candles."),
    SourceKind.POLL: ("Polled quotes", "Asked again and again while the stream is silent."),
    SourceKind.SECOND: ("Second broker", "Its quotes, when the first brings none."),
    SourceKind.CANDLE: ("Last candle", "Shown when nothing else is there, marked stale, and never traded on."),
}


def _price_source(kind: str, told: SourcesState, wall: datetime) -> dict[str, object]:
    """One source of live prices as the engine last spoke of it: in use, ready, or what is wrong with it."""
    name, note = PRICES[SourceKind(kind)]
    said = told.sources[kind]
    old = wall - told.told_at > TOLD_WITHIN
    in_use = kind == told.active
    if old:
        state, shade = "no word from the engine", "bad"
    elif in_use:
        state, shade = "in use", "good" if kind == SourceKind.STREAM else "warn"
    elif said["failed_at"]:
        state, shade = said["why"] or "failed", "bad"
    else:
        state, shade = "ready" if said["heard_at"] else "not needed yet", ""
    if in_use and told.stale_count:
        note = f"{note} {told.stale_count} of {told.symbols} instruments are silent."
    if in_use and told.why:
        note = f"{note} {told.why[:1].upper()}{told.why[1:]}."
    age = wall.timestamp() - said["heard_at"] if said["heard_at"] else None
    return {"name": name, "is": shade, "state": state, "age": age, "note": note}


def _sources(request: DeskRequest, feed: Feed) -> list[dict[str, object]]:
    """Where data comes from, best first: each with its state, its age in wall seconds, and what it is for."""
    desk = request.desk
    told = sources_state(desk.account.pk) if desk.account else None
    prices: list[dict[str, object]] = [
        {
            "name": PRICES[SourceKind.STREAM][0], "is": "bad", "state": "no word yet", "age": None,
            "note": "The engine has not run for this account yet.",
        }
    ]  # fmt: skip
    if told is not None:
        prices = [_price_source(kind, told, desk.wall) for kind in SourceKind if kind in told.sources]
    running = desk.engine_state == EngineLease.State.RUNNING
    engine: dict[str, object] = {
        "name": "Engine",
        "is": "good" if running else "bad",
        "state": str(desk.engine_state).lower(),
        "age": desk.engine_beat_age,
        "note": "Holds the price socket and fills holes from the history.",
    }
    auth = desk.account.auth_state if desk.account else "UNKNOWN"
    history: dict[str, object] = {
        "name": "History of the broker",
        "is": "good" if auth == "AUTHENTICATED" else "warn",
        "state": "signed in" if auth == "AUTHENTICATED" else str(auth).lower().replace("_", " "),
        "age": None,
        "note": "Past candles, asked only for what is not stored.",
    }
    newest = InstrumentRefresh.objects.order_by("-at").first()
    master: dict[str, object] = {
        "name": "Instrument masters",
        "is": "good" if newest and newest.outcome != "REFUSED" else "warn",
        "state": f"{newest.source} {newest.outcome.lower().replace('_', ' ')}" if newest else "none yet",
        "age": (desk.wall - newest.at).total_seconds() if newest else None,
        "note": "Symbols, ticks, lots and freeze quantities of the day.",
    }
    settled = candles_through(feed.name)
    behind_s = (desk.now - settled).total_seconds() if settled else None
    candles: dict[str, object] = {
        "name": "Candles",
        "is": "good" if behind_s is not None and behind_s < BEHIND_S else "warn",
        "state": "no word yet" if behind_s is None else "up to date" if behind_s < BEHIND_S else "behind",
        "age": behind_s,
        "note": "Closed minutes written and given to the scanner; age in market time.",
    }
    return [*prices, engine, candles, history, master]
