"""The page of the signal engine: who holds a slot, how each trade is built up, who waits, and a hand on the queue."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from execution.engine_view import engine_view
from execution.models import Group, QueuedSignal
from execution.offset_panel import offset_panel
from execution.services import offset_acts, queue_acts
from trading.domain.errors import Conflict
from trading.web.access import dialog, signed_in
from trading.web.desk import DeskRequest


def engine_context(request: DeskRequest) -> dict[str, Any]:
    """Everything that the live part of the page shows."""
    portfolio = request.desk.portfolio
    assert portfolio is not None
    return {
        "engine": engine_view(portfolio, quotes=request.desk.quotes, wall=request.desk.wall),
        "panel": offset_panel(portfolio, now=request.desk.now),
    }


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


# -- winners pay for a loser -------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def offset_run(request: DeskRequest) -> HttpResponse:
    """GET says what a look now would do, POST does it; while a plan is under way a second press changes nothing."""
    portfolio = request.desk.portfolio
    if portfolio is None:
        raise Http404
    plan = None
    if request.method == "POST":
        actor, now = request.user.get_username(), request.desk.now
        plan = offset_acts.offset_run_now(portfolio_id=portfolio.pk, actor=actor, now=now)
    look = offset_panel(portfolio, now=request.desk.now).look
    return dialog(request, "engine/_offset_ask.html", {"plan": plan, "look": look})


def _mark(request: DeskRequest, group_id: UUID, act: Callable[..., bool]) -> HttpResponse:
    group = get_object_or_404(Group.objects.for_user(request.user), pk=group_id)
    act(group_id=group.pk, actor=request.user.get_username())
    return render(request, "engine/_live.html" if request.htmx else "engine/engine.html", engine_context(request))


@require_POST
@signed_in
def offset_skip(request: DeskRequest, group_id: UUID) -> HttpResponse:
    """Pass a trade over when it would be given up next."""
    return _mark(request, group_id, offset_acts.offset_skip_once)


@require_POST
@signed_in
def offset_block(request: DeskRequest, group_id: UUID) -> HttpResponse:
    """Keep a trade out of it: it neither pays nor is paid for."""
    return _mark(request, group_id, offset_acts.offset_block)


@require_POST
@signed_in
def offset_unblock(request: DeskRequest, group_id: UUID) -> HttpResponse:
    """Let a trade take part again."""
    return _mark(request, group_id, offset_acts.offset_unblock)
