from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import models

from accounts.ownership import Owned, OwnedQuerySet
from risk.gates.finding import Outcome


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one gate said about one intent, with the numbers it saw."""

    position: int  # place in the order of the gates
    gate: str
    outcome: Outcome
    quantity: int  # units allowed after this gate
    value: str  # what the gate measured
    limit: str  # what it may be
    message: str
    policy: str  # policy and version that set the limit
    at: datetime  # venue time


class AssessmentQuerySet(OwnedQuerySet["Assessment"]):
    def verdicts_of(self, intent_ids: Iterable[UUID]) -> defaultdict[UUID, list[Verdict]]:
        """Verdicts by intent, in the order in which the gates spoke; none of an intent that nobody judged."""
        found: defaultdict[UUID, list[Verdict]] = defaultdict(list)
        for one in self.filter(intent_id__in=list(intent_ids)).only("intent_id", "said", "policy", "at"):
            found[one.intent_id] = one.verdicts
        return found


class Assessment(Owned):
    """What every gate said of one intent, and all that they saw, as numbers: it can be judged again under other limits.
    Never edited."""

    OWNER = "portfolio__owner"

    # Written with its intent, whose portfolio the database looks for.
    portfolio = models.ForeignKey(
        "portfolio.Portfolio", on_delete=models.PROTECT, related_name="assessments", db_constraint=False, db_index=False
    )
    intent_id = models.UUIDField(unique=True)
    policy_id = models.BigIntegerField(help_text="version of the limits that decided; 0: not kept")
    policy = models.CharField(max_length=80, help_text="its name and version")
    said = models.JSONField(help_text="[gate, outcome, quantity, value, limit, message] of each gate, in their order")
    intent = models.JSONField(help_text="the wish as the gates saw it")
    snapshot = models.JSONField(help_text="everything else they saw")
    allowed_quantity = models.PositiveBigIntegerField(help_text="0: refused")
    refused_by = models.CharField(max_length=32, blank=True, help_text="code of the gate that refused")
    at = models.DateTimeField(help_text="venue time")
    stored_at = models.DateTimeField(help_text="wall time")

    objects = AssessmentQuerySet.as_manager()  # type: ignore[misc]

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["portfolio", "-stored_at"], name="assessment_newest")]

    def __str__(self) -> str:
        return f"{self.intent_id} {self.refused_by or self.allowed_quantity}"

    @property
    def verdicts(self) -> list[Verdict]:
        return [
            Verdict(position, gate, Outcome(outcome), quantity, value, limit, message, self.policy, self.at)
            for position, (gate, outcome, quantity, value, limit, message) in enumerate(self.said)
        ]


def as_said(findings: Iterable[Any]) -> list[list[Any]]:
    """Findings as an assessment keeps them."""
    return [
        [one.gate, one.outcome, one.quantity, one.value[:60], one.limit[:60], one.message[:240]] for one in findings
    ]
