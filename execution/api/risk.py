"""Risk by program: its numbers and their history, the limits, the kill switch, and why something happened."""

from datetime import datetime
from typing import Any

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.second_factor import give_factor
from execution.api.serializers import VerdictSerializer
from execution.api.views import KEY_PARAMETER, portfolio_of, problems_of
from execution.kill_choices import choices_for, scope_for
from execution.kill_report import kill_report
from execution.kill_scopes import portfolios_in
from execution.services.kill_switch_pull import kill_switch_pull, kill_switch_rearm, refuse_unless_clean
from execution.services.risk_keep import numbers_now
from execution.why import KINDS, tell_why
from risk.kill_switch import Scope
from risk.metrics import Exposure
from risk.models import BrokerFunds, RiskPoint, RiskReport, TradingState
from risk.policies import active_policy, draft_policy, limits_of, publish_policy, read_values, values_of
from risk.preview import preview
from risk.strictness import laxer
from trading.api.idempotency import once
from trading.api.views import DeskEndpoint
from trading.domain.errors import NotAllowed, NotFound
from trading.marketdata.clocks import venue_now

PORTFOLIO = OpenApiParameter("portfolio", OpenApiTypes.INT, description="whose; may be left out where there is one")


class KillAsk(serializers.Serializer):
    scope = serializers.CharField(max_length=60, help_text="a key of GET /risk/kill/, as PORTFOLIO:7")
    level = serializers.IntegerField(
        min_value=1, max_value=5, help_text="1 no entries, 2 cancel entries, 3 cancel all, 4 flatten, 5 lockdown"
    )
    reason = serializers.CharField(max_length=200)


class RearmAsk(serializers.Serializer):
    scope = serializers.CharField(max_length=60)
    reason = serializers.CharField(max_length=200)
    code = serializers.CharField(max_length=16, help_text="of the authenticator app, given now")


class PolicyAsk(serializers.Serializer):
    limits = serializers.DictField(help_text="names and values; what is left out stays as it is")
    preview = serializers.BooleanField(
        default=False, help_text="only say what these would have blocked in the last 30 days"
    )


class KillStepSerializer(serializers.Serializer):
    words = serializers.CharField()
    done = serializers.BooleanField()
    left = serializers.CharField(allow_blank=True)


class KillSwitchSerializer(serializers.Serializer):
    """One switch, and what it has brought about."""

    scope = serializers.CharField()
    what = serializers.CharField(help_text="in words")
    level = serializers.IntegerField()
    reason = serializers.CharField(allow_blank=True)
    done = serializers.BooleanField()
    steps = KillStepSerializer(many=True)
    residue = serializers.ListField(child=serializers.CharField())


def _asked_portfolio(request: Request) -> Any:
    given = request.query_params.get("portfolio")
    if given is not None and not given.isdecimal():
        raise NotFound("PORTFOLIO_NOT_FOUND", "There is no such portfolio.")
    return portfolio_of(request, int(given) if given else None)


def _exposure(one: Exposure) -> dict[str, int]:
    return {"gross_paise": one.gross, "net_paise": one.net}


