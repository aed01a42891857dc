from django.contrib import admin

from accounts.console import ReadOnlyAdmin, ShallowPaginator
from trading.api.models import IdempotencyRecord


@admin.register(IdempotencyRecord)
class IdempotencyRecordAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "owner", "key", "status", "claimed_at")
    list_select_related = ("owner",)
    list_filter = ("status",)
    search_fields = ("key", "owner__username")
    paginator = ShallowPaginator
