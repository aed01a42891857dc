"""Candles that are missing, asked of the broker's history with a button: what, of when; how far it is; enough."""

from datetime import date, timedelta
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from execution.backfills import backfill_ask
from trading.domain.errors import NotAllowed, NotFound
from trading.marketdata.fetching.backfill import TIMEFRAMES, backfill_cancel
from trading.marketdata.fetching.refused import ask_again
from trading.marketdata.models import Backfill, Feed
from trading.marketdata.selectors import followed_instruments
from trading.web.access import signed_in
from trading.web.desk import DeskRequest

SHOWN = 6
NAMED_TIMEFRAMES = {1: "1 minute", 5: "5 minutes", 15: "15 minutes", 60: "1 hour", 1440: "1 day"}


@require_POST
@signed_in
def download(request: DeskRequest) -> HttpResponse:
    """Ask for what is missing. Pressed again while it is open, it is the same download."""
    desk, asked = request.desk, request.POST
    if desk.account is None or desk.feed is None:
        raise NotAllowed("NO_ACCOUNT", "Candles are asked of a broker, and this desk has no account of yours.")
    symbols = [name if ":" in name else f"NSE:{name}-EQ" for name in asked.get("symbols", "").upper().split()]
    universe = "" if symbols else asked.get("list", "")[:60]
    if not symbols and not universe:
        symbols = [one.symbol for one in followed_instruments(desk.feed)]
    minutes = asked.get("timeframe", "1")
    if minutes not in {str(one) for one in TIMEFRAMES}:
        raise NotAllowed("UNKNOWN_TIMEFRAME", "Choose the length of the candles from the list.")
    if (again := asked.get("again", "")).isascii() and again.isdigit() and len(again) < 19:
        ask_again(rows=[int(again)], actor=request.user.get_username(), now=desk.now)
    backfill_ask(
        user=request.user, account=desk.account, symbols=symbols, universe=universe, timeframe=int(minutes),
        from_date=_day(asked.get("from", "")), to_date=_day(asked.get("to", "")),
    )  # fmt: skip
    return _answer(request)


@require_POST
@signed_in
def cancel(request: DeskRequest, backfill_id: UUID) -> HttpResponse:
    """Enough; what was fetched stays."""
    row = Backfill.objects.for_user(request.user).filter(pk=backfill_id).first()
    if row is None:
        raise NotFound("BACKFILL_NOT_FOUND", "There is no such download.")
    backfill_cancel(backfill=row, wall=request.desk.wall)
    return _answer(request)


@require_safe
@signed_in
def progress(request: DeskRequest) -> HttpResponse:
    """How far they are."""
    if not request.htmx:
        return redirect("web:market-data")
    return _answer(request)


def fetches_of(request: DeskRequest, feed: Feed) -> dict[str, Any]:
    """The newest downloads of this person from a feed, and whether any goes on."""
    rows = list(Backfill.objects.for_user(request.user).filter(feed=feed)[:SHOWN])
    return {"fetches": [(one, one.pace(request.desk.wall)) for one in rows], "fetching": any(r.is_open for r in rows)}


def form_of(request: DeskRequest, days: list[date]) -> dict[str, Any]:
    """What stands in the form at first: the days that the page shows."""
    today = request.desk.today
    return {
        "timeframes": NAMED_TIMEFRAMES, "download_from": min(days, default=today - timedelta(days=28)),
        "download_to": today, "can_download": request.desk.account is not None,
    }  # fmt: skip


def _answer(request: DeskRequest) -> HttpResponse:
    if not request.htmx or request.desk.feed is None:
        return redirect("web:market-data")
    return render(request, "market/_fetches.html", fetches_of(request, request.desk.feed))


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise NotAllowed("NOT_A_DATE", "Say from which day to which day, as 2026-01-31.") from None
