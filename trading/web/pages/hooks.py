"""Hooks: the addresses at which alerts of other programs arrive, their secrets, symbols and deliveries."""

from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID, uuid4

from allauth.account.internal.flows.reauthentication import did_recently_reauthenticate
from django import forms
from django.contrib import messages
from django.db.models import Count, Max, Q
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from execution.hooks import templates
from execution.hooks.keep import (
    CHANGEABLE,
    hook_change,
    hook_create,
    hook_rotate,
    hook_switch,
    symbol_map_drop,
    symbol_map_set,
)
from execution.hooks.receive import replay
from execution.models import Delivery, Hook, HookSymbol, LadderPlan
from trading.domain.errors import TradingError
from trading.domain.orders import Product
from trading.portfolio.models import Portfolio
from trading.web.access import ask_again, dialog, signed_in
from trading.web.desk import DeskRequest
from trading.web.templatetags.trading_format import words

SHOWN = 50


class HookForm(forms.ModelForm):
    """What a hook asks for and adds. Addresses as lines of text."""

    allowed_addresses = forms.CharField(
        required=False, label="Who may send", widget=forms.Textarea(attrs={"rows": 3, "placeholder": "52.89.214.238"}),
        help_text="one a line, networks as 52.32.178.0/24; empty: everybody may knock",
    )  # fmt: skip

    class Meta:
        model = Hook
        fields = CHANGEABLE
        labels: ClassVar[dict[str, str]] = {
            "authentication": "Proof of the sender", "secret_in_address": "The secret may stand in the address",
            "max_age_s": "Oldest alert, s", "rate_per_minute": "Alerts a minute",
            "ladder": "Ladder", "timeframe": "Timeframe", "default_action": "Action",
        }  # fmt: skip

    def __init__(self, *args: Any, portfolio: Portfolio, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        usable = LadderPlan.objects.filter(Q(portfolio=None) | Q(portfolio=portfolio), retired_at=None)
        self.fields["ladder"].queryset = usable  # type: ignore[attr-defined]
        self.fields["ladder"].empty_label = "as the settings say"  # type: ignore[attr-defined]
        self.fields["product"].choices = [(one.value, words(one.value)) for one in Product]  # type: ignore[attr-defined]
        actions = [("", "refused where none is named"), *Hook.Action.choices]
        self.fields["default_action"].choices = actions  # type: ignore[attr-defined]
        self.initial["allowed_addresses"] = "\n".join(self.instance.allowed_addresses or [])

    def clean_allowed_addresses(self) -> list[str]:
        return self.cleaned_data["allowed_addresses"].replace(",", " ").split()

    def _post_clean(self) -> None:
        """The service checks the whole, and changes the row; a form that does both would do it twice."""


def _mine(request: DeskRequest, hook_id: UUID) -> Hook:
    rows = Hook.objects.for_user(request.user).select_related("portfolio__owner", "portfolio__account", "ladder")
    return get_object_or_404(rows, pk=hook_id)


def _address(request: DeskRequest, hook: Hook) -> str:
    return request.build_absolute_uri(hook.path)


@require_safe
@signed_in
def hooks(request: DeskRequest) -> HttpResponse:
    """Every hook of the person, with how its last day went."""
    day = Q(deliveries__received_at__gte=timezone.now() - timedelta(hours=24))
    rows = (
        Hook.objects.for_user(request.user)
        .select_related("portfolio", "ladder")
        .annotate(
            accepted=Count("deliveries", filter=day & Q(deliveries__outcome="ACCEPTED")),
            refused=Count("deliveries", filter=day & Q(deliveries__outcome="REFUSED")),
            last_at=Max("deliveries__received_at"),
        )
    )
    listed = [{"hook": hook, "address": _address(request, hook)} for hook in rows]
    return render(request, "execution/hooks.html", {"rows": listed})


@require_safe
@signed_in
def hook(request: DeskRequest, hook_id: UUID) -> HttpResponse:
    row = _mine(request, hook_id)
    address = _address(request, row)
    texts = [
        ("TradingView strategy", templates.FULL), ("TradingView indicator", templates.INDICATOR),
        ("Any program, JSON", templates.SIMPLE),
        ("Signed, in Python", templates.SIGNED.replace("THE-ADDRESS", address)),
    ]  # fmt: skip
    symbols = HookSymbol.objects.for_user(request.user).filter(portfolio=row.portfolio).select_related("instrument")
    context = {"hook": row, "address": address, "templates": texts, "symbols": symbols, **_deliveries(request, row)}
    return render(request, "execution/hook.html", context)


def _deliveries(request: DeskRequest, row: Hook) -> dict[str, Any]:
    rows = Delivery.objects.for_user(request.user).filter(hook=row).select_related("replay_of")
    newest = rows.prefetch_related("signals__instrument")[:SHOWN]
    return {"hook": row, "deliveries": newest, "shown": SHOWN}


@require_safe
@signed_in
def deliveries(request: DeskRequest, hook_id: UUID) -> HttpResponse:
    """The last deliveries, as they are now."""
    return render(request, "execution/_hook_deliveries.html", _deliveries(request, _mine(request, hook_id)))


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def create(request: DeskRequest) -> HttpResponse:
    """A new hook. What can trade asks for the password once more; its secret is shown on this answer alone."""
    portfolio = request.desk.portfolio
    if portfolio is None:
        raise Http404
    if not did_recently_reauthenticate(request):
        return ask_again(request, reverse("web:hooks"))
    form = HookForm(request.POST or None, portfolio=portfolio)
    context: dict[str, Any] = {"form": form, "action": reverse("web:hook-new"), "heading": "A new hook"}
    if request.method != "POST" or not form.is_valid():
        return dialog(request, "execution/_hook_form.html", context, status=422 if request.method == "POST" else 200)
    try:
        made, secret = hook_create(
            portfolio=portfolio, values=form.cleaned_data, actor=request.user.get_username(), wall=timezone.now()
        )
    except TradingError as error:
        return dialog(request, "execution/_hook_form.html", context | {"error": error}, status=422)
    return _show_secret(request, made, secret, "The hook is open")


def _show_secret(request: DeskRequest, row: Hook, secret: str, heading: str) -> HttpResponse:
    address = _address(request, row)
    context = {
        "hook": row, "secret": secret, "address": address, "heading": heading,
        "address_with_secret": f"{address}?secret={secret}" if row.secret_in_address else "",
        "text": templates.FULL.replace("PASTE-THE-SECRET-HERE", secret),
    }  # fmt: skip
    return dialog(request, "execution/_hook_secret.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def change(request: DeskRequest, hook_id: UUID) -> HttpResponse:
    row = _mine(request, hook_id)
    if not did_recently_reauthenticate(request):
        return ask_again(request, reverse("web:hook", args=[row.pk]))
    form = HookForm(request.POST or None, portfolio=row.portfolio, instance=row)
    context: dict[str, Any] = {"form": form, "action": reverse("web:hook-change", args=[row.pk]), "heading": row.name}
    if request.method != "POST" or not form.is_valid():
        return dialog(request, "execution/_hook_form.html", context, status=422 if request.method == "POST" else 200)
    try:
        hook_change(hook=row, values=form.cleaned_data, actor=request.user.get_username())
    except TradingError as error:
        return dialog(request, "execution/_hook_form.html", context | {"error": error}, status=422)
    return _back(request, row)


def _back(request: DeskRequest, row: Hook) -> HttpResponse:
    where = reverse("web:hook", args=[row.pk])
    if request.htmx:
        answer = HttpResponse(status=204)
        answer["HX-Redirect"] = where
        return answer
    return redirect(where)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def rotate(request: DeskRequest, hook_id: UUID) -> HttpResponse:
    """GET asks, POST makes a new secret and shows it once. `at_once` shuts the old one out. Twice is once."""
    row = _mine(request, hook_id)
    if not did_recently_reauthenticate(request):
        return ask_again(request, reverse("web:hook", args=[row.pk]))
    if request.method != "POST":
        return dialog(request, "execution/_hook_rotate.html", {"hook": row})
    actor, given = request.user.get_username(), request.POST
    row, secret = hook_rotate(
        hook=row, actor=actor, wall=timezone.now(), at_once=given.get("at_once") == "yes",
        instead_of=given.get("instead_of", ""),
    )  # fmt: skip
    return _show_secret(request, row, secret, "The new secret")


@require_POST
@signed_in
def switch(request: DeskRequest, hook_id: UUID) -> HttpResponse:
    row = _mine(request, hook_id)
    hook_switch(hook=row, enabled=request.POST.get("enabled") == "yes", actor=request.user.get_username())
    return _back(request, row)


@require_POST
@signed_in
def map_symbol(request: DeskRequest, hook_id: UUID) -> HttpResponse:
    row = _mine(request, hook_id)
    given = {name: request.POST.get(name, "") for name in ("exchange", "symbol", "instrument")}
    made = symbol_map_set(
        portfolio=row.portfolio, actor=request.user.get_username(), wall=timezone.now(), **given
    )  # fmt: skip
    messages.success(request, f"{made} means {made.instrument} from the next alert on.")
    return _back(request, row)


@require_POST
@signed_in
def drop_symbol(request: DeskRequest, hook_id: UUID, symbol_id: int) -> HttpResponse:
    row = _mine(request, hook_id)
    named = HookSymbol.objects.for_user(request.user).filter(portfolio=row.portfolio).select_related("portfolio")
    symbol_map_drop(row=get_object_or_404(named, pk=symbol_id), actor=request.user.get_username())
    return _back(request, row)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def replay_delivery(request: DeskRequest, delivery_id: UUID) -> HttpResponse:
    """GET says what it was, POST runs it once more as a new delivery. The token of the question makes a second press
    the same wish."""
    rows = Delivery.objects.for_user(request.user).select_related("hook__portfolio__account", "hook__portfolio__owner")
    row = get_object_or_404(rows.prefetch_related("signals__instrument"), pk=delivery_id)
    context: dict[str, Any] = {"row": row, "token": uuid4().hex, "reply": None}
    if request.method == "POST":
        token = request.POST.get("token", "")[:64]
        if not token:
            raise Http404
        context["reply"] = replay(row, token=token, actor=request.user.get_username(), wall=timezone.now())
    return dialog(request, "execution/_hook_replay.html", context)
