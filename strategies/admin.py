from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.console import ReadOnlyAdmin, ReadOnlyInline, ShallowPaginator
from strategies.deploy import pause_deployment, resume_deployment
from strategies.models import ContractVersion, Deployment, ScanSlot, Signal, StrategyContract


class VersionInline(ReadOnlyInline):
    model = ContractVersion
    fields = ("number", "content_hash", "published_at", "published_by")
    show_change_link = True


@admin.register(StrategyContract)
class StrategyContractAdmin(ReadOnlyAdmin):
    list_display = ("name", "slug", "owner", "created_at")
    list_select_related = ("owner",)
    search_fields = ("name", "slug", "owner__username")
    inlines = (VersionInline,)


@admin.register(ContractVersion)
class ContractVersionAdmin(ReadOnlyAdmin):
    list_display = ("contract", "number", "published_at", "published_by", "content_hash")
    list_select_related = ("contract",)
    search_fields = ("contract__name", "content_hash")


@admin.register(Deployment)
class DeploymentAdmin(ReadOnlyAdmin):
    list_display = ("version", "universe", "portfolio", "state", "created_at")
    list_select_related = ("version__contract", "universe", "portfolio")
    list_filter = ("state",)
    search_fields = ("version__contract__name", "portfolio__name")
    actions = ("pause", "resume")

    @admin.action(description="Pause", permissions=["operate"])
    def pause(self, request: HttpRequest, deployments: QuerySet[Deployment]) -> None:
        actor = request.user.get_username()
        self.press(request, deployments, lambda d: pause_deployment(deployment_id=d.pk, actor=actor), told="Paused")

    @admin.action(description="Resume", permissions=["operate"])
    def resume(self, request: HttpRequest, deployments: QuerySet[Deployment]) -> None:
        actor = request.user.get_username()
        self.press(request, deployments, lambda d: resume_deployment(deployment_id=d.pk, actor=actor), told="Resumed")


@admin.register(Signal)
class SignalAdmin(ReadOnlyAdmin):
    list_display = (
        "bar_at", "portfolio", "instrument", "side", "entry", "stop", "target", "state", "refusal_code", "explanation",
    )  # fmt: skip
    list_select_related = ("portfolio", "instrument")
    list_filter = ("state", "side")
    search_fields = ("instrument__symbol", "portfolio__name", "explanation")
    ordering = ("-created_at",)
    paginator = ShallowPaginator


@admin.register(ScanSlot)
class ScanSlotAdmin(ReadOnlyAdmin):
    list_display = ("bar_at", "deployment", "state", "duration_ms", "instruments", "signals", "note")
    list_select_related = ("deployment__version__contract", "deployment__universe")
    list_filter = ("state",)
    paginator = ShallowPaginator
