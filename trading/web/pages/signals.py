"""Signals in words, with what each gate said about them."""

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from execution.story import tell_signals
from strategies.models import Signal
from trading.web.access import signed_in
from trading.web.desk import DeskRequest

PAGE = 30


def signals_context(request: DeskRequest, *, limit: int = PAGE) -> dict[str, object]:
    """One page of signals of the chosen portfolio, newest first, each with its intent, order and verdicts."""
    rows = (
        Signal.objects.for_user(request.user)
        .filter(portfolio=request.desk.portfolio)
        .select_related("instrument", "deployment__version__contract")
        .order_by("-bar_at", "-created_at")
    )
    page = Paginator(rows, limit).get_page(request.GET.get("page"))
    return {"signal_page": page, "stories": tell_signals(page.object_list)}


@require_safe
@signed_in
def signals(request: DeskRequest) -> HttpResponse:
    return render(request, "strategies/signals.html", signals_context(request))
