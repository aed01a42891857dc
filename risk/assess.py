"""The one place where a wish becomes an approved intent. The type is the proof: only what comes from here is sent."""

import json
from dataclasses import dataclass, replace
from uuid import UUID

from risk.facts import to_json
from risk.gates import ENTRY_GATES, EXIT_GATES
from risk.gates.finding import Finding, Gate, Limits, Outcome, Snapshot
from trading.domain.orders import OrderIntent
from trading.statements import tell

STORE = """
WITH seen AS (
    INSERT INTO risk_assessment (portfolio_id, intent_id, policy_id, intent, snapshot, allowed_quantity, refused_by, at,
                                 stored_at)
    VALUES (%(portfolio)s, %(intent)s, %(policy_id)s, %(asked)s, %(snapshot)s, %(allowed)s, %(refused)s, %(at)s,
            clock_timestamp())
)
INSERT INTO risk_verdict
  (portfolio_id, intent_id, "position", gate, outcome, quantity, value, "limit", message, policy, at)
SELECT %(portfolio)s, %(intent)s, said.place - 1, gate, outcome, quantity, value, lim, message, %(policy)s, %(at)s
FROM ROWS FROM (
    json_to_recordset(%(said)s::json) AS (gate text, outcome text, quantity bigint, value text, lim text, message text)
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


def store_verdicts(
    *, portfolio_id: int, verdict: ApprovedIntent | RefusedIntent, intent: OrderIntent, snapshot: Snapshot,
    policy_id: int, policy: str,
) -> None:  # fmt: skip
    """Keep what each gate said and all that it saw: "why was this not traded?" has an answer, and may be asked anew."""
    said = [
        {
            "gate": one.gate, "outcome": one.outcome, "quantity": one.quantity, "value": one.value[:60],
            "lim": one.limit[:60], "message": one.message[:240],
        }
        for one in verdict.findings
    ]  # fmt: skip
    tell(STORE, {
        "portfolio": portfolio_id, "intent": verdict.intent_id, "policy_id": policy_id, "policy": policy[:80],
        "asked": to_json(intent), "snapshot": to_json(snapshot), "at": snapshot.now,
        "allowed": 0 if isinstance(verdict, RefusedIntent) else verdict.quantity,
        "refused": verdict.code[:32] if isinstance(verdict, RefusedIntent) else "", "said": json.dumps(said),
    })  # fmt: skip
