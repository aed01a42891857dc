"""The calendar as operators keep it: holidays, special sessions, hours and expiry days, each with its source."""

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest
from django.utils import timezone

from accounts.console import ReadOnlyAdmin, may_operate
from trading.domain.errors import TradingError
from trading.marketdata.calendars import calendar_drop, calendar_set, check_row
from trading.marketdata.models import CalendarDay, CalendarYear, ExpiryRuleRow, SessionPlan


class CalendarAdmin(ReadOnlyAdmin):
    """Rows that operators enter: saved by the service, which checks them and puts them on record."""

    readonly = ("changed_by", "changed_at")

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return may_operate(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_operate(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_operate(request)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        names = [field.name for field in self.model._meta.concrete_fields if field.name != "id"]
        return names if obj is not None else [name for name in names if name not in self.readonly]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.readonly if may_operate(request) else self.get_fields(request, obj)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)

        class Checked(form):  # type: ignore[misc, valid-type]
            def clean(self) -> Any:
                given = super().clean()
                draft = self._meta.model(**{name: given.get(name) for name in given})
                if not self.errors:
                    try:
                        check_row(draft)
                    except TradingError as error:
                        self.add_error(None, error.message)
                return given

        return Checked

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        calendar_set(row=obj, actor=request.user.get_username(), now=timezone.now())

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        calendar_drop(row=obj, actor=request.user.get_username())
        self.message_user(request, "The shipped calendar holds again for it.", messages.INFO)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for row in queryset:
            calendar_drop(row=row, actor=request.user.get_username())


@admin.register(CalendarDay)
class CalendarDayAdmin(CalendarAdmin):
    list_display = ("date", "kind", "name", "hours", "certain", "source", "changed_by", "changed_at")
    list_filter = ("kind", "certain")
    search_fields = ("name", "source")
    date_hierarchy = "date"
    ordering = ("-date",)


@admin.register(CalendarYear)
class CalendarYearAdmin(CalendarAdmin):
    list_display = ("year", "source", "changed_by", "changed_at")
    ordering = ("-year",)


@admin.register(SessionPlan)
class SessionPlanAdmin(CalendarAdmin):
    list_display = ("from_date", "kind", "phases", "source", "changed_by")
    list_filter = ("kind",)
    ordering = ("-from_date",)


@admin.register(ExpiryRuleRow)
class ExpiryRuleAdmin(CalendarAdmin):
    list_display = ("from_date", "exchange", "underlying", "cycle", "weekday", "source", "changed_by")
    list_filter = ("exchange", "cycle")
    ordering = ("-from_date",)
