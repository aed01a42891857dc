"""Settings of the signal engine: what is in force, what a change would be, its history, its file, and the ladders."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.console import OPERATE
from execution.engine_form import SettingsForm, changes_in_words, rungs_shown, rungs_typed
from execution.engine_settings import (
    Backup,
    Change,
    draft_settings,
    drop_settings,
    publish_ladder,
    publish_settings,
    retire_ladder,
    settings_as_json,
    settings_of,
    values_from_json,
)
from execution.ladder_plans import draft_ladder, ladders_for
from execution.models import EngineSettings, LadderPlan
from strategies.tactics.ladder import DEFAULT_RUNGS, PlannedLeg, plan_legs
from trading.domain.errors import NotAllowed, NotFound, TradingError
from trading.domain.orders import Side
from trading.marketdata.models import Instrument
from trading.marketdata.quotes import last_quotes
from trading.portfolio.models import Portfolio
from trading.web.access import signed_in
from trading.web.desk import DeskRequest

LARGEST_FILE = 256_000
VERSIONS = 20


@dataclass(frozen=True, slots=True)
class Version:
    """One version, and what it changed of the one that was in force before it."""

    settings: EngineSettings
    changed: list[Change]


def whose(request: DeskRequest) -> Portfolio | None:
    """The chosen portfolio; the house (None) for an operator who asks for it."""
    if "house" in (request.GET.get("of"), request.POST.get("of")):
        if not request.user.has_perm(OPERATE):
            raise Http404
        return None
    if request.desk.portfolio is None:
        raise Http404
    return request.desk.portfolio


def _to(name: str, portfolio: Portfolio | None, *args: Any) -> HttpResponse:
    return redirect(reverse(name, args=args) + ("" if portfolio else "?of=house"))


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def settings(request: DeskRequest) -> HttpResponse:
    """What is in force. POST with `act`: look at a change, put it in force, read a file, restore it, or go back to the
    house's."""
    portfolio = whose(request)
    current = settings_of(portfolio.pk if portfolio else None)
    posted = request.method == "POST"
    act = request.POST.get("act", "preview")
    form = SettingsForm(
        request.POST if posted and act in ("preview", "publish") else None, instance=current, portfolio=portfolio
    )
    context: dict[str, Any] = {"form": form, "settings": current, **_around(request, portfolio, current)}
    if not posted:
        return render(request, "engine/settings.html", context)
    actor = request.user.get_username()
    if act == "drop" and portfolio is not None:
        drop_settings(portfolio=portfolio, actor=actor)
        return _to("web:engine-settings", portfolio)
    try:
        backup = _given(request, form, act, portfolio)
        if backup is None:
            return render(request, "engine/settings.html", context, status=422)
        if act in ("publish", "restore"):
            publish_settings(portfolio=portfolio, values=backup.values, ladders=backup.ladders, actor=actor)
            return _to("web:engine-settings", portfolio)
        draft = draft_settings(portfolio=portfolio, values=backup.values, ladders=backup.ladders)
    except TradingError as error:
        _mark(form, error)
        return render(request, "engine/settings.html", context | {"error": error}, status=422)
    context |= {"previewed": True, "changed": changes_in_words(current, draft), "new_ladders": backup.ladders}
    if act == "import":
        context["file_text"] = _file_text(request)
    else:
        context["form"] = form
    return render(request, "engine/settings.html", context)


def _around(request: DeskRequest, portfolio: Portfolio | None, current: EngineSettings) -> dict[str, Any]:
    return {
        "portfolio": portfolio, "of_house": portfolio is None, "is_own": current.portfolio_id is not None,
        "may_operate": request.user.has_perm(OPERATE), "versions": _versions(portfolio),
        "ladders": list(ladders_for(portfolio.pk if portfolio else None)),
    }  # fmt: skip


