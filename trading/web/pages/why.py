"""Why it happened, or why nothing did: the chain of a signal, a click, an order or an alert; and of a silent bar."""

from datetime import datetime

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from execution.why import tell_why
from strategies.models import Deployment
from strategies.scanner.why_not import why_not
from trading.domain.clock import IST
from trading.domain.errors import NotAllowed
from trading.marketdata.models import Instrument
from trading.web.access import signed_in
from trading.web.desk import DeskRequest


@require_safe
@signed_in
def why(request: DeskRequest, kind: str, ref: str) -> HttpResponse:
    return render(request, "risk/why.html", {"why": tell_why(request.user, kind, ref)})


@require_safe
@signed_in
def silent(request: DeskRequest) -> HttpResponse:
    """Why a strategy gave no signal: `deployment`, `symbol` and the bar's close `at` as 2026-02-16T10:15, IST."""
    mine = Deployment.objects.for_user(request.user).select_related(
        "portfolio__account", "version__contract", "universe"
    )
    asked = {name: request.GET.get(name, "").strip() for name in ("deployment", "symbol", "at")}
    context: dict[str, object] = {"asked": asked, "deployments": mine.order_by("-pk")}
    if all(asked.values()):
        deployment = get_object_or_404(mine, pk=asked["deployment"] if asked["deployment"].isdecimal() else None)
        symbol = asked["symbol"].upper()
        symbol = symbol if ":" in symbol else f"NSE:{symbol}-EQ"
        instrument = get_object_or_404(Instrument, symbol=symbol[:60])
        context["told"] = why_not(deployment, instrument, bar_at=_instant(asked["at"]))
        context["instrument"] = instrument
    return render(request, "risk/why_silent.html", context)


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise NotAllowed("TIME", "Write the close of the bar as 2026-02-16T10:15.") from None
    return at if at.tzinfo else at.replace(tzinfo=IST)
