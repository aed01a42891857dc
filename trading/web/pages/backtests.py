"""Backtests: what was asked, how far it is, what was found, and how it compares."""

import uuid
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.core.paginator import Paginator
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from strategies.models import BacktestRun, RunResult
from strategies.reports.compare import Comparison
from strategies.reports.export import file_of, files_of
from strategies.reports.figures import tone_of, written
from strategies.reports.sheet import Sheet
from strategies.reports.studies import study_page
from strategies.reports.trade_candles import candles_around
from strategies.runs.answers import answer_of, is_uuid, own_backtests, own_run
from strategies.runs.cancel import run_cancel, run_delete
from strategies.runs.create import run_again, run_create
from strategies.runs.limits import MOST_SOURCES
from trading.domain.clock import IST
from trading.domain.errors import NotFound, TradingError
from trading.domain.formatting import duration, number
from trading.marketdata.models import Instrument
from trading.web.access import dialog, signed_in
from trading.web.desk import DeskRequest
from trading.web.pages import backtest_form as form

PAGE = 40
TRADES = 100
Kind = BacktestRun.Kind


@require_safe
@signed_in
def backtests(request: DeskRequest) -> HttpResponse:
    """The runs of this person, newest first."""
    name = "backtests/_runs.html" if request.htmx else "backtests/list.html"
    return render(request, name, _runs(request))


def _runs(request: DeskRequest) -> dict[str, Any]:
    chosen = request.GET.get("kind", "")
    chosen = chosen if chosen in Kind.values else ""
    runs = BacktestRun.objects.for_user(request.user).with_progress()
    if chosen:
        runs = runs.filter(kind=chosen)
    page = Paginator(runs, PAGE).get_page(request.GET.get("page"))
    shown = list(page.object_list)
    found = {one.run_id: one for one in RunResult.objects.filter(run__in=shown).defer("report", "arrays")}
    filters = [("", "All", not chosen), *((kind, label, kind == chosen) for kind, label in Kind.choices)]
    return {
        "page": page, "rows": [_row(run, found.get(run.pk), request.desk.wall) for run in shown], "filters": filters,
        "chosen": chosen, "working": any(run.is_open for run in shown), "today": _today(request),
        "most": MOST_SOURCES, "extra": f"kind={chosen}&" if chosen else "",
    }  # fmt: skip


def _row(run: BacktestRun, found: RunResult | None, wall: datetime) -> dict[str, Any]:
    figures = found.figures if found else {}
    began, ended = run.started_at, run.finished_at or wall
    took = (ended - began).total_seconds() if began and run.state != BacktestRun.State.QUEUED else None
    return {
        "run": run, "comparable": found is not None and run.kind == Kind.BACKTEST,
        "gain": written("return_pct", figures.get("return_pct")),
        "tone": tone_of("return_pct", figures.get("return_pct")),
        "drawdown": written("max_drawdown_pct", figures.get("max_drawdown_pct")),
        "sharpe": written("sharpe", figures.get("sharpe")), "trades": written("trades", figures.get("trades")),
        "took": "—" if took is None else f"{took:.1f} s" if took < 10 else duration(took),
    }  # fmt: skip


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def new(request: DeskRequest) -> HttpResponse:
    """GET shows the form, POST queues the run once: the key in the form makes a second press the same wish."""
    kind = request.GET.get("kind", Kind.BACKTEST)
    kind = kind if kind in form.KINDS else Kind.BACKTEST
    if request.method != "POST":
        return render(request, "backtests/new.html", _form(request, kind, None, None))
    asked, study = form.wish_of(kind, request.POST)
    try:
        run = run_create(
            owner=request.user, kind=kind, request=asked, study=study, key=form.key_of(request.POST),
            wall=request.desk.wall,
        )  # fmt: skip
    except TradingError as error:
        return render(request, "backtests/new.html", _form(request, kind, request.POST.dict(), error), status=422)
    return redirect("web:backtest", run.pk)


