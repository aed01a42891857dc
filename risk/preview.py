"""What other limits would have said: every wish of the last days is judged again, with all that the gates saw then."""

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from django.utils import timezone

from risk.assess import run_gates
from risk.facts import intent_from, snapshot_from
from risk.gates.finding import Limits, Outcome
from risk.models import Assessment

DAYS = 30
AT_MOST = 5_000
SHOWN = 50


@dataclass(frozen=True, slots=True)
class Change:
    """One wish that would have fared otherwise: quantities allowed then and under the other limits; 0 is refused."""

    intent_id: str
    symbol: str
    side: str
    asked: int
    was: int
    was_code: str
    would: int
    would_code: str
    message: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Preview:
    """`judged` of `known` wishes (the newest); `blocked` and `shrunk` by the gate that would, `let_in` by the one
    that refused then."""

    judged: int
    known: int
    blocked: dict[str, int] = field(default_factory=Counter)
    shrunk: dict[str, int] = field(default_factory=Counter)
    larger: dict[str, int] = field(default_factory=Counter)
    let_in: dict[str, int] = field(default_factory=Counter)
    changes: list[Change] = field(default_factory=list)

    @property
    def same(self) -> int:
        kinds = (self.blocked, self.shrunk, self.larger, self.let_in)
        return self.judged - sum(sum(kind.values()) for kind in kinds)


def preview(limits: Limits, *, portfolio_id: int | None, days: int = DAYS, at_most: int = AT_MOST) -> Preview:
    """Judge again the entries of one portfolio, or of all; what was reserved meanwhile by others is not replayed."""
    since = timezone.now() - timedelta(days=days)
    rows = Assessment.objects.filter(stored_at__gte=since, intent__reduces=False)
    if portfolio_id is not None:
        rows = rows.filter(portfolio_id=portfolio_id)
    known = rows.count()
    seen = Preview(min(known, at_most), known)
    for row in rows.order_by("-id")[:at_most].iterator(chunk_size=500):
        _judge(row, limits, seen)
    # Plain from here on: a template that asks a Counter for its `items` is told that it counted none of them.
    return replace(
        seen, blocked=dict(seen.blocked), shrunk=dict(seen.shrunk), larger=dict(seen.larger), let_in=dict(seen.let_in)
    )


def _judge(row: Assessment, limits: Limits, seen: Preview) -> None:
    intent, snapshot = intent_from(row.intent), snapshot_from(row.snapshot)
    findings = run_gates(intent, snapshot, limits)
    last = findings[-1]
    refused = last.outcome is Outcome.REJECT
    would = 0 if refused else last.quantity
    if would == row.allowed_quantity:
        return
    if refused:
        seen.blocked[last.gate] += 1
    elif not row.allowed_quantity:
        seen.let_in[row.refused_by] += 1
    elif would < row.allowed_quantity:
        seen.shrunk[next(one.gate for one in findings if one.quantity < row.allowed_quantity)] += 1
    else:
        seen.larger[row.refused_by or "SIZE"] += 1
    if len(seen.changes) < SHOWN:
        seen.changes.append(Change(
            intent_id=str(row.intent_id), symbol=intent.symbol, side=intent.side.value, asked=intent.quantity,
            was=row.allowed_quantity, was_code=row.refused_by, would=would, would_code=last.gate if refused else "",
            message=last.message, at=row.at,
        ))  # fmt: skip
