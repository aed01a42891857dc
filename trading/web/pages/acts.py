"""What a person decides: approvals, alerts, the engine's pause, the kill switch."""

from uuid import UUID

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.models import BrokerAccount
from accounts.second_factor import give_factor
from execution.engine import lifecycle
from execution.kill_choices import choices_for, scope_for
from execution.kill_report import kill_report
from execution.models import Intent
from execution.services.approval_decide import approval_decide
from execution.services.kill_switch_pull import kill_switch_pull, kill_switch_rearm, refuse_unless_clean
from risk.kill_switch import Scope, ScopeKind, of_portfolio
from risk.models import TradingState
from trading.audit.record import record
from trading.domain.errors import NotAllowed
from trading.marketdata.clocks import venue_now
from trading.monitoring.models import Alert
from trading.web.access import dialog, signed_in
from trading.web.desk import DeskRequest

Level = TradingState.Level
KILL_LEVELS: list[tuple[int, str, str]] = [
    (Level.NO_ENTRIES, "No entries", "Nothing new is opened. Positions, stops and targets go on."),
    (Level.CANCEL_ENTRIES, "Cancel entries", "As above, and entries that wait or rest are cancelled."),
    (Level.CANCEL_ALL, "Cancel all", "Every order is cancelled but the stops that protect what is held."),
    (Level.FLATTEN, "Flatten", "Every order is cancelled and every position is closed at market."),
    (Level.LOCKDOWN, "Lockdown", "Nothing leaves the desk, exits neither: the broker’s own terminal is the way out."),
]


@require_POST
@signed_in
def decide(request: DeskRequest, intent_id: UUID) -> HttpResponse:
    """A person's yes or no to an intent that waits."""
    intent = get_object_or_404(Intent.objects.for_user(request.user).select_related("portfolio__account"), pk=intent_id)
    approval_decide(
        intent_id=intent.pk,
        approve=request.POST.get("decision") == "approve",
        actor=request.user.get_username(),
        now=venue_now(intent.portfolio.account.feed),
    )
    return render(request, "dashboard/_needs.html")


@require_POST
@signed_in
def acknowledge(request: DeskRequest, alert_id: int) -> HttpResponse:
    """Seen. The same trouble may come again, and is then a new alert."""
    if not any(alert.pk == alert_id for alert in request.desk.alerts):
        raise Http404
    if Alert.objects.filter(pk=alert_id, acknowledged_at=None).update(acknowledged_at=timezone.now()):
        actor = request.user.get_username()
        record("alert.acknowledged", actor=actor, owner_id=request.user.pk, subject=f"alert:{alert_id}")
    request.desk.forget("alerts")
    return render(request, "dashboard/_needs.html")


@require_POST
@signed_in
def engine(request: DeskRequest, account_id: int, act: str) -> HttpResponse:
    """Pause: no new entries are sent, exits go on. Resume: the engine checks itself and goes on."""
    account = get_object_or_404(BrokerAccount.objects.for_user(request.user), pk=account_id)
    {"pause": lifecycle.pause, "resume": lifecycle.resume}[act](account.pk, request.user.get_username())
    return render(request, "dashboard/_health.html")


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def kill(request: DeskRequest) -> HttpResponse:
    """GET asks what, how hard and why; POST pulls the switch and shows each step until the broker agrees."""
    desk = request.desk
    if desk.portfolio is None:
        raise Http404
    chosen = of_portfolio(desk.portfolio)
    scopes = sorted(choices_for(request.user), key=lambda scope: scope.key != chosen.key)
    context: dict[str, object] = {"levels": KILL_LEVELS, "kills": desk.kills, "scopes": scopes}
    if request.method != "POST":
        return dialog(request, "risk/_kill_ask.html", context)
    reason, level = request.POST.get("reason", "").strip(), request.POST.get("level", "")
    if not reason or level not in {str(int(known)) for known, _, _ in KILL_LEVELS}:
        context |= {"missing": "Choose how hard, and type a reason: both are written into the audit trail."}
        return dialog(request, "risk/_kill_ask.html", context, status=422)
    asked = request.POST.get("scope", "")
    scope = scope_for(request.user, asked) if asked else chosen
    kill_switch_pull(
        scope=scope, level=int(level), reason=reason[:200], actor=request.user.get_username(), now=desk.now
    )
    desk.forget("kills")
    return dialog(request, "risk/_kill_progress.html", _progress(request, scope.key))


@require_safe
@signed_in
def kill_progress(request: DeskRequest) -> HttpResponse:
    if request.desk.portfolio is None:
        raise Http404
    return dialog(request, "risk/_kill_progress.html", _progress(request, request.GET.get("scope", "")))


@require_POST
@signed_in
def rearm(request: DeskRequest) -> HttpResponse:
    """An operator lets a scope trade again, with a second factor given now."""
    if not request.user.is_staff:
        raise NotAllowed("REARM_NEEDS_OPERATOR", "Only an operator of the desk may re-arm the kill switch.")
    if request.desk.portfolio is None:
        raise Http404
    reason = request.POST.get("reason", "").strip()
    if not reason:
        raise NotAllowed("REASON_MISSING", "Re-arming needs a reason: it is written into the audit trail.")
    pulled = _chosen(request, request.POST.get("scope", ""))
    if pulled is None:
        raise NotAllowed("NOT_PULLED", "This kill switch is not pulled.")
    scope = Scope.read(pulled.scope, pulled.owner_id)
    refuse_unless_clean(scope)
    kill_switch_rearm(
        scope=scope,
        reason=reason[:200],
        actor=request.user.get_username(),
        factor=give_factor(request.user, request.POST.get("code", "")),
        now=request.desk.now,
    )
    request.desk.forget("kills")
    return dialog(request, "risk/_kill_progress.html", _progress(request, ""))


def _chosen(request: DeskRequest, key: str) -> TradingState | None:
    """The pulled switch that was named, among those that concern this person; the hardest without a name."""
    kills = request.desk.kills
    return next((one for one in kills if one.scope == key), kills[0] if kills and not key else None)


def _progress(request: DeskRequest, key: str) -> dict[str, object]:
    pulled = _chosen(request, key)
    if pulled is None:
        return {"kill": None, "kills": request.desk.kills}
    # Of a switch of the house, a person sees what it did to what is theirs.
    mine = pulled.owner_id == request.user.pk
    all_mine = Scope(ScopeKind.USER, request.user.pk, request.user.pk)
    scope = Scope.read(pulled.scope, pulled.owner_id) if mine else all_mine
    return {"kill": pulled, "kills": request.desk.kills, "report": kill_report(scope, level=pulled.level)}
