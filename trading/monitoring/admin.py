from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from trading.audit.console import ReadOnlyAdmin
from trading.audit.record import record
from trading.monitoring.models import Alert, Heartbeat, JobSlot


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    list_display = ("last_at", "level", "code", "message", "next_step", "count", "acknowledged_at")
    list_filter = ("level", ("acknowledged_at", admin.EmptyFieldListFilter))
    search_fields = ("code", "message")
    ordering = ("-last_at",)
    actions = ("acknowledge",)

    @admin.action(description="Acknowledge", permissions=["operate"])
    def acknowledge(self, request: HttpRequest, alerts: QuerySet[Alert]) -> None:
        def seen(alert: Alert) -> int:
            noted = Alert.objects.filter(pk=alert.pk, acknowledged_at=None).update(acknowledged_at=timezone.now())
            if noted:
                record(
                    "alert.acknowledged", actor=request.user.get_username(), owner_id=alert.owner_id,
                    subject=alert.dedupe_key, code=alert.code,
                )  # fmt: skip
            return noted

        self.press(request, alerts, seen, told="Acknowledged")


@admin.register(Heartbeat)
class HeartbeatAdmin(ReadOnlyAdmin):
    list_display = ("name", "at")
    search_fields = ("name",)
    ordering = ("name",)


@admin.register(JobSlot)
class JobSlotAdmin(ReadOnlyAdmin):
    list_display = ("name", "last_slot", "taken_at")
    search_fields = ("name",)
    ordering = ("name",)
