"""The market as one person watches it: a search, and lists of instruments with live prices."""

from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from execution.cells import quote_cell
from trading.marketdata.models import Instrument
from trading.portfolio import watchlists
from trading.portfolio.models import Watchlist, WatchlistItem
from trading.web.access import signed_in
from trading.web.desk import DeskRequest
from trading.web.sparklines import sparklines

FOUND = 12
CHOSEN_LIST = "watchlist"
NO_QUOTE = {"ltp": "—", "chg": "—", "dir": 0}


@require_safe
@signed_in
def market(request: DeskRequest) -> HttpResponse:
    return render(request, "market/market.html", watchlist_context(request, request.GET.get("list")))


@require_safe
@signed_in
def find(request: DeskRequest) -> HttpResponse:
    """Instruments whose symbol or name holds what was typed, best first."""
    typed = "".join(char for char in request.GET.get("q", "")[:60] if char.isprintable()).strip()
    context = {"typed": typed, "found": search(request, typed), "chosen": _chosen(request, None)}
    if request.htmx:
        return render(request, "market/_found.html", context)
    return render(request, "market/market.html", {**context, **watchlist_context(request, None)})


def search(request: DeskRequest, typed: str) -> list[tuple[Instrument, dict[str, object]]]:
    """What was meant, with its last price: the ticker itself, then tickers that begin so, then the rest."""
    if not typed:
        return []
    wanted = typed.upper()
    rows = Instrument.objects.filter(active=True).filter(Q(symbol__icontains=typed) | Q(name__icontains=typed))
    found = sorted(rows[:200], key=lambda one: (one.ticker != wanted, not one.ticker.startswith(wanted), one.symbol))
    quotes = request.desk.quotes
    return [
        (one, quote_cell(quotes[one.symbol], one.tick_size) if one.symbol in quotes else NO_QUOTE)
        for one in found[:FOUND]
    ]


def watchlist_context(request: DeskRequest, wanted: str | None) -> dict[str, object]:
    """All lists of this person, the chosen one with its rows: instrument, price cells, curve of the day."""
    lists = list(Watchlist.objects.for_user(request.user))
    chosen = _chosen(request, wanted, lists)
    items: list[WatchlistItem] = list(chosen.items.select_related("instrument")) if chosen else []
    desk = request.desk
    instruments = [item.instrument for item in items]
    curves = sparklines(desk.feed, instruments, now=desk.now) if desk.feed else {}
    rows = []
    for one in instruments:
        quote = desk.quotes.get(one.symbol)
        cells = quote_cell(quote, one.tick_size) if quote else NO_QUOTE
        rows.append({"instrument": one, "quote": quote, "cells": cells, "curve": curves.get(one.pk)})
    return {"lists": lists, "chosen": chosen, "rows": rows}


def _chosen(request: DeskRequest, wanted: str | None, lists: list[Watchlist] | None = None) -> Watchlist | None:
    """The list that was asked for, else the one this session last looked at, else the first."""
    mine = lists if lists is not None else list(Watchlist.objects.for_user(request.user))
    by_id = {str(one.pk): one for one in mine}
    if wanted in by_id:
        request.session[CHOSEN_LIST] = wanted
    chosen = by_id.get(str(request.session.get(CHOSEN_LIST)))
    return chosen or (mine[0] if mine else None)


# --- changes: each answers with the lists as they are now -----------------------------------------------------------
@require_POST
@signed_in
def create(request: DeskRequest) -> HttpResponse:
    made = watchlists.watchlist_create(owner=request.user, name=request.POST.get("name", ""))
    return _lists(request, made.pk)


@require_POST
@signed_in
def rename(request: DeskRequest, watchlist_id: int) -> HttpResponse:
    name = request.POST.get("name", "")
    return _lists(request, watchlists.watchlist_rename(owner=request.user, watchlist_id=watchlist_id, name=name).pk)


@require_POST
@signed_in
def delete(request: DeskRequest, watchlist_id: int) -> HttpResponse:
    watchlists.watchlist_delete(owner=request.user, watchlist_id=watchlist_id)
    return _lists(request, None)


@require_POST
@signed_in
def add(request: DeskRequest, watchlist_id: int) -> HttpResponse:
    watchlists.watchlist_add(owner=request.user, watchlist_id=watchlist_id, symbol=request.POST.get("symbol", ""))
    return _lists(request, watchlist_id)


@require_POST
@signed_in
def remove(request: DeskRequest, watchlist_id: int) -> HttpResponse:
    watchlists.watchlist_remove(owner=request.user, watchlist_id=watchlist_id, symbol=request.POST.get("symbol", ""))
    return _lists(request, watchlist_id)


@require_POST
@signed_in
def move(request: DeskRequest, watchlist_id: int) -> HttpResponse:
    """One place up or down."""
    up = request.POST.get("way") == "up"
    symbol = request.POST.get("symbol", "")
    watchlists.watchlist_move(owner=request.user, watchlist_id=watchlist_id, symbol=symbol, up=up)
    return _lists(request, watchlist_id)


def _lists(request: DeskRequest, watchlist_id: int | None) -> HttpResponse:
    wanted = None if watchlist_id is None else str(watchlist_id)
    if not request.htmx:
        return redirect(reverse("web:market") + (f"?list={wanted}" if wanted else ""))
    return render(request, "market/_watchlist.html", watchlist_context(request, wanted))
