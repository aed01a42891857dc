"""The desk and the broker side by side, and what the owner says about a difference."""

from decimal import Decimal, InvalidOperation

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from execution.models import Mismatch, ReconRun
from execution.services.mismatch_decide import mismatch_decide
from trading.domain.errors import NotAllowed
from trading.marketdata.clocks import venue_now
from trading.outbox import after_commit
from trading.portfolio.models import Portfolio
from trading.web.access import signed_in
from trading.web.desk import DeskRequest

State = Mismatch.State
SHOWN_RUNS, SHOWN_DECIDED = 20, 20


def reconcile_context(request: DeskRequest) -> dict[str, object]:
    """Differences that are open, those that were decided, and the last comparisons of the person's accounts."""
    mine = Mismatch.objects.for_user(request.user).select_related("account")
    return {
        "open": mine.filter(state__in=[State.SEEN, State.OPEN, State.DISPUTED]),
        "decided": mine.filter(state__in=[State.ACCEPTED, State.RESOLVED])[:SHOWN_DECIDED],
        "runs": ReconRun.objects.for_user(request.user).select_related("account")[:SHOWN_RUNS],
    }


@require_safe
@signed_in
def reconcile(request: DeskRequest) -> HttpResponse:
    return render(request, "execution/reconcile.html", reconcile_context(request))


@require_POST
@signed_in
def compare_now(request: DeskRequest) -> HttpResponse:
    """Ask the engines of the person's accounts to compare at once."""
    for account_id in Portfolio.objects.for_user(request.user).values_list("account_id", flat=True).distinct():
        after_commit("engine.reconcile", account_id=account_id)
    return redirect("web:reconcile")


@require_POST
@signed_in
def decide(request: DeskRequest, mismatch_id: int) -> HttpResponse:
    """One press. A price is taken as it is written, and never made up."""
    row = get_object_or_404(Mismatch.objects.for_user(request.user).select_related("account"), pk=mismatch_id)
    mismatch_decide(
        mismatch_id=row.pk, decision=request.POST.get("decision", ""), actor=request.user.get_username(),
        now=venue_now(row.account.feed), price=_price(request.POST.get("price", "")),
        remark=request.POST.get("remark", ""),
    )  # fmt: skip
    return redirect("web:reconcile")


def _price(text: str) -> Decimal | None:
    if not text.strip():
        return None
    try:
        return Decimal(text.replace(",", "").strip())
    except InvalidOperation:
        raise NotAllowed("PRICE", "A price is a positive number of rupees.") from None
