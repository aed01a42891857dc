from collections.abc import Callable
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.utils import timezone
from django.utils.html import format_html_join

from accounts.console import ReadOnlyAdmin, ReadOnlyInline, ShallowPaginator, money, require_operator
from accounts.models import User
from accounts.second_factor import give_factor
from execution import admin_actions, admin_hooks, large_orders_admin, paper_admin  # noqa: F401
from execution.engine import lifecycle
from execution.engine_admin import PartInline, PyramidInline
from execution.kill_choices import any_scope
from execution.kill_scopes import portfolios_in
from execution.models import (
    ChaseStep,
    EngineLease,
    EventSeal,
    Fill,
    Group,
    Intent,
    Mismatch,
    OffsetPlan,
    Order,
    OrderEvent,
    ParkedFill,
    ReconRun,
)
from execution.offset_panel import offset_panel
from execution.quality_admin import quality_context
from execution.services import offset_acts
from execution.services.approval_decide import approval_decide
from execution.services.kill_switch_pull import kill_switch_pull, kill_switch_rearm, refuse_unless_clean
from execution.services.mismatch_decide import mismatch_decide
from execution.services.order_cancel import order_cancel
from execution.services.override import close_position
from risk.kill_switch import Scope, ScopeKind
from risk.models import Assessment, TradingState
from strategies.tactics.offsets import Look
from trading.domain.errors import TradingError
from trading.marketdata.clocks import venue_now
from trading.portfolio.models import Portfolio


@admin.display(description="gates")
def gates(intent_id: UUID) -> str:
    """The verdicts on an intent, one a line."""
    lines = [
        (v.gate, v.outcome.capitalize(), v.message) for v in Assessment.objects.verdicts_of([intent_id])[intent_id]
    ]
    return format_html_join("", "<p>{}: {}. {}</p>", lines) or "—"


@admin.register(Intent)
class IntentAdmin(ReadOnlyAdmin):
    list_display = (
        "created_at", "portfolio", "source", "reason", "instrument", "side", "wanted_quantity", "allowed_quantity",
        "state", "refusal_code", "decide_by",
    )  # fmt: skip
    list_select_related = ("portfolio", "instrument")
    list_filter = ("state", "source", "reason")
    search_fields = ("instrument__symbol", "portfolio__name", "dedupe_key", "actor")
    ordering = ("-created_at",)
    paginator = ShallowPaginator
    actions = ("approve", "refuse")
    extra_facts = ("gates",)

    @admin.display(description="gates")
    def gates(self, intent: Intent) -> str:
        return gates(intent.pk)

    def _decide(self, request: HttpRequest, intents: QuerySet[Intent], *, approve: bool, told: str) -> None:
        def decide(intent: Intent) -> Intent:
            return approval_decide(
                intent_id=intent.pk,
                approve=approve,
                actor=request.user.get_username(),
                now=venue_now(intent.portfolio.account.feed),
            )

        self.press(request, intents.select_related("portfolio__account", "instrument"), decide, told=told)

    @admin.action(description="Approve", permissions=["operate"])
    def approve(self, request: HttpRequest, intents: QuerySet[Intent]) -> None:
        self._decide(request, intents, approve=True, told="Approved")

    @admin.action(description="Refuse", permissions=["operate"])
    def refuse(self, request: HttpRequest, intents: QuerySet[Intent]) -> None:
        self._decide(request, intents, approve=False, told="Refused")


class EventInline(ReadOnlyInline):
    model = OrderEvent
    fields = ("seq", "at", "kind", "source", "from_state", "to_state", "applied", "detail")


class FillInline(ReadOnlyInline):
    model = Fill
    fields = ("broker_trade_id", "quantity", "price", "filled_at", "source")


class ChaseInline(ReadOnlyInline):
    model = ChaseStep
    fields = ("number", "venue_at", "mid_price", "old_price", "new_price", "quantity", "code", "said")


