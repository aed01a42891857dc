from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from accounts.console import ReadOnlyAdmin, ReadOnlyInline, ShallowPaginator, may_operate
from accounts.models import User
from strategies.contracts.gates import Thresholds
from strategies.contracts.lifecycle import decline_live, publish_lifecycle_policy, stage_move
from strategies.deploy import pause_deployment, resume_deployment, stop_deployment
from strategies.models import (
    BacktestRun,
    ContractVersion,
    Deployment,
    LifecyclePolicy,
    ScanSlot,
    Signal,
    Stage,
    StageMove,
    Standing,
    StrategyContract,
)
from strategies.runs.cancel import run_cancel

LIFECYCLE_FIELDS = tuple(Thresholds.__dataclass_fields__)


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
    actions = ("pause", "resume", "stop")

    @admin.action(description="Pause", permissions=["operate"])
    def pause(self, request: HttpRequest, deployments: QuerySet[Deployment]) -> None:
        actor = request.user.get_username()
        self.press(request, deployments, lambda d: pause_deployment(deployment_id=d.pk, actor=actor), told="Paused")

    @admin.action(description="Resume", permissions=["operate"])
    def resume(self, request: HttpRequest, deployments: QuerySet[Deployment]) -> None:
        actor = request.user.get_username()
        self.press(request, deployments, lambda d: resume_deployment(deployment_id=d.pk, actor=actor), told="Resumed")

    @admin.action(description="Stop for good", permissions=["operate"])
    def stop(self, request: HttpRequest, deployments: QuerySet[Deployment]) -> None:
        actor = request.user.get_username()
        self.press(request, deployments, lambda d: stop_deployment(deployment_id=d.pk, actor=actor), told="Stopped")


@admin.register(Standing)
class StandingAdmin(ReadOnlyAdmin):
    """Where every version stands, and what waits for a word. A step is taken with its figures on the contract's page;
    here it is approved, declined or rested."""

    list_display = ("version", "stage", "changed_at", "asked_by", "asked_at", "asked_reason")
    list_select_related = ("version__contract",)
    list_filter = ("stage", ("asked_at", admin.EmptyFieldListFilter))
    search_fields = ("version__contract__name", "asked_by")
    actions = ("approve_live", "decline", "pause")

    @admin.action(description="Approve real money (its gates must pass)", permissions=["operate"])
    def approve_live(self, request: HttpRequest, standings: QuerySet[Standing]) -> None:
        self._step(request, standings.exclude(asked_by=""), Stage.LIVE, "approved in the console", told="Approved")

    @admin.action(description="Decline real money", permissions=["operate"])
    def decline(self, request: HttpRequest, standings: QuerySet[Standing]) -> None:
        actor = request.user.get_username()
        self.press(
            request, standings,
            lambda s: decline_live(version_id=s.version_id, actor=actor, reason="declined in the console"),
            told="Declined",
        )  # fmt: skip

    @admin.action(description="Pause: no more signals from any deployment", permissions=["operate"])
    def pause(self, request: HttpRequest, standings: QuerySet[Standing]) -> None:
        self._step(request, standings, Stage.PAUSED, "paused in the console", told="Paused")

    def _step(self, request: HttpRequest, standings: QuerySet[Standing], to: Stage, reason: str, *, told: str) -> None:
        user = request.user
        assert isinstance(user, User)
        self.press(
            request, standings,
            lambda s: bool(
                stage_move(version_id=s.version_id, to=to, user=user, actor=user.get_username(), reason=reason)
            ),
            told=told,
        )  # fmt: skip


@admin.register(StageMove)
class StageMoveAdmin(ReadOnlyAdmin):
    list_display = ("at", "version", "from_stage", "to_stage", "actor", "waived", "reason")
    list_select_related = ("version__contract",)
    list_filter = ("to_stage", "waived")
    search_fields = ("version__contract__name", "actor")
    paginator = ShallowPaginator


@admin.register(LifecyclePolicy)
class LifecyclePolicyAdmin(ReadOnlyAdmin):
    """Thresholds are not overwritten: saving puts a new version in force."""

    list_display = ("__str__", "active", *LIFECYCLE_FIELDS[:4], "created_by")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_operate(request) and (obj is None or obj.active)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ["version", "active", "created_at", "created_by", *LIFECYCLE_FIELDS]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["version", "active", "created_at", "created_by"]

    def save_model(self, request: HttpRequest, obj: LifecyclePolicy, form: forms.ModelForm, change: bool) -> None:
        values = {name: form.cleaned_data[name] for name in LIFECYCLE_FIELDS}
        new = publish_lifecycle_policy(values=values, actor=request.user.get_username())
        obj.pk, obj.version, obj.active = new.pk, new.version, True

    def response_change(self, request: HttpRequest, obj: LifecyclePolicy) -> HttpResponse:
        self.message_user(request, f"{obj} is in force.", messages.SUCCESS)
        return redirect("admin:strategies_lifecyclepolicy_changelist")


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


@admin.register(BacktestRun)
class BacktestRunAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "owner", "kind", "title", "state", "error_code", "started_at", "finished_at")
    list_select_related = ("owner",)
    list_filter = ("state", "kind")
    search_fields = ("title", "owner__username", "error_code")
    exclude = ("holder",)
    paginator = ShallowPaginator
    actions = ("cancel",)

    @admin.action(description="Cancel", permissions=["operate"])
    def cancel(self, request: HttpRequest, runs: QuerySet[BacktestRun]) -> None:
        actor, wall = request.user.get_username(), timezone.now()
        self.press(request, runs, lambda run: run_cancel(run=run, actor=actor, wall=wall), told="Cancelled")
