from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import path

from trading.audit.console import ReadOnlyAdmin, ShallowPaginator, require_operator
from trading.audit.models import AuditEntry
from trading.audit.record import verify_chain


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("at", "action", "actor", "owner_id", "subject")
    list_filter = ("at",)
    search_fields = ("action", "actor", "subject")
    paginator = ShallowPaginator
    change_list_template = "admin/audit_trail.html"

    def get_urls(self) -> list[Any]:
        check = path("verify/", self.admin_site.admin_view(self.verify), name="audit_auditentry_verify")
        return [check, *super().get_urls()]

    def verify(self, request: HttpRequest) -> HttpResponse:
        """Walk the chain and say whether anything was changed."""
        require_operator(request)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        broken = verify_chain()
        if broken is None:
            self.message_user(request, "The chain is whole: no entry was changed or removed.", messages.SUCCESS)
        else:
            self.message_user(request, f"The chain is broken at entry {broken}.", messages.ERROR)
        return redirect("admin:audit_auditentry_changelist")
