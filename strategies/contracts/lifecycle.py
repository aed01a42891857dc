"""A version on its way from an idea to money: one step at a time, each with who, why and the figures."""

from collections.abc import Sequence
from typing import Final

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from strategies.contracts.evidence import backtest_figures, paper_figures
from strategies.contracts.gates import Finding, Thresholds, all_pass, live_gates, paper_gates
from strategies.models import ContractVersion, LifecyclePolicy, Stage, StageMove, Standing
from trading.audit.record import record
from trading.domain.errors import Conflict, NotAllowed, NotFound
from trading.domain.states import TransitionTable
from trading.monitoring.alerts import Level, raise_alert

STAGE_MOVES: Final = TransitionTable(
    {
        Stage.RESEARCH: {Stage.PAPER, Stage.RETIRED},
        Stage.PAPER: {Stage.LIVE, Stage.PAUSED, Stage.RETIRED},
        Stage.LIVE: {Stage.PAUSED, Stage.RETIRED},
        Stage.PAUSED: {Stage.PAPER, Stage.LIVE, Stage.RETIRED},  # back to where it was, nowhere else
    }
)
GATED: Final = (Stage.PAPER, Stage.LIVE)
LEAST_REASON: Final = 5


def active_lifecycle_policy() -> LifecyclePolicy:
    """The house's thresholds in force; the first use writes the defaults down as version 1."""
    policy = LifecyclePolicy.objects.filter(active=True).first()
    if policy is None:
        policy, _ = LifecyclePolicy.objects.get_or_create(version=1, defaults={"created_by": "the desk"})
    return policy


def thresholds_of(policy: LifecyclePolicy) -> Thresholds:
    return Thresholds(**{name: getattr(policy, name) for name in Thresholds.__dataclass_fields__})


@transaction.atomic
def publish_lifecycle_policy(*, values: dict[str, object], actor: str) -> LifecyclePolicy:
    """New thresholds, as a new version in force from now on."""
    before = active_lifecycle_policy()
    newest = LifecyclePolicy.objects.select_for_update().order_by("-version")[0]
    kept = {name: getattr(before, name) for name in Thresholds.__dataclass_fields__}
    policy = LifecyclePolicy(version=newest.version + 1, created_by=actor, active=False, **{**kept, **values})
    policy.full_clean(exclude=["active"])
    LifecyclePolicy.objects.filter(active=True).update(active=False)
    policy.active = True
    policy.save()
    record("lifecycle_policy.published", actor=actor, subject=str(policy))
    return policy


def standing_of_version(version: ContractVersion) -> Standing:
    """Where a version stands; the first look writes RESEARCH down."""
    standing, _ = Standing.objects.get_or_create(version=version, defaults={"changed_at": timezone.now()})
    return standing


def findings_for(version: ContractVersion, to: Stage) -> tuple[list[Finding], LifecyclePolicy]:
    """What the gates before a stage say now; an empty list where there is none."""
    policy = active_lifecycle_policy()
    wanted = thresholds_of(policy)
    if to == Stage.PAPER:
        return paper_gates(backtest_figures(version), wanted), policy
    if to == Stage.LIVE:
        return live_gates(paper_figures(version), backtest_figures(version), wanted), policy
    return [], policy


@transaction.atomic
def stage_move(
    *, version_id: int, to: Stage, user: User | None, actor: str, reason: str, waive: bool = False
) -> StageMove | None:
    """Take a version one step further, or rest it, take it up again, end it. None: it is there already.

    `user` None is the desk itself. NotFound: not a contract of this person's. NotAllowed with the findings: a gate does
    not pass (GATE), only staff move a contract of the house or approve LIVE (STAFF_ONLY), a reason is missing.
    Conflict ILLEGAL_MOVE: this step does not follow from where it stands.
    """
    version = _locked(version_id, user)
    standing = Standing.objects.select_for_update().get(pk=standing_of_version(version).pk)
    before = Stage(standing.stage)
    if before == to:
        return None
    _check_step(standing, to)
    staff = user is None or user.is_staff
    if version.contract.owner_id is None and not staff:
        raise NotAllowed("STAFF_ONLY", "The desk's own contracts are moved by its operators.")
    resumed = before == Stage.PAUSED and to != Stage.RETIRED
    if to == Stage.LIVE and not resumed and not staff:
        raise NotAllowed("STAFF_ONLY", "Money is at stake: an operator must approve this. Ask for it.")
    why = reason.strip()
    if len(why) < LEAST_REASON:
        raise NotAllowed("REASON_MISSING", "Say why, in a few words: it is kept with the step.")
    findings, policy = findings_for(version, to) if to in GATED and not resumed else ([], active_lifecycle_policy())
    if not all_pass(findings):
        if waive and not staff:
            raise NotAllowed("STAFF_ONLY", "Only an operator may waive a gate.")
        if not waive:
            failed = [finding for finding in findings if not finding.passed]
            raise NotAllowed("GATE", _told(failed), findings=[finding.as_mapping() for finding in findings])
    move = StageMove.objects.create(
        version=version, from_stage=before, to_stage=to, actor=actor, reason=why[:500],
        figures=[finding.as_mapping() for finding in findings], policy=str(policy) if findings else "",
        waived=waive and not all_pass(findings), at=timezone.now(),
    )  # fmt: skip
    standing.stage, standing.changed_at = to, move.at
    standing.before_pause = before if to == Stage.PAUSED else ""
    standing.asked_by, standing.asked_at, standing.asked_reason = "", None, ""
    standing.save()
    record("contract.moved", actor=actor, owner_id=version.contract.owner_id, subject=str(move)[:200])
    return move


