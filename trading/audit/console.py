"""The manners of the operator console: facts are read, acts are services, and every button may be pressed twice."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import models
from django.http import HttpRequest
from django.utils.functional import cached_property

from trading.domain.errors import TradingError
from trading.domain.formatting import rupees

OPERATE = "accounts.operate"
DEEPEST_ROW = 10_000


def may_operate(request: HttpRequest) -> bool:
    """Whether this person may do more than look: staff with the right to operate."""
    return bool(request.user.is_active and request.user.is_staff and request.user.has_perm(OPERATE))


def require_operator(request: HttpRequest) -> None:
    if not may_operate(request):
        raise PermissionDenied


def money(name: str, heading: str) -> Callable[..., str]:
    """A column that shows a field of paise in rupees."""

    @admin.display(description=heading, ordering=name)
    def column(self: admin.ModelAdmin, row: models.Model) -> str:
        return rupees(getattr(row, name))

    return column


class ShallowPaginator(Paginator):
    """Counts no further than anybody pages: `count(*)` over millions of rows takes longer than looking."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return len(rows.order_by().values_list("pk")[:DEEPEST_ROW])


class ReadOnlyAdmin(admin.ModelAdmin):
    """Rows that nobody edits by hand. Names in `hidden` are not shown to operators either."""

    hidden: tuple[str, ...] = ()
    extra_facts: tuple[str, ...] = ()
    ordering: ClassVar[tuple[str, ...]] = ("-pk",)
    list_per_page = 50
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return may_operate(request)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        facts = [field.name for field in self.model._meta.concrete_fields if field.name not in self.hidden]
        return [*facts, *self.extra_facts]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.get_fields(request, obj)

    def press(
        self, request: HttpRequest, rows: Iterable[models.Model], act: Callable[[Any], object], *, told: str
    ) -> None:
        """Call the service for each row and say what came of it. `told` begins the sentence: "Cancel asked for"."""
        chosen = list(rows)
        done = 0
        for row in chosen:
            try:
                done += bool(act(row))
            except TradingError as error:
                self.message_user(request, f"{row}: {error.message} ({error.code})", messages.ERROR)
        self.message_user(request, f"{told} {done} of {len(chosen)}.", messages.SUCCESS if done else messages.WARNING)


class ReadOnlyInline(admin.TabularInline):
    """Rows that belong to the fact above them."""

    extra = 0
    can_delete = False
    show_change_link = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return tuple(self.fields or ())
