"""What the candles are worth, and the corporate actions that people decide on."""

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join

from accounts.console import ReadOnlyAdmin, ShallowPaginator, require_operator
from trading.domain.errors import TradingError
from trading.marketdata.listing.actions import confirm_action, dismiss_action
from trading.marketdata.models import ChainSnapshot, CorporateAction, QualityDay
from trading.marketdata.option_chain import Chain, as_rows

SHOWN = ("ltp", "bid", "ask", "oi", "volume", "iv")


@admin.register(QualityDay)
class QualityDayAdmin(ReadOnlyAdmin):
    list_display = (
        "day", "instrument", "timeframe", "score", "present", "expected", "untrusted", "told", "largest_gap",
        "gap_from", "feed",
    )  # fmt: skip
    list_select_related = ("instrument", "feed")
    list_filter = ("feed", "timeframe")
    search_fields = ("=instrument__symbol",)
    date_hierarchy = "day"
    ordering = ("-day",)
    paginator = ShallowPaginator

    @admin.display(description="defects")
    def told(self, row: QualityDay) -> str:
        return ", ".join(f"{code} {count}" for code, count in sorted(row.defects.items())) or "none"


class DecisionForm(forms.Form):
    """What a person decides about a suspected action, and by which notice."""

    decision = forms.ChoiceField(choices=[("confirm", "confirm: adjust for it"), ("dismiss", "dismiss: it was none")])
    kind = forms.ChoiceField(choices=CorporateAction.Kind.choices)
    factor = forms.DecimalField(
        max_digits=16, decimal_places=10, min_value=Decimal("0.001"), max_value=Decimal(1000),
        help_text="prices before the ex-date are multiplied by it; 0.5 for a split of 1 into 2",
    )  # fmt: skip
    source = forms.CharField(max_length=200, help_text="the notice or circular that says so")
    note = forms.CharField(max_length=300, required=False)


@admin.register(CorporateAction)
class CorporateActionAdmin(ReadOnlyAdmin):
    """Suspected and decided actions. Only confirmed ones adjust anything."""

    list_display = ("ex_date", "instrument", "kind", "factor", "state", "note", "source", "decided_by", "decide")
    list_select_related = ("instrument",)
    list_filter = ("state", "kind")
    search_fields = ("instrument__symbol", "source", "note")
    ordering = ("-ex_date",)

    @admin.display(description="")
    def decide(self, row: CorporateAction) -> str:
        return format_html('<a href="{}">Decide</a>', reverse("admin:marketdata_corporateaction_decide", args=[row.pk]))

    def get_urls(self) -> list[Any]:
        page = path(
            "<int:object_id>/decide/", self.admin_site.admin_view(self.decision),
            name="marketdata_corporateaction_decide",
        )  # fmt: skip
        return [page, *super().get_urls()]

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


@admin.register(ChainSnapshot)
class ChainSnapshotAdmin(ReadOnlyAdmin):
    """Option chains as they were seen. The strikes themselves are shown on request of one row."""

    list_display = (
        "exchange_at", "underlying", "expiry", "strikes", "spot", "call_oi", "put_oi", "lag", "repeats", "source",
    )  # fmt: skip
    list_filter = ("underlying", "source")
    search_fields = ("=underlying",)
    date_hierarchy = "exchange_at"
    ordering = ("-exchange_at",)
    paginator = ShallowPaginator
    hidden = ("packed",)
    extra_facts = ("lag", "table")

    @admin.display(description="lag")
    def lag(self, row: ChainSnapshot) -> str:
        return f"{row.lag_s:.0f} s"

    @admin.display(description="strikes")
    def table(self, snapshot: ChainSnapshot) -> str:
        lines = (
            (f"{one['strike']:g}", *(_cell(one[side][name]) for side in ("call", "put") for name in SHOWN))
            for one in as_rows(Chain.unpack(snapshot.packed))
        )
        head = format_html_join("", "<th>{}</th>", ((name,) for name in ("strike", *SHOWN, *SHOWN)))
        body = format_html_join(
            "", "<tr>{}</tr>", ((format_html_join("", "<td>{}</td>", zip(line)),) for line in lines)
        )
        return format_html("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>", head, body)


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:,.10g}"
