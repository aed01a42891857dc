"""One instrument: its candles with what one has chosen to see, its facts, its price."""

from dataclasses import replace
from urllib.parse import urlencode

from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from execution.cells import quote_cell
from trading.domain.errors import NotAllowed
from trading.marketdata.listing.bands import band_of
from trading.marketdata.models import Instrument
from trading.portfolio.models import Watchlist
from trading.web.access import signed_in
from trading.web.chart_data import (
    SPAN_NAMES,
    TIMEFRAMES,
    View,
    chart_of,
    own_levels,
    own_marks,
    remember,
    remembered,
    view_of,
)
from trading.web.chart_lines import MOST_LINES, choices, line_of, line_written
from trading.web.desk import DeskRequest

POLL_S = 20
ADJUSTED = "chart_adjusted"  # of this session: prices as if past splits and bonuses had always been


@require_safe
@signed_in
def instrument(request: DeskRequest, symbol: str) -> HttpResponse:
    row = _instrument(symbol)
    desk = request.desk
    quote = desk.quotes.get(row.symbol)
    watching = set(Watchlist.objects.for_user(request.user).filter(items__instrument=row).values_list("pk", flat=True))
    lists = [(one, one.pk in watching) for one in Watchlist.objects.for_user(request.user)]
    context = {
        "instrument": row,
        "quote": quote,
        "cells": quote_cell(quote, row.tick_size) if quote else {"ltp": "—", "chg": "—", "dir": 0},
        "memberships": row.memberships.filter(to_date=None).select_related("universe").order_by("universe__name"),
        "levels": own_levels(user=request.user, portfolio=desk.portfolio, instrument=row),
        "former": row.former.all(),
        "band": band_of(desk.feed, row, desk.today) if desk.feed else None,
        "terms": row.terms.order_by("-from_date")[:8],
        "lists": lists,
        "actions": row.actions.exclude(state="DISMISSED")[:8],
        **_chart_context(row, replace(remembered(request.user), adjusted=request.session.get(ADJUSTED, False))),
    }
    return render(request, "market/instrument.html", context)


@require_safe
@signed_in
def candles(request: DeskRequest, symbol: str) -> HttpResponse:
    """The JSON of the chart (see static/js/candle-chart.js). 422 for a view that cannot be drawn."""
    row = _instrument(symbol)
    desk = request.desk
    try:
        lines = [line_written(text) for text in request.GET.getlist("ind")]
        view = view_of(
            timeframe=request.GET.get("tf", "5"), span=request.GET.get("span", "5d"), lines=lines,
            adjusted=request.GET.get("adj") == "1",
        )  # fmt: skip
    except NotAllowed as error:
        return JsonResponse({"code": error.code, "detail": error.message}, status=422)
    if desk.feed is None:
        return JsonResponse({"candles": [], "note": "Candles come with a broker account: there is none yet."})
    chart = chart_of(feed=desk.feed, instrument=row, view=view, now=desk.now, quote=desk.quotes.get(row.symbol))
    if chart["candles"]:
        since = chart["candles"][0][0]
        chart["marks"] = own_marks(user=request.user, portfolio=desk.portfolio, instrument=row, since=since)
    chart["levels"] = own_levels(user=request.user, portfolio=desk.portfolio, instrument=row)
    return JsonResponse(chart)


@require_POST
@signed_in
def chart(request: DeskRequest, symbol: str) -> HttpResponse:
    """Another timeframe or stretch, an indicator more or less: remembered for this person's charts."""
    row = _instrument(symbol)
    now, given = remembered(request.user), request.POST
    lines = list(now.lines)
    if "add" in given:
        added = line_of(given["add"], [part for part in given.get("constants", "").split(",") if part.strip()])
        lines += [added] if added not in lines else []
    elif "remove" in given:
        lines = [line for line in lines if line.written != given["remove"]]
    if "adj" in given:
        request.session[ADJUSTED] = given["adj"] == "1"
    view = view_of(
        timeframe=given.get("tf", now.timeframe), span=given.get("span", now.span), lines=lines,
        adjusted=request.session.get(ADJUSTED, False),
    )  # fmt: skip
    remember(request.user, view)
    if not request.htmx:
        return redirect(reverse("web:instrument", args=[row.symbol]))
    return render(request, "market/_chart.html", {"instrument": row, **_chart_context(row, view)})


def _instrument(symbol: str) -> Instrument:
    row = Instrument.objects.filter(symbol=symbol).first() if len(symbol) <= 60 and symbol.isprintable() else None
    if row is None:
        raise Http404
    return row


def _chart_context(row: Instrument, view: View) -> dict[str, object]:
    address = reverse("web:instrument-candles", args=[row.symbol])
    return {
        "view": view,
        "chart_url": f"{address}?{urlencode(view.query)}",
        "chart_label": f"{row.ticker}, {TIMEFRAMES[view.timeframe]}",
        "timeframes": [(value, name, value == view.timeframe) for value, name in TIMEFRAMES.items()],
        "spans": [(value, name, value == view.span) for value, name in SPAN_NAMES.items()],
        "choices": choices(),
        "full": len(view.lines) >= MOST_LINES,
        "poll": POLL_S,
    }
