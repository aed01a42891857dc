"""The one place where a wish becomes an approved intent. The type is the proof: only what comes from here is sent."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from risk.facts import fields_of
from risk.gates import ENTRY_GATES, EXIT_GATES
from risk.gates.finding import Finding, Gate, Limits, Outcome, Snapshot
from trading.domain.orders import OrderIntent
from trading.statements import tell

STORE = """
WITH judged AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(judged)s::json)
        AS j (portfolio bigint, intent uuid, policy_id bigint, policy text, asked jsonb, snapshot jsonb, at timestamptz,
              allowed bigint, refused text, said json)
), seen AS (
    INSERT INTO risk_assessment (portfolio_id, intent_id, policy_id, intent, snapshot, allowed_quantity, refused_by, at,
                                 stored_at)
    SELECT portfolio, intent, policy_id, asked, snapshot, allowed, refused, at, clock_timestamp() FROM judged
)
INSERT INTO risk_verdict
  (portfolio_id, intent_id, "position", gate, outcome, quantity, value, "limit", message, policy, at)
SELECT j.portfolio, j.intent, said.place - 1, gate, outcome, quantity, value, lim, message, j.policy, j.at
FROM judged j, ROWS FROM (
    json_to_recordset(j.said) AS (gate text, outcome text, quantity bigint, value text, lim text, message text)
) WITH ORDINALITY AS said (gate, outcome, quantity, value, lim, message, place)
"""


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
    tell(STORE, {"judged": json.dumps([_as_row(one) for one in judged], default=str)})


def _as_row(judged: Judged) -> dict[str, Any]:
    verdict = judged.verdict
    allowed, refused_by = (0, verdict.code) if isinstance(verdict, RefusedIntent) else (verdict.quantity, "")
    return {
        "portfolio": judged.portfolio_id, "intent": verdict.intent_id, "policy_id": judged.policy_id,
        "policy": judged.policy[:80], "asked": fields_of(judged.intent), "snapshot": fields_of(judged.snapshot),
        "at": judged.snapshot.now, "allowed": allowed, "refused": refused_by[:32],
        "said": [
            {
                "gate": one.gate, "outcome": one.outcome, "quantity": one.quantity, "value": one.value[:60],
                "lim": one.limit[:60], "message": one.message[:240],
            }
            for one in verdict.findings
        ],
    }  # fmt: skip