@admin.register(Order)
class OrderAdmin(ReadOnlyAdmin):
    list_display = (
        "client_order_id", "portfolio", "instrument", "side", "quantity", "filled_quantity", "order_type",
        "limit_price", "state", "pending_op", "reason", "created_at",
    )  # fmt: skip
    list_select_related = ("instrument", "portfolio")
    list_filter = ("state", "pending_op", "reason", "side", "account__environment")
    search_fields = ("client_order_id", "broker_order_id", "instrument__symbol", "portfolio__name")
    ordering = ("-id",)
    paginator = ShallowPaginator
    inlines = (EventInline, FillInline, ChaseInline)
    actions = ("cancel",)
    extra_facts = ("gates",)
    change_list_template = "admin/orders.html"

    def get_urls(self) -> list[Any]:
        page = path("quality/", self.admin_site.admin_view(self.quality), name="execution_order_quality")
        return [page, *super().get_urls()]

    def quality(self, request: HttpRequest) -> HttpResponse:
        context = {**self.admin_site.each_context(request), "opts": self.opts, **quality_context(request)}
        return render(request, "admin/execution_quality.html", context)

    @admin.display(description="gates")
    def gates(self, order: Order) -> str:
        return gates(order.intent_id)

    @admin.action(description="Cancel at the broker", permissions=["operate"])
    def cancel(self, request: HttpRequest, orders: QuerySet[Order]) -> None:
        def cancel(order: Order) -> bool:
            now = venue_now(order.account.feed)
            return order_cancel(order_id=order.pk, actor=request.user.get_username(), now=now)

        self.press(request, orders.select_related("account", "instrument"), cancel, told="Cancel asked for")


@admin.register(Group)
class GroupAdmin(ReadOnlyAdmin):
    list_display = (
        "created_at", "portfolio", "instrument", "side", "product", "state", "stop_price", "target_price",
        "close_reason", "quarantined",
    )  # fmt: skip
    list_select_related = ("portfolio", "instrument")
    list_filter = ("state", "quarantined", "close_reason", "product")
    search_fields = ("=id", "instrument__symbol", "portfolio__name")
    ordering = ("-created_at",)
    paginator = ShallowPaginator
    inlines = (PyramidInline, PartInline)
    actions = ("close", "offset_now", "offset_skip", "offset_block", "offset_unblock")

    @admin.action(description="Close at market", permissions=["operate"])
    def close(self, request: HttpRequest, groups: QuerySet[Group]) -> HttpResponse | None:
        """Asks once: what has been sold at market cannot be taken back."""
        chosen = groups.select_related("portfolio__account", "instrument")
        if "confirmed" not in request.POST:
            said = "What protects these trades is cancelled, and what is held is sold or bought back at market:"
            return self._ask(request, chosen, "close", "Close at market", said, kept="Leave them open")

        def close(group: Group) -> bool:
            now = venue_now(group.portfolio.account.feed)
            return close_position(group_id=group.pk, actor=request.user.get_username(), now=now)

        self.press(request, chosen, close, told="Close asked for")
        return None

    def _ask(
        self, request: HttpRequest, groups: QuerySet[Group], act: str, title: str, said: str, *, kept: str
    ) -> HttpResponse:  # fmt: skip
        context = self.admin_site.each_context(request)
        context |= {"title": f"{title}?", "press": title, "said": said, "act": act, "kept": kept}
        return render(request, "admin/confirm_trades.html", context | {"groups": groups, "opts": self.opts})

    @admin.action(description="Winners pay for a loser: look now, in its portfolio", permissions=["operate"])
    def offset_now(self, request: HttpRequest, groups: QuerySet[Group]) -> HttpResponse | None:
        """Asks once, and says for each portfolio what a look would do now."""
        chosen = groups.select_related("portfolio__account", "portfolio__owner", "instrument")
        portfolios = {group.portfolio_id: group.portfolio for group in chosen}
        if "confirmed" not in request.POST:
            looks = ((one, offset_panel(one, now=venue_now(one.account.feed)).look) for one in portfolios.values())
            would = " ".join(f"{one.name}: {_would(look)}" for one, look in looks)
            said = f"Parts of trades that won are sold, and the loser they pay for is closed. {would}"
            return self._ask(request, chosen, "offset_now", "Look now", said, kept="Leave them")

        def run(portfolio: Portfolio) -> OffsetPlan:
            now = venue_now(portfolio.account.feed)
            return offset_acts.offset_run_now(portfolio_id=portfolio.pk, actor=request.user.get_username(), now=now)

        self.press(request, portfolios.values(), run, told="Plans under way:")
        return None

    @admin.action(description="Winners pay for a loser: pass over once", permissions=["operate"])
    def offset_skip(self, request: HttpRequest, groups: QuerySet[Group]) -> None:
        self._mark(request, groups, offset_acts.offset_skip_once, told="To be passed over once:")

    @admin.action(description="Winners pay for a loser: keep out of it", permissions=["operate"])
    def offset_block(self, request: HttpRequest, groups: QuerySet[Group]) -> None:
        self._mark(request, groups, offset_acts.offset_block, told="Kept out of it:")

    @admin.action(description="Winners pay for a loser: let take part again", permissions=["operate"])
    def offset_unblock(self, request: HttpRequest, groups: QuerySet[Group]) -> None:
        self._mark(request, groups, offset_acts.offset_unblock, told="Takes part again:")

    def _mark(self, request: HttpRequest, groups: QuerySet[Group], act: Callable[..., bool], *, told: str) -> None:
        actor = request.user.get_username()
        self.press(request, groups, lambda group: act(group_id=group.pk, actor=actor), told=told)


