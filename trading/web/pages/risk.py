"""The page of risk: its numbers as they are now, their history, the limits, the locks, and the report of each day."""

import csv
import json
from datetime import date
from decimal import Decimal
from typing import Any

from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.console import OPERATE
from accounts.second_factor import give_factor
from execution.services.risk_keep import numbers_now
from risk.circuit_breaker import close_by_hand
from risk.drawdown_watch import resume_after_review
from risk.loss_locks import release_lock
from risk.models import Breaker, BrokerFunds, DrawdownMove, RiskPoint, RiskPolicy, RiskReport
from risk.policies import (
    active_policy,
    draft_policy,
    drop_override,
    limits_of,
    policy_as_json,
    publish_policy,
    values_from_json,
    values_of,
)
from risk.policy_form import PolicyForm, label_of
from risk.preview import preview
from risk.strictness import laxer
from trading.domain.errors import NotAllowed, TradingError
from trading.domain.formatting import number
from trading.portfolio.models import Portfolio
from trading.web.access import signed_in
from trading.web.desk import DeskRequest

POINTS = 800
GREEKS = {
    "delta": "units of the underlying", "gamma": "delta for a rupee", "theta": "₹ a day",
    "vega": "₹ for a point of volatility",
}  # fmt: skip
LARGEST_FILE = 64_000


def _portfolio(request: DeskRequest) -> Portfolio:
    if request.desk.portfolio is None:
        raise Http404
    return request.desk.portfolio


def risk_context(request: DeskRequest) -> dict[str, Any]:
    """Everything that the live part of the page shows."""
    portfolio = _portfolio(request)
    numbers = numbers_now(portfolio, now=request.desk.now)
    funds = BrokerFunds.objects.for_user(request.user).filter(account=portfolio.account).first()
    return {
        "numbers": numbers,
        "funds": funds,
        "funds_count": funds is not None and timezone.now() - funds.read_at < BrokerFunds.BELIEVED,
        "matrix": list(zip(numbers.symbols, numbers.correlation, strict=False)),
        "breakers": Breaker.objects.for_user(request.user).filter(account=portfolio.account).order_by("call_class"),
        "moves": DrawdownMove.objects.for_user(request.user).filter(portfolio=portfolio)[:8],
        "today": request.desk.today,
        "greeks": [
            (name.capitalize(), number(Decimal(str(numbers.greeks[name])), 2), unit)
            for name, unit in GREEKS.items() if name in numbers.greeks
        ],
    }  # fmt: skip


@require_safe
@signed_in
def risk(request: DeskRequest) -> HttpResponse:
    if request.desk.portfolio is None:
        return render(request, "dashboard/no_portfolio.html")
    if request.htmx:
        return render(request, "risk/_live.html", risk_context(request))
    reports = RiskReport.objects.for_user(request.user).filter(portfolio=request.desk.portfolio)[:10]
    return render(request, "risk/risk.html", risk_context(request) | {"reports": reports})


