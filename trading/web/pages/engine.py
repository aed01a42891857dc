"""The page of the signal engine: who holds a slot, how each trade is built up, who waits, and a hand on the queue."""

from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_http_methods, require_safe

from execution.engine_view import engine_view
from execution.models import QueuedSignal
from execution.services import queue_acts
from trading.domain.errors import Conflict
from trading.web.access import dialog, signed_in
from trading.web.desk import DeskRequest


def engine_context(request: DeskRequest) -> dict[str, Any]:
    """Everything that the live part of the page shows."""
    portfolio = request.desk.portfolio
    assert portfolio is not None
    return {"engine": engine_view(portfolio, quotes=request.desk.quotes, wall=request.desk.wall)}


@require_safe
@signed_in
def engine(request: DeskRequest) -> HttpResponse:
    if request.desk.portfolio is None:
        return render(request, "dashboard/no_portfolio.html")
    name = "engine/_live.html" if request.htmx else "engine/engine.html"
    return render(request, name, engine_context(request))


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def queued(request: DeskRequest, queued_id: int, act: str) -> HttpResponse:
    """GET says what the act would do, POST does it. `act`: promote, force or remove. Twice is once."""
    row = _queued(request, queued_id)
    asked = None
    if request.method == "POST":
        actor = request.user.get_username()
        if act == "remove":
            asked = queue_acts.remove(queued_id=row.pk, actor=actor)
        else:
            asked = queue_acts.promote(queued_id=row.pk, actor=actor, force=act == "force")
        row = _queued(request, queued_id)
    elif row.state != QueuedSignal.State.WAITING:
        raise Conflict("QUEUE_OVER", row.said or f"Its wait is over: {row.get_state_display().lower()}.")
    view = engine_context(request)["engine"] if row.portfolio_id == request.desk.portfolio.pk else None  # type: ignore[union-attr]
    return dialog(request, "engine/_queue_ask.html", {"row": row, "act": act, "asked": asked, "engine": view})


def _queued(request: DeskRequest, queued_id: int) -> QueuedSignal:
    mine = QueuedSignal.objects.for_user(request.user).select_related("instrument", "portfolio", "signal")
    return get_object_or_404(mine, pk=queued_id)
