"""Corporate actions in the console: entered by their announcement, decided, withdrawn."""

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html

from accounts.console import ReadOnlyAdmin, require_operator
from execution.action_touch import Touched, touched_by
from trading.domain.errors import TradingError
from trading.marketdata.listing.actions import confirm_action, dismiss_action
from trading.marketdata.listing.announcements import (
    FORM_WORDS,
    Form,
    Preview,
    Terms,
    announce_action,
    preview_action,
    withdraw_action,
)
from trading.marketdata.listing.identities import instrument_named
from trading.marketdata.models import CorporateAction, Instrument


class DecisionForm(forms.Form):
    """What a person decides about a suspected action, and by which notice."""

    decision = forms.ChoiceField(
        choices=[
            ("confirm", "confirm: adjust for it"), ("dismiss", "dismiss: it was none"),
            ("withdraw", "withdraw: it was entered wrongly"),
        ]
    )  # fmt: skip
    kind = forms.ChoiceField(choices=CorporateAction.Kind.choices)
    factor = forms.DecimalField(
        max_digits=16, decimal_places=10, min_value=Decimal("0.001"), max_value=Decimal(1000),
        help_text="prices before the ex-date are multiplied by it; 0.5 for a split of 1 into 2",
    )  # fmt: skip
    source = forms.CharField(max_length=200, help_text="the notice or circular that says so")
    note = forms.CharField(max_length=300, required=False)


class AnnouncementForm(forms.Form):
    """What a notice announces: of whom, from which day, in which terms."""

    symbol = forms.CharField(max_length=60, help_text="NSE:RELIANCE-EQ, or any name it had")
    ex_date = forms.DateField(
        label="Ex-date", help_text="first day that trades without it", widget=forms.DateInput(attrs={"type": "date"})
    )
    form = forms.ChoiceField(label="What", choices=list(FORM_WORDS.items()))
    new = forms.IntegerField(required=False, min_value=1, max_value=1000, help_text="split, bonus, rights, merger")
    old = forms.IntegerField(required=False, min_value=1, max_value=1000, help_text="for so many old ones")
    amount = forms.DecimalField(
        required=False, max_digits=12, decimal_places=4, help_text="rupees: of the dividend, or the price of the rights"
    )
    kept_pct = forms.DecimalField(
        required=False, label="Stays, percent", max_digits=7, decimal_places=4, help_text="demerger: cost that stays"
    )
    factor = forms.DecimalField(
        required=False, max_digits=16, decimal_places=10, help_text="only where the exchange publishes it"
    )
    source = forms.CharField(max_length=200, help_text="the notice or circular that says so")
    note = forms.CharField(max_length=300, required=False)

    def clean_symbol(self) -> Instrument:
        found = instrument_named(self.cleaned_data["symbol"].strip().upper())
        if found is None:
            raise forms.ValidationError("No instrument has or had that symbol.")
        return found

    def terms(self) -> Terms:
        given = self.cleaned_data
        return Terms(
            Form(given["form"]), given["new"], given["old"], given["amount"], given["kept_pct"], given["factor"]
        )


@admin.register(CorporateAction)
class CorporateActionAdmin(ReadOnlyAdmin):
    """Suspected, announced and decided actions. Only confirmed ones adjust anything, from their ex-date on."""

    change_list_template = "admin/corporate_actions.html"

    list_display = ("ex_date", "instrument", "kind", "factor_known", "state", "note", "source", "decided_by", "decide")
    list_select_related = ("instrument",)
    list_filter = ("state", "kind")
    search_fields = ("instrument__symbol", "source", "note")
    ordering = ("-ex_date",)

    @admin.display(description="factor", ordering="factor")
    def factor_known(self, row: CorporateAction) -> str:
        return row.known_factor or "not known yet"

    @admin.display(description="")
    def decide(self, row: CorporateAction) -> str:
        return format_html('<a href="{}">Decide</a>', reverse("admin:marketdata_corporateaction_decide", args=[row.pk]))

    def get_urls(self) -> list[Any]:
        page = path(
            "<int:object_id>/decide/", self.admin_site.admin_view(self.decision),
            name="marketdata_corporateaction_decide",
        )  # fmt: skip
        announce = path(
            "announce/", self.admin_site.admin_view(self.announcement), name="marketdata_corporateaction_announce"
        )
        return [announce, page, *super().get_urls()]

    def announcement(self, request: HttpRequest) -> HttpResponse:
        """First what would change, then a second press that enters it."""
        require_operator(request)
        form = AnnouncementForm(request.POST or None, initial={"symbol": request.GET.get("symbol", "")[:60]})
        seen: Preview | None = None
        touched: list[Touched] = []
        if request.method == "POST" and form.is_valid():
            given, terms = form.cleaned_data, form.terms()
            share, ex_date = given["symbol"], given["ex_date"]
            try:
                seen = preview_action(instrument=share, ex_date=ex_date, terms=terms)
                touched = touched_by(share, on=ex_date)
                if "enter" in request.POST:
                    row = announce_action(
                        instrument=share, ex_date=ex_date, terms=terms, source=given["source"], note=given["note"],
                        actor=request.user.get_username(), now=timezone.now(),
                    )  # fmt: skip
                    told = f"{share.symbol}, {ex_date}: {row.told}, {row.get_state_display().lower()}."
                    self.message_user(request, told, messages.SUCCESS)
                    return redirect("admin:marketdata_corporateaction_changelist")
            except TradingError as error:
                form.add_error(None, f"{error.message} ({error.code})")
        context = {
            **self.admin_site.each_context(request), "title": "Announce a corporate action", "form": form,
            "opts": self.opts, "seen": seen if not form.errors else None, "touched": touched,
        }  # fmt: skip
        return render(request, "admin/announce_action.html", context)

    def decision(self, request: HttpRequest, object_id: int) -> HttpResponse:
        require_operator(request)
        row = get_object_or_404(CorporateAction.objects.select_related("instrument"), pk=object_id)
        known = {"kind": row.kind, "factor": row.factor.normalize(), "source": row.source, "note": row.note}
        form = DecisionForm(request.POST or None, initial=known)
        if request.method == "POST" and form.is_valid():
            given = form.cleaned_data
            actor, now = request.user.get_username(), timezone.now()
            try:
                if given["decision"] == "confirm":
                    confirm_action(
                        action_id=row.pk, factor=given["factor"], kind=given["kind"], actor=actor,
                        source=given["source"], note=given["note"], now=now,
                    )  # fmt: skip
                elif given["decision"] == "withdraw":
                    withdraw_action(action_id=row.pk, actor=actor, note=given["note"], now=now)
                else:
                    dismiss_action(action_id=row.pk, actor=actor, note=given["note"], now=now)
            except TradingError as error:
                self.message_user(request, f"{error.message} ({error.code})", messages.ERROR)
            else:
                self.message_user(request, f"{row.instrument.symbol} of {row.ex_date}: decided.", messages.SUCCESS)
            return redirect("admin:marketdata_corporateaction_changelist")
        title = f"{row.instrument.symbol}, {row.ex_date}: {row.note}"
        context = {**self.admin_site.each_context(request), "title": title, "form": form, "opts": self.opts}
        return render(request, "admin/decide_action.html", context)