def _form(request: DeskRequest, kind: str, given: dict[str, str] | None, error: TradingError | None) -> dict[str, Any]:
    asks = form.KINDS[kind]
    contracts = form.contracts_of(request.user) if asks.market else []
    chosen = request.POST.getlist("run") or request.GET.getlist("run")
    if given is None:
        like = request.GET.get("like", "")
        run = BacktestRun.objects.for_user(request.user).filter(pk=like).first() if is_uuid(like) else None
        given = form.as_given(run) if run else form.usual(request.user, _today(request), contracts)
        chosen = chosen or (run.study.get("runs", []) if run else [])
        wanted = request.GET.get("contract", "")
        if any(one["value"] == wanted for one in contracts):
            given = {**given, "contract": wanted}
    known = {one["value"] for one in contracts}
    if given.get("contract") and given["contract"] not in known:
        contracts = [{"value": given["contract"], "label": given["contract"]}, *contracts]
    weights = {name[7:]: value for name, value in given.items() if name.startswith("weight.")}
    fields = [
        {"name": name, "label": label, "value": given.get(f"s.{name}", value), "choices": choices}
        for name, label, value, choices in asks.fields
    ]
    return {
        "kind": kind, "kind_label": Kind(kind).label, "kind_words": asks.words, "given": given, "error": error,
        "kinds": [(name, Kind(name).label, name == kind) for name in form.KINDS], "contracts": contracts,
        "feeds": form.feeds(), "money": form.money_of(given), "key": request.POST.get("key") or str(uuid.uuid4()),
        "needs_market": asks.market, "sweeps": asks.sweeps, "study_fields": fields, "needs_runs": bool(asks.runs),
        "runs_words": asks.runs, "one_run": asks.one_run, "weighted": asks.weighted,
        "sources": form.sources_of(request.user, chosen, weights) if asks.runs else [],
        "parameters": form.parameters_of(request.user, given.get("contract", ""), given) if asks.market else [],
    }  # fmt: skip


@require_safe
@signed_in
def parameters(request: DeskRequest) -> HttpResponse:
    """The parameters of the contract that was chosen in the form."""
    kind = request.GET.get("kind", "")
    found = form.parameters_of(request.user, request.GET.get("contract", "")[:80], {})
    sweeps = kind in form.KINDS and form.KINDS[kind].sweeps
    return render(request, "backtests/_parameters.html", {"parameters": found, "sweeps": sweeps})


@require_safe
@signed_in
def backtest(request: DeskRequest, run_id: UUID) -> HttpResponse:
    """One run: how far it is, or what it found."""
    run = own_run(request.user, run_id)
    context: dict[str, Any] = {"run": run, "key": str(uuid.uuid4()), "files": files_of(run.kind)}
    if run.is_open:
        context |= _pace(run, request.desk.wall)
    elif run.state == BacktestRun.State.DONE and run.kind == Kind.BACKTEST:
        context |= _sheet(request, run)
    elif run.state == BacktestRun.State.DONE:
        study = study_page(answer_of(run))
        study.across, study.down = request.GET.get("across", ""), request.GET.get("down", "")
        context |= {"study": study, "files": files_of(run.kind)}
    return render(request, "backtests/run.html", context)


def _sheet(request: DeskRequest, run: BacktestRun) -> dict[str, Any]:
    sheet = Sheet(answer_of(run))
    page = Paginator(range(len(sheet.found.trades)), TRADES).get_page(1)
    first = (sheet.telling or [0])[0]
    shown = sheet.trades(first, 1)
    candles = _url("backtest-candles", run)
    return {
        "sheet": sheet, "page": page, "trades": sheet.trades(0, TRADES), "trades_url": _url("backtest-trades", run),
        "first_chart": f"{candles}?trade={first}",
        "first_trade": f"{shown[0]['ticker']} {shown[0]['entry_at']}: the best one" if shown else "",
    }  # fmt: skip


def _url(name: str, run: BacktestRun) -> str:
    from django.urls import reverse

    return reverse(f"web:{name}", args=[run.pk])


@require_safe
@signed_in
def progress(request: DeskRequest, run_id: UUID) -> HttpResponse:
    """How far it is. When it has ended the page is asked for anew: the result takes its place."""
    run = own_run(request.user, run_id)
    if not run.is_open:
        answer = HttpResponse(status=200)
        answer["HX-Refresh"] = "true"
        return answer
    return render(request, "backtests/_progress.html", {"run": run} | _pace(run, request.desk.wall))


def _pace(run: BacktestRun, wall: datetime) -> dict[str, Any]:
    rate, left = run.pace(wall)
    return {
        "rate": None if rate is None else number(Decimal(str(round(rate, 3))), 0 if rate >= 10 else 1),
        "left": None if left is None else duration(left),
    }


