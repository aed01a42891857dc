"""Contracts: the list, one contract with its versions, its steps and what is at work of it."""

from django.contrib import messages
from django.db.models import Count, Max, Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from strategies.contracts.diff import differences
from strategies.contracts.fields import ContractError
from strategies.contracts.lifecycle import (
    GATED,
    ask_for_live,
    decline_live,
    findings_for,
    next_stages,
    stage_move,
    standing_of_version,
)
from strategies.contracts.live import lacks_of
from strategies.contracts.publish import as_yaml
from strategies.contracts.schema import ContractBody
from strategies.contracts.words import conditions_of, facts_of, in_words
from strategies.deploy import deploy_for, pause_deployment, resume_deployment, stop_deployment
from strategies.models import (
    BacktestRun,
    ContractVersion,
    Deployment,
    Signal,
    Stage,
    Standing,
    StrategyContract,
)
from trading.domain.clock import IST
from trading.domain.errors import NotAllowed, NotFound, TradingError
from trading.marketdata.models import Universe
from trading.portfolio.models import Portfolio
from trading.web.access import dialog, signed_in
from trading.web.desk import DeskRequest

WORDS = {
    Stage.PAPER: "Try on paper", Stage.LIVE: "Trade with money", Stage.PAUSED: "Pause", Stage.RETIRED: "Retire",
    Stage.RESEARCH: "Back to research",
}  # fmt: skip
RULE_TITLES = {
    "rules.long_entry": "Buys when", "rules.short_entry": "Sells short when", "rules.long_exit": "Leaves a long when",
    "rules.short_exit": "Leaves a short when", "rules.score": "Ranks by", "stop.value": "Stop at",
    "target.value": "Target at",
}  # fmt: skip
NEWEST_MOVES = 30
HALTED = (Stage.PAUSED, Stage.RETIRED)
"""No deployment of such a version gives signals, whatever its own state."""


@require_safe
@signed_in
def strategies(request: DeskRequest) -> HttpResponse:
    """One's own contracts and those of the desk, with what is at work of each."""
    active = Q(versions__deployments__portfolio__owner=request.user.pk, versions__deployments__state="ACTIVE")
    paused = Q(versions__deployments__portfolio__owner=request.user.pk, versions__deployments__state="PAUSED")
    halted = active & Q(versions__standing__stage__in=HALTED)
    waiting = active & Q(versions__standing__stage=Stage.PAUSED)
    rows = (
        StrategyContract.objects.for_user(request.user)
        .annotate(
            newest=Max("versions__number"),
            at_work=Count("versions__deployments", filter=active, distinct=True)
            - Count("versions__deployments", filter=halted, distinct=True),
            resting=Count("versions__deployments", filter=paused | waiting, distinct=True),
        )
        .order_by("name", "pk")
    )
    newest = {
        version.contract_id: version
        for version in ContractVersion.objects.filter(contract__in=rows)
        .select_related("standing", "contract")
        .order_by("number")
    }
    midnight = request.desk.now.astimezone(IST).replace(hour=0, minute=0, second=0, microsecond=0)
    today = Signal.objects.for_user(request.user).filter(bar_at__gte=midnight).order_by()
    signals = dict(today.values_list("deployment__version__contract").annotate(Count("pk")))
    told = [(row, newest[row.pk], newest[row.pk].body, signals.get(row.pk, 0)) for row in rows if row.pk in newest]
    own = [row for row in told if row[1].contract.owner_id is not None]
    house = [row for row in told if row[1].contract.owner_id is None]
    return render(request, "strategies/strategies.html", {"own": own, "house": house, "waiting": _waiting(request)})


@require_safe
@signed_in
def contract(request: DeskRequest, contract_id: int) -> HttpResponse:
    """One contract as it stands in its newest version, or in the one that `?version=` names."""
    found = get_object_or_404(StrategyContract.objects.for_user(request.user), pk=contract_id)
    versions = list(found.versions.select_related("standing"))
    if not versions:
        raise NotFound("UNKNOWN_CONTRACT", "Nothing of it was ever published.")
    shown = next((one for one in versions if str(one.number) == request.GET.get("version")), versions[0])
    other = next((one for one in versions if str(one.number) == request.GET.get("compare")), None)
    body = _readable(shown)
    standing = standing_of_version(shown)
    deployments = (
        Deployment.objects.for_user(request.user).filter(version__contract=found)
        .select_related("version__standing", "universe", "portfolio__account").annotate(made=Count("signals"))
        .order_by("state", "-created_at")
    )  # fmt: skip
    context = {
        "contract": found, "version": shown, "versions": versions, "body": body, "standing": standing,
        "rules": _rules_told(shown), "facts": facts_of(body), "lacks": lacks_of(body),
        "moves": shown.moves.all()[:NEWEST_MOVES], "deployments": deployments,
        "runs": BacktestRun.objects.for_user(request.user).filter(version__contract=found)[:5],
        "steps": [
            (stage, _step(standing, stage)) for stage in next_stages(standing) if _may_step(request, found, stage)
        ],
        "compared": other, "changes": differences(other.body, shown.body) if other else [],
        "mine": found.owner_id == request.user.pk, "halted": HALTED,
        "parameters": body.parameters,
    }  # fmt: skip
    return render(request, "strategies/contract.html", context)


def _step(standing: Standing, to: Stage) -> str:
    return "Resume" if standing.stage == Stage.PAUSED and to in GATED else WORDS[to]