def _versions(portfolio: Portfolio | None) -> list[Version]:
    """The newest versions. The first that a portfolio has of its own is told apart from the house's of its time."""
    rows = list(
        EngineSettings.objects.filter(portfolio=portfolio).select_related("ladder", "portfolio")[: VERSIONS + 1]
    )
    found = []
    for place, one in enumerate(rows[:VERSIONS]):
        before = rows[place + 1] if place + 1 < len(rows) else None
        if before is None and portfolio is not None:
            house = EngineSettings.objects.filter(portfolio=None, created_at__lte=one.created_at)
            before = house.select_related("ladder").order_by("-version").first()
        found.append(Version(one, changes_in_words(before, one) if before else []))
    return found


def _given(
    request: DeskRequest, form: SettingsForm, act: str, portfolio: Portfolio | None
) -> Backup | None:  # fmt: skip
    """What was typed, or what the file says; None where a field is wrong."""
    if act in ("import", "restore"):
        return values_from_json(_file_text(request), portfolio=portfolio)
    return Backup(dict(form.cleaned_data), []) if form.is_valid() else None


def _file_text(request: DeskRequest) -> str:
    """The file that was chosen, or the text of it that the page kept between the look and the restoring."""
    file = request.FILES.get("file")
    if file is None and request.POST.get("text"):
        return request.POST["text"]
    if file is None or file.size is None or file.size > LARGEST_FILE:
        raise NotAllowed("SETTINGS_FILE", f"Choose a file of settings, of {LARGEST_FILE // 1000} KB at most.")
    file.seek(0)
    return file.read().decode("utf-8", "replace")


def _mark(form: SettingsForm, error: TradingError) -> None:
    """Put what the draft found wrong beside its field."""
    said = error.numbers.get("fields")
    if form.is_bound and isinstance(said, dict):
        for name, messages in said.items():
            form.add_error(name if name in form.fields else None, " ".join(messages))


@require_safe
@signed_in
def file(request: DeskRequest) -> HttpResponse:
    """The settings in force with their ladders, as a file to keep."""
    portfolio = whose(request)
    current = settings_of(portfolio.pk if portfolio else None)
    answer = HttpResponse(settings_as_json(current), content_type="application/json")
    answer["Content-Disposition"] = f'attachment; filename="engine-settings-v{current.version}.json"'
    return answer


# -- ladders -----------------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def ladder(request: DeskRequest, ladder_id: int | None = None) -> HttpResponse:
    """A ladder to look at and to change; POST puts it in force under its name, or only shows what it would place."""
    portfolio = whose(request)
    plan = _plan(portfolio, ladder_id) if ladder_id is not None else None
    given = request.POST if request.method == "POST" else request.GET
    shown: dict[str, Any]
    if request.method == "POST" or "name" in given:
        stop = given.get("stop_pct", "").strip()
        shown = {"name": given.get("name", ""), "rungs": rungs_typed(given), "stop_pct": stop}
    elif plan is not None:
        stop = "" if plan.stop_pct is None else f"{plan.stop_pct.normalize():f}"
        shown = {"name": plan.name, "rungs": plan.rungs, "stop_pct": stop}
    else:
        shown = {"name": "", "rungs": list(DEFAULT_RUNGS), "stop_pct": "1"}
    overrides = plan.overrides if plan else {}
    context: dict[str, Any] = {
        "plan": plan, "portfolio": portfolio, "of_house": portfolio is None, "shown": shown,
        "rows": rungs_shown(shown["rungs"]), "symbol": given.get("symbol", ""), "overrides": overrides,
        "is_own": plan is None or plan.portfolio_id == (portfolio.pk if portfolio else None),
        "symbols": sorted(request.desk.quotes)[:60],
    }  # fmt: skip
    context |= _outlook(request, shown, given)
    if request.htmx:
        return render(request, "engine/_ladder_preview.html", context)
    if request.method != "POST":
        return render(request, "engine/ladder.html", context)
    try:
        publish_ladder(
            portfolio=portfolio, name=shown["name"], rungs=shown["rungs"], overrides=overrides,
            stop_pct=shown["stop_pct"] or None, actor=request.user.get_username(),
        )  # fmt: skip
    except TradingError as error:
        return render(request, "engine/ladder.html", context | {"error": error}, status=422)
    return _to("web:engine-settings", portfolio)


