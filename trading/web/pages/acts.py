"""What a person decides: approvals, alerts, the engine's pause, the kill switch."""

from uuid import UUID

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.models import BrokerAccount
from execution.engine import lifecycle
from execution.models import Intent, Order
from execution.services.approval_decide import approval_decide
from execution.services.kill_switch_pull import kill_switch_pull, kill_switch_rearm
from execution.states import OrderState, PendingOp
from risk.models import TradingState
from trading.audit.record import record
from trading.domain.errors import NotAllowed
from trading.marketdata.clocks import venue_now
from trading.monitoring.models import Alert
from trading.portfolio.models import Position
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
    """GET asks how hard and why; POST pulls the switch and shows each step until the broker agrees."""
    desk = request.desk
    if desk.portfolio is None:
        raise Http404
    context: dict[str, object] = {"levels": KILL_LEVELS, "kills": desk.kills}
    if request.method != "POST":
        return dialog(request, "risk/_kill_ask.html", context)
    reason, level = request.POST.get("reason", "").strip(), request.POST.get("level", "")
    if not reason or level not in {str(int(known)) for known, _, _ in KILL_LEVELS}:
        context |= {"missing": "Choose how hard, and type a reason: both are written into the audit trail."}
        return dialog(request, "risk/_kill_ask.html", context, status=422)
    kill_switch_pull(
        portfolio=desk.portfolio, level=int(level), reason=reason[:200], actor=request.user.get_username(), now=desk.now
    )
    desk.forget("kills")
    return dialog(request, "risk/_kill_progress.html", _kill_steps(request))


@require_safe
@signed_in
def kill_progress(request: DeskRequest) -> HttpResponse:
    if request.desk.portfolio is None:
        raise Http404
    return dialog(request, "risk/_kill_progress.html", _kill_steps(request))


@require_POST
@signed_in
def rearm(request: DeskRequest) -> HttpResponse:
    """An operator lets the portfolio trade again."""
    if not request.user.is_staff:
        raise NotAllowed("REARM_NEEDS_OPERATOR", "Only an operator of the desk may re-arm the kill switch.")
    if request.desk.portfolio is None:
        raise Http404
    reason = request.POST.get("reason", "").strip()
    if not reason:
        raise NotAllowed("REASON_MISSING", "Re-arming needs a reason: it is written into the audit trail.")
    kill_switch_rearm(
        portfolio=request.desk.portfolio,
        reason=reason[:200],
        actor=request.user.get_username(),
        now=request.desk.now,
    )
    request.desk.forget("kills")
    return dialog(request, "risk/_kill_progress.html", _kill_steps(request))


def _kill_steps(request: DeskRequest) -> dict[str, object]:
    """What the switch has brought about so far, and what is still under way, counted from the rows themselves."""
    portfolio = request.desk.portfolio
    kills = request.desk.kills
    level = kills[0].level if kills else Level.ACTIVE
    live = Order.objects.filter(portfolio=portfolio).live()
    doomed = live.filter(reason="ENTRY") if level == Level.CANCEL_ENTRIES else live.exclude(reason="STOP")
    waiting = doomed.filter(state__in=[OrderState.QUEUED, OrderState.SENDING]).count()
    resting = doomed.exclude(state__in=[OrderState.QUEUED, OrderState.SENDING])
    asked = resting.exclude(pending_op=PendingOp.NONE).count()
    unknown = live.filter(state=OrderState.UNKNOWN).count()
    held = Position.objects.filter(portfolio=portfolio).exclude(net_quantity=0).count()
    steps: list[tuple[str, bool, str]] = [("Entries are blocked", level >= Level.NO_ENTRIES, "")]
    if level == Level.FLATTEN:
        # Closing orders are live until the position is flat: what counts then is what is held.
        steps.append(("Positions are closed", not held, f"{held} left"))
        steps.append(("No order is live", not live.exists(), f"{live.count()} left"))
    elif level >= Level.CANCEL_ENTRIES:
        steps.append(("Queued orders are withdrawn", not waiting, f"{waiting} left"))
        steps.append(("Resting orders are cancelled", not resting.exists(), f"{resting.count()} left, {asked} asked"))
    steps.append(("The broker’s book agrees", not unknown, f"{unknown} unknown: asking the broker"))
    return {"steps": steps, "kills": kills, "done": all(is_done for _, is_done, _ in steps), "held": held}
