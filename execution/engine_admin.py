"""The signal engine in the console: its facts to read, its queue with buttons, its settings as versions."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from accounts.console import ReadOnlyAdmin, ReadOnlyInline, ShallowPaginator, may_operate
from execution.engine_settings import FIELDS, publish_ladder, publish_settings, retire_ladder
from execution.ladder_plans import CONTENT
from execution.models import (
    EngineSettings,
    LadderPlan,
    Leg,
    OffsetLine,
    OffsetPlan,
    PartExit,
    Pyramid,
    QueuedSignal,
)
from execution.services import queue_acts
from trading.domain.errors import TradingError


class PyramidInline(ReadOnlyInline):
    model = Pyramid
    fields = ("index", "entry_price", "quantity", "created_at")
    show_change_link = True


class PartInline(ReadOnlyInline):
    model = PartExit
    fields = ("reason", "quantity", "trigger_price", "limit_price", "rests", "state", "actor", "created_at", "done_at")


class LegInline(ReadOnlyInline):
    model = Leg
    fields = (
        "index", "gap_pct", "weight_pct", "take_profit_pct", "limit_price", "quantity", "blocked_code", "blocked",
        "retry_at",
    )  # fmt: skip


@admin.register(Pyramid)
class PyramidAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "group", "index", "entry_price", "quantity")
    list_select_related = ("group__instrument",)
    search_fields = ("=group__id", "group__instrument__symbol", "group__portfolio__name")
    paginator = ShallowPaginator
    inlines = (LegInline,)


@admin.register(Leg)
class LegAdmin(ReadOnlyAdmin):
    """Every leg of every ladder; the filter shows those that are blocked."""

    list_display = ("pyramid", "index", "limit_price", "quantity", "blocked_code", "blocked", "retry_at")
    list_select_related = ("pyramid",)
    list_filter = (("blocked_code", admin.EmptyFieldListFilter),)
    search_fields = ("pyramid__group__instrument__symbol", "pyramid__group__portfolio__name", "blocked_code")
    paginator = ShallowPaginator


@admin.register(PartExit)
class PartExitAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "group", "reason", "quantity", "trigger_price", "limit_price", "rests", "state")
    list_select_related = ("group__instrument",)
    list_filter = ("state", "reason")
    search_fields = ("=group__id", "group__instrument__symbol", "group__portfolio__name", "key")
    paginator = ShallowPaginator


@admin.register(QueuedSignal)
class QueuedSignalAdmin(ReadOnlyAdmin):
    list_display = (
        "enqueued_at", "portfolio", "side", "instrument", "entry_price", "cause", "state", "rank", "rank_reason",
        "replacement_count", "force_by", "over_limit", "expires_at", "said",
    )  # fmt: skip
    list_select_related = ("portfolio", "instrument")
    list_filter = ("state", "cause")
    search_fields = ("instrument__symbol", "portfolio__name")
    paginator = ShallowPaginator
    actions = ("promote", "force_in", "remove")

    @admin.action(description="Let in next, where a slot is free", permissions=["operate"])
    def promote(self, request: HttpRequest, rows: QuerySet[QueuedSignal]) -> None:
        self._let_in(request, rows, force=False, told="Let in next:")

    @admin.action(description="Force in, over the limit", permissions=["operate"])
    def force_in(self, request: HttpRequest, rows: QuerySet[QueuedSignal]) -> None:
        self._let_in(request, rows, force=True, told="Forced in:")

    def _let_in(self, request: HttpRequest, rows: QuerySet[QueuedSignal], *, force: bool, told: str) -> None:
        actor = request.user.get_username()
        self.press(request, rows, lambda row: queue_acts.promote(queued_id=row.pk, actor=actor, force=force), told=told)

    @admin.action(description="Remove from the queue", permissions=["operate"])
    def remove(self, request: HttpRequest, rows: QuerySet[QueuedSignal]) -> None:
        actor = request.user.get_username()
        self.press(request, rows, lambda row: queue_acts.remove(queued_id=row.pk, actor=actor), told="Removed")


class VersionsAdmin(ReadOnlyAdmin):
    """Saving does not overwrite: it puts a new version in force. What may not be is said, and nothing is stored."""

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return may_operate(request)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except TradingError as error:
            self.message_user(request, f"{error.message} ({error.code})", messages.ERROR)
            return redirect(self._list())

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        self.message_user(request, f"{obj} is in force.", messages.SUCCESS)
        return redirect(self._list())

    response_add = response_change  # type: ignore[assignment]

    def _list(self) -> str:
        return f"admin:execution_{self.opts.model_name}_changelist"


@admin.register(LadderPlan)
class LadderPlanAdmin(VersionsAdmin):
    list_display = ("name", "portfolio", "stop_pct", "created_by", "created_at", "retired_at")
    list_select_related = ("portfolio",)
    list_filter = (("retired_at", admin.EmptyFieldListFilter),)
    search_fields = ("name", "portfolio__name", "created_by")
    actions = ("retire",)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_operate(request) and (obj is None or obj.retired_at is None)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        known = [] if obj is None else ["created_at", "created_by", "retired_at"]
        return ["portfolio", "name", "rungs", "overrides", "stop_pct", *known]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [] if obj is None else ["portfolio", "name", "created_at", "created_by", "retired_at"]

    def save_model(self, request: HttpRequest, obj: LadderPlan, form: forms.ModelForm, change: bool) -> None:
        content = {name: form.cleaned_data[name] for name in CONTENT}
        new = publish_ladder(portfolio=obj.portfolio, name=obj.name, actor=request.user.get_username(), **content)
        obj.pk, obj.created_by, obj.retired_at = new.pk, new.created_by, None

    @admin.action(description="Take out of use; trades keep theirs", permissions=["operate"])
    def retire(self, request: HttpRequest, rows: QuerySet[LadderPlan]) -> None:
        actor = request.user.get_username()
        self.press(request, rows, lambda row: retire_ladder(ladder_id=row.pk, actor=actor), told="Out of use:")


@admin.register(EngineSettings)
class EngineSettingsAdmin(VersionsAdmin):
    list_display = ("__str__", "active", "max_open_groups", "take_profit", "ladder", "created_at", "created_by")
    list_select_related = ("portfolio", "ladder")
    list_filter = ("active",)
    search_fields = ("portfolio__name", "created_by")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_operate(request) and (obj is None or obj.active)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        history = ["portfolio"] if obj is None else ["portfolio", "version", "active", "created_at", "created_by"]
        return [*history, *FIELDS]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [] if obj is None else ["portfolio", "version", "active", "created_at", "created_by"]

    def save_model(self, request: HttpRequest, obj: EngineSettings, form: forms.ModelForm, change: bool) -> None:
        values = {name: form.cleaned_data[name] for name in FIELDS if name in form.cleaned_data}
        new = publish_settings(portfolio=obj.portfolio, values=values, actor=request.user.get_username())
        obj.pk, obj.version, obj.active = new.pk, new.version, True


class OffsetLineInline(ReadOnlyInline):
    model = OffsetLine
    fields = ("rank", "role", "group", "quantity", "planned_price", "state", "closed_quantity", "average_price")


@admin.register(OffsetPlan)
class OffsetPlanAdmin(ReadOnlyAdmin):
    list_display = (
        "created_at", "portfolio", "loser", "state", "loss_pct", "required_paise", "covered_paise", "realised_paise",
        "code", "actor",
    )  # fmt: skip
    list_select_related = ("portfolio", "loser__instrument")
    list_filter = ("state",)
    search_fields = ("portfolio__name", "loser__instrument__symbol")
    paginator = ShallowPaginator
    inlines = (OffsetLineInline,)
