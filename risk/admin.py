from copy import copy
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe

from accounts.console import ReadOnlyAdmin, ShallowPaginator, may_operate, money
from risk.gates import ENTRY_GATES, EXIT_GATES
from risk.gates.finding import Outcome
from risk.models import Assessment, BrokerFunds, LossLock, OrderRate, Reservation, RiskBucket, RiskPolicy
from risk.policies import FIELDS, active_policy, draft_policy, limits_of, publish_policy, values_of
from risk.preview import preview
from trading.domain.errors import TradingError

VERDICT_HEAD = mark_safe(
    "<thead><tr><th>Gate</th><th>Verdict</th><th>Seen</th><th>Limit</th><th>In words</th></tr></thead>"
)


@admin.register(RiskPolicy)
class RiskPolicyAdmin(ReadOnlyAdmin):
    """The one thing that is edited here, and even it is not overwritten: saving puts a new version in force."""

    list_display = ("__str__", "active", "risk_per_trade_pct", "position_size_pct", "total_exposure_pct", "created_by")
    list_select_related = ("portfolio",)
    list_filter = ("active",)
    search_fields = ("portfolio__name", "created_by")

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return may_operate(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_operate(request) and (obj is None or obj.active)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        history = ["portfolio"] if obj is None else ["portfolio", "version", "active", "created_at", "created_by"]
        return [*history, *FIELDS]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [] if obj is None else ["portfolio", "version", "active", "created_at", "created_by"]

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> type[forms.ModelForm]:
        form = super().get_form(request, obj, change=change, **kwargs)
        if obj is None and "portfolio" in form.base_fields:
            form.base_fields["portfolio"].help_text = "empty: the house, whose limits hold where a portfolio has none"
        return form

    def save_model(self, request: HttpRequest, obj: RiskPolicy, form: forms.ModelForm, change: bool) -> None:
        values = {name: form.cleaned_data[name] for name in FIELDS if name in form.cleaned_data}
        new = publish_policy(portfolio=obj.portfolio, values=values, actor=request.user.get_username())
        obj.pk, obj.version, obj.active = new.pk, new.version, True

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            if request.method == "POST" and "_preview" in request.POST:
                seen = self._preview(request, kwargs.get("object_id") or (args[0] if args else None))
                if seen is not None:
                    return seen
            return super().changeform_view(request, *args, **kwargs)
        except TradingError as error:
            self.message_user(request, f"{error.message} ({error.code})", messages.ERROR)
            return redirect("admin:risk_riskpolicy_changelist")

    def _preview(self, request: HttpRequest, object_id: str | None) -> HttpResponse | None:
        """What these limits would have done; nothing is stored. None where a field is wrong: the form says which."""
        current = self.get_object(request, unquote(object_id)) if object_id else None
        if not may_operate(request) or (current is not None and not current.active):
            raise PermissionDenied
        form = self.get_form(request, current)(request.POST, instance=copy(current))
        if not form.is_valid():
            return None
        portfolio = form.cleaned_data.get("portfolio") if current is None else current.portfolio
        values = {name: form.cleaned_data[name] for name in FIELDS if name in form.cleaned_data}
        draft = draft_policy(portfolio=portfolio, values=values)
        before = values_of(active_policy(portfolio.pk if portfolio else None))
        return TemplateResponse(request, "admin/risk/riskpolicy/preview.html", {
            **self.admin_site.each_context(request), "title": "What these limits would have done",
            "preview": preview(limits_of(draft), portfolio_id=portfolio.pk if portfolio else None),
            "changed": [(name, was, now) for name, was in before.items() if (now := getattr(draft, name)) != was],
            "given": [(name, value) for name in request.POST if name not in ("_preview", "csrfmiddlewaretoken")
                      for value in request.POST.getlist(name)],
        })  # fmt: skip

    def response_change(self, request: HttpRequest, obj: RiskPolicy) -> HttpResponse:
        self.message_user(request, f"{obj} is in force.", messages.SUCCESS)
        return redirect("admin:risk_riskpolicy_changelist")

    response_add = response_change  # type: ignore[assignment]


_GATES = sorted({gate.__name__.upper() for gate in (*ENTRY_GATES, *EXIT_GATES)})


class _OfVerdicts(admin.SimpleListFilter):
    """Assessments in which some gate said a word."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Assessment]) -> QuerySet[Assessment]:
        return queryset.filter(said__contains=[[self.value()]]) if self.value() else queryset


class OutcomeFilter(_OfVerdicts):
    title, parameter_name = "outcome of any gate", "outcome"

    def lookups(self, *_: Any) -> list[tuple[str, str]]:
        return [(one, one.capitalize()) for one in (Outcome.SHRINK, Outcome.REJECT)]


class GateFilter(_OfVerdicts):
    """What a gate stopped, or made smaller: all pass by it."""

    title, parameter_name = "gate that said no, or less", "gate"

    def lookups(self, *_: Any) -> list[tuple[str, str]]:
        return [(code, code.replace("_", " ").capitalize()) for code in _GATES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Assessment]) -> QuerySet[Assessment]:
        gate = self.value()
        if not gate:
            return queryset
        less = Q(said__contains=[[gate, Outcome.SHRINK]]) | Q(said__contains=[[gate, Outcome.REJECT]])
        return queryset.filter(less)


@admin.register(Assessment)
class AssessmentAdmin(ReadOnlyAdmin):
    """What the gates said of each intent, and all that they saw."""

    list_display = ("at", "portfolio", "intent_id", "allowed_quantity", "refused_by", "policy")
    list_select_related = ("portfolio",)
    list_filter = (OutcomeFilter, GateFilter)
    search_fields = ("=intent_id", "portfolio__name", "said__icontains")
    hidden = ("said",)
    extra_facts = ("verdicts",)
    paginator = ShallowPaginator

    @admin.display(description="verdicts")
    def verdicts(self, assessment: Assessment) -> str:
        lines = [(one.gate, one.outcome, one.value, one.limit, one.message) for one in assessment.verdicts]
        rows = format_html_join("", "<tr><th>{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>", lines)
        return format_html("<table>{}<tbody>{}</tbody></table>", VERDICT_HEAD, rows)


@admin.register(BrokerFunds)
class BrokerFundsAdmin(ReadOnlyAdmin):
    """What brokers last said of the money."""

    list_display = ("account", "available", "utilised", "total", "session_date", "read_at", "profit_in_total")
    list_select_related = ("account",)
    search_fields = ("account__name",)

    available = money("available_paise", "free ₹")
    utilised = money("utilised_paise", "bound ₹")
    total = money("total_paise", "total ₹")


@admin.register(RiskBucket)
class RiskBucketAdmin(ReadOnlyAdmin):
    list_display = ("key", "portfolio", "kind", "reserved", "version")
    list_select_related = ("portfolio",)
    list_filter = ("kind",)
    search_fields = ("key", "portfolio__name")


@admin.register(Reservation)
class ReservationAdmin(ReadOnlyAdmin):
    list_display = ("bucket", "intent_id", "amount", "released_at")
    list_select_related = ("bucket",)
    list_filter = (("released_at", admin.EmptyFieldListFilter), "bucket__kind")
    search_fields = ("bucket__key", "=intent_id")
    paginator = ShallowPaginator


@admin.register(LossLock)
class LossLockAdmin(ReadOnlyAdmin):
    list_display = ("session_date", "portfolio", "kind", "day_pnl", "locked_at")
    list_select_related = ("portfolio",)
    list_filter = ("kind",)
    search_fields = ("portfolio__name",)
    day_pnl = money("day_pnl_paise", "day's profit ₹")


@admin.register(OrderRate)
class OrderRateAdmin(ReadOnlyAdmin):
    list_display = ("account_id", "call_class", "next_free_at")
    list_filter = ("call_class",)
