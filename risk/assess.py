"""The one place where a wish becomes an approved intent. The type is the proof: only what comes from here is sent."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from risk.facts import fields_of
from risk.gates import ENTRY_GATES, EXIT_GATES
from risk.gates.finding import Finding, Gate, Limits, Outcome, Snapshot
from risk.models.verdict import as_said
from trading.domain.orders import OrderIntent
from trading.statements import tell
from trading.trips import Texts, array_of

STORE = """
INSERT INTO risk_assessment
  (portfolio_id, intent_id, policy_id, policy, said, intent, snapshot, allowed_quantity, refused_by, at, stored_at)
SELECT portfolio, intent, policy_id, policy, said::jsonb, asked::jsonb, snapshot::jsonb, allowed, refused, at,
       clock_timestamp()
FROM unnest(%(portfolio)s::bigint[], %(intent)s::uuid[], %(policy_id)s::bigint[], %(policy)b::text[], %(said)b::text[],
            %(asked)b::text[], %(snapshot)b::text[], %(allowed)s::bigint[], %(refused)b::text[],
            %(at)s::timestamptz[])
    AS j (portfolio, intent, policy_id, policy, said, asked, snapshot, allowed, refused, at)
"""  # binary: an array of JSON as text would be written quote by quote, and read so


@dataclass(frozen=True, slots=True)
class ApprovedIntent:
    """Allowed, and how much of it, under which epoch of the kill switch."""

    intent_id: UUID
    quantity: int
    kill_epoch: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class RefusedIntent:
    """Not allowed, and by which gate."""

    intent_id: UUID
    code: str
    message: str
    findings: tuple[Finding, ...]


def run_gates(
    intent: OrderIntent, snapshot: Snapshot, limits: Limits, gates: tuple[Gate, ...] | None = None
) -> tuple[Finding, ...]:
    """Ask every gate in order, each about the quantity that the one before left. Stops at the first refusal. Pure."""
    findings: list[Finding] = []
    for gate in gates or (EXIT_GATES if intent.reduces else ENTRY_GATES):
        finding = gate(intent, snapshot, limits)
        findings.append(finding)
        if finding.outcome is Outcome.REJECT:
            break
        if finding.quantity != intent.quantity:
            intent = replace(intent, quantity=finding.quantity)
    return tuple(findings)


def assess(
    *, intent_id: UUID, intent: OrderIntent, snapshot: Snapshot, limits: Limits, kill_epoch: int
) -> ApprovedIntent | RefusedIntent:
    """Allowed, shrunk or refused, with every verdict that led there."""
    findings = run_gates(intent, snapshot, limits)
    last = findings[-1]
    if last.outcome is Outcome.REJECT:
        return RefusedIntent(intent_id, last.gate, last.message, findings)
    return ApprovedIntent(intent_id, last.quantity, kill_epoch, findings)


@dataclass(frozen=True, slots=True)
class Judged:
    """One verdict with all that led there."""

    portfolio_id: int
    verdict: ApprovedIntent | RefusedIntent
    intent: OrderIntent
    snapshot: Snapshot
    policy_id: int
    policy: str


def store_verdicts(judged: Sequence[Judged]) -> None:
    """Keep what each gate said and all that it saw: "why was this not traded?" has an answer, and may be asked anew."""
    if not judged:
        return
    rows = [_as_row(one) for one in judged]
    told = {name: Texts(row[name] for row in rows) for name in rows[0]}
    tell(STORE, told | {name: array_of(told[name]) for name in _PLAIN})


_PLAIN = ("portfolio", "intent", "policy_id", "allowed", "at")
"""Columns whose text needs no quotes."""


def _as_row(judged: Judged) -> dict[str, str]:
    verdict = judged.verdict
    allowed, refused_by = (0, verdict.code) if isinstance(verdict, RefusedIntent) else (verdict.quantity, "")
    return {
        "portfolio": str(judged.portfolio_id), "intent": str(verdict.intent_id), "policy_id": str(judged.policy_id),
        "policy": judged.policy[:80], "said": json.dumps(as_said(verdict.findings)),
        "asked": json.dumps(fields_of(judged.intent), default=str),
        "snapshot": json.dumps(fields_of(judged.snapshot), default=str),
        "at": judged.snapshot.now.isoformat(), "allowed": str(allowed), "refused": refused_by[:32],
    }  # fmt: skip