def _would(look: Look) -> str:
    if look.plan is None:
        return look.said or "Nothing is to be paid for."
    winners = ", ".join(f"{one.quantity} {one.trade.label}" for one in look.plan.winners)
    return f"{look.plan.loser.trade.label} is given up, paid for by {winners}."


@admin.register(Fill)
class FillAdmin(ReadOnlyAdmin):
    list_display = ("filled_at", "order", "quantity", "price", "value", "source", "execution_key")
    list_select_related = ("order__instrument",)
    list_filter = ("source",)
    search_fields = ("execution_key", "broker_trade_id", "order__client_order_id")
    paginator = ShallowPaginator
    value = money("value_paise", "value ₹")


@admin.register(ParkedFill)
class ParkedFillAdmin(ReadOnlyAdmin):
    list_display = ("received_at", "account", "broker_order_id", "execution_key", "drained_at")
    list_select_related = ("account",)
    list_filter = (("drained_at", admin.EmptyFieldListFilter),)
    search_fields = ("broker_order_id", "execution_key")


@admin.register(EventSeal)
class EventSealAdmin(ReadOnlyAdmin):
    list_display = ("__str__", "events", "sealed_at", "digest")
    ordering = ("-id",)
    paginator = ShallowPaginator


@admin.register(ReconRun)
class ReconRunAdmin(ReadOnlyAdmin):
    list_display = ("ended_at", "account", "cause", "outcome", "orders", "trades", "positions", "trouble")
    list_select_related = ("account",)
    list_filter = ("outcome", "cause")
    search_fields = ("account__name", "inputs_hash")
    paginator = ShallowPaginator


@admin.register(Mismatch)
class MismatchAdmin(ReadOnlyAdmin):
    """Both sides of a difference, with the buttons that settle it. What needs a price is for its owner's page."""

    list_display = (
        "symbol", "account", "kind", "ours", "theirs", "difference", "state", "first_seen_at", "decided_by",
    )  # fmt: skip
    list_select_related = ("account",)
    list_filter = ("state", "kind")
    search_fields = ("symbol", "account__name", "reference")
    actions = ("accept", "dispute", "reverse", "release")

    def _decide(self, request: HttpRequest, rows: QuerySet[Mismatch], decision: str, told: str) -> None:
        def decide(row: Mismatch) -> bool:
            now = venue_now(row.account.feed)
            actor = request.user.get_username()
            return bool(mismatch_decide(mismatch_id=row.pk, decision=decision, actor=actor, now=now))

        self.press(request, rows.select_related("account"), decide, told=told)

    @admin.action(description="It is right: not to be managed here", permissions=["operate"])
    def accept(self, request: HttpRequest, rows: QuerySet[Mismatch]) -> None:
        self._decide(request, rows, "accept", "Accepted")

    @admin.action(description="Dispute: stays in quarantine", permissions=["operate"])
    def dispute(self, request: HttpRequest, rows: QuerySet[Mismatch]) -> None:
        self._decide(request, rows, "dispute", "Disputed")

    @admin.action(description="Reverse the fill that the exchange took back", permissions=["operate"])
    def reverse(self, request: HttpRequest, rows: QuerySet[Mismatch]) -> None:
        self._decide(request, rows, "reverse", "Reversed")

    @admin.action(description="Release from quarantine", permissions=["operate"])
    def release(self, request: HttpRequest, rows: QuerySet[Mismatch]) -> None:
        self._decide(request, rows, "release", "Released")


@admin.register(EngineLease)
class EngineLeaseAdmin(ReadOnlyAdmin):
    list_display = ("account", "state", "cause", "preflight", "paused_by", "beat_at", "holder", "token")
    list_select_related = ("account",)
    list_filter = ("state",)
    search_fields = ("account__name",)
    actions = ("pause", "resume")
    readonly_fields = ("preflight",)
    exclude = ("gates",)

    @admin.display(description="preflight")
    def preflight(self, lease: EngineLease) -> str:
        """The gates that are not well, each with its cause."""
        return "; ".join(f"{one['name']}: {one['cause']}" for one in lease.gates if not one["ok"]) or "all well"

    def _tell(self, request: HttpRequest, leases: QuerySet[EngineLease], act: Any, told: str) -> None:
        def tell(lease: EngineLease) -> bool:
            act(lease.account_id, request.user.get_username())
            return True

        self.press(request, leases.select_related("account"), tell, told=told)

    @admin.action(description="Pause: no new entries, exits go on", permissions=["operate"])
    def pause(self, request: HttpRequest, leases: QuerySet[EngineLease]) -> None:
        self._tell(request, leases, lifecycle.pause, "Pause asked for")

    @admin.action(description="Resume", permissions=["operate"])
    def resume(self, request: HttpRequest, leases: QuerySet[EngineLease]) -> None:
        self._tell(request, leases, lifecycle.resume, "Resume asked for")