@require_POST
@signed_in
def retire(request: DeskRequest, ladder_id: int) -> HttpResponse:
    """Take a ladder of one's own out of use."""
    portfolio = whose(request)
    mine = LadderPlan.objects.filter(portfolio=portfolio)
    if portfolio is not None:
        mine = LadderPlan.objects.for_user(request.user).filter(portfolio=portfolio)
    plan = get_object_or_404(mine, pk=ladder_id)
    retire_ladder(ladder_id=plan.pk, actor=request.user.get_username())
    return _to("web:engine-settings", portfolio)


def _plan(portfolio: Portfolio | None, ladder_id: int) -> LadderPlan:
    plan = ladders_for(portfolio.pk if portfolio else None).filter(pk=ladder_id).first()
    if plan is None:
        raise NotFound("LADDER_UNKNOWN", "There is no such ladder.")
    return plan


def _outlook(request: DeskRequest, shown: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What the ladder would place in a chosen symbol, at its last price or at a typed one; its weights' sum."""
    weight = _sum_of_weights(shown["rungs"])
    side = Side.SELL if given.get("side") == "SELL" else Side.BUY
    found: dict[str, Any] = {
        "weight": weight, "side": side, "price": given.get("price", ""), "quantity": given.get("quantity", "100"),
    }  # fmt: skip
    try:
        draft = draft_ladder(
            portfolio=None, name=shown["name"] or "draft", rungs=shown["rungs"], stop_pct=shown["stop_pct"] or None
        )
    except NotAllowed as error:
        return found | {"wrong": error.message}
    symbol = str(given.get("symbol", "")).strip().upper()
    instrument = Instrument.objects.filter(symbol=symbol).first() if symbol.isprintable() else None
    account = request.desk.account
    quote = last_quotes(account.feed, [symbol]).get(symbol) if account and instrument else None
    price = _number(found["price"]) or (quote.last_price if quote else None) or (None if instrument else Decimal(100))
    units = int(_number(found["quantity"]) or 0)
    if price is None:
        return found | {"wrong": f"{symbol} has no price now: type one."}
    tick, lot = (instrument.tick_size, instrument.lot_size) if instrument else (Decimal("0.05"), 1)
    legs = plan_legs(side, price, units, draft.rungs_for(0), tick=tick, lot=lot)
    stop = None
    if draft.stop_pct is not None:
        stop = legs[-1].limit_price * (1 - side.sign * draft.stop_pct / 100)
    return found | {
        "instrument": instrument, "entry": price, "tick": tick, "stop": stop,
        "legs": [(leg, _take_profit(leg, side)) for leg in legs], "unknown": bool(symbol) and instrument is None,
        "total": sum(leg.quantity for leg in legs), "average": _average(legs),
    }  # fmt: skip


def _take_profit(leg: PlannedLeg, side: Side) -> Decimal:
    return leg.limit_price * (1 + side.sign * leg.rung.take_profit_pct / 100)


def _average(legs: tuple[PlannedLeg, ...]) -> Decimal | None:
    units = sum(leg.quantity for leg in legs)
    return sum((leg.limit_price * leg.quantity for leg in legs), Decimal(0)) / units if units else None


def _sum_of_weights(rungs: list[dict[str, str]]) -> Decimal | None:
    weights = [_number(rung.get("weight_pct", "")) for rung in rungs]
    return None if any(one is None for one in weights) else sum((one for one in weights if one), Decimal(0))


def _number(text: object) -> Decimal | None:
    """A number a person typed, of a size that prices and quantities have; None for anything else."""
    try:
        value = Decimal(str(text).replace(",", "").strip())
    except ArithmeticError:
        return None
    return value if value.is_finite() and 0 <= value < 10**9 else None