@require_safe
@signed_in
def history(request: DeskRequest) -> HttpResponse:
    """One session's points, the newest by default: `[epoch seconds, …]` columns for the charts; rupees and percent."""
    portfolio = _portfolio(request)
    rows = RiskPoint.objects.for_user(request.user).filter(portfolio=portfolio)
    asked = _day(request.GET.get("day", ""))
    day = asked or rows.order_by("-at").values_list("session_date", flat=True).first()
    points = list(rows.filter(session_date=day).order_by("at")) if day else []
    points = points[:: max(1, len(points) // POINTS)]

    def rupees(name: str) -> list[float | None]:
        return [None if getattr(one, name) is None else getattr(one, name) / 100 for one in points]

    return JsonResponse({
        "day": day.isoformat() if day else None, "at": [round(one.at.timestamp()) for one in points],
        "gross": rupees("gross_paise"), "net": rupees("net_paise"), "open_risk": rupees("open_risk_paise"),
        "worst_case": rupees("worst_case_paise"), "var": rupees("var_paise"), "cvar": rupees("cvar_paise"),
        "drawdown": [-float(one.drawdown_pct) for one in points],
    })  # fmt: skip


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


# -- the limits ----------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def policy(request: DeskRequest) -> HttpResponse:
    """The limits in force. POST with `act`: preview what others would have blocked, publish them, read a file of them,
    or go back to the house's."""
    portfolio = _target(request)
    current = active_policy(portfolio.pk if portfolio else None)
    form = PolicyForm(request.POST if request.method == "POST" else None, instance=current)
    context: dict[str, Any] = {
        "form": form, "policy": current, "portfolio": portfolio, "of_house": portfolio is None,
        "is_override": current.portfolio_id is not None, "may_operate": request.user.has_perm(OPERATE),
        "versions": RiskPolicy.objects.filter(portfolio=portfolio).order_by("-version")[:10],
    }  # fmt: skip
    if request.method != "POST":
        return render(request, "risk/policy.html", context)
    act = request.POST.get("act", "preview")
    if act == "drop" and portfolio is not None:
        drop_override(portfolio=portfolio, actor=request.user.get_username())
        return redirect(_address(portfolio))
    try:
        values = _values(request, form, act)
    except TradingError as error:
        return render(request, "risk/policy.html", context | {"error": error}, status=422)
    if values is None:
        return render(request, "risk/policy.html", context, status=422)
    try:
        _stay_within_the_house(request, portfolio, values)
        draft = draft_policy(portfolio=portfolio, values=values)
        if act == "publish":
            publish_policy(portfolio=portfolio, values=values, actor=request.user.get_username())
            return redirect(_address(portfolio))
    except TradingError as error:
        return render(request, "risk/policy.html", context | {"error": error}, status=422)
    before = values_of(current)
    changed = [
        (name, before[name], getattr(draft, name)) for name in before if str(before[name]) != str(getattr(draft, name))
    ]
    changed = [(label_of(name), _plain(was), _plain(now)) for name, was, now in changed if not _equal(was, now)]
    seen = preview(limits_of(draft), portfolio_id=portfolio.pk if portfolio else None)
    context |= {"form": PolicyForm(instance=draft), "changed": changed, "preview": seen}
    return render(request, "risk/policy.html", context)


def _plain(value: Any) -> str:
    """A limit as a person writes it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return f"{float(value):,g}" if abs(float(value)) < 1_000_000 else f"{float(value):,.0f}"


def _equal(one: Any, other: Any) -> bool:
    try:
        return float(one) == float(other)
    except (TypeError, ValueError):
        return bool(one == other)


def _values(request: DeskRequest, form: PolicyForm, act: str) -> dict[str, Any] | None:
    """What was typed, or what the file says; None where a field is wrong."""
    if act == "import":
        file = request.FILES.get("file")
        if file is None or file.size is None or file.size > LARGEST_FILE:
            raise NotAllowed("POLICY_FILE", "Choose a file of limits, of 64 KB at most.")
        return values_from_json(file.read().decode("utf-8", "replace"))
    return dict(form.cleaned_data) if form.is_valid() else None


def _target(request: DeskRequest) -> Portfolio | None:
    """The chosen portfolio; the house (None) for an operator who asks for it."""
    if request.GET.get("of") == "house" or request.POST.get("of") == "house":
        if not request.user.has_perm(OPERATE):
            raise Http404
        return None
    return _portfolio(request)


def _address(portfolio: Portfolio | None) -> str:
    return reverse("web:risk-policy") + ("" if portfolio else "?of=house")


def _stay_within_the_house(request: DeskRequest, portfolio: Portfolio | None, values: dict[str, Any]) -> None:
    if portfolio is None or request.user.has_perm(OPERATE):
        return
    looser = laxer(values, values_of(active_policy(None)), values_of(active_policy(portfolio.pk)))
    if looser:
        words = ", ".join(name.replace("_", " ") for name in looser)
        raise NotAllowed(
            "LAXER_THAN_HOUSE", f"The house is stricter: {words}.",
            next_step="Stay within the house's limits, or ask an operator of the desk.",
        )  # fmt: skip


@require_safe
@signed_in
def policy_file(request: DeskRequest) -> HttpResponse:
    """The limits in force as a file."""
    portfolio = _target(request)
    current = active_policy(portfolio.pk if portfolio else None)
    answer = HttpResponse(policy_as_json(current), content_type="application/json")
    answer["Content-Disposition"] = f'attachment; filename="limits-v{current.version}.json"'
    return answer


# -- what a person lets go on ----------------------------------------------------------------------------------------


@require_POST
@signed_in
def release(request: DeskRequest, lock_id: int) -> HttpResponse:
    """A person has understood the loss of an earlier session."""
    release_lock(
        portfolio=_portfolio(request), lock_id=lock_id, reason=request.POST.get("reason", ""),
        actor=request.user.get_username(), now=request.desk.now,
    )  # fmt: skip
    return redirect("web:risk")


@require_POST
@signed_in
def resume(request: DeskRequest) -> HttpResponse:
    """An operator has reviewed a halt; needs a second factor given now."""
    portfolio = _portfolio(request)
    if not request.user.has_perm(OPERATE):
        raise NotAllowed("REVIEW_NEEDS_OPERATOR", "Only an operator of the desk may end a halt.")
    give_factor(request.user, request.POST.get("code", ""))
    resume_after_review(
        portfolio=portfolio, reason=request.POST.get("reason", ""), actor=request.user.get_username(),
        now=request.desk.now,
    )  # fmt: skip
    return redirect("web:risk")


@require_POST
@signed_in
def close_breaker(request: DeskRequest, breaker_id: int) -> HttpResponse:
    """A person says that the broker is well again."""
    row = get_object_or_404(Breaker.objects.for_user(request.user), pk=breaker_id)
    close_by_hand(breaker_id=row.pk, actor=request.user.get_username())
    return redirect("web:risk")


# -- the report of a day -----------------------------------------------------------------------------------------------


@require_safe
@signed_in
def report(request: DeskRequest, day: str) -> HttpResponse:
    """One session; `?as=json` or `?as=csv` to keep it."""
    when = _day(day)
    rows = RiskReport.objects.for_user(request.user).filter(portfolio=_portfolio(request))
    found = get_object_or_404(rows, session_date=when) if when else None
    if found is None:
        raise Http404
    shape = request.GET.get("as", "")
    name = f"risk-{found.session_date}"
    if shape == "json":
        answer = HttpResponse(json.dumps(found.body, indent=2), content_type="application/json")
        answer["Content-Disposition"] = f'attachment; filename="{name}.json"'
        return answer
    if shape == "csv":
        answer = HttpResponse(content_type="text/csv; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="{name}.csv"'
        writer = csv.writer(answer)
        writer.writerow(["what", "value"])
        for key, value in found.body.items():
            if isinstance(value, list):
                writer.writerows([key, *row] for row in value)
            elif isinstance(value, dict):
                writer.writerows([f"{key}_{name}", one] for name, one in value.items())
            else:
                writer.writerow([key, "" if value is None else value])
        return answer
    others = rows.order_by("-session_date")[:30]
    return render(request, "risk/report.html", {"report": found, "body": found.body, "reports": others})
