"""Hooks, symbol maps and deliveries in the operators' console: to look at, to switch off, to replay."""

from uuid import uuid4

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import ActionForm
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from accounts.console import ReadOnlyAdmin, ShallowPaginator
from execution.hooks.keep import hook_switch
from execution.hooks.receive import replay
from execution.models import Delivery, Hook, HookSymbol


@admin.register(Hook)
class HookAdmin(ReadOnlyAdmin):
    list_display = ("name", "portfolio", "authentication", "enabled", "max_age_s", "rate_per_minute", "created_at")
    list_select_related = ("portfolio",)
    list_filter = ("enabled", "authentication")
    search_fields = ("name", "portfolio__name", "portfolio__owner__username")
    hidden = ("secret_sealed", "old_secret_sealed")
    ordering = ("-created_at",)
    actions = ("switch_off", "switch_on")

    def _switch(self, request: HttpRequest, hooks: QuerySet[Hook], *, enabled: bool, told: str) -> None:
        actor = request.user.get_username()
        rows = hooks.select_related("portfolio")
        self.press(request, rows, lambda hook: hook_switch(hook=hook, enabled=enabled, actor=actor), told=told)

    @admin.action(description="Switch off", permissions=["operate"])
    def switch_off(self, request: HttpRequest, hooks: QuerySet[Hook]) -> None:
        self._switch(request, hooks, enabled=False, told="Switched off")

    @admin.action(description="Switch on", permissions=["operate"])
    def switch_on(self, request: HttpRequest, hooks: QuerySet[Hook]) -> None:
        self._switch(request, hooks, enabled=True, told="Switched on")


@admin.register(HookSymbol)
class HookSymbolAdmin(ReadOnlyAdmin):
    list_display = ("exchange", "symbol", "instrument", "portfolio", "created_by", "created_at")
    list_select_related = ("portfolio", "instrument")
    search_fields = ("symbol", "instrument__symbol", "portfolio__name")


class ReplayForm(ActionForm):
    """The list names its press: a page that is sent twice by a browser is the same wish."""

    token = forms.CharField(max_length=64, widget=forms.HiddenInput, initial=lambda: uuid4().hex)


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    list_display = (
        "received_at", "hook", "outcome", "status", "code", "detail", "dialect", "remote_ip", "duration_ms",
        "replay_of",
    )  # fmt: skip
    list_select_related = ("hook", "replay_of__hook")
    list_filter = ("outcome", "dialect", "code")
    search_fields = ("hook__name", "hook__portfolio__name", "code", "key")
    ordering = ("-received_at",)
    paginator = ShallowPaginator
    action_form = ReplayForm
    actions = ("replay",)

    @admin.action(description="Replay as new deliveries", permissions=["operate"])
    def replay(self, request: HttpRequest, deliveries: QuerySet[Delivery]) -> None:
        """Each may trade once more; a second press of the same list does nothing, and says so."""
        actor, token, wall = request.user.get_username(), request.POST["token"], timezone.now()

        def again(delivery: Delivery) -> bool:
            return replay(delivery, token=token, actor=actor, wall=wall).status == 202

        rows = deliveries.select_related("hook__portfolio__account", "hook__portfolio__owner")
        self.press(request, rows, again, told="Replayed")