@transaction.atomic
def ask_for_live(*, version_id: int, user: User, reason: str) -> bool:
    """Ask the operators to let a version trade with money. False: it was asked before. The gates must pass first."""
    version = _locked(version_id, user)
    standing = Standing.objects.select_for_update().get(pk=standing_of_version(version).pk)
    _check_step(standing, Stage.LIVE)
    if version.contract.owner_id is None:
        raise NotAllowed("STAFF_ONLY", "The desk's own contracts are moved by its operators.")
    if len(reason.strip()) < LEAST_REASON:
        raise NotAllowed("REASON_MISSING", "Say why, in a few words: it is kept with the step.")
    findings, _ = findings_for(version, Stage.LIVE)
    failed = [finding for finding in findings if not finding.passed]
    if failed:
        raise NotAllowed("GATE", _told(failed), findings=[finding.as_mapping() for finding in findings])
    if standing.asked_by:
        return False
    standing.asked_by, standing.asked_at = user.get_username(), timezone.now()
    standing.asked_reason = reason.strip()[:500]
    standing.save(update_fields=["asked_by", "asked_at", "asked_reason"])
    record("contract.live_asked", actor=user.get_username(), owner_id=user.pk, subject=str(version))
    raise_alert(
        "LIVE_ASKED", f"{version} has passed its gates on paper and waits for an operator.", level=Level.INFO,
        about=f"version:{version.pk}", next_step="Read its figures in the console and decide.",
    )  # fmt: skip
    return True


@transaction.atomic
def decline_live(*, version_id: int, actor: str, reason: str) -> bool:
    """Say no to what was asked; it stays on paper. False: nothing was asked."""
    standing = Standing.objects.select_for_update().filter(version_id=version_id).exclude(asked_by="").first()
    if standing is None:
        return False
    record(
        "contract.live_declined", actor=actor, owner_id=standing.version.contract.owner_id,
        subject=f"{standing.version}: {reason}"[:200],
    )  # fmt: skip
    standing.asked_by, standing.asked_at, standing.asked_reason = "", None, ""
    standing.save(update_fields=["asked_by", "asked_at", "asked_reason"])
    return True


def next_stages(standing: Standing) -> list[Stage]:
    """Where a version may go from here."""
    return [stage for stage in Stage if stage != standing.stage and _may(standing, stage)]


def _may(standing: Standing, to: Stage) -> bool:
    if standing.stage == Stage.PAUSED and to in GATED:
        return to == standing.before_pause
    return STAGE_MOVES.allows(Stage(standing.stage), to)


def _check_step(standing: Standing, to: Stage) -> None:
    if not _may(standing, to):
        raise Conflict("ILLEGAL_MOVE", f"{standing.stage} is not followed by {to}.", stage=standing.stage, to=to)


def _locked(version_id: int, user: User | None) -> ContractVersion:
    versions = (
        ContractVersion.objects.all() if user is None or user.is_staff else ContractVersion.objects.for_user(user)
    )
    version = versions.select_related("contract").filter(pk=version_id).first()
    if version is None:
        raise NotFound("UNKNOWN_VERSION", "There is no such version.")
    return version


def _told(failed: Sequence[Finding]) -> str:
    """What keeps a step from being taken. Where there is no backtest, its figures are not listed one by one."""
    if any(finding.code == "OUT_OF_SAMPLE" for finding in failed):
        return "Not yet: there is no out-of-sample backtest of this version."
    return f"Not yet. {'; '.join(f'{one.name}: {one.got}, wanted {one.wanted}' for one in failed)}."
