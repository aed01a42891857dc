"""The one glance that says how things stand, and the parts that other pages share."""

from collections.abc import Callable

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from trading.portfolio.models import Portfolio
from trading.web.access import signed_in
from trading.web.desk import CHOSEN, DeskRequest
from trading.web.pages.orders import orders_context
from trading.web.pages.signals import signals_context

Context = dict[str, object]
LAST = 4
# Parts that a page fetches again when an event says so. Each is the partial the full page was made of.
PARTS: dict[str, tuple[str, Callable[[DeskRequest], Context] | None]] = {
    "status": ("components/_status.html", None),
    "alerts": ("components/_alert_strip.html", None),
    "tiles": ("dashboard/_tiles.html", None),
    "health": ("dashboard/_health.html", None),
    "needs": ("dashboard/_needs.html", None),
    "positions": ("portfolio/_positions.html", None),
    "last-orders": ("dashboard/_last_orders.html", None),
    "last-signals": ("dashboard/_last_signals.html", lambda request: signals_context(request, limit=LAST)),
    "orders": ("execution/_orders.html", lambda request: orders_context(request)),
    "signals": ("strategies/_signals.html", lambda request: signals_context(request)),
}


@require_safe
@signed_in
def dashboard(request: DeskRequest) -> HttpResponse:
    if request.desk.portfolio is None:
        return render(request, "dashboard/no_portfolio.html")
    return render(request, "dashboard/dashboard.html", signals_context(request, limit=LAST))


@require_safe
@signed_in
def part(request: DeskRequest, name: str) -> HttpResponse:
    """One part of a page, as it is now."""
    if name not in PARTS or request.desk.portfolio is None:
        raise Http404
    template, context = PARTS[name]
    return render(request, template, context(request) if context else {})


@require_POST
@signed_in
def choose_portfolio(request: DeskRequest) -> HttpResponse:
    """Remember which portfolio this session looks at."""
    wanted = request.POST.get("portfolio", "")
    portfolio = get_object_or_404(Portfolio.objects.for_user(request.user), pk=wanted[:18] if wanted.isdecimal() else 0)
    request.session[CHOSEN] = portfolio.pk
    back = request.POST.get("next", "/")
    return redirect(back if url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()}) else "/")
