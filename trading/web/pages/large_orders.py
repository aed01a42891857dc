"""Large orders: what is out, what has filled, what follows; and taking back the rest."""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from execution.deployment_works import FIELDS, choice_of, choose_work
from execution.large_orders import Worked, worked
from execution.models import DeploymentWork, Order, ParentOrder
from execution.services.parent_advance import parent_withdraw
from strategies.models import Deployment
from trading.domain.errors import Conflict, TradingError
from trading.marketdata.clocks import venue_now
from trading.web.access import dialog, signed_in
from trading.web.desk import DeskRequest

PAGE = 50


def _mine(request: DeskRequest):
    rows = ParentOrder.objects.for_user(request.user)
    return rows.select_related("instrument", "portfolio__account", "signal__deployment__version")


def live_ones(request: DeskRequest) -> list[Worked]:
    """Of the chosen portfolio: what is being worked now."""
    rows = _mine(request).filter(portfolio=request.desk.portfolio, state=ParentOrder.State.LIVE)
    return worked(list(rows), now=request.desk.now)


@require_safe
@signed_in
def large_orders(request: DeskRequest) -> HttpResponse:
    """All of the chosen portfolio, newest first."""
    page = Paginator(_mine(request).filter(portfolio=request.desk.portfolio), PAGE).get_page(request.GET.get("page"))
    rows = worked(list(page.object_list), now=request.desk.now)
    return render(request, "execution/large_orders.html", {"page": page, "rows": rows})


@require_safe
@signed_in
def large_order(request: DeskRequest, parent_id: int) -> HttpResponse:
    parent = get_object_or_404(_mine(request), pk=parent_id)
    name = "execution/_large_order.html" if request.htmx else "execution/large_order.html"
    return render(request, name, _story(parent, now=venue_now(parent.portfolio.account.feed)))


def _story(parent: ParentOrder, *, now: datetime) -> dict[str, object]:
    (one,) = worked([parent], now=now)
    orders = Order.objects.for_user(parent.portfolio.owner).filter(intent__parent=parent).select_related("instrument")
    held_back = parent.intents.exclude(refusal_code="").order_by("created_at")
    return {"parent": parent, "one": one, "orders": list(orders.order_by("pk")), "held_back": held_back}


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def withdraw(request: DeskRequest, parent_id: int) -> HttpResponse:
    """GET says what it would do; POST takes back what is not filled. Twice is once."""
    parent = get_object_or_404(_mine(request), pk=parent_id)
    now = venue_now(parent.portfolio.account.feed)
    asked = None
    if request.method == "POST":
        asked = parent_withdraw(parent_id=parent.pk, actor=request.user.get_username(), now=now)
        parent = get_object_or_404(_mine(request), pk=parent_id)
    elif not parent.is_live:
        raise Conflict("ORDER_IS_DONE", "This large order is over: there is nothing left to take back.")
    (one,) = worked([parent], now=now)
    return dialog(request, "execution/_withdraw.html", {"parent": parent, "one": one, "asked": asked})


class WorkForm(forms.ModelForm):
    """How a deployment's large entries are let out. The service checks the whole and writes the version."""

    class Meta:
        model = DeploymentWork
        fields = FIELDS
        labels = {
            "style": "Its large entries go out", "from_rupees": "From ₹", "minutes": "Minutes", "slices": "How many",
            "visible_pct": "Visible, %",
        }  # fmt: skip


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def deployment_work(request: DeskRequest, deployment_id: int) -> HttpResponse:
    """GET shows the choice in force, POST puts another in force."""
    rows = Deployment.objects.for_user(request.user).select_related("version__contract", "universe", "portfolio")
    row = get_object_or_404(rows, pk=deployment_id)
    form = WorkForm(request.POST or None, instance=None if request.method == "POST" else choice_of(row.pk))
    error = None
    if request.method == "POST" and form.is_valid():
        try:
            actor = request.user.get_username()
            work = choose_work(deployment_id=row.pk, values=form.cleaned_data, user=request.user, actor=actor)
        except TradingError as refused:
            error = refused
        else:
            messages.info(request, f"Large entries of {row}: {work.get_style_display()}, from the next one on.")
            return _to_contract(request, row)
    context: dict[str, Any] = {
        "row": row, "form": form, "error": error, "versions": row.works.all()[:5],
        "action": reverse("web:deployment-work", args=[row.pk]),
    }  # fmt: skip
    return dialog(request, "execution/_deployment_work.html", context)


def _to_contract(request: DeskRequest, row: Deployment) -> HttpResponse:
    where = reverse("web:contract", args=[row.version.contract_id]) + f"?version={row.version.number}#deployments"
    if not request.htmx:
        return redirect(where)
    answer = HttpResponse(status=204)
    answer["HX-Redirect"] = where
    return answer