@require_safe
@signed_in
def version_yaml(request: DeskRequest, version_id: int) -> HttpResponse:
    version = _version(request, version_id)
    answer = HttpResponse(as_yaml(version), content_type="application/yaml; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{version.contract.slug}-v{version.number}.yaml"'
    return answer


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def move(request: DeskRequest, version_id: int, stage: str) -> HttpResponse:
    """GET shows the gates before a stage; POST takes the step, or asks an operator for it."""
    version = _version(request, version_id)
    to = Stage(stage)
    standing = standing_of_version(version)
    asks = to == Stage.LIVE and not request.user.is_staff and standing.stage == Stage.PAPER
    error = None
    if request.method == "POST":
        reason = request.POST.get("reason", "")
        try:
            if asks:
                ask_for_live(version_id=version.pk, user=request.user, reason=reason)
                messages.info(request, "Asked. An operator will read the figures and decide.")
            else:
                stage_move(
                    version_id=version.pk, to=to, user=request.user, actor=request.user.get_username(), reason=reason,
                    waive=request.user.is_staff and request.POST.get("waive") == "yes",
                )  # fmt: skip
                messages.info(request, f"{version} is at {to.label}.")
            return _to(request, _address(version))
        except NotAllowed as refused:
            if not request.htmx:
                raise
            error = refused
    findings, policy = findings_for(version, to) if to in GATED and standing.stage != Stage.PAUSED else ([], None)
    context = {
        "version": version, "to": to, "words": _step(standing, to), "findings": findings, "policy": policy,
        "asks": asks, "passes": all(finding.passed for finding in findings), "error": error,
        "reason": request.POST.get("reason", ""), "deployed": version.deployments.exclude(state="RETIRED").count(),
    }  # fmt: skip
    return dialog(request, "strategies/_move.html", context, status=422 if error and not request.htmx else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def deploy(request: DeskRequest, version_id: int) -> HttpResponse:
    """GET asks where and with which numbers; POST puts the version to work."""
    version = _version(request, version_id)
    body = _readable(version)
    error = None
    if request.method == "POST":
        given = {
            name: text for name, _ in body.parameters if (text := request.POST.get(f"parameter.{name}", "").strip())
        }
        try:
            made = deploy_for(
                user=request.user, portfolio_id=_whole(request.POST.get("portfolio")), version_id=version.pk,
                universe_name=request.POST.get("universe", ""), parameters=given,
            )  # fmt: skip
            messages.info(request, f"{made} is at work from the next bar on.")
            return _to(request, _address(version))
        except TradingError as refused:
            if not request.htmx:
                raise
            error = refused
    context = {
        "version": version, "parameters": body.parameters, "error": error, "lacks": lacks_of(body),
        "portfolios": Portfolio.objects.for_user(request.user).select_related("account"),
        "universes": Universe.objects.filter(name__in=body.universes), "wanted": body.universes,
        "given": request.POST, "stage": standing_of_version(version).stage,
    }  # fmt: skip
    return dialog(request, "strategies/_deploy.html", context)


@require_POST
@signed_in
def deployment(request: DeskRequest, deployment_id: int, act: str) -> HttpResponse:
    """Pause, resume or stop one's own. Pressed twice, it does nothing the second time."""
    acts = {"pause": pause_deployment, "resume": resume_deployment, "stop": stop_deployment}
    done = acts[act](deployment_id=deployment_id, actor=request.user.get_username(), user=request.user)
    words = {"pause": "Paused: no more signals", "resume": "At work again from the next bar on", "stop": "Stopped"}
    if done:
        messages.info(request, f"{words[act]}.")
    row = Deployment.objects.for_user(request.user).select_related("version__contract").get(pk=deployment_id)
    return _to(request, _address(row.version))


@require_POST
@signed_in
def decline(request: DeskRequest, version_id: int) -> HttpResponse:
    """An operator says no to real money."""
    if not request.user.is_staff:
        raise NotFound("UNKNOWN_VERSION", "There is no such version.")
    decline_live(version_id=version_id, actor=request.user.get_username(), reason=request.POST.get("reason", ""))
    return _to(request, reverse("web:strategies"))


def _readable(version: ContractVersion) -> ContractBody:
    try:
        return version.parsed()
    except ContractError as error:
        raise NotAllowed("UNREADABLE_CONTRACT", f"{version} cannot be read by this desk: {error}") from error


def _waiting(request: DeskRequest) -> list[ContractVersion]:
    """What operators must decide about."""
    if not request.user.is_staff:
        return []
    asked = ContractVersion.objects.exclude(standing__asked_by="").filter(standing__isnull=False)
    return list(asked.select_related("contract", "standing"))


def _may_step(request: DeskRequest, found: StrategyContract, stage: Stage) -> bool:
    return request.user.is_staff or found.owner_id == request.user.pk


def _rules_told(version: ContractVersion) -> list[tuple[str, str, list[str]]]:
    told = []
    body = version.parsed()
    for path, rule in body.compiled().items():
        words = conditions_of(rule.node) if rule.kind == "condition" else [in_words(rule.node)]
        told.append((RULE_TITLES[path], rule.text, words))
    return told


def _version(request: DeskRequest, version_id: int) -> ContractVersion:
    """One's own, the house's, and for operators those that wait for them."""
    visible = ContractVersion.objects.for_user(request.user)
    if request.user.is_staff:
        visible = visible | ContractVersion.objects.exclude(standing__asked_by="").filter(standing__isnull=False)
    return get_object_or_404(visible.select_related("contract").distinct(), pk=version_id)


def _address(version: ContractVersion) -> str:
    return f"{reverse('web:contract', args=[version.contract_id])}?version={version.number}"


def _to(request: DeskRequest, address: str) -> HttpResponse:
    """The page that shows what came of it, also when a dialog asked."""
    if request.htmx:
        answer = HttpResponse(status=204)
        answer["HX-Redirect"] = address
        return answer
    return redirect(address)


def _whole(text: str | None) -> int:
    return int(text) if text and text.isdecimal() and len(text) < 12 else 0
