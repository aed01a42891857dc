"""Newest first, by cursor: a page does not shift when rows arrive while it is read."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import DataError
from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination


class NewestFirst(CursorPagination):
    """`?cursor=…&page_size=…`. A view whose rows do not count up names its order in `newest_first`."""

    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 200
    ordering = ("-id",)
    invalid_cursor_message = "This cursor is not one of ours."

    def get_ordering(self, request: Any, queryset: Any, view: Any) -> tuple[str, ...]:
        return tuple(getattr(view, "newest_first", self.ordering))

    def paginate_queryset(self, queryset: Any, request: Any, view: Any = None) -> list[Any] | None:
        try:
            return super().paginate_queryset(queryset, request, view)
        except (ValidationError, ValueError, DataError):  # a cursor that was tampered with
            raise NotFound(self.invalid_cursor_message, code="cursor_unknown") from None