@require_POST
@signed_in
def cancel(request: DeskRequest, run_id: UUID) -> HttpResponse:
    run = own_run(request.user, run_id)
    run_cancel(run=run, actor=request.user.get_username(), wall=request.desk.wall)
    return redirect("web:backtest", run.pk)


@require_POST
@signed_in
def again(request: DeskRequest, run_id: UUID) -> HttpResponse:
    """The same question on today's candles."""
    run = own_run(request.user, run_id)
    found = run_again(run=run, key=form.key_of(request.POST), wall=request.desk.wall)
    return redirect("web:backtest", found.pk)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def delete(request: DeskRequest, run_id: UUID) -> HttpResponse:
    run = own_run(request.user, run_id)
    if request.method != "POST":
        return dialog(request, "backtests/_delete.html", {"run": run})
    run_delete(run=run)
    return redirect("web:backtests")


@require_safe
@signed_in
def trades(request: DeskRequest, run_id: UUID) -> HttpResponse:
    """One page of the trades."""
    run = own_run(request.user, run_id)
    sheet = Sheet(answer_of(run))
    page = Paginator(range(len(sheet.found.trades)), TRADES).get_page(request.GET.get("page"))
    shown = sheet.trades(page.start_index() - 1 if page.paginator.count else 0, TRADES)
    context = {
        "run": run,
        "page": page,
        "trades": shown,
        "trades_url": request.path,
        "chart_url": _url("backtest-candles", run),
    }
    name = "backtests/_trades.html" if request.htmx else "backtests/trades.html"
    return render(request, name, context)


@require_safe
@signed_in
def candles(request: DeskRequest, run_id: UUID) -> HttpResponse:
    """The candles around one trade, with its fills and levels, as the chart reads them."""
    run = own_run(request.user, run_id)
    sheet = Sheet(answer_of(run))
    asked = request.GET.get("trade", "0")
    place = int(asked) if asked.isdecimal() and len(asked) < 10 else -1
    if not 0 <= place < len(sheet.found.trades):
        raise NotFound("TRADE_NOT_FOUND", "There is no such trade in this run.")
    trade = sheet.found.trades[place]
    bars = candles_around(sheet, trade, margin=40)
    tick = Instrument.objects.filter(symbol=trade["symbol"]).values_list("tick_size", flat=True).first()
    starts = sheet.answer.arrays["starts"]
    buy = trade["side"] == "BUY"
    sides = ("BUY", "SELL") if buy else ("SELL", "BUY")
    marks = [
        {"time": int(starts[trade[f"{name}_bar"]]), "side": side, "price": trade[f"{name}_price"],
         "text": f"{name} {trade['quantity']} at {trade[f'{name}_price']:,.2f}"}
        for name, side in zip(("entry", "exit"), sides, strict=True)
    ]  # fmt: skip
    levels = [{"price": trade[kind], "kind": kind, "text": kind} for kind in ("stop", "target") if trade[kind]]
    return JsonResponse(
        {
            "candles": bars, "lines": [], "marks": marks, "levels": levels,
            "tick": None if tick is None else float(tick),
            "note": "" if bars else "The candles of this trade are not stored any more.",
        }
    )  # fmt: skip


@require_safe
@signed_in
def compare(request: DeskRequest) -> HttpResponse:
    """Finished backtests side by side, as `?run=…&run=…` names them."""
    ids = list(dict.fromkeys(one for one in request.GET.getlist("run") if is_uuid(one)))[: MOST_SOURCES + 1]
    found = Comparison(own_backtests(request.user.pk, ids))
    return render(request, "backtests/compare.html", {"found": found})


@require_safe
@signed_in
def file(request: DeskRequest, run_id: UUID, name: str) -> HttpResponse:
    """A finished run as a file to keep."""
    run = own_run(request.user, run_id)
    body, kind = file_of(answer_of(run), name)
    answer = HttpResponse(body, content_type=kind)
    stem = "".join(letter if letter.isalnum() else "-" for letter in run.title.lower())[:60].strip("-")
    answer["Content-Disposition"] = f'attachment; filename="{stem}-{str(run.pk)[:8]}-{name}"'
    return answer


def _today(request: DeskRequest) -> date:
    return request.desk.wall.astimezone(IST).date()