class RiskNow(DeskEndpoint):
    @extend_schema(
        operation_id="risk_now", tags=["risk"], summary="The risk of a portfolio right now", parameters=[PORTFOLIO],
        responses={200: OpenApiTypes.OBJECT, **problems_of(401, 404, 422, 429)},
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        portfolio = _asked_portfolio(request)
        now = numbers_now(portfolio, now=venue_now(portfolio.account.feed))
        funds = BrokerFunds.objects.filter(account=portfolio.account).first()
        return Response({
            "portfolio": portfolio.pk, "at": now.at, "policy": str(now.policy),
            "equity_paise": now.value.equity_paise, "cash_paise": now.value.cash_paise,
            "day_pnl_paise": now.value.day_pnl_paise, "exposure": _exposure(now.total),
            "by_segment": {name: _exposure(one) for name, one in now.by_segment.items()},
            "by_sector": {name: _exposure(one) for name, one in now.by_sector.items()},
            "by_strategy": {name: _exposure(one) for name, one in now.by_strategy.items()},
            "open_risk_paise": now.open_risk_paise, "worst_case_paise": now.worst_case_paise,
            "var_95_paise": now.var_paise, "cvar_95_paise": now.cvar_paise,
            "correlation": {"symbols": now.symbols, "matrix": now.correlation}, "greeks": now.greeks,
            "drawdown": {"step": now.step, "pct": float(round(now.drawdown_pct, 4)), "peak_paise": now.peak_paise,
                         "days_below_peak": now.path.days_below, "longest_days": now.path.longest_days},
            "utilisation_pct": now.utilisation_pct, "exposure_cap_paise": now.exposure_cap_paise,
            "broker_funds": None if funds is None else {
                "available_paise": funds.available_paise, "utilised_paise": funds.utilised_paise,
                "total_paise": funds.total_paise, "realised_paise": funds.realised_paise, "read_at": funds.read_at,
                "counts": timezone.now() - funds.read_at < BrokerFunds.BELIEVED,
            },
            "locks": [{"kind": lock.kind, "session": lock.session_date} for lock in now.locks],
        })  # fmt: skip


class RiskHistory(DeskEndpoint):
    @extend_schema(
        operation_id="risk_history", tags=["risk"], summary="Minutes of one session, newest session by default",
        parameters=[PORTFOLIO, OpenApiParameter("day", OpenApiTypes.DATE)],
        responses={200: OpenApiTypes.OBJECT, **problems_of(400, 401, 404, 422, 429)},
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        rows = RiskPoint.objects.for_user(request.user).filter(portfolio=_asked_portfolio(request))
        asked = request.query_params.get("day")
        day: Any = serializers.DateField().run_validation(asked) if asked is not None else None
        if asked is None:
            day = rows.order_by("-at").values_list("session_date", flat=True).first()
        names = (
            "at", "equity_paise", "gross_paise", "net_paise", "open_risk_paise", "worst_case_paise", "var_paise",
            "cvar_paise", "drawdown_pct", "utilisation_pct",
        )  # fmt: skip
        return Response({"day": day, "points": list(rows.filter(session_date=day).order_by("at").values(*names))})


class RiskReports(DeskEndpoint):
    @extend_schema(
        operation_id="risk_report", tags=["risk"], summary="The report of one session", parameters=[PORTFOLIO],
        responses={200: OpenApiTypes.OBJECT, **problems_of(401, 404, 422, 429)},
    )  # fmt: skip
    def get(self, request: Request, day: str) -> Response:
        when = serializers.DateField().run_validation(day)
        rows = RiskReport.objects.for_user(request.user).filter(portfolio=_asked_portfolio(request))
        found = rows.filter(session_date=when).first()
        if found is None:
            raise NotFound("REPORT_NOT_FOUND", "There is no report of this day.")
        return Response({"session": found.session_date, **found.body})


class Policy(DeskEndpoint):
    @extend_schema(
        operation_id="risk_policy_read", tags=["risk"], summary="The limits in force", parameters=[PORTFOLIO],
        responses={200: OpenApiTypes.OBJECT, **problems_of(401, 404, 422, 429)},
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        return Response(_policy(active_policy(_asked_portfolio(request).pk)))

    @extend_schema(
        operation_id="risk_policy_change", tags=["risk"], summary="Put limits of a portfolio's own in force",
        description="A new version, in force at the next order. Never laxer than the house's.",
        parameters=[PORTFOLIO, KEY_PARAMETER], request=PolicyAsk,
        responses={200: OpenApiTypes.OBJECT, **problems_of(400, 401, 403, 404, 409, 422, 429)},
    )  # fmt: skip
    def put(self, request: Request) -> Response:
        ask = PolicyAsk(data=request.data)
        ask.is_valid(raise_exception=True)
        return once(request, lambda _key: self.change(request, ask.validated_data))

    def change(self, request: Request, ask: dict[str, Any]) -> Response:
        portfolio = _asked_portfolio(request)
        values = read_values(ask["limits"])
        draft = draft_policy(portfolio=portfolio, values=values)
        looser = laxer(values, values_of(active_policy(None)), values_of(active_policy(portfolio.pk)))
        if looser:
            raise NotAllowed("LAXER_THAN_HOUSE", f"The house is stricter: {', '.join(looser)}.")
        if ask["preview"]:
            seen = preview(limits_of(draft), portfolio_id=portfolio.pk)
            return Response({
                "judged": seen.judged, "blocked": dict(seen.blocked), "shrunk": dict(seen.shrunk),
                "let_in": dict(seen.let_in), "same": seen.same,
            })  # fmt: skip
        new = publish_policy(portfolio=portfolio, values=values, actor=request.user.get_username())
        return Response(_policy(new))


def _policy(policy: Any) -> dict[str, Any]:
    return {"policy": str(policy), "of_house": policy.portfolio_id is None, "limits": values_of(policy)}


class KillSwitch(DeskEndpoint):
    @extend_schema(
        operation_id="kill_list", tags=["risk"], summary="What can be stopped, and what is",
        responses={200: KillSwitchSerializer(many=True), **problems_of(401, 429)},
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        return Response([_kill(scope) for scope in choices_for(request.user)])

    @extend_schema(
        operation_id="kill_pull", tags=["risk"], summary="Pull the kill switch",
        description="Never lowers a level. Safe to repeat; `residue` names what is left until the broker agrees.",
        parameters=[KEY_PARAMETER], request=KillAsk,
        responses={200: KillSwitchSerializer, **problems_of(400, 401, 403, 404, 409, 422, 429)},
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        ask = KillAsk(data=request.data)
        ask.is_valid(raise_exception=True)
        return once(request, lambda _key: self.pull(request, ask.validated_data))

    def pull(self, request: Request, ask: dict[str, Any]) -> Response:
        scope = scope_for(request.user, ask["scope"])
        kill_switch_pull(
            scope=scope, level=ask["level"], reason=ask["reason"], actor=request.user.get_username(),
            now=_venue_time(scope),
        )  # fmt: skip
        return Response(_kill(scope))


class KillRearm(DeskEndpoint):
    @extend_schema(
        operation_id="kill_rearm", tags=["risk"], summary="Let a scope trade again",
        description="Operators only, with a second factor given now and books that agree.",
        parameters=[KEY_PARAMETER], request=RearmAsk,
        responses={200: KillSwitchSerializer, **problems_of(400, 401, 403, 404, 409, 422, 429)},
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        ask = RearmAsk(data=request.data)
        ask.is_valid(raise_exception=True)
        return once(request, lambda _key: self.rearm(request, ask.validated_data))

    def rearm(self, request: Request, ask: dict[str, Any]) -> Response:
        scope = scope_for(request.user, ask["scope"])
        if not request.user.is_staff:
            raise NotAllowed("REARM_NEEDS_OPERATOR", "Only an operator of the desk may re-arm the kill switch.")
        refuse_unless_clean(scope)
        kill_switch_rearm(
            scope=scope, reason=ask["reason"], actor=request.user.get_username(),
            factor=give_factor(request.user, ask["code"]), now=_venue_time(scope),
        )  # fmt: skip
        return Response(_kill(scope), status=status.HTTP_200_OK)


def _venue_time(scope: Scope) -> datetime:
    portfolio = portfolios_in(scope).first()
    return venue_now(portfolio.account.feed) if portfolio else timezone.now()


def _kill(scope: Scope) -> dict[str, Any]:
    report = kill_report(scope)
    state = TradingState.objects.filter(scope=scope.key).first()
    return {
        "scope": scope.key, "what": scope.label, "level": report.level,
        "reason": state.reason if state and state.level else "", "done": report.done,
        "steps": [{"words": step.words, "done": step.done, "left": step.left} for step in report.steps],
        "residue": list(report.residue),
    }  # fmt: skip


class WhyEndpoint(DeskEndpoint):
    @extend_schema(
        operation_id="why", tags=["risk"], summary="Why it happened, or why nothing did",
        description=f"The chain from cause to result. `kind` is one of {', '.join(KINDS)}.",
        responses={200: OpenApiTypes.OBJECT, **problems_of(401, 404, 429)},
    )  # fmt: skip
    def get(self, request: Request, kind: str, ref: str) -> Response:
        why = tell_why(request.user, kind, ref)
        return Response({
            "kind": why.kind, "title": why.title, "answer": why.answer, "code": why.code,
            "steps": [
                {
                    "what": step.what, "words": step.words, "at": step.at, "venue_time": step.venue,
                    "code": step.code, "facts": dict(step.facts), "order": step.order_id,
                    "verdicts": VerdictSerializer(step.verdicts, many=True).data,
                }
                for step in why.steps
            ],
        })  # fmt: skip