class ReasonForm(forms.Form):
    scope = forms.CharField(
        initial="GLOBAL", max_length=60,
        help_text="GLOBAL, or kind and id: USER, ACCOUNT, PORTFOLIO, STRATEGY or SYMBOL, as PORTFOLIO:7",
        widget=forms.TextInput(attrs={"size": 30, "list": "kill-scopes", "autocomplete": "off"}),
    )  # fmt: skip
    reason = forms.CharField(max_length=200, widget=forms.TextInput(attrs={"size": 60, "autocomplete": "off"}))

    def known_scopes(self) -> list[tuple[str, str]]:
        """For the list of suggestions: the desk, and every portfolio."""
        portfolios = Portfolio.objects.select_related("owner").order_by("owner__username", "name")
        return [("GLOBAL", "The whole desk"), *((f"PORTFOLIO:{one.pk}", f"{one.owner}: {one}") for one in portfolios)]


class KillForm(ReasonForm):
    level = forms.TypedChoiceField(
        choices=[(level.value, level.label) for level in TradingState.Level if level.value], coerce=int
    )
    field_order = ("scope", "level", "reason")


class RearmForm(ReasonForm):
    code = forms.CharField(
        max_length=16, label="Authenticator code",
        widget=forms.TextInput(attrs={"size": 10, "inputmode": "numeric", "autocomplete": "one-time-code"}),
    )  # fmt: skip


@admin.register(TradingState)
class TradingStateAdmin(ReadOnlyAdmin):
    """The kill switches by scope. Both ways it asks for a reason, and for a second factor to re-arm."""

    list_display = ("scope", "label", "owner", "level", "epoch", "reason", "set_by", "set_at")
    list_select_related = ("owner",)
    list_filter = ("level",)
    search_fields = ("scope", "label")
    change_list_template = "admin/kill_switches.html"

    def get_urls(self) -> list[Any]:
        guard = self.admin_site.admin_view
        return [
            path("kill/", guard(self.kill), name="risk_tradingstate_kill"),
            path("rearm/", guard(self.rearm), name="risk_tradingstate_rearm"),
            *super().get_urls(),
        ]

    def kill(self, request: HttpRequest) -> HttpResponse:
        return self._ask(request, KillForm, self._pull, "Pull the kill switch", "The kill switch is pulled.")

    def rearm(self, request: HttpRequest) -> HttpResponse:
        return self._ask(request, RearmForm, self._let_trade, "Re-arm", "Trading may go on.")

    def _pull(self, request: HttpRequest, *, scope: Scope, level: int, reason: str, now: Any) -> None:
        kill_switch_pull(scope=scope, level=level, reason=reason, actor=request.user.get_username(), now=now)

    def _let_trade(self, request: HttpRequest, *, scope: Scope, reason: str, code: str, now: Any) -> None:
        user = User.objects.get(username=request.user.get_username())
        refuse_unless_clean(scope)
        kill_switch_rearm(
            scope=scope, reason=reason, actor=user.get_username(), factor=give_factor(user, code), now=now
        )

    def _ask(
        self, request: HttpRequest, form_class: type[ReasonForm], service: Any, title: str, told: str
    ) -> HttpResponse:
        require_operator(request)
        form = form_class(request.POST or None, initial={"scope": request.GET.get("scope", "GLOBAL")})
        if request.method == "POST" and form.is_valid():
            given = dict(form.cleaned_data)
            try:
                scope = any_scope(given.pop("scope"))
                portfolio = portfolios_in(scope).first() if scope.kind is ScopeKind.PORTFOLIO else None
                now = venue_now(portfolio.account.feed) if portfolio else timezone.now()
                service(request, scope=scope, now=now, **given)
            except TradingError as error:
                self.message_user(request, f"{error.message} ({error.code})", messages.ERROR)
            else:
                self.message_user(request, told, messages.SUCCESS)
            return redirect("admin:risk_tradingstate_changelist")
        context = {**self.admin_site.each_context(request), "title": title, "form": form, "opts": self.opts}
        return render(request, "admin/ask_reason.html", context)
