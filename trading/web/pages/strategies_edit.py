"""Writing a contract: the editor, what it is told while one writes, and where the rules would have fired."""

import json
from typing import Any

from django.contrib import messages
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from strategies.check import check_rule, names_told, numbers_of
from strategies.contracts.fields import ContractError
from strategies.contracts.publish import publish_contract, slug_of, unknown_instruments
from strategies.contracts.schema import parse_contract, read_yaml
from strategies.models import ContractVersion, StrategyContract
from strategies.preview import preview
from strategies.rules.errors import RuleError, SeriesMissing
from trading.domain.errors import NotFound, TradingError
from trading.marketdata.listing.universes import members
from trading.marketdata.models import Feed, Instrument, Universe
from trading.web.access import signed_in
from trading.web.desk import DeskRequest
from trading.web.pages.strategies_form import CHOICES, NEW, body_of, fields_given, fields_of

LONGEST_CHECK = 8_000
RULES = (
    ("rules.long_entry", "Buys when", "condition", "long"),
    ("rules.long_exit", "Leaves a long when (may be empty)", "condition", "long"),
    ("rules.short_entry", "Sells short when", "condition", "short"),
    ("rules.short_exit", "Leaves a short when (may be empty)", "condition", "short"),
    ("rules.score", "Ranks signals of one bar by (may be empty)", "number", ""),
)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def edit(request: DeskRequest, contract_id: int | None = None) -> HttpResponse:
    """A new contract, or the next version of one: POST publishes it, or shows every field with what is wrong."""
    own = None
    if contract_id is not None:
        own = get_object_or_404(StrategyContract.objects.filter(owner=request.user), pk=contract_id)
    fields: dict[str, Any] = _begun(request, own)
    error: ContractError | None = None
    if request.method == "POST":
        try:
            if request.POST.get("yaml", "").strip() or "file" in request.FILES:
                body = read_yaml(_yaml_text(request), "contract")
                fields = fields_of(parse_contract(body).as_mapping())
            else:
                fields = fields_given(request.POST)
                body = body_of(fields)
            version = _publish(request, own, body)
            messages.info(request, f"{version} is published.")
            return redirect(f"{reverse('web:contract', args=[version.contract_id])}?version={version.number}")
        except ContractError as refused:
            error = refused
    universe = Universe.objects.order_by("name")
    context = {
        "own": own, "fields": fields, "choices": CHOICES, "error": error, "rules": _rules(fields, error),
        "instruments": _instruments(request), "universes": universe, "from": request.GET.get("from", ""),
    }  # fmt: skip
    return render(request, "strategies/editor.html", context, status=422 if error else 200)


@require_safe
@signed_in
def names(request: DeskRequest) -> HttpResponse:
    """Every name of the language, with its meaning."""
    return JsonResponse({"names": names_told()})


@require_POST
@signed_in
def check(request: DeskRequest) -> HttpResponse:
    """One rule as it stands: what is wrong and where, or what it says."""
    if len(request.body) > LONGEST_CHECK:
        return JsonResponse({"detail": "A rule is not that long."}, status=413)
    try:
        asked = json.loads(request.body)
    except (ValueError, RecursionError):
        return JsonResponse({"detail": "Not JSON."}, status=400)
    if not isinstance(asked, dict) or not isinstance(asked.get("rule"), str):
        return JsonResponse({"detail": "Say which rule."}, status=400)
    given = asked.get("parameters")
    told = check_rule(
        asked["rule"], kind="number" if asked.get("kind") == "number" else "condition",
        timeframe=str(asked.get("timeframe", "")), parameters=given if isinstance(given, dict) else {},
    )  # fmt: skip
    return JsonResponse(told)


@require_safe
@signed_in
def fired(request: DeskRequest) -> HttpResponse:
    """Where the rules would have fired on the newest bars: the JSON of a candle chart."""
    nothing: dict[str, Any] = {"candles": [], "lines": [], "marks": [], "levels": []}
    portfolio = request.desk.portfolio
    feed = Feed.objects.filter(name=portfolio.account.feed).first() if portfolio else None
    if portfolio is None or feed is None:
        return JsonResponse(nothing | {"note": "There is no feed of prices yet."})
    symbol = request.GET.get("symbol", "")
    instrument = Instrument.objects.filter(symbol=symbol).first() if symbol.isprintable() else None
    if instrument is None:
        raise NotFound("UNKNOWN_SYMBOL", "There is no such instrument.")
    texts = {
        name: request.GET.get(name, "")[:2_500] for name in ("long_entry", "short_entry", "long_exit", "short_exit")
    }
    named = [name.strip() for name in request.GET.get("universes", "")[:500].split(",") if name.isprintable()]
    universes = Universe.objects.filter(name__in=named)
    universe = {one.pk: one for known in universes for one in members(known, request.desk.today)}
    try:
        parameters = json.loads(request.GET.get("parameters") or "{}")
        chart = preview(
            texts, parameters=numbers_of(parameters if isinstance(parameters, dict) else {}),
            timeframe=request.GET.get("timeframe", ""), instrument=instrument, feed=feed, until=request.desk.now,
            universe=list(universe.values()),
        )  # fmt: skip
    except (RuleError, SeriesMissing, TradingError) as refused:
        return JsonResponse(nothing | {"note": str(getattr(refused, "message", refused))})
    except (ValueError, RecursionError):
        return JsonResponse(nothing | {"note": "The parameters are not numbers."})
    return JsonResponse(chart)


def _begun(request: DeskRequest, own: StrategyContract | None) -> dict[str, Any]:
    """What the form begins with: the newest version, the contract that is copied, or an example."""
    source = None
    if own is not None:
        source = own.versions.first()
    elif request.GET.get("from", "").isdecimal():
        source = ContractVersion.objects.for_user(request.user).filter(pk=int(request.GET["from"][:12])).first()
    return dict(NEW) if source is None else fields_of(source.body)


def _publish(request: DeskRequest, own: StrategyContract | None, body: Any) -> ContractVersion:
    parsed = parse_contract(body)
    missing = unknown_instruments(parsed)
    if missing:
        raise ContractError("UNKNOWN_INSTRUMENT", "rules", f"this desk does not know {', '.join(missing)}")
    slug = own.slug if own is not None else slug_of(parsed.name)
    if own is None and StrategyContract.objects.filter(owner=request.user, slug=slug).exists():
        raise ContractError(
            "NAME_TAKEN", "name", "you have a contract of this name: open it and write its next version"
        )
    return publish_contract(owner=request.user, slug=slug, body=parsed.as_mapping(), actor=request.user.get_username())


def _yaml_text(request: DeskRequest) -> str:
    file = request.FILES.get("file")
    if file is None:
        return request.POST["yaml"]
    if (file.size or 0) > 64_000:
        raise ContractError("TOO_LONG", "contract", "a contract has at most 64,000 characters")
    try:
        return file.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ContractError("NOT_YAML", "contract", "the file is not text") from error


def _rules(fields: dict[str, Any], error: ContractError | None) -> list[dict[str, Any]]:
    return [
        {
            "path": path, "title": title, "kind": kind, "side": side, "text": fields.get(path, ""),
            "error": error.message if error and error.path == path else "",
        }
        for path, title, kind, side in RULES
    ]  # fmt: skip


def _instruments(request: DeskRequest) -> list[Instrument]:
    universe = Universe.objects.filter(name="nifty50").first() or Universe.objects.order_by("name").first()
    return list(members(universe, request.desk.today)) if universe and request.desk.portfolio else []
